package router

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

// dialOutcome says how the try of one gateway went; it is the label of ringside_router_dials_total.
type dialOutcome uint8

const (
	dialOK        dialOutcome = iota // the session begins
	dialOther                        // it gave another answer, which the client gets
	dialBusy                         // 503: it drains, or is full
	dialRefused                      // nobody listens there, or there is no way to it
	dialTimeout                      // it took no connection, or gave no answer, in time
	dialReset                        // it broke the connection before it had answered
	dialBadAnswer                    // its answer was not acceptable
	dialTLS                          // it speaks no TLS, or one of us does not believe the other
	dialLocal                        // we could not: out of descriptors or ports
	dialOutcomes
)

func (o dialOutcome) String() string {
	return [dialOutcomes]string{"ok", "other", "busy", "refused", "timeout", "reset", "bad_answer", "tls", "local"}[o]
}

// upstream is the far side of a handshake that has been answered.
type upstream struct {
	conn   net.Conn     // nil while call has the connection
	call   *call        // nil where a goroutine has asked
	wire   *bridge.Wire // under conn, which is a *tls.Conn then; nil as a rule
	answer *answer
	own    bool   // one of our gateways, asked by a signed handshake
	shard  *shard // which
	member *ring.Member
	buf    *[]byte
}

// close gives back what the upstream holds; its answer is void then.
func (u *upstream) close(r *Router) {
	if u.conn == nil {
		u.call.s.w.loop.Post(eventloop.NoteFunc(func() { u.call.drop(r) })) // one that has ended has closed it
		return
	}
	u.conn.Close()
	r.buffers.Put(u.buf)
}

// begin is the session that is to have the upstream. The descriptor is -1 where the session has it already.
func (u *upstream) begin(r *Router) (s *session, fd int, err error) {
	if u.conn == nil {
		return u.call.s, -1, nil
	}
	fd, err = u.detach(r.deps.Bridges)
	if err == nil {
		r.setOptions(fd)
	}
	return newSession(r.workerOf(r.group.Next())), fd, err
}

// body is the connection to read the rest of an answer from, which begins no session.
func (u *upstream) body(deadline time.Time) (_ net.Conn, err error) {
	if u.conn == nil {
		conn, err := u.call.release(deadline)
		if err != nil {
			return nil, err
		}
		u.conn = conn
	}
	return u.conn, nil
}

// detach makes a descriptor of the connection.
func (u *upstream) detach(bridges *bridge.Set) (int, error) {
	if u.wire == nil {
		return eventloop.Detach(u.conn)
	}
	return carry(bridges, u.conn, u.wire)
}

// done gives back what a detached upstream still holds.
func (u *upstream) done(r *Router) {
	if u.wire == nil && u.conn != nil {
		u.conn.Close()
	}
	r.buffers.Put(u.buf)
}

// home is what a session of this upstream needs to go on elsewhere; nil when it can't.
func (u *upstream) home(r *Router) *home {
	a := u.answer
	if a.ticket == nil {
		u.uncount(r)
		return nil
	}
	h := r.newHome(u.shard, a.ticket, a.policy)
	h.counted, h.farewell = true, a.farewell
	return h
}

// uncount takes back that the gateway has one session more.
func (u *upstream) uncount(r *Router) {
	if u.member != nil {
		r.shards.of(u.member).book.held.Add(-1)
	}
}

// flags are what a session with this upstream is.
func (u *upstream) flags() flags {
	if u.wire != nil {
		return isLegTLS
	}
	return 0
}

// search goes through the shards that may take a session, in the order of preference. It is its handshake's, one after the other.
type search struct {
	r      *Router
	shards []*ring.Member
	tried  int
	spill  *ring.Member // who is first because of the load; nil as a rule
}

func (r *Router) newSearch(hs *handshake) search {
	order, spills := r.spread.order(hs.topic, r.now())
	q := search{r: r, shards: r.lastResorts(order, r.now())}
	if spills {
		q.spill = order[0]
	}
	return q
}

// nobody is what is left when the search is over.
func (q *search) nobody() *refusal {
	if len(q.shards) == 0 {
		return refuse(fasthttp.StatusServiceUnavailable, reasonNoShard, "there is no gateway at present")
	}
	return refuse(fasthttp.StatusServiceUnavailable, reasonNoShard, "no gateway could take the session")
}

// next is who is to be asked; nil for nobody.
func (q *search) next() *ring.Member {
	if q.tried == len(q.shards) {
		return nil
	}
	return q.shards[q.tried]
}

// begin counts the session as one of next's, so that others see it coming.
func (q *search) begin() { q.r.shards.of(q.shards[q.tried]).book.held.Add(1) }

