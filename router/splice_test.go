package router

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// stream is a leg's bytes with every kind of record, and what of it is for the client.
func stream() (records, client string) {
	big := strings.Repeat("b", 300)
	records = record(leg.Topic, "finals") + record(leg.Data, "welcome") + record(leg.Beacon, "") + record(99, "from the future") +
		record(leg.Data, big) + record(leg.Beacon, "beat") + record(leg.Topic, "") + record(leg.Data, "last")
	return records, "welcome" + big + "beat" + "last"
}

// TestRecordSplits cuts a leg's bytes at every offset: into what comes with the answer and what comes later.
func TestRecordSplits(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		records, want := stream()
		g := gateway(t, "g1")
		cuts := make(chan int, 1)
		g.setReply(func(f *far) bool {
			cut := <-cuts
			f.write(f.answer(leg.HeaderLeg+": v1\r\n") + records[:cut])
			f.write(records[cut:] + record(leg.End, "."))
			return true
		})
		r := start(t, portable, nil, g)
		for cut := range len(records) + 1 {
			cuts <- cut
			c := r.open("a", wsHead, "")
			if got := c.rest(); got != want+"." {
				t.Fatalf("cut at %d: the client got %d bytes %.60q…, want %d", cut, len(got), got, len(want)+1)
			}
			c.conn.Close()
			g.session().conn.Close()
		}
		r.empty()
		if got := r.value("records_total", "kind=unknown"); got == 0 {
			t.Error("records_total{unknown}: got 0")
		}
	})
}

// TestRecordPieces sends a leg's bytes in pieces of all sizes while the session runs.
func TestRecordPieces(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		records, want := stream()
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		c := r.open("a", wsHead, "")
		f := g.session()
		rnd := rand.New(rand.NewPCG(1, 2))
		const rounds = 50
		go func() {
			for range rounds {
				for left := records; left != ""; {
					n := min(len(left), 1+rnd.IntN(200))
					f.write(left[:n])
					left = left[n:]
				}
			}
			f.write(record(leg.End, ""))
		}()
		if got := c.rest(); got != strings.Repeat(want, rounds) {
			t.Errorf("the client got %d bytes, want %d, or others", len(got), rounds*len(want))
		}
		c.conn.Close()
		r.empty()
	})
}

// TestEarlyBytes looks at what comes along with the handshake and with its answer, and that the answer and the first
// message leave in one write.
func TestEarlyBytes(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g, s := gateway(t, "g1"), rawServer(t, "s1")
		g.setReply(func(f *far) bool {
			f.write(f.answer(leg.HeaderLeg+": v1\r\n") + record(leg.Data, "welcome") + record(leg.Data, "first"))
			return true
		})
		s.setReply(func(f *far) bool { f.write(f.answer("") + "welcomefirst"); return true })
		r := start(t, portable, nil, g, s)
		for _, u := range []*upstreamServer{g, s} {
			before := r.value("writes_total", "to=client")
			early := strings.Repeat("pipelined", 300) // more than one read of the server's
			c := r.open(r.ownedBy(u.id), wsHead, early)
			c.want("welcomefirst")
			f := u.session()
			f.want(early)
			c.send("later")
			f.want("later")
			if got := r.value("writes_total", "to=client") - before; got != 1 {
				t.Errorf("%s: the answer left in %v writes, want 1", u.id, got)
			}
		}
	})
}

// TestRawSplice looks whether a raw upstream's bytes pass as they are, both ways and in bulk.
func TestRawSplice(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		s := rawServer(t, "s1")
		r := start(t, portable, nil, s)
		c := r.open("a", wsHead, "")
		f := s.session()
		blob := make([]byte, 3<<20)
		for i := range blob {
			blob[i] = byte(rand.Uint32())
		}
		go f.write(string(blob))
		go func() { _, _ = c.conn.Write(blob) }()
		done := make(chan struct{})
		go func() { defer close(done); f.want(string(blob)) }()
		c.want(string(blob))
		<-done
		if got := r.value("opened_total", "upstream=raw"); got != 1 {
			t.Errorf("opened_total{raw}: got %v, want 1", got)
		}
		if down, up := r.value("forwarded_bytes_total", "to=client"), r.value("forwarded_bytes_total", "to=upstream"); down < 3<<20 || up != 3<<20 {
			t.Errorf("forwarded bytes: got %v down and %v up, want 3 MiB each", down, up)
		}
	})
}

