package router

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// movable starts a gateway whose sessions can be moved. What it says to sessions that are moved to it is the test's.
func movable(t testing.TB, id string) *upstreamServer { return newUpstream(t, id, false, replyMovable) }

const testTicket = "dGlja2V0" // "ticket"

func replyMovable(f *far) bool {
	switch f.req.Method {
	case leg.MethodResume:
		signed := leg.Request{Method: leg.MethodResume, URI: leg.Target, Host: f.req.Host}
		if err := testKeys(f.t).Verify(signed, f.req.Header.Get(leg.HeaderAuth), time.Now()); err != nil {
			f.t.Errorf("the router's signature: %v", err)
		}
		if got := f.req.Header.Get(leg.HeaderTicket); got != testTicket {
			f.t.Errorf("ticket: got %q, want %q", got, testTicket)
		}
		f.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ringside-leg\r\nRingside-Leg: v1\r\n\r\n")
	default:
		f.write(f.answer("Ringside-Leg: v1\r\nRingside-Ticket: " + testTicket + "\r\n"))
	}
	return true
}

// resume reads where the session stands, of a session that was moved.
func (f *far) resume() leg.Resume {
	f.t.Helper()
	if f.req.Method != leg.MethodResume {
		f.t.Fatalf("got a new session: %s", f.head)
	}
	var b []byte
	for {
		c, err := f.r.ReadByte()
		if err != nil {
			f.t.Fatalf("no resume block: %v behind %x", err, b)
		}
		b = append(b, c)
		r, n, err := leg.ParseResume(b, 100)
		if err != nil {
			f.t.Fatal(err)
		}
		if n > 0 {
			return r
		}
	}
}

func at(ms int) position.Position {
	return position.Position{Epoch: 7, ID: position.ID{Ms: uint64(ms)}}
}

func rec(kind leg.Kind, flags leg.Flags, topic uint32, p position.Position, body string) string {
	return string(leg.AppendHeader(nil, leg.Header{Length: uint32(len(body)), Kind: kind, Flags: flags, Topic: topic, Position: p})) + body
}

func message(topic uint32, ms int, body string) string { return rec(leg.Data, 0, topic, at(ms), body) }

func acked(n int) string { return rec(leg.Data, 0, 0, leg.Acknowledge(uint64(n)), "") }

// quick makes a router that detects and gives up soon.
func quick(c *Config, _ *Deps) {
	c.Detect = 250 * time.Millisecond
	c.Settle = 50 * time.Millisecond
}

func (r *rig) movesEnded(reason moveReason, outcome moveOutcome, n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d moves for %v ended: %v", n, reason, outcome), func() bool {
		return r.r.metrics.moves[reason][outcome].Load() == uint64(n)
	})
}

// script is a session's records, as any gateway would send them: each entry of the stream gives the same record, but for
// the topic's number.
type script struct {
	kinds  []leg.Kind
	bodies []string
}

func testScript() script {
	var s script
	add := func(k leg.Kind, body string) { s.kinds, s.bodies = append(s.kinds, k), append(s.bodies, body) }
	add(leg.Data, "first")
	add(leg.Data, strings.Repeat("m", 200))
	add(leg.Beacon, "")
	add(leg.Beacon, "beat")
	add(leg.Data, strings.Repeat("0123456789", leg.MaxWhole/10+31)) // larger than a router's buffer with what is around it
	add(leg.Data, "x")
	add(leg.Data, strings.Repeat("a", leg.MaxWhole))
	add(leg.Data, "last")
	return s
}

// records are those behind position from, which stands for the topic's number here.
func (s script) records(num uint32, from int) string {
	var b strings.Builder
	for i := from; i < len(s.kinds); i++ {
		b.WriteString(rec(s.kinds[i], 0, num, at(i+1), s.bodies[i]))
	}
	return b.String()
}

