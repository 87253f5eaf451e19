package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/ring"
)

// A storm of sessions that come back at once, each with a position of its own, costs Redis a handful of reads: pages are shared.
func TestStormOfReturns(t *testing.T) {
	const sessions, messages = 8000, 400
	redis := testcluster.NewRedis(t, false)
	// Without beacons and heartbeats nothing else reads.
	r := startOn(t, redis.Addr, ring.StateJoining, func(c *Config) {
		c.Beacon, c.StaleAfter, c.Heartbeat, c.HandshakeTimeout = time.Hour, 4*time.Hour, time.Hour, time.Minute
	})
	var ids []string
	for i := range messages {
		ids = append(ids, r.publish("finals", strconv.Itoa(i)))
	}
	r.tailed("finals", ids[messages-1])
	before := xranges(t, redis)
	var wg, came sync.WaitGroup
	came.Add(sessions)                 // who has come stays until all have
	atOnce := make(chan struct{}, 200) // as many handshakes at once as the listener's queue takes
	for i := range sessions {
		wg.Go(func() {
			atOnce <- struct{}{}
			first := i % (messages - 1)
			c, err := comesBack(r.g.Addr(), ids[first], first+1, messages, func() { <-atOnce })
			if err != nil {
				t.Errorf("session %d: %v", i, err)
			}
			came.Done()
			came.Wait()
			if c != nil {
				c.Close()
			}
		})
	}
	wg.Wait()
	if n := r.g.metrics.replayReads.Load(); n == 0 || n > 16 {
		t.Errorf("pages read: got %d, want a handful", n)
	}
	// One for the page, three for the edges of the stream.
	if n := xranges(t, redis) - before; n > 4*16 {
		t.Errorf("XRANGE and XREVRANGE calls: got %d, want 64 at most for %d sessions", n, sessions)
	}
	t.Logf("%d sessions with %d positions: %d pages read, %d calls", sessions, messages-1, r.g.metrics.replayReads.Load(), xranges(t, redis)-before)
}

// xranges is how many ranges Redis has been asked for.
func xranges(t *testing.T, redis *testcluster.RedisServer) (n int) {
	t.Helper()
	for line := range strings.Lines(redis.Do(t, "INFO", "commandstats").(string)) {
		if strings.HasPrefix(line, "cmdstat_xrange:") || strings.HasPrefix(line, "cmdstat_xrevrange:") {
			var calls int
			_, stats, _ := strings.Cut(line, ":")
			if _, err := fmt.Sscanf(stats, "calls=%d", &calls); err != nil {
				t.Fatal(err)
			}
			n += calls
		}
	}
	return n
}

// comesBack opens a session of ringside.raw behind a position and reads the messages from to to, which are numbers. It calls
// answered when it has the handshake's answer. The connection is the caller's.
func comesBack(addr, since string, from, to int, answered func()) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		answered()
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(c, "GET /t/finals?since="+since+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ringside.raw\r\n\r\n")
	b := bufio.NewReaderSize(c, 512)
	for line := ""; err == nil && line != "\r\n"; {
		line, err = b.ReadString('\n')
	}
	answered()
	for n := from; n < to && err == nil; n++ {
		want := strconv.Itoa(n)
		frame := make([]byte, 2+len(want))
		if _, err = io.ReadFull(b, frame); err == nil && (frame[0] != 0x81 || string(frame[2:]) != want) {
			err = fmt.Errorf("got %q, want message %s", frame, want)
		}
	}
	return c, err
}
