package eventloop

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type wrapped struct{ net.Conn }

func (w wrapped) UnsafeConn() net.Conn { return w.Conn }

func TestDetachOutlivesTheOriginal(t *testing.T) {
	a, fd := pair(t) // Detach, then the original closed
	defer CloseFD(fd)
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatalf("write to the duplicate: %v", err)
	}
	if n, err := a.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Fatalf("read: got %d, %v", n, err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the duplicate blocks: flags %x, %v", flags, err)
	}
	if flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the duplicate survives exec: flags %x, %v", flags, err)
	}
}

func TestDetachSeesThroughWrappers(t *testing.T) {
	a, fd := pair(t)
	CloseFD(fd)
	got, err := Detach(wrapped{a})
	if err != nil {
		t.Fatal(err)
	}
	CloseFD(got)
	p, q := net.Pipe()
	defer p.Close()
	defer q.Close()
	if _, err := Detach(p); err == nil {
		t.Error("Detach of a pipe: got no error")
	}
}

func TestSetOptions(t *testing.T) {
	_, fd := pair(t)
	defer CloseFD(fd)
	o := SocketOptions{KeepAlive: 7 * time.Second, SendBuffer: 64 << 10, ReceiveBuffer: 32 << 10}
	if err := SetOptions(fd, o); err != nil {
		t.Fatal(err)
	}
	f := func(what string, level, opt int, ok func(int) bool) {
		t.Helper()
		v, err := unix.GetsockoptInt(fd, level, opt)
		if err != nil || !ok(v) {
			t.Errorf("%s: got %d, %v", what, v, err)
		}
	}
	f("TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, func(v int) bool { return v != 0 })
	f("SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, func(v int) bool { return v != 0 })
	f("SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, func(v int) bool { return v >= 64<<10 })
	f("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, func(v int) bool { return v >= 32<<10 })
	if err := SetOptions(-1, o); err == nil {
		t.Error("options of a bad descriptor: got no error")
	}
}

func TestGroup(t *testing.T) {
	if _, err := NewGroup(0, Config{}); err == nil {
		t.Error("a group of none: got no error")
	}
	g, err := NewGroup(3, Config{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*Loop]int{}
	for range 9 {
		seen[g.Next()]++
	}
	for _, l := range g.Loops() {
		if seen[l] != 3 {
			t.Errorf("a loop's turns: got %d, want 3", seen[l])
		}
		run(t, l)
	}
}

// TestListen looks whether a connection has the options of its listener, where that is said.
func TestListen(t *testing.T) {
	o := SocketOptions{KeepAlive: 7 * time.Second, ReceiveBuffer: 32 << 10, Unsent: 16 << 10}
	ln, err := Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fd, err := Detach(in)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFD(fd)
	f := func(what string, level, opt int, ok func(int) bool) {
		t.Helper()
		v, err := unix.GetsockoptInt(fd, level, opt)
		if err != nil || !ok(v) {
			t.Errorf("%s: got %d, %v", what, v, err)
		}
	}
	f("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, func(v int) bool { return v >= 32<<10 && v <= 64<<10 })
	f("TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, func(v int) bool { return v != 0 })
	if !Inherits {
		return
	}
	f("SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, func(v int) bool { return v != 0 })
	for _, opt := range inherited {
		f("an inherited option", unix.IPPROTO_TCP, opt[0], func(v int) bool { return v == opt[1] })
	}
	if err := SetRest(fd, o); err != nil {
		t.Fatal(err)
	}
	for _, opt := range rest {
		f("another option", unix.IPPROTO_TCP, opt[0], func(v int) bool { return v == opt[1] })
	}
	near, far, err := Pair(0)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	defer CloseFD(near)
	if err := SetRest(near, o); err != nil {
		t.Errorf("a UNIX socket: %v", err)
	}
}