// TestMoveAtEveryOffset kills a gateway behind each byte of its stream, and the next one again a little later: the client's
// bytes are the same each time.
func TestMoveAtEveryOffset(t *testing.T) {
	s := testScript()
	want := strings.Join(s.bodies, "")
	first := rec(leg.Topic, leg.Asked, 3, position.Position{}, "finals") + s.records(3, 0)
	bothLoops(t, func(t *testing.T, portable bool) {
		g := movable(t, "g1")
		r := start(t, portable, quick, g)
		for cut := 0; cut < len(first); cut++ {
			// Every offset around the ends of records, a few within large ones.
			if near := nearEnd(first, cut); !near && cut%1009 != 0 {
				continue
			}
			c := r.open("finals", wsHead, "")
			f := g.session()
			f.write(first[:cut])
			f.conn.Close()
			f = g.session()
			again := resumed(t, s, f.resume())
			if dies := cut % 7 * 40; cut%3 == 0 && dies < len(again) {
				f.write(again[:dies])
				f.conn.Close()
				f = g.session()
				again = resumed(t, s, f.resume())
			}
			f.write(again + rec(leg.End, 0, 0, position.Position{}, ""))
			if got := c.rest(); got != want {
				t.Fatalf("cut at %d: the client's bytes differ: got %d, want %d", cut, len(got), len(want))
			}
			c.conn.Close()
			f.end()
		}
		r.empty()
	})
}

// nearEnd reports whether i is near a record's beginning or end.
func nearEnd(records string, i int) bool {
	for at := 0; at < len(records); {
		h, err := leg.ParseHeader([]byte(records[at : at+leg.HeaderSize]))
		if err != nil {
			panic(err)
		}
		if i >= at-3 && i <= at+leg.HeaderSize+3 {
			return true
		}
		at += leg.HeaderSize + int(h.Length)
	}
	return i > len(records)-3
}

// resumed is what a gateway sends to a session that stands where the block says.
func resumed(t *testing.T, s script, block leg.Resume) string {
	t.Helper()
	if !block.Begun {
		if len(block.Topics) != 0 {
			t.Fatalf("got %+v", block)
		}
		return rec(leg.Topic, leg.Asked, 9, position.Position{}, "finals") + s.records(9, 0)
	}
	if len(block.Topics) != 1 || block.Topics[0].Name != "finals" || block.First > 0 {
		t.Fatalf("got %+v", block)
	}
	p := block.Topics[0].Position
	if block.Topics[0].Asked != (p == position.Position{}) {
		t.Fatalf("got %+v", block)
	}
	var flags leg.Flags
	if block.Topics[0].Asked {
		flags = leg.Asked
	}
	return rec(leg.Topic, flags, 9, p, "finals") + acked(0) + s.records(9, int(p.ID.Ms))
}

// TestMoveKeepsTheClientsBytes looks whether what a client sends is there for the next gateway until it is acknowledged.
func TestMoveKeepsTheClientsBytes(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := movable(t, "g1")
		r := start(t, portable, quick, g)
		c := r.open("finals", wsHead, "early")
		f := g.session()
		f.want("early")
		c.send("done")
		f.want("done")
		f.write(acked(len("earlydone")) + message(3, 1, "one"))
		c.want("one")
		c.send("half a com")
		f.want("half a com")
		f.conn.Close()
		f = g.session()
		f.resume()
		f.want("half a com")
		c.send("mand")
		f.want("mand")
		f.write(acked(len("half a ")))
		eventually(t, "the rest is kept", func() bool { return r.value("waiting_bytes") == float64(len("command")) })
		f.conn.Close()
		f = g.session()
		f.resume()
		f.want("command")
		f.write(acked(len("command")))
		eventually(t, "nothing is kept", func() bool { return r.value("waiting_bytes") == 0 })
		// To acknowledge what was never sent breaks the leg's protocol.
		f.write(acked(100))
		r.closedFor(closeLegProtocol)
		c.conn.Close()
		r.empty()
	})
}

// TestMoveBoundsTheClientsBytes looks whether a client is not read on while too much of it is not acknowledged.
func TestMoveBoundsTheClientsBytes(t *testing.T) {
	g := movable(t, "g1")
	const bound = 32 << 10
	r := start(t, false, func(c *Config, d *Deps) { quick(c, d); c.MaxUnacked = bound }, g)
	c := r.open("finals", wsHead, "")
	f := g.session()
	const n = 4 << 20
	go func() { _, _ = io.WriteString(c.conn, strings.Repeat("x", n)) }()
	got := 0
	for got < bound {
		m, err := f.r.Read(make([]byte, bound))
		if err != nil {
			t.Fatal(err)
		}
		got += m
	}
	eventually(t, "the client is not read on", func() bool { return r.value("sessions_blocked", "to=upstream") == 1 })
	if kept := r.value("waiting_bytes"); kept > 2*bound {
		t.Errorf("%v bytes are kept, want about %d", kept, bound)
	}
	for sum := 0; sum < n; { // acknowledged, it goes on
		f.write(acked(got))
		if sum = got; sum == n {
			break
		}
		m, err := f.r.Read(make([]byte, bound))
		if err != nil {
			t.Fatal(err)
		}
		got += m
	}
	c.conn.Close()
	f.end()
	f.conn.Close()
	r.empty()
}

