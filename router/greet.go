package router

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/httphead"
)

// greeting is a client's connection on the event loop that its session will be on, from when it is accepted until it is answered. It sees plain
// handshakes through by itself: those that are whole in one piece, for a gateway that a loop can ask. The HTTP server gets all others, as far as
// they have come ([greeting.handOver]).
//
// Its methods are the loop's, those of [anteroom.Visitor] excepted.
type greeting struct {
	r     *Router
	s     *session // to be: the connection is its client's from the first on
	fd    int      // of the connection
	guest *anteroom.Guest
	peer  netip.Addr
	since time.Time // accepted
	stage stage
	more  bool // something came behind the request, or the end

	feed   *feed  // that is asked
	asked  uint32 // number of that
	head   []byte // of the request
	ask    asking
	call   *call
	waiter admission.Waiter
	bound  time.Time   // of the gateway that is asked
	timer  *time.Timer // nil as long as it has not waited
	until  time.Time   // what it waits for may take until then
}

// stage is what a greeting waits for.
type stage uint8

const (
	stageMute   stage = iota // the request
	stageQueued              // to be let in
	stageFeed                // a gateway's answer on a feed
	stageAsking              // a gateway's answer to a handshake
	stageOver                // nothing: it is a session, or somebody else's, or closed
)

// greetingOutcome is what became of a greeting.
type greetingOutcome uint8

const (
	greetedSession greetingOutcome = iota
	greetedFeed                    // a session that has begun on its topic's feed
	greetedRefused
	greetedHTTP // handed over
	greetedGone // it said nothing, or had to make room
	greetingOutcomes
)

func (o greetingOutcome) String() string {
	return [greetingOutcomes]string{"session", "feed", "refused", "http", "gone"}[o]
}

// greets reports whether loops greet clients. They do not where clients or legs speak TLS, where a balancer speaks first, or where gateways are not
// ours: goroutines do that.
func (r *Router) greets() bool {
	return !r.cfg.Portable && r.deps.TLS == nil && len(r.cfg.ProxyProtocolFrom) == 0 && r.deps.Keys != nil && r.deps.LegTLS == nil
}

// greet hands a connection, for which a place is reserved, to a loop.
func (r *Router) greet(fd int, peer netip.Addr) {
	g := &greeting{r: r, s: newSession(r.workerOf(r.group.Next())), fd: fd, guest: &anteroom.Guest{}, peer: peer, since: time.Now()}
	g.guest.Waits(true)
	r.conns.room.Enter(g.guest, g)
	if !r.countByAddr(g.guest, peer) {
		g.guest.Leave()
		eventloop.Abort(fd)
		return
	}
	if !g.s.w.loop.Post(g) {
		g.guest.Leave()
		eventloop.CloseFD(fd)
	}
}

// HasInput implements anteroom.Visitor. As long as the guest is mute its descriptor is open.
func (g *greeting) HasInput() bool { return eventloop.FDHasInput(g.fd) }

// Close implements anteroom.Visitor.
func (g *greeting) Close() error {
	g.s.w.loop.Post(eventloop.NoteFunc(func() {
		if g.stage == stageMute {
			g.end(greetedGone)
		}
	}))
	return nil
}

// Run implements eventloop.Note: the loop has the connection from now on.
func (g *greeting) Run() {
	w := g.s.w
	w.greeted[g] = struct{}{}
	if err := w.loop.Add(&g.s.client, g.fd, g); err != nil {
		g.end(greetedGone)
	}
}

// Sweep implements eventloop.Handler. Who has said nothing for too long is told so by the HTTP server.
func (g *greeting) Sweep(*eventloop.Conn, int64) {
	if g.stage == stageMute && time.Since(g.since) > g.r.cfg.HandshakeTimeout {
		g.handOver(nil)
	}
}

// Ready implements eventloop.Handler.
func (g *greeting) Ready(c *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Readable == 0 {
		return
	}
	if g.stage != stageMute {
		g.more = true
		return
	}
	buf := g.s.w.loop.Scratch()
	n, drained, err := c.Read(buf[:min(len(buf), g.r.cfg.MaxHeader)])
	switch {
	case errors.Is(err, eventloop.ErrAgain):
	case err != nil:
		g.end(greetedGone)
	default:
		g.more = !drained
		g.hear(bytes.Clone(buf[:n]))
	}
}

