package router

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
)

// consent is what a gateway's yes to a request of our own comes with.
type consent struct {
	conn   net.Conn
	wire   *bridge.Wire // nil when the leg is in the clear
	ticket []byte       // takes the place of the session's; nil as a rule
}

// ask sends a request of our own to a gateway and reads its answer. The connection is the caller's when the gateway has
// said yes.
func (r *Router) ask(ctx context.Context, method string, sh *shard, timeout time.Duration, headers string) (consent, dialOutcome, error) {
	d := net.Dialer{Timeout: min(timeout, r.cfg.DialTimeout), KeepAlive: -1, Control: eventloop.ReceiveBuffer(r.cfg.ReceiveBuffer)}
	c, err := d.DialContext(ctx, "tcp", sh.addr)
	if err != nil {
		return consent{}, dialFailure(err), err
	}
	_ = c.SetDeadline(time.Now().Add(timeout)) // an open connection takes it
	raw := c                                   // c is to be what speaks TLS over it, perhaps
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	wire, outcome, err := r.secureLeg(ctx, &c, true, time.Now().Add(timeout))
	if err != nil {
		return consent{}, outcome, err
	}
	buf := r.buffers.Get().(*[]byte) //nolint:forcetypeassert // its New is ours
	defer r.buffers.Put(buf)
	ticket, outcome, err := r.exchangeOurs(c, *buf, method, sh, headers)
	if outcome != dialOK {
		c.Close()
		return consent{}, outcome, err
	}
	return consent{c, wire, ticket}, dialOK, nil
}

func (r *Router) exchangeOurs(c net.Conn, buf []byte, method string, sh *shard, headers string) (ticket []byte, _ dialOutcome, _ error) {
	b := append(append(append(buf[:0], method...), " "+leg.Target+" HTTP/1.1\r\nHost: "...), sh.addr...)
	b = append(append(b, "\r\nConnection: Upgrade\r\nUpgrade: "+leg.Upgrade+"\r\n"...), headers...)
	b = httphead.AppendField(b, leg.HeaderLeg, leg.Version)
	b = httphead.AppendField(b, leg.HeaderAuth, r.deps.Keys.Sign(leg.Request{Method: method, URI: leg.Target, Host: sh.addr}, time.Now()))
	if _, err := c.Write(append(b, "\r\n"...)); err != nil {
		return nil, exchangeFailure(err), err
	}
	a, err := readAnswer(c, buf[:maxAnswerHead])
	if err != nil {
		return nil, exchangeFailure(err), err
	}
	said, err := a.read()
	switch {
	case err != nil:
		return nil, dialBadAnswer, err
	case a.status == fasthttp.StatusServiceUnavailable:
		return nil, dialBusy, fmt.Errorf("%s", a.line)
	case a.status != fasthttp.StatusSwitchingProtocols || string(said.leg) != leg.Version || len(a.rest) > 0:
		return nil, dialBadAnswer, badAnswer("%s", a.line)
	}
	if said.ticket != nil {
		if ticket, err = leg.ParseTicketText(string(said.ticket)); err != nil {
			return nil, dialBadAnswer, badAnswer("its ticket is malformed")
		}
	}
	return ticket, dialOK, nil
}

// newMover makes the mover and binds it to the router.
func (r *Router) newMover() *mover {
	v := newMover()
	v.limits, v.targets, v.dial, v.failed, v.done = r.moveLimits, r.targets, r.openLeg, r.moveFailed, r.handBack
	v.now = func() time.Time { return r.now() }
	return v
}

// moveLimits are this router's share of what a gateway is to take.
func (r *Router) moveLimits() (atOnce int, perSecond float64) {
	routers := max(1, activeRouters(r.ring()))
	return max(1, r.cfg.RehomeAtOnce/routers), max(1, float64(r.cfg.RehomeRate)/float64(routers))
}

// targets are the gateways that may take a session over, the preferred one first.
func (r *Router) targets(m *move) []*shard {
	now := r.now()
	if m.reason == moveRebalance { // where it is wanted, or nowhere
		if m.to == nil || !m.to.alive(now) || m.to.isSpared(now) {
			return nil
		}
		return []*shard{m.to}
	}
	var list []*shard
	order, _ := r.spread.order(m.key, now)
	for _, member := range order {
		if member.Static {
			continue
		}
		if sh := r.shards.of(member); sh.alive(now) {
			list = append(list, sh)
		}
	}
	return list
}

// openLeg asks a gateway to go on with a session and returns the descriptor of the leg.
func (r *Router) openLeg(ctx context.Context, m *move, sh *shard) (int, dialOutcome, error) {
	left := min(m.until.Sub(r.now()), r.cfg.HandshakeTimeout)
	headers := leg.HeaderTicket + ": " + leg.TicketText(m.ticket) + "\r\n"
	if !r.cfg.NoFeeds {
		headers += leg.HeaderFeeds + ": " + leg.Version + "\r\n"
	}
	if m.told != 0 {
		headers += leg.HeaderPolicy + ": " + strconv.FormatUint(uint64(m.told), 16) + "\r\n"
	}
	if m.urgent() && m.pause > 0 { // nobody was fresh: better a gateway that says so to the client than none
		headers += leg.HeaderStale + ": 1\r\n"
	}
	yes, outcome, err := r.ask(ctx, leg.MethodResume, sh, max(left, time.Millisecond), headers)
	r.metrics.dials[outcome].Add(1)
	if err != nil {
		return -1, outcome, err
	}
	u := upstream{conn: yes.conn, wire: yes.wire}
	fd, err := u.detach(r.deps.Bridges)
	if yes.wire == nil {
		yes.conn.Close()
	}
	if err != nil {
		return -1, dialLocal, err
	}
	if yes.ticket != nil {
		m.ticket = yes.ticket // the cluster's secret is being rotated
	}
	r.setOptions(fd)
	return fd, dialOK, nil
}

// setClientOptions is setOptions for a client's, which has most of them from the listener if that is ours.
func (r *Router) setClientOptions(fd int) {
	if !r.inherits {
		r.setOptions(fd)
		return
	}
	if err := eventloop.SetRest(fd, r.cfg.socketOptions()); err != nil {
		r.log.Debug("a client's socket is without its options", zap.Error(err)) // it is gone already
	}
}

func (r *Router) setOptions(fd int) {
	if err := eventloop.SetOptions(fd, eventloop.SocketOptions{KeepAlive: r.cfg.KeepAlive, Unsent: r.cfg.Unsent}); err != nil {
		r.log.Debug("a session's socket is without its options", zap.Error(err)) // its peer is gone already
	}
}

// moveFailed notes that a gateway did not take a session over.
func (r *Router) moveFailed(sh *shard, m *move, outcome dialOutcome, err error) {
	switch outcome {
	case dialRefused, dialTimeout, dialReset, dialBadAnswer, dialTLS:
		r.eject(sh, err)
	case dialBusy:
		if m.reason == moveRebalance {
			sh.spare(r.now())
		}
	case dialOK, dialOther, dialLocal:
	}
}

// eject tries the gateway last for a while.
func (r *Router) eject(sh *shard, err error) {
	if r.ejected.add(sh.addr, r.now()) {
		r.log.Warn("a gateway did not take a session and is tried last for a while",
			zap.String("shard", sh.id), zap.String("addr", sh.addr), zap.Error(err))
	}
}

// handBack leaves a move's result for its session's loop.
func (r *Router) handBack(m *move) {
	if !m.w.loop.Post(m) && m.shard != nil {
		eventloop.CloseFD(m.fd)
	}
}