// TestMoveTopics looks whether a session takes all its topics along, and in which state.
func TestMoveTopics(t *testing.T) {
	g := movable(t, "g1")
	r := start(t, false, quick, g)
	c := r.open("a", wsHead, "")
	f := g.session()
	f.write(rec(leg.Topic, leg.Asked, 1, at(5), "a") + rec(leg.Topic, 0, 2, at(6), "b") + rec(leg.Topic, leg.Asked, 3, at(0), "c") +
		rec(leg.Topic, leg.Asked, 4, at(8), "d") + message(1, 9, "m") + rec(leg.Topic, leg.Off, 2, at(0), "") +
		rec(leg.Data, 0, 4, at(8), "") + rec(leg.Beacon, 0, 99, at(77), ""))
	c.want("m")
	f.conn.Close()
	f = g.session()
	want := "[{a 00000007-9-0 false} {c 00000007-0-0 true} {d 00000007-8-0 false}]"
	if got := f.resume(); !got.Begun || got.First != -1 || fmt.Sprint(got.Topics) != want {
		t.Errorf("got %+v, want %s", got, want)
	}
	// The next gateway has other numbers; positions of the old ones mean nothing.
	f.write(rec(leg.Topic, 0, 2, at(9), "a") + message(1, 50, "") + message(2, 10, "n"))
	c.want("n")
	f.conn.Close()
	f = g.session()
	want = "[{a 00000007-10-0 false} {c 00000007-0-0 true} {d 00000007-8-0 false}]"
	if got := f.resume(); fmt.Sprint(got.Topics) != want {
		t.Errorf("got %+v, want %s", got, want)
	}
}

// TestMoveWithoutGateway looks at a session that nobody takes: its client waits, and is sent away when the time is over.
func TestMoveWithoutGateway(t *testing.T) {
	for _, head := range []string{wsHead, sseHead} {
		g := movable(t, "g1")
		r := start(t, false, func(c *Config, d *Deps) { quick(c, d); c.RehomeWait = 300 * time.Millisecond }, g)
		c := r.open("a", head, "")
		f := g.session()
		f.write(message(1, 1, "one"))
		c.want("one")
		g.stop()
		eventually(t, "it is homeless", func() bool { return r.value("sessions_homeless") == 1 })
		if _, ok := sentAway(t, c.rest(), head == sseHead); !ok {
			t.Error("the client was not sent away")
		}
		c.conn.Close()
		r.closedFor(closeNoGateway)
		r.movesEnded(moveCrash, movedNot, 1)
		r.empty()
		if n := r.value("sessions_homeless") + r.value("sessions_moving"); n != 0 {
			t.Errorf("%v sessions are on their way without being there", n)
		}
	}
}

// TestMoveWaitsForAGateway looks whether a session outlives the time without any gateway.
func TestMoveWaitsForAGateway(t *testing.T) {
	g, g2 := movable(t, "g1"), movable(t, "g2")
	r := start(t, false, quick, g)
	c := r.open("a", wsHead, "")
	f := g.session()
	f.write(rec(leg.Topic, 0, 1, at(1), "a") + message(1, 2, "one"))
	c.want("one")
	g.stop()
	eventually(t, "it is homeless", func() bool { return r.value("sessions_homeless") == 1 })
	c.send("hello?")
	r.setRing(g2)
	f = g2.session()
	if got := f.resume(); len(got.Topics) != 1 || got.Topics[0].Position != at(2) {
		t.Errorf("got %+v", got)
	}
	f.want("hello?")
	f.write(rec(leg.Topic, 0, 1, at(2), "a") + message(1, 3, "two"))
	c.want("two")
	r.movesEnded(moveCrash, movedOK, 1)
}

