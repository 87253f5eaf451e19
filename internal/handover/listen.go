package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// helloTimeout is how long an accepted peer has to greet, so that a silent one does not keep others out.
const helloTimeout = 5 * time.Second

// Listener is a socket at a path, where the successor dials. It is for one goroutine at a time; Close may be called from
// any.
type Listener struct {
	ln   *net.UnixListener
	path string
	info fs.FileInfo // of the socket file
}

// Listen makes the socket at path, in mode 0600 before anybody can connect. A socket file that nobody listens at is
// replaced; ErrInUse when somebody does. Another kind of file is left alone, and an error. For a moment it locks path's
// folder with flock, and makes a folder of its own in it.
func Listen(path string) (*Listener, error) {
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return nil, fmt.Errorf("cannot listen for a successor at %s: %d bytes are more than the %d of a socket's path", path, len(path), most)
	}
	var l *Listener
	err := locked(filepath.Dir(path), func() error {
		if err := checkStale(path); err != nil {
			return err
		}
		var err error
		l, err = listen(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen for a successor at %s: %w", path, err)
	}
	return l, nil
}

// listen makes the socket where only we can get at it, and moves it to path when its mode is right.
func listen(path string) (_ *Listener, err error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".h") // mode 0700; short, as the paths of sockets must be
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	first := filepath.Join(private, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	defer func() {
		if err != nil {
			ln.Close()
		}
	}()
	if err := os.Chmod(first, 0o600); err != nil {
		return nil, err
	}
	info, err := os.Lstat(first)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(first, path); err != nil {
		return nil, err
	}
	return &Listener{ln, path, info}, nil
}

// checkStale returns nil when there is nothing at path, or a socket that nobody listens at.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the file there is not a socket")
	}
	c, err := net.DialTimeout("unix", path, helloTimeout)
	switch {
	case err == nil:
		c.Close()
		return ErrInUse
	case errors.Is(err, syscall.EAGAIN): // its queue is full
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}

// locked calls f while no other process that uses locked on the same folder does.
func locked(dir string, f func() error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // and unlock
	for {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX)
		if err == nil {
			return f()
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("cannot lock %s: %w", dir, err)
		}
	}
}

// Accept waits for a successor. Unless ctx has ended or the Listener is closed, an error is about one peer (ErrPeer,
// ErrVersion, ErrForeign, or one that did not greet in time), and Accept may be called again.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	for {
		sock, err := l.accept(ctx)
		if err != nil {
			return nil, fmt.Errorf("cannot accept a successor: %w", err)
		}
		greet, cancel := context.WithTimeout(ctx, helloTimeout)
		c, err := newConn(greet, sock)
		cancel()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			continue // it only looked whether somebody listens
		}
		return c, err
	}
}

func (l *Listener) accept(ctx context.Context) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer until(ctx, l.ln)()
	sock, err := l.ln.AcceptUnix()
	return sock, cause(ctx, bare(err))
}

// Close ends Accept and removes the socket file, unless another has taken its place. Connections stay.
func (l *Listener) Close() error {
	err := l.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return errors.Join(err, locked(filepath.Dir(l.path), func() error {
		info, err := os.Lstat(l.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !os.SameFile(info, l.info):
			return nil
		}
		return os.Remove(l.path)
	}))
}

// Dial connects to the process that listens at path, which is to be succeeded. It waits, until ctx ends, for that
// process to Accept.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the process to succeed: %w", err)
	}
	return newConn(ctx, c.(*net.UnixConn))
}
