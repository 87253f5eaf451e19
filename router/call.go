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
// first on, and is not handed from one poller to another. The goroutine that asks waits for told, and touches nothing of the call before; the
// loop touches nothing of it behind that, but for more.
type call struct {
	s       *session // whose upstream it asks
	fd      int
	request []byte // what of it has not been sent yet
	reader  answerReader
	buf     *[]byte
	answer  *answer
	err     error
	settled bool
	stood   chan struct{} // closed when all is asked; nil where it was at once
	told    chan struct{} // closed when there is an answer or an error
	more    bool          // something came behind the answer, or the end; the loop's
}

// directAddr is where a gateway is called by [Router.call]: ours, in the clear, and named by its address.
func (r *Router) directAddr(m *ring.Member) (netip.AddrPort, bool) {
	if m.Static || r.deps.Keys == nil || r.deps.LegTLS != nil {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddrPort(m.Addr)
	return a, err == nil && a.Addr().Zone() == ""
}

// call asks a gateway. As in [Router.try], the connection has its own bound in time.
func (r *Router) call(ctx context.Context, hs *handshake, m *ring.Member, to netip.AddrPort, deadline time.Time) (*upstream, dialOutcome, error) {
	fd, err := eventloop.ConnectWith(to, netip.Addr{}, r.cfg.socketOptions())
	if err != nil {
		return nil, dialFailure(err), err
	}
	w := r.workerOf(r.group.Next())
	c := &call{s: &session{w: w}, fd: fd, buf: r.buffers.Get().(*[]byte), told: make(chan struct{})} //nolint:forcetypeassert // its New is ours
	buf := *c.buf
	c.request = hs.appendRequest(buf[:0], r.deps.Keys, true, time.Now())
	n, err := eventloop.SendNow(fd, c.request)
	if err != nil {
		eventloop.CloseFD(fd)
		r.buffers.Put(c.buf)
		return nil, dialFailure(err), err
	}
	if c.request = c.request[n:]; len(c.request) == 0 {
		c.reader.buf = buf[:maxAnswerHead]
	} else {
		c.stood = make(chan struct{})
	}
	up := &upstream{call: c, member: m, own: true, shard: r.shards.of(m), buf: c.buf}
	if !w.loop.Post(c) {
		eventloop.CloseFD(fd)
		r.buffers.Put(c.buf)
		return nil, dialLocal, net.ErrClosed
	}
	outcome, err := c.wait(ctx, deadline, r.cfg.DialTimeout)
	if outcome == dialOK {
		up.answer = c.answer
		outcome, err = up.judge(hs)
	}
	if outcome != dialOK && outcome != dialOther {
		up.close(r)
		return nil, outcome, err
	}
	return up, outcome, nil
}

// wait waits for the answer. A connection that does not stand is given up sooner.
func (c *call) wait(ctx context.Context, deadline time.Time, dial time.Duration) (dialOutcome, error) {
	timer := time.NewTimer(time.Until(earlier(deadline, time.Now().Add(dial))))
	defer timer.Stop()
	for stood := c.stood; ; {
		if stood == nil {
			timer.Reset(time.Until(deadline))
		}
		select {
		case <-stood:
			stood = nil
			continue
		case <-c.told:
		case <-timer.C:
			return dialTimeout, os.ErrDeadlineExceeded
		case <-ctx.Done():
			return dialTimeout, ctx.Err()
		}
		switch {
		case c.err == nil:
			return dialOK, nil
		case c.reader.buf == nil: // it never stood
			return dialFailure(c.err), c.err
		}
		return exchangeFailure(c.err), c.err
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Run implements eventloop.Note: the loop has the connection from now on.
func (c *call) Run() {
	if err := c.s.w.loop.Add(&c.s.upstream, c.fd, c); err != nil {
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
		close(c.stood)
	}
	return nil
}

func (c *call) read(conn *eventloop.Conn) {
	for {
		if c.reader.buf == nil { // an end, or an error, before all was asked
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
		close(c.told)
	}
}

// drop gives up the connection, and gives back the buffer, once the loop is not at it any more. One that has ended has closed it.
func (c *call) drop(r *Router) {
	c.s.w.loop.Post(eventloop.NoteFunc(func() {
		c.settle(net.ErrClosed)
		c.s.upstream.Close()
		r.buffers.Put(c.buf)
	}))
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
	f := os.NewFile(uintptr(x.fd), "upstream")
	defer f.Close() // the connection has a duplicate
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}