// TestMoveElsewhere looks whether gateways that refuse, break, are full or talk nonsense are passed over.
func TestMoveElsewhere(t *testing.T) {
	bad := map[string]func(*far) bool{
		"busy":    replyWith("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
		"reset":   func(f *far) bool { f.reset(); return false },
		"bad":     replyWith("HTTP/1.1 200 OK\r\n\r\n"),
		"chatty":  replyWith("HTTP/1.1 101 Switching Protocols\r\nRingside-Leg: v1\r\n\r\nhello"),
		"refused": nil,
	}
	for name, reply := range bad {
		t.Run(name, func(t *testing.T) {
			g1, g2, g3 := movable(t, "g1"), movable(t, "g2"), movable(t, "g3")
			r := start(t, false, quick, g1, g2, g3)
			topic := r.ownedBy("g1", "g2", "g3")
			c := r.open(topic, wsHead, "")
			f := g1.session()
			if reply == nil {
				g2.stop()
			} else {
				g2.setReply(reply)
			}
			g1.stop()
			_ = f
			f = g3.session()
			f.resume()
			f.write(message(1, 1, "here"))
			c.want("here")
			r.movesEnded(moveCrash, movedOK, 1)
		})
	}
}

// TestClientLeavesWhileItIsMoved looks whether everything is given back.
func TestClientLeavesWhileItIsMoved(t *testing.T) {
	g := movable(t, "g1")
	r := start(t, false, quick, g)
	answer := make(chan bool)
	c := r.open("a", wsHead, "")
	f := g.session()
	g.setReply(func(f *far) bool { <-answer; return replyMovable(f) })
	f.conn.Close()
	eventually(t, "it is homeless", func() bool { return r.value("sessions_homeless") == 1 })
	c.conn.Close()
	r.closedFor(closeClient)
	r.empty()
	close(answer)
	f = g.session()
	f.end() // the leg that nobody needs is closed
	r.movesEnded(moveCrash, movedLeft, 1)
}

// TestDrainMoves looks whether a session stays with its gateway until the next one has it, and what happens when the
// gateway dies meanwhile.
func TestDrainMoves(t *testing.T) {
	for _, crash := range []bool{false, true} {
		g1, g2 := movable(t, "g1"), movable(t, "g2")
		r := start(t, false, quick, g1, g2)
		answers := make(chan chan bool, 2) // of each session that comes, in order
		c := r.open(r.ownedBy("g1", "g2"), wsHead, "")
		f1 := g1.session()
		g2.setReply(func(f *far) bool {
			wait := make(chan bool)
			answers <- wait
			<-wait
			return replyMovable(f)
		})
		f1.write(rec(leg.Topic, 0, 1, at(0), "a") + rec(leg.Move, 0, 0, position.Position{}, "") + message(1, 1, "one"))
		c.want("one")
		first := <-answers
		f1.write(message(1, 2, "two")) // it is still served
		c.want("two")
		if crash {
			g1.stop() // or it would be asked again, and say yes
			eventually(t, "it is homeless", func() bool { return r.value("sessions_homeless") == 1 })
		}
		close(first)
		f2 := g2.session()
		if crash { // the drain's connection is of no use any more
			f2.end()
			close(<-answers)
			f2 = g2.session()
		} else {
			f1.end()
		}
		if got := f2.resume(); len(got.Topics) != 1 || got.Topics[0].Position != at(2) {
			t.Errorf("got %+v", got)
		}
		f2.write(message(1, 3, "three"))
		c.want("three")
		if crash {
			r.movesEnded(moveDrain, movedSuperseded, 1)
			r.movesEnded(moveCrash, movedOK, 1)
		} else {
			r.movesEnded(moveDrain, movedOK, 1)
		}
		c.conn.Close()
		f2.end()
		f2.conn.Close()
		r.empty()
	}
}

// TestSilentGateway looks whether the sessions of a gateway that says nothing any more, and breaks nothing, are moved.
func TestSilentGateway(t *testing.T) {
	g1, g2 := movable(t, "g1"), movable(t, "g2")
	r := start(t, false, quick, g1, g2)
	eventually(t, "both have a heartbeat", func() bool { return r.value("gateways", "pulse=up") == 2 })
	c := r.open(r.ownedBy("g1", "g2"), wsHead, "")
	f1 := g1.session()
	f1.write(rec(leg.Topic, 0, 1, at(1), "a"))
	g1.silent.Store(true)
	f2 := g2.session()
	f2.resume()
	f2.write(message(1, 2, "here"))
	c.want("here")
	f1.end()
	if r.value("gateways_silent_total") == 0 {
		t.Error("the silence is not counted")
	}
	// New sessions keep away from it, too.
	r.open(r.ownedBy("g1", "g2"), wsHead, "")
	g2.session()
}

// TestGoneIsNotSilent has a gateway whose connections break, and whose address answers nobody after that, as that of a container that was
// taken away: nobody is told that it hung.
func TestGoneIsNotSilent(t *testing.T) {
	g1, g2 := movable(t, "g1"), movable(t, "g2")
	r := start(t, false, quick, g1, g2)
	eventually(t, "both have a heartbeat", func() bool { return r.value("gateways", "pulse=up") == 2 })
	g1.deaf.Store(true)
	g1.mu.Lock()
	for _, c := range g1.conns {
		c.Close()
	}
	g1.mu.Unlock()
	eventually(t, "nothing comes back", func() bool { return r.value("gateways", "pulse=silent") == 1 })
	if got := r.value("gateways_silent_total"); got != 0 {
		t.Errorf("counted as silent %v times", got)
	}
}

// TestRebalance looks whether sessions go where the ring wants them, once it stands still, and not when they shall not.
func TestRebalance(t *testing.T) {
	for _, off := range []bool{false, true} {
		g1, g2 := movable(t, "g1"), movable(t, "g2")
		both := &rig{t: t}
		both.setRing(g1, g2)
		topic := both.ownedBy("g2", "g1")
		r := start(t, false, func(c *Config, d *Deps) { quick(c, d); c.NoRebalance = off }, g1)
		c := r.open(topic, wsHead, "")
		f1 := g1.session()
		f1.write(rec(leg.Topic, 0, 1, at(1), "a"))
		r.setRing(g1, g2)
		if off {
			<-time.After(300 * time.Millisecond) // several times the settling time
			f1.write(message(1, 2, "still here"))
			c.want("still here")
			if n := len(g2.sessions); n != 0 {
				t.Errorf("%d sessions went elsewhere", n)
			}
			continue
		}
		f2 := g2.session()
		f2.resume()
		f1.end()
		f2.write(message(1, 2, "here"))
		c.want("here")
		r.movesEnded(moveRebalance, movedOK, 1)
	}
}

// TestTicketIsNotTheClients looks whether a client can neither see nor bring a ticket, nor ask for what only routers may.
func TestTicketIsNotTheClients(t *testing.T) {
	g := movable(t, "g1")
	r := start(t, false, quick, g)
	c := r.open("a", wsHead+"Ringside-Ticket: mine\r\n", "")
	f := g.session()
	if c.resp.Header.Get(leg.HeaderTicket) != "" || strings.Contains(f.head, "mine") {
		t.Errorf("client got %v, gateway got %s", c.resp.Header, f.head)
	}
	for _, method := range []string{leg.MethodResume, leg.MethodBeat} {
		c := r.connect()
		c.send(method + " /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
		if resp := c.answer(); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: got %s", method, resp.Status)
		}
	}
	if n := len(g.sessions); n != 0 {
		t.Errorf("%d requests were passed on", n)
	}
}

// TestSilentFromTheBeginning has a router that begins when a gateway is silent already: what was handed over to it, and
// sits there, is moved.
func TestSilentFromTheBeginning(t *testing.T) {
	g1, g2 := movable(t, "g1"), movable(t, "g2")
	old := start(t, false, quick, g1, g2)
	c := old.open(old.ownedBy("g1", "g2"), wsHead, "")
	f1 := g1.session()
	f1.write(rec(leg.Topic, 0, 1, at(1), "a"))
	g1.deaf.Store(true)
	next := start(t, false, quick, g1, g2)
	if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
		t.Fatal(err)
	}
	f2 := g2.session()
	f2.resume()
	f2.write(message(1, 2, "here"))
	c.want("here")
}
