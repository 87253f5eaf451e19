package handover

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		os.Exit(child(path, os.Getenv(childMode)))
	}
	// The runtime opens descriptors of its own for the first socket. They are no leak.
	a, b := socketPair(nil)
	f := os.NewFile(uintptr(a), "")
	c, err := net.FileConn(f)
	if err != nil {
		panic(err)
	}
	c.Close()
	f.Close()
	closeFDs([]int{b})
	os.Exit(m.Run())
}

// within is a context that is long enough for anything that works.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// openFDs counts the descriptors of this process.
func openFDs(t testing.TB) int {
	t.Helper()
	d, err := os.Open("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// noLeak fails the test when it ends with more or fewer descriptors than there are now. Tests that use it are not
// parallel, and it comes first.
func noLeak(t *testing.T) {
	t.Helper()
	want := openFDs(t)
	t.Cleanup(func() {
		if got := openFDs(t); got != want {
			t.Errorf("got %d open descriptors, want %d", got, want)
		}
	})
}

// connect returns both ends of a connection through a socket file.
func connect(t testing.TB) (giver, successor *Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan error)
	go func() {
		var err error
		giver, err = l.Accept(within(t))
		accepted <- err
	}()
	successor, err = Dial(within(t), path)
	if aerr := <-accepted; err != nil || aerr != nil {
		t.Fatal(err, aerr)
	}
	t.Cleanup(func() {
		giver.Close()
		successor.Close()
	})
	return giver, successor
}

// socketPair is blocking, so that tests can use it with plain system calls. t may be nil.
func socketPair(t testing.TB) (a, b int) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		if t == nil {
			panic(err)
		}
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// pairs makes n items, each with both ends of a socket pair and its number as state, which are closed after the test.
func pairs(t testing.TB, n int) []Item {
	t.Helper()
	items := make([]Item, n)
	for i := range items {
		a, b := socketPair(t)
		t.Cleanup(func() { closeFDs([]int{a, b}) })
		state := make([]byte, 200)
		binary.BigEndian.PutUint32(state, uint32(i))
		items[i] = Item{State: state, FDs: []int{a, b}}
	}
	return items
}

// through writes a word into a descriptor and reads it from another.
func through(t testing.TB, in, out int, word string) {
	t.Helper()
	if _, err := syscall.Write(in, []byte(word)); err != nil {
		t.Fatal(err)
	}
	wantRead(t, out, word)
}

func wantRead(t testing.TB, fd int, want string) {
	t.Helper()
	// A descriptor that is not the right one would wait for ever.
	tv := syscall.NsecToTimeval((5 * time.Second).Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(want)+1)
	n, err := syscall.Read(fd, buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("descriptor %d: got %q, %v, want %q", fd, buf[:max(n, 0)], err, want)
	}
}

// giving calls Give in a goroutine; the channel has its error.
func giving(ctx context.Context, c *Conn, kind byte, items []Item) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Give(ctx, kind, items) }()
	return done
}

func receiveBatch(t testing.TB, c *Conn) Message {
	t.Helper()
	m, err := c.Receive(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if m.Items == nil {
		t.Fatalf("got a message of kind %d, want a batch", m.Kind)
	}
	return m
}