// TestBackPressure stalls a client, and then an upstream: the router keeps one read's worth, the sender is held up, and
// another session flows.
func TestBackPressure(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, func(c *Config, _ *Deps) { c.Loops = 1 }, g)
		const messages, size = 64, 1 << 20
		body := strings.Repeat("m", size)

		stalled := r.open("a", wsHead, "")
		f := g.session()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range messages {
				f.write(record(leg.Data, body))
			}
			f.write(record(leg.End, "."))
		}()
		eventually(t, "the stalled client's socket is full", func() bool { return r.value("sessions_blocked", "to=client") == 1 })

		flowing := r.open("b", wsHead, "")
		f2 := g.session()
		for range 100 {
			f2.write(record(leg.Data, "tick"))
			flowing.want("tick")
		}
		select {
		case <-sent:
			t.Error("the gateway was never held up")
		default:
		}
		if got := r.value("waiting_bytes"); got == 0 || got > readBuffer {
			t.Errorf("waiting_bytes: got %v, want at most %d", got, readBuffer)
		}
		n, err := io.Copy(io.Discard, stalled.r)
		if err != nil || n != messages*size+1 {
			t.Errorf("the stalled client got %d bytes, %v, want %d", n, err, messages*size+1)
		}
		<-sent
		stalled.conn.Close()

		// The other way round.
		go func() { _, _ = flowing.conn.Write(make([]byte, 32<<20)); _ = flowing.conn.CloseWrite() }()
		eventually(t, "the gateway's socket is full", func() bool { return r.value("sessions_blocked", "to=upstream") == 1 })
		f2.write(record(leg.Data, "tock"))
		flowing.want("tock")
		if got := r.value("waiting_bytes"); got > readBuffer {
			t.Errorf("waiting_bytes: got %v, want at most %d", got, readBuffer)
		}
		if n, err := io.Copy(io.Discard, f2.r); err != nil || n != 32<<20 {
			t.Errorf("the gateway got %d bytes, %v, want %d", n, err, 32<<20)
		}
		f2.conn.Close()
		flowing.rest()
		r.empty()
	})
}

// TestHalfClose ends one direction and uses the other.
func TestHalfClose(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g, s := gateway(t, "g1"), rawServer(t, "s1")
		r := start(t, portable, nil, g, s)
		for _, u := range []*upstreamServer{g, s} {
			c := r.open(r.ownedBy(u.id), wsHead, "")
			f := u.session()
			c.send("bye")
			_ = c.conn.CloseWrite()
			f.want("bye")
			f.end()
			if u.static {
				f.write("still")
			} else {
				f.write(record(leg.Data, "still"))
			}
			c.want("still")
			f.conn.Close()
			if got := c.rest(); got != "" {
				t.Errorf("%s: behind the end came %q", u.id, got)
			}
		}
		eventually(t, "both count as closed by their clients", func() bool { return r.value("closed_total", "reason=client") == 2 })
		// The upstream ends first: only a raw one can.
		c := r.open(r.ownedBy("s1"), wsHead, "")
		f := s.session()
		f.write("bye")
		_ = f.conn.CloseWrite()
		if got := c.rest(); got != "bye" {
			t.Errorf("got %q, want the last words", got)
		}
		c.send("still")
		f.want("still")
		c.conn.Close()
		f.end()
		r.closedFor(closeUpstream)
		r.empty()
	})
}

// TestFrames holds the boundaries that a raw upstream's frames are found to have, wherever reads cut them.
func TestFrames(t *testing.T) {
	var bytes []byte
	ends := map[int]bool{0: true}
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		bytes = wsframe.AppendFrame(bytes, wsframe.Binary, make([]byte, n))
		ends[len(bytes)] = true
		bytes = wsframe.AppendClientFrame(bytes, wsframe.Text, [4]byte{1, 2, 3, 4}, make([]byte, n)) // no server masks; follow it all the same
		ends[len(bytes)] = true
	}
	for _, step := range []int{1, 2, 3, 5, 7, 1000, len(bytes)} {
		var f frames
		for i := 0; i < len(bytes); i += step {
			end := min(i+step, len(bytes))
			f.feed(bytes[i:end])
			if f.atBoundary() != ends[end] {
				t.Fatalf("step %d, at %d: boundary %v, want %v", step, end, f.atBoundary(), ends[end])
			}
		}
	}
}

// TestPositions lets nothing of what a leg tells about positions reach the client.
func TestPositions(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	c := r.open("a", wsHead, "")
	h := leg.Header{Length: 1, Kind: leg.Data, Topic: 7, Position: position.Position{Epoch: 9, ID: position.ID{Ms: 8, Seq: 7}}}
	f := g.session()
	f.write(string(leg.AppendHeader(nil, h)) + "x" + record(leg.End, "y"))
	if got := c.rest(); got != "xy" {
		t.Errorf("got %q, want xy", got)
	}
}
