package gossip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	rtmetrics "runtime/metrics"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// transports are two of them, on ports that the system chose.
func transports(t *testing.T, host string) (a, b *transport) {
	t.Helper()
	var both [2]*transport
	for i := range both {
		var err error
		if both[i], err = newTransport(netip.MustParseAddrPort(host), zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = both[i].Shutdown() })
	}
	return both[0], both[1]
}

// packet is the next that comes.
func packet(t *testing.T, at *transport) *memberlist.Packet {
	t.Helper()
	select {
	case p := <-at.PacketCh():
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("no packet comes")
		return nil
	}
}

func TestTransportPackets(t *testing.T) {
	a, b := transports(t, "127.0.0.1:0")
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(b.port)).String()
	for _, size := range []int{1, 1400, 60_000} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		before := time.Now()
		if at, err := a.WriteToAddress(sent, memberlist.Address{Addr: addr}); err != nil || at.Before(before) {
			t.Fatalf("%d bytes: sent at %v, %v", size, at, err)
		}
		got := packet(t, b)
		if !bytes.Equal(got.Buf, sent) || cap(got.Buf) > 2*size+64 || got.Timestamp.Before(before) {
			t.Errorf("%d bytes: got %d in a buffer of %d", size, len(got.Buf), cap(got.Buf))
		}
		if from := got.From.(*net.UDPAddr); from.Port != a.port || !from.IP.Equal(net.IPv4(127, 0, 0, 1)) {
			t.Errorf("it came from %v, want port %d", from, a.port)
		}
		if _, err := b.WriteTo([]byte("x"), got.From.String()); err != nil || string(packet(t, a).Buf) != "x" {
			t.Errorf("the answer does not come (%v)", err)
		}
	}
	if _, err := a.WriteTo([]byte("x"), "nowhere"); err == nil {
		t.Error("a packet without a port to go to is sent")
	}
}

// A packet costs little more memory than it has bytes.
func TestTransportAllocates(t *testing.T) {
	a, b := transports(t, "127.0.0.1:0")
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(b.port)).String()
	const n = 500
	allocated := func() uint64 {
		s := []rtmetrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		rtmetrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := allocated()
	for range n {
		if _, err := a.WriteTo(make([]byte, 100), addr); err != nil {
			t.Fatal(err)
		}
		packet(t, b)
	}
	if each := (allocated() - before) / n; each > 4096 {
		t.Errorf("a packet of 100 bytes takes %d bytes of memory", each)
	}
}

func TestTransportStreams(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		a, b := transports(t, host)
		addr := netip.AddrPortFrom(netip.MustParseAddrPort(host).Addr(), uint16(b.port)).String()
		c, err := a.DialAddressTimeout(memberlist.Address{Addr: addr}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := <-b.StreamCh()
		defer s.Close()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// It ends though nobody takes what has come, and frees its port.
func TestTransportShutdown(t *testing.T) {
	a, b := transports(t, "127.0.0.1:0")
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(b.port))
	if _, err := newTransport(at, zap.NewNop()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is taken: got %v", err)
	}
	if _, err := a.WriteTo([]byte("x"), at.String()); err != nil {
		t.Fatal(err)
	}
	c, err := a.DialTimeout(at.String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := b.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	again, err := newTransport(at, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Shutdown(); err != nil {
		t.Error(err)
	}
}

func TestFinalAdvertiseAddr(t *testing.T) {
	a, _ := transports(t, "127.0.0.1:0")
	ip, port, err := a.FinalAdvertiseAddr("10.1.2.3", 7946)
	if err != nil || !ip.Equal(net.IPv4(10, 1, 2, 3)) || len(ip) != 4 || port != 7946 {
		t.Errorf("got %v %d, %v", ip, port, err)
	}
	if _, _, err := a.FinalAdvertiseAddr("host.example", 1); err == nil {
		t.Error("a name is advertised")
	}
}
