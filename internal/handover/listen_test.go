package handover

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	noLeak(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")

	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("got mode %v, %v, want a socket that only its owner may use", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want the socket alone", entries, err)
	}

	// A second one is refused, and the first does not mind.
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	dialled := make(chan error, 1)
	go func() {
		c, err := Dial(within(t), path)
		if err == nil {
			err = c.Close()
		}
		dialled <- err
	}()
	c, err := l.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-dialled; err != nil {
		t.Error(err)
	}

	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that Close removed the socket", err)
	}
	if _, err := l.Accept(within(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
}

// A socket that a process left behind is replaced.
func TestListenStale(t *testing.T) {
	noLeak(t)
	path := filepath.Join(t.TempDir(), "s")
	stale, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	stale.ln.Close() // as the system does for a process that is killed
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Close leaves a socket alone that took the place of its own.
func TestCloseReplaced(t *testing.T) {
	noLeak(t)
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("got %v, want the second socket", err)
	}
}

// What is not a socket is not touched.
func TestListenOnFile(t *testing.T) {
	noLeak(t)
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("listening on a regular file went well")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Listen(filepath.Join(path, "none", "s")); err == nil {
		t.Error("listening in no folder went well")
	}
	if _, err := Listen(filepath.Join(t.TempDir(), strings.Repeat("long", 40))); err == nil {
		t.Error("listening at a path that is too long for a socket went well")
	}
}

// A peer that speaks something else is told apart from one of another version, on both sides.
func TestHello(t *testing.T) {
	f := func(hello string, want error, text string) {
		t.Helper()
		t.Run("", func(t *testing.T) {
			noLeak(t)
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			raw, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if _, err := raw.Write([]byte(hello)); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Accept(within(t)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				t.Errorf("Accept: got %v, want %v", err, want)
			}

			dialled := make(chan error, 1)
			go func() {
				_, err := Dial(within(t), path)
				dialled <- err
			}()
			answer, err := l.ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Close()
			if _, err := answer.Write([]byte(hello)); err != nil {
				t.Fatal(err)
			}
			if err := <-dialled; !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				t.Errorf("Dial: got %v, want %v", err, want)
			}
		})
	}
	f(string(appendHello(nil, 77)), ErrVersion, "ours is 1, theirs is 77")
	f("GET / HTTP/1.1\r\n\r\n", ErrForeign, "GET / HTTP/1")
	f(strings.Repeat("\x00", 12), ErrForeign, "")
}

func TestListenContext(t *testing.T) {
	noLeak(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	soon := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(10*time.Millisecond, cancel)
		return ctx
	}
	if _, err := l.Accept(soon()); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept: got %v, want that it was canceled", err)
	}
	if _, err := Dial(soon(), path); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: got %v, want that it was canceled", err)
	}
	// The one that gave up is passed over, and the next is silent.
	raw, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := l.Accept(soon()); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept: got %v, want that it was canceled", err)
	}
	if _, err := Dial(within(t), path+"none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Dial: got %v, want that there is no such file", err)
	}
}
