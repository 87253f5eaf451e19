package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// spare is how many connections there may be beyond the bound, only to be told that there are too many.
	spare = 16
	// idleAtLeast is how long a connection must have had nothing served to make room for another: a fifth of what a request's head may take.
	idleAtLeast = time.Second
)

// crowd bounds the connections of the port. When there are as many as may be, the one that has had no request served for longest makes
// room for a new one, whether it is silent or does not come to the end of its request: an operator gets in though somebody holds on to all of
// them. When a request of each is being served, the new one is told so.
type crowd struct {
	most    int
	now     func() time.Time
	evicted atomic.Uint64
	refused atomic.Uint64 // closed without a word: those that are told are counted with the other refusals

	mu     sync.Mutex
	open   map[net.Conn]*guest // guarded by mu
	spares int                 // guarded by mu: those of them that are only told
}

// guest is an open connection.
type guest struct {
	spare   bool      // it is only told that there are too many
	serving int       // guarded by mu: requests of it that are being served
	since   time.Time // guarded by mu: when the last of them had been, or it came
}

func newCrowd(most int) *crowd {
	return &crowd{most: most, now: time.Now, open: make(map[net.Conn]*guest)}
}

// guestKey is where the context of a connection has its guest.
type guestKey struct{}

// enter is a http.Server's ConnContext.
func (c *crowd) enter(ctx context.Context, conn net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open)-c.spares >= c.most {
		c.evict()
	}
	g := &guest{since: c.now(), spare: len(c.open)-c.spares >= c.most}
	switch {
	case !g.spare:
		c.open[conn] = g
	case c.spares < spare:
		c.open[conn] = g
		c.spares++
	default:
		c.refused.Add(1)
		shut(conn) // the server finds that out by itself
	}
	return context.WithValue(ctx, guestKey{}, g)
}

// tooMany reports whether a request came on a connection that is only told that there are too many.
func tooMany(r *http.Request) bool {
	g, ok := r.Context().Value(guestKey{}).(*guest)
	return ok && g.spare
}

// around notes while h serves a request.
func (c *crowd) around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
			c.serves(g, 1)
			defer c.serves(g, -1)
		}
		h.ServeHTTP(w, r)
	})
}

func (c *crowd) serves(g *guest, more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.serving += more
	g.since = c.now()
}

// evict closes the connection that has had nothing served for longest; with mu held.
func (c *crowd) evict() {
	var found net.Conn
	oldest := c.now().Add(-idleAtLeast)
	for conn, g := range c.open {
		if !g.spare && g.serving == 0 && !g.since.After(oldest) {
			found, oldest = conn, g.since
		}
	}
	if found == nil {
		return
	}
	c.evicted.Add(1)
	delete(c.open, found)
	shut(found)
}

// shut closes a connection without waiting for anybody: TLS would say goodbye.
func shut(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close() // its server sees it
}

// state is a http.Server's ConnState.
func (c *crowd) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.open[conn]
	if g == nil || state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if g.spare {
		c.spares--
	}
	delete(c.open, conn)
}

func (c *crowd) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
