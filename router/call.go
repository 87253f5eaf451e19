package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

// call is a handshake with a gateway of ours, on the event loop that the session will be on: its connection is a descriptor of the loop from the
// first on, and is not handed from one poller to another. Who asks is told, and touches nothing of the call before; the loop touches nothing of it
// behind that, but for more.
type call struct {
	s       *session // whose upstream it asks
	fd      int
	request []byte // what of it has not been sent yet
	reader  answerReader
	buf     *[]byte
	answer  *answer
	err     error
	settled bool
	stood   func() // all is asked; not called where it was at once. On the loop
	told    func() // there is an answer or an error. On the loop
	more    bool   // something came behind the answer, or the end; the loop's
}

// directAddr is where a gateway is called by [Router.call]: ours, in the clear, and named by its address.
func (r *Router) directAddr(m *ring.Member) (netip.AddrPort, bool) {
	if m.Static || r.deps.Keys == nil || r.deps.LegTLS != nil {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddrPort(m.Addr)
	return a, err == nil && a.Addr().Zone() == ""
}

// dial begins to ask a gateway for a session. The call is its loop's to [call.Run].
func (r *Router) dial(hs *handshake, s *session, to netip.AddrPort) (*call, error) {
	fd, err := eventloop.ConnectWith(to, netip.Addr{}, r.cfg.socketOptions())
	if err != nil {
		return nil, err
	}
	c := &call{s: s, fd: fd, buf: r.buffers.Get().(*[]byte)} //nolint:forcetypeassert // its New is ours
	buf := *c.buf
	c.request = hs.appendRequest(buf[:0], r.deps.Keys, true, time.Now())
	n, err := eventloop.SendNow(fd, c.request)
	if err != nil {
		c.void(r)
		return nil, err
	}
	if c.request = c.request[n:]; len(c.request) == 0 {
		c.reader.buf = buf[:maxAnswerHead]
	}
	return c, nil
}

// void gives up what no loop has.
func (c *call) void(r *Router) {
	eventloop.CloseFD(c.fd)
	r.buffers.Put(c.buf)
}

func (c *call) upstream(r *Router, m *ring.Member) *upstream {
	return &upstream{call: c, member: m, own: true, shard: r.shards.of(m), buf: c.buf}
}

// call asks a gateway, and waits. As in [Router.try], the connection has its own bound in time.
func (r *Router) call(ctx context.Context, hs *handshake, m *ring.Member, to netip.AddrPort, deadline time.Time) (*upstream, dialOutcome, error) {
	c, err := r.dial(hs, newSession(r.workerOf(r.group.Next())), to)
	if err != nil {
		return nil, dialFailure(err), err
	}
	var stood chan struct{}
	if !c.asked() {
		stood = make(chan struct{})
		c.stood = func() { close(stood) }
	}
	told := make(chan struct{})
	c.told = func() { close(told) }
	up := c.upstream(r, m)
	if !c.s.w.loop.Post(c) {
		c.void(r)
		return nil, dialLocal, net.ErrClosed
	}
	outcome, err := dialTimeout, wait(ctx, told, stood, deadline, r.cfg.DialTimeout)
	if err == nil {
		outcome, err = up.judge(hs)
	}
	if outcome != dialOK && outcome != dialOther {
		up.close(r)
		return nil, outcome, err
	}
	return up, outcome, nil
}

// wait waits for what a call tells. A connection that does not stand is given up sooner.
func wait(ctx context.Context, told, stood <-chan struct{}, deadline time.Time, dial time.Duration) error {
	timer := time.NewTimer(time.Until(earlier(deadline, time.Now().Add(dial))))
	defer timer.Stop()
	for {
		if stood == nil {
			timer.Reset(time.Until(deadline))
		}
		select {
		case <-stood:
			stood = nil
		case <-told:
			return nil
		case <-timer.C:
			return os.ErrDeadlineExceeded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// asked reports whether the connection stands and has taken the whole request.
func (c *call) asked() bool { return c.reader.buf != nil }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Run implements eventloop.Note: the loop has the connection from now on.
func (c *call) Run() {
	if err := c.s.connect(c.fd, c); err != nil {
		c.settle(err)
	}
}

// Ready implements eventloop.Handler.
func (c *call) Ready(conn *eventloop.Conn, ev eventloop.Event) {
	if c.settled {
		c.more = c.more || ev&eventloop.Readable != 0
		return
	}
	if len(c.request) > 0 && ev&eventloop.Writable != 0 {
		if err := c.send(conn); err != nil {
			c.settle(err)
			return
		}
	}
	if ev&eventloop.Readable != 0 {
		c.read(conn)
	}
}

// Sweep implements eventloop.Handler: whoever waits looks at the time.
func (c *call) Sweep(*eventloop.Conn, int64) {}

func (c *call) send(conn *eventloop.Conn) error {
	if err := conn.Connected(); err != nil {
		return err
	}
	n, err := conn.Write(c.request)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	if c.request = c.request[n:]; len(c.request) == 0 {
		c.reader.buf = (*c.buf)[:maxAnswerHead]
		c.stood()
	}
	return nil
}

func (c *call) read(conn *eventloop.Conn) {
	for {
		if !c.asked() { // an end, or an error, before all was asked
			c.settle(errors.Join(conn.Connected(), io.ErrUnexpectedEOF))
			return
		}
		n, drained, err := conn.Read(c.reader.room())
		if errors.Is(err, eventloop.ErrAgain) {
			return
		}
		if err != nil {
			c.settle(fmt.Errorf("reading the answer: %w", err))
			return
		}
		if a, err := c.reader.take(n); a != nil || err != nil {
			c.answer, c.more = a, !drained
			c.settle(err)
			return
		}
		if drained {
			return
		}
	}
}

// settle tells who waits.
func (c *call) settle(err error) {
	if !c.settled {
		c.settled, c.err = true, err
		c.told()
	}
}

// drop gives up the connection, and gives back the buffer. It is for the loop.
func (c *call) drop(r *Router) {
	c.settled = true
	c.s.upstream.Close()
	r.buffers.Put(c.buf)
}

// release takes the connection off the loop, for an answer that begins no session and has a body still to come.
func (c *call) release(deadline time.Time) (net.Conn, error) {
	type released struct {
		fd  int
		err error
	}
	got := make(chan released, 1)
	if !c.s.w.loop.Post(eventloop.NoteFunc(func() {
		fd, err := c.s.upstream.Release()
		got <- released{fd, err}
	})) {
		return nil, net.ErrClosed
	}
	x := <-got
	if x.err != nil {
		return nil, x.err
	}
	conn, err := eventloop.Attach(x.fd)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}