// end says how it went, and goes on to the next. It reports whether the search is over.
func (q *search) end(outcome dialOutcome, err error) bool {
	r, m := q.r, q.shards[q.tried]
	q.tried++
	r.metrics.dials[outcome].Add(1)
	if outcome != dialOK {
		r.shards.of(m).book.held.Add(-1)
	} else if m == q.spill {
		r.spread.spilled.Add(1)
	}
	switch outcome {
	case dialOK, dialOther:
		return true
	case dialRefused, dialTimeout, dialReset, dialBadAnswer, dialTLS:
		r.eject(r.shards.of(m), err)
	case dialBusy, dialLocal:
	}
	return false
}

// bound is until when next may take for an exchange that begins now. Unless it is the last one, half of the time that is left stays for the others.
func (q *search) bound(hs *handshake) time.Time {
	if q.tried == len(q.shards)-1 {
		return hs.deadline
	}
	return earlier(hs.deadline, time.Now().Add(max(time.Until(hs.deadline)/2, q.r.cfg.DialTimeout)))
}

// connect finds an upstream for the handshake. What it returns has begun the session, or else given an answer for the client.
func (r *Router) connect(ctx context.Context, hs *handshake, q *search) (up *upstream, begins bool, no *refusal) {
	for m := q.next(); m != nil && time.Until(hs.deadline) > 0 && ctx.Err() == nil; m = q.next() {
		q.begin()
		up, outcome, err := r.try(ctx, hs, m, q)
		if q.end(outcome, err) {
			return up, outcome == dialOK, nil
		}
	}
	return nil, false, q.nobody()
}

// try hands the handshake to the one gateway that is next.
func (r *Router) try(ctx context.Context, hs *handshake, m *ring.Member, q *search) (*upstream, dialOutcome, error) {
	if to, ok := r.directAddr(m); ok {
		return r.call(ctx, hs, m, to, q.bound(hs))
	}
	d := net.Dialer{Timeout: min(time.Until(hs.deadline), r.cfg.DialTimeout), KeepAlive: -1, Control: eventloop.ReceiveBuffer(r.cfg.ReceiveBuffer)} // keep-alive is set with the other options
	c, err := d.DialContext(ctx, "tcp", m.Addr)
	if err != nil {
		return nil, dialFailure(err), err
	}
	deadline := q.bound(hs)
	_ = c.SetDeadline(deadline) // an open connection takes it
	raw := c                    // c is to be what speaks TLS over it, perhaps
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	own := r.deps.Keys != nil && !m.Static
	wire, outcome, err := r.secureLeg(ctx, &c, own, deadline)
	if err != nil {
		return nil, outcome, err
	}
	up := &upstream{conn: c, member: m, wire: wire, own: own, buf: r.buffers.Get().(*[]byte)} //nolint:forcetypeassert // its New is ours
	if up.own {
		up.shard = r.shards.of(m)
	}
	outcome, err = r.exchange(hs, up)
	if outcome != dialOK && outcome != dialOther {
		up.close(r)
		return nil, outcome, err
	}
	return up, outcome, nil
}

// exchange sends the handshake and reads the answer.
func (r *Router) exchange(hs *handshake, up *upstream) (dialOutcome, error) {
	buf := *up.buf
	if _, err := up.conn.Write(hs.appendRequest(buf[:0], r.deps.Keys, up.own, time.Now())); err != nil {
		return exchangeFailure(err), err
	}
	a, err := readAnswer(up.conn, buf[:maxAnswerHead])
	if err != nil {
		return exchangeFailure(err), err
	}
	up.answer = a
	return up.judge(hs)
}

// judge says what the answer is good for, or why there is none.
func (u *upstream) judge(hs *handshake) (dialOutcome, error) {
	if c := u.call; c != nil {
		switch {
		case c.err != nil && !c.asked(): // it never stood
			return dialFailure(c.err), c.err
		case c.err != nil:
			return exchangeFailure(c.err), c.err
		}
		u.answer = c.answer
	}
	a := u.answer
	begins, err := a.begins(hs, u.own)
	switch {
	case err != nil:
		return dialBadAnswer, err
	case begins:
		return dialOK, nil
	case a.status == fasthttp.StatusServiceUnavailable && !a.final:
		return dialBusy, nil
	}
	return dialOther, nil
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

func dialFailure(err error) dialOutcome {
	for _, local := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, context.Canceled} {
		if errors.Is(err, local) {
			return dialLocal
		}
	}
	if isTimeout(err) {
		return dialTimeout
	}
	return dialRefused
}

func exchangeFailure(err error) dialOutcome {
	switch {
	case errors.Is(err, errAnswer):
		return dialBadAnswer
	case isTimeout(err):
		return dialTimeout
	case bridge.OutcomeOf(err) == bridge.Rejected:
		return dialTLS
	}
	return dialReset
}