// hear takes in what the client has said first.
func (g *greeting) hear(said []byte) {
	r := g.r
	began := time.Now()
	g.head = said
	if end := bytes.Index(said, []byte("\r\n\r\n")); end < 0 || end+4 < len(said) {
		g.handOver(nil)
		return
	}
	hs := r.parsePlain(said)
	if hs == nil {
		g.handOver(nil)
		return
	}
	if !g.guest.Heard() {
		g.end(greetedGone)
		return
	}
	g.ask.hs = hs
	r.from(hs, g.peer, false, began)
	g.stage = stageQueued
	g.waiter.Told = func(in bool) { g.s.w.loop.Post(eventloop.NoteFunc(func() { g.called(in) })) }
	waits, no := r.knock(hs, &g.waiter)
	switch {
	case no != nil:
		g.refuse(no)
	case waits:
		g.waitFor(time.Now().Add(r.patience(hs)))
	default:
		g.enter()
	}
}

// waitFor has [greeting.late] called at a time, unless something else is waited for by then.
func (g *greeting) waitFor(until time.Time) {
	g.until = until
	if g.timer == nil {
		g.timer = time.AfterFunc(time.Until(until), func() { g.s.w.loop.Post(eventloop.NoteFunc(g.late)) })
		return
	}
	g.timer.Reset(time.Until(until))
}

// called ends the wait in the queue.
func (g *greeting) called(in bool) {
	switch {
	case g.stage != stageQueued: // it has been undone
	case in:
		g.enter()
	default:
		g.r.release()
		g.refuse(queueFull())
	}
}

// late ends a wait that has taken too long.
func (g *greeting) late() {
	if time.Now().Before(g.until) {
		return // it is another one
	}
	switch g.stage {
	case stageQueued:
		if g.r.gate.door.Abandon(&g.waiter) { // else it has just been called
			g.r.release()
			g.refuse(queueTime())
		}
	case stageFeed:
		delete(g.feed.asks, g.asked)
		g.feed.rest = g.s.w.now() + vainPause // nobody else waits for it
		g.askLeg()
	case stageAsking:
		if g.call.asked() && time.Now().Before(g.bound) { // the connection stands
			g.waitFor(g.bound)
			return
		}
		g.tried(dialTimeout, os.ErrDeadlineExceeded)
	case stageMute, stageOver:
	}
}

// enter asks the gateways.
func (g *greeting) enter() {
	hs := g.ask.hs
	hs.entered = g.r.now()
	if f := g.s.w.asking[feedName{hs.topic, hs.websocket}]; f != nil && f.ask(g) {
		return
	}
	g.askLeg()
}

// askLeg goes on where a feed's gateway has not given the session.
func (g *greeting) askLeg() {
	g.ask.search = g.r.newSearch(g.ask.hs)
	g.askNext()
}

func (g *greeting) askNext() {
	g.stage = stageAsking
	hs, q := g.ask.hs, &g.ask.search
	for m := q.next(); m != nil && time.Until(hs.deadline) > 0; m = q.next() {
		to, ok := g.r.directAddr(m)
		if !ok {
			g.handOver(&g.ask)
			return
		}
		q.begin()
		c, err := g.r.dial(hs, g.s, to)
		if err != nil {
			q.end(dialFailure(err), err)
			continue
		}
		g.call, c.stood, c.told = c, func() {}, g.answered
		g.bound = q.bound(hs)
		g.waitFor(earlier(g.bound, time.Now().Add(g.r.cfg.DialTimeout)))
		c.Run()
		return
	}
	g.r.leave(hs, false)
	g.r.release()
	g.refuse(q.nobody())
	g.r.shook(hs)
}

// answered is told by the call.
func (g *greeting) answered() {
	if g.stage != stageAsking {
		return
	}
	g.ask.up = g.call.upstream(g.r, g.ask.search.next())
	g.tried(g.ask.up.judge(g.ask.hs))
}

