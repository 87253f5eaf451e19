package eventloop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
)

// outcome is a handler that tells what became of a connection.
type outcome struct {
	conn Conn
	told chan error
	once sync.Once
}

func (o *outcome) Ready(c *Conn, _ Event) {
	o.once.Do(func() {
		err := c.Connected()
		if err == nil {
			_, err = c.Write([]byte("hello"))
		}
		o.told <- err
	})
}

func (o *outcome) Sweep(*Conn, int64) {}

func TestConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	f := func(to string, from netip.Addr) error {
		t.Helper()
		fd, err := Connect(netip.MustParseAddrPort(to), from)
		if err != nil {
			return err
		}
		o := &outcome{told: make(chan error, 1)}
		l.Post(NoteFunc(func() {
			if err := l.Add(&o.conn, fd, o); err != nil {
				o.told <- err
			}
		}))
		return <-o.told
	}
	from := netip.MustParseAddr("127.0.0.1")
	for _, a := range []netip.Addr{{}, from} {
		if err := f(ln.Addr().String(), a); err != nil {
			t.Errorf("from %v: %v", a, err)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		var got [5]byte
		if _, err := c.Read(got[:]); err != nil || string(got[:]) != "hello" {
			t.Errorf("from %v: got %q, %v", a, got, err)
		}
		c.Close()
	}
	if err := f("127.0.0.1:1", netip.Addr{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody there: got %v, want that it is refused", err)
	}
	if _, err := Connect(netip.MustParseAddrPort("[::1]:1"), from); err == nil {
		t.Error("from IPv4 to IPv6: got no error")
	}
}
