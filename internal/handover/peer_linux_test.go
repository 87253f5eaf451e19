package handover

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Another user is refused, even where the modes of the files let it in.
func TestPeer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	noLeak(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(path, 0o666))
	if err != nil {
		t.Fatal(err)
	}
	connected, done := make(chan error), make(chan struct{})
	defer close(done)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			connected <- errno
			return
		}
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			connected <- err
			return
		}
		connected <- syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
		<-done
		_ = syscall.Close(fd)
		connected <- nil
	}()
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(within(t)); !errors.Is(err, ErrPeer) {
		t.Errorf("got %v, want ErrPeer", err)
	}
	done <- struct{}{}
	<-connected
}