// tried goes on behind one gateway's answer.
func (g *greeting) tried(outcome dialOutcome, err error) {
	if outcome != dialOK && outcome != dialOther {
		g.call.drop(g.r)
		g.ask.up = nil
	}
	switch over := g.ask.search.end(outcome, err); {
	case !over:
		g.askNext()
	case outcome == dialOK:
		g.begin()
	default:
		g.handOver(&g.ask) // there is more to read of it, perhaps
	}
}

// begin makes the connections a session.
func (g *greeting) begin() {
	s, up := g.s, g.ask.up
	s.flags, s.home = flagsOf(g.ask.hs, up), up.home(g.r)
	a := arrival{session: s, call: g.call}
	a.first, a.head = up.first()
	up.done(g.r)
	g.become(greetedSession, a.begin)
}

// become makes the client's connection the session's, which begin begins.
func (g *greeting) become(outcome greetingOutcome, begin func()) {
	r, s, hs := g.r, g.s, g.ask.hs
	r.leave(hs, true)
	s.key = hs.topic
	r.setClientOptions(g.fd)
	g.leave(outcome)
	g.guest.Leave()
	s.client.Handle(s)
	begin()
	if g.more && s.client.Open() { // its event has been
		s.pumpUp()
	}
	r.shook(hs)
}

// refuse answers with a refusal, which fits into an empty socket buffer, and closes.
func (g *greeting) refuse(no *refusal) {
	var resp fasthttp.Response
	last := g.r.farewell(&resp, g.ask.hs, no)
	if last == nil {
		last = appendResponse(nil, &resp)
	}
	_, _ = g.s.client.Write(last) // who is gone needs no answer
	g.end(greetedRefused)
}

// appendResponse appends an answer as the HTTP server writes it. The library's own way begins a clock, a goroutine that never ends.
func appendResponse(b []byte, resp *fasthttp.Response) []byte {
	code := resp.StatusCode()
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\n", code, fasthttp.StatusMessage(code))
	resp.Header.SetContentLength(len(resp.Body()))
	for name, value := range resp.Header.All() {
		b = httphead.AppendField(b, string(name), string(value))
	}
	return append(append(b, "\r\n"...), resp.Body()...)
}

// handOver has the HTTP server serve the connection, which is to go on with a if that is not nil.
func (g *greeting) handOver(a *asking) {
	g.leave(greetedHTTP)
	g.guest.Waits(false) // nobody looks at the descriptor any more
	fd, err := g.s.client.Release()
	var conn net.Conn
	if err == nil {
		conn, err = eventloop.Attach(fd)
	}
	if err == nil {
		c := &httpConn{
			Conn: conn, r: g.r, guest: g.guest, peer: g.peer, ahead: g.head, greeted: true, by: g.since.Add(g.r.cfg.HandshakeTimeout), asked: a,
		}
		if g.r.conns.goOn(c, g.r.serveHTTP) {
			return
		}
		conn.Close()
	} else {
		g.r.log.Warn("cannot hand a connection over to the HTTP server", zap.Error(err))
	}
	g.guest.Leave()
	if a != nil {
		a.undo(g.r)
	}
}

// end closes the connection.
func (g *greeting) end(outcome greetingOutcome) {
	g.leave(outcome)
	g.guest.Leave() // before the descriptor is another's
	g.s.client.Close()
}

// leave ends the greeting, whatever becomes of its connection.
func (g *greeting) leave(outcome greetingOutcome) {
	g.stage = stageOver
	g.s.w.counts.greeted[outcome].add(1)
	delete(g.s.w.greeted, g)
	if g.timer != nil {
		g.timer.Stop()
	}
}

// undo ends it wherever it is, for a router that shuts down.
func (g *greeting) undo() {
	switch g.stage {
	case stageQueued:
		if !g.r.gate.door.Abandon(&g.waiter) { // it has been let in, and does not know yet
			g.ask.hs.entered = g.r.now()
			g.r.leave(g.ask.hs, false)
		}
		g.r.release()
	case stageFeed:
		delete(g.feed.asks, g.asked)
		g.r.leave(g.ask.hs, false)
		g.r.release()
	case stageAsking:
		g.call.drop(g.r)
		g.ask.search.end(dialLocal, net.ErrClosed)
		g.r.leave(g.ask.hs, false)
		g.r.release()
	case stageMute, stageOver:
	}
	g.end(greetedGone)
}
