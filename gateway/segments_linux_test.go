package gateway

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringside-edge/ringside/leg"
)

// TestAnswerIsOnePacket looks at how many segments the beginning of a session takes: the answer's head, the topic, the welcome and the offer of a feed
// come in one, over WebSocket and as an event stream.
func TestAnswerIsOnePacket(t *testing.T) {
	r := start(t, nil)
	f := func(name string, headers ...string) {
		t.Helper()
		headers = append(headers, "Host: x", leg.HeaderFeeds+": "+leg.Version)
		l := r.leg("final", headers...)
		for _, want := range []leg.Kind{leg.Topic, leg.Data, leg.Feed} {
			if h, _ := l.record(); h.Kind != want {
				t.Fatalf("%s: got a record of kind %d, want %d", name, h.Kind, want)
			}
		}
		raw, err := l.c.(syscall.Conn).SyscallConn() //nolint:forcetypeassert // of TCP
		if err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if info.Data_segs_in != 1 {
			t.Errorf("%s: got %d segments, want 1", name, info.Data_segs_in)
		}
	}
	r.dial("final").want("welcome") // the topic's tail stands from now on
	f("WebSocket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: "+protocolV1)
	f("event stream", "Accept: text/event-stream")
}
