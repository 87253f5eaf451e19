package router

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/topic"
)

// httpConn is a client's connection until it is a session, or closed. Its Close is called once the HTTP server is done
// with it, whichever way that went.
type httpConn struct {
	net.Conn
	r     *Router
	guest *anteroom.Guest

	// Owned by the goroutine that serves it; the one that takes it over comes after that.
	peer    netip.Addr // who is at the other end, behind balancers that speak the PROXY protocol
	ahead   []byte     // came behind a PROXY header and is still to be read; nil as a rule
	tls     *tls.Conn  // over Conn; nil without TLS
	wire    *bridge.Wire
	carried bool      // Conn is a bridge's
	began   time.Time // when the first byte of the present request came
	hasLine bool      // the first line of the present request has come
	inLine  bool      // it has begun: all before was empty lines
	last    byte      // that came before it ended
	linger  bool      // refused before all that the client sends was read
	taken   *takeover // a session that waits for the connection to be handed over
	greeted bool      // it was a loop's before
	by      time.Time // when the request has to be there, of which the loop has waited for a part; zero without that bound
	asked   *asking   // how far the loop has come with the request; nil when it has not begun

	closed atomic.Bool
}

// Read notes when a request begins and whether its first line is whole, which the HTTP server does not tell; nor does it tell
// how that line ends, which is looked at here.
func (c *httpConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if n == 0 || c.hasLine {
		return n, err
	}
	if c.began.IsZero() {
		c.began = time.Now()
	}
	if !c.firstLine(p[:n]) {
		return 0, httphead.ErrLineEnd
	}
	return n, err
}

// firstLine looks for the end of the first line, behind empty ones (RFC 9112, 2.2). It reports whether all is well-formed so far.
func (c *httpConn) firstLine(p []byte) bool {
	for _, b := range p {
		switch {
		case b == '\n' && c.last != '\r':
			return false
		case b == '\n':
			c.hasLine = c.inLine
		case b != '\r':
			c.inLine = true
		}
		if c.last = b; c.hasLine {
			break
		}
	}
	return true
}

func (c *httpConn) read(p []byte) (n int, err error) {
	if c.tls != nil {
		return c.tls.Read(p)
	}
	if len(c.ahead) == 0 {
		c.guest.Waits(true)
		n, err = c.Conn.Read(p)
		c.guest.Waits(false)
		return n, err
	}
	n = copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// Write implements net.Conn.
func (c *httpConn) Write(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Write(p)
	}
	return c.Conn.Write(p)
}

// SetReadDeadline implements net.Conn.
func (c *httpConn) SetReadDeadline(t time.Time) error {
	if !c.by.IsZero() && t.After(c.by) {
		t = c.by
	}
	return c.Conn.SetReadDeadline(t)
}

// NetConn lets the descriptor be found.
func (c *httpConn) NetConn() net.Conn { return c.Conn }

// Close gives the connection's place back. A session that was promised it and never got it is undone.
func (c *httpConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.taken != nil {
		c.taken.abandon()
	}
	if c.asked != nil {
		c.asked.undo(c.r)
	}
	var err error
	if !c.carried {
		if c.tls != nil {
			_ = c.tls.CloseWrite() // bounded in time; the peer may be gone
		}
		if c.linger {
			c.lingerOn()
		}
		err = c.Conn.Close()
	}
	c.r.conns.remove(c)
	return err
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// lingerOn lets a client that is refused while it still sends read the refusal: closing with its bytes unread would
// reset the connection and may take the answer with it.
func (c *httpConn) lingerOn() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var buf [1 << 10]byte
	for n := 0; n < lingerBytes; {
		m, err := c.Conn.Read(buf[:])
		if err != nil {
			return
		}
		n += m
	}
}

// acceptLoop takes connections until the listener is closed. With all places for connections that are no session yet
// taken it turns out those who have been mute for too long, or stands still, and the next wait in the system's backlog.
func (r *Router) acceptLoop(ctx context.Context) {
	const least, most = 5 * time.Millisecond, time.Second
	pause := least
	for {
		if !r.conns.room.Reserve(ctx.Done()) {
			return
		}
		err := r.acceptOne()
		if err == nil {
			pause = least
			r.pace(ctx)
			continue
		}
		r.conns.room.Release()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if r.paused.Load() {
			select {
			case <-ctx.Done():
				return
			case <-r.resumed:
			}
			continue
		}
		if isTimeout(err) { // it was paused until just now
			continue
		}
		// Out of descriptors or memory, as a rule: not a reason to end.
		r.metrics.acceptErrors.Add(1)
		if pause == least {
			r.log.Warn("cannot accept a connection", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
	}
}

// acceptOne waits for a connection, and has a loop greet it, or the HTTP server serve it.
func (r *Router) acceptOne() error {
	if r.acceptor != nil && !r.spread.loads().static {
		fd, peer, err := r.acceptor.Accept()
		if err == nil {
			r.greet(fd, plain(peer))
		}
		return err
	}
	c, err := r.ln.Accept()
	if err == nil {
		r.conns.add(&httpConn{Conn: c, r: r, guest: &anteroom.Guest{}}, r.serve)
	}
	return err
}

// awaitRing returns when there is a gateway to pass clients on to, or none has come for too long. Whoever was at the door of a router that has
// just come back, or of one that takes another's place, would be refused before the first gossip otherwise.
func (r *Router) awaitRing(ctx context.Context) {
	const look = 5 * time.Millisecond
	for until := time.Now().Add(r.cfg.RingWait); len(r.ring().Shards()) == 0 && r.listening.Load(); {
		select {
		case <-ctx.Done():
			return
		case now := <-time.After(look):
			if now.After(until) {
				r.log.Warn("no gateway is known yet: clients are taken, and refused until there is one", zap.Duration("waited", r.cfg.RingWait))
				return
			}
		}
	}
}

// Accepting is closed when clients are taken for the first time; until then they wait in the listener's backlog, or another process that
// has the listener as well takes them.
func (r *Router) Accepting() <-chan struct{} { return r.accepting }

// pauseAccepting keeps connections in the listener's backlog, or goes on taking them.
func (r *Router) pauseAccepting(pause bool) {
	r.paused.Store(pause)
	deadline := time.Time{}
	if pause {
		deadline = time.Unix(1, 0)
	}
	if ln, ok := r.ln.(interface{ SetDeadline(t time.Time) error }); ok {
		_ = ln.SetDeadline(deadline) // fails once it is closed
	}
	if r.acceptor != nil {
		_ = r.acceptor.SetDeadline(deadline) // likewise
	}
	if !pause {
		select {
		case r.resumed <- struct{}{}:
		default:
		}
	}
}

func (r *Router) serve(c *httpConn) {
	deadline := time.Now().Add(r.cfg.HandshakeTimeout) // of what comes before a request
	switch {
	case !r.introduce(c, deadline):
	case !r.countByAddr(c.guest, c.peer):
		if sock, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
			_ = sock.SetLinger(0) // nothing of it is kept here
		}
	case r.deps.TLS != nil && !r.secure(c, deadline):
	default:
		r.serveHTTP(c)
		return
	}
	c.Close()
}

func (r *Router) serveHTTP(c *httpConn) {
	_ = r.server.ServeConn(c) // what went wrong has been counted, and concerns only this client
}

func (r *Router) newServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:      r.handle,
		ErrorHandler: r.handleBroken,
		// The body of a request for a session is not waited for: that there is one is refused at once.
		HeaderReceived:               r.headerReceived,
		ReadTimeout:                  r.cfg.HandshakeTimeout,
		WriteTimeout:                 r.cfg.HandshakeTimeout,
		IdleTimeout:                  r.cfg.HandshakeTimeout,
		ReadBufferSize:               r.cfg.MaxHeader,
		WriteBufferSize:              1 << 10,
		MaxRequestBodySize:           maxFallbackBody,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true, // its clock is a goroutine that never ends
		SecureErrorLogMessage:        true,
		Concurrency:                  math.MaxInt32, // the places are the bound: the server's own count runs behind, and refuses with words of its own
		Logger:                       quiet{},
	}
}

// quiet keeps what clients do to the HTTP server out of the log; it is counted instead.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

func (r *Router) headerReceived(h *fasthttp.RequestHeader) (cfg fasthttp.RequestConfig) {
	if r.deps.Fallback == nil || asksForSession(h) {
		h.SetContentLength(0)
		h.Del(fasthttp.HeaderExpect)
	}
	return cfg
}

// asksForSession reports whether a request, well-formed or not, is no business of the fallback.
func asksForSession(h *fasthttp.RequestHeader) bool {
	if len(h.Peek(fasthttp.HeaderUpgrade)) > 0 {
		return true
	}
	for _, accept := range h.PeekAll(fasthttp.HeaderAccept) {
		if httphead.AcceptsEvents(accept) {
			return true
		}
	}
	_, err := topic.FromURI(string(h.RequestURI()))
	var te *topic.Error
	return err == nil || !errors.As(err, &te) || te.Reason != "missing"
}

// handleBroken answers a request that the HTTP server could not read.
func (r *Router) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	c := connOf(ctx)
	if c.guest.TurnedOut() { // it is counted as that
		ctx.SetConnectionClose()
		return
	}
	c.linger = true
	switch {
	case errors.As(err, &small) && !c.hasLine:
		r.refuse(ctx, r.tooLongURI())
	case errors.As(err, &small):
		r.refuse(ctx, refuse(fasthttp.StatusRequestHeaderFieldsTooLarge, "header_too_large",
			"the request's head is larger than %d bytes", r.cfg.MaxHeader))
	case errors.As(err, &netErr) && netErr.Timeout():
		r.refuse(ctx, refuse(fasthttp.StatusRequestTimeout, "slow_request", "the request did not come within %v", r.cfg.HandshakeTimeout))
	case errors.As(err, &netErr):
		r.refuse(ctx, refuse(fasthttp.StatusBadRequest, "aborted", "the connection broke within the request"))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r.refuse(ctx, refuse(fasthttp.StatusRequestEntityTooLarge, "body_too_large", "the body is larger than %d bytes", maxFallbackBody))
	default:
		r.refuse(ctx, refuse(fasthttp.StatusBadRequest, reasonHTTP, "the request is not understood"))
	}
}

func (r *Router) tooLongURI() *refusal {
	return refuse(fasthttp.StatusRequestURITooLong, "uri_too_long", "the URL is longer than %d bytes", r.cfg.MaxURL)
}

// connOf is the connection that a request came over.
func connOf(ctx *fasthttp.RequestCtx) *httpConn {
	c, ok := ctx.Conn().(*httpConn)
	if !ok {
		panic("BUG: router: the HTTP server serves a connection that is none of ours")
	}
	return c
}
