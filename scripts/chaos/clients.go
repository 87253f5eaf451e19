package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// trait is how a client behaves.
type trait uint8

const (
	steady   trait = iota
	slowly         // reads with pauses
	stalling       // stops reading for seconds when the schedule says so
	leaving        // goes away now and then, and comes back with its positions
	toggling       // has several topics, and takes its subscriptions back and renews them
	traits
)

func (t trait) String() string {
	return [traits]string{"steady", "slow", "stalling", "leaving", "toggling"}[t]
}

// How clients behave.
const (
	smallBuffer  = 64 << 10               // receive buffer of those that are meant to be slow
	longestPause = 150 * time.Millisecond // between two reads of a slow one
	staysFor     = 6 * time.Second        // of a leaving one, at least
	togglesEvery = 3 * time.Second
	retryWait    = 100 * time.Millisecond // after an attempt that failed
	longestWait  = 5 * time.Second        // however long a server asks to wait
	handshake    = 10 * time.Second
)

// closing is the end of a connection that the client did not make.
type closing struct {
	At       time.Duration
	Router   string
	Expected bool // the router was killed
	How      string
}

// client follows topics over as many connections as it takes, and writes down what it sees.
type client struct {
	a        *audience
	name     string
	protocol testcluster.Protocol
	trait    trait
	topics   []string
	home     int // index of the router that it tries first
	rng      *rand.Rand
	cancel   context.CancelFunc

	mu       sync.Mutex
	tracks   map[string]*track // guarded by mu, and so are all below
	open     bool              // all topics are followed on the present connection
	opened   time.Duration     // when the present connection stood
	conns    int
	attempts int // that failed
	lastErr  error
	closes   []closing
	broken   []violation
	stalled  time.Time // until when it does not read
}

// track is what a client knows of a topic.
type track struct {
	last   position.Position
	fresh  uint64 // sum of the last message
	events []event

	stale bool // as it was told last,
	told  int  // on which connection
}

// Endings of a connection that are the client's own.
var (
	errLeft   = errors.New("left")
	errBroken = testcluster.ErrBroken
)

// router picks where the next connection goes: the client's own router, or the next when that is down.
func (c *client) router(try int) *instance {
	list := c.a.cluster.list(testcluster.Router)
	for k := range list {
		if i := list[(c.home+try+k)%len(list)].live(); i != nil {
			return i
		}
	}
	return nil
}

// run connects again and again until ctx ends.
func (c *client) run(ctx context.Context) {
	for try := 0; ctx.Err() == nil; {
		wait := retryWait
		if i := c.router(try); i != nil {
			before := c.connections()
			delay, err := c.connect(ctx, i)
			stood := c.connections() > before
			c.ended(ctx, i, stood, err)
			try++
			if stood {
				try, wait = 0, 0
			}
			if delay >= 0 {
				wait = min(delay, longestWait)
			}
			wait += time.Duration(c.rng.Int64N(int64(retryWait)))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// connect makes one connection and reads it to its end. The delay is what the server asked for, or negative.
func (c *client) connect(ctx context.Context, i *instance) (time.Duration, error) {
	if c.trait == leaving {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, staysFor+time.Duration(c.rng.Int64N(int64(staysFor))), errLeft)
		defer cancel()
	}
	if c.protocol == testcluster.SSE {
		return c.runSSE(ctx, i)
	}
	return c.runWebSocket(ctx, i)
}

// ended notes how a connection ended, or that there was none.
func (c *client) ended(ctx context.Context, i *instance, stood bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = false
	switch {
	case errors.Is(err, errBroken):
		c.broken = append(c.broken, violation{badProtocol, c.a.now(), fmt.Sprintf("%s: %v", c.name, err)})
	case ctx.Err() != nil || errors.Is(err, errLeft):
	case stood:
		c.closes = append(c.closes, closing{c.a.now(), i.place.name, i.gone(), fmt.Sprint(err)})
	default:
		c.attempts++
		c.lastErr = err
	}
}

func (c *client) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns
}

// answered notes that a connection stands.
func (c *client) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns++
	c.opened = c.a.now()
}

func (c *client) setOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
}

// note writes an event down.
func (c *client) note(topic string, ev event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	tr := c.tracks[topic]
	if tr == nil {
		return fmt.Errorf("%w: something of topic %q, which is not followed", errBroken, topic)
	}
	ev.Conn, ev.Opened, ev.At = c.conns, c.opened, c.a.now()
	tr.last = ev.Pos
	if ev.Kind == evMessage {
		tr.fresh = ev.Sum
	}
	// Heartbeats say the same again and again.
	if n := len(tr.events); ev.Kind == evMoved && n > 0 && tr.events[n-1].Kind == evMoved && tr.events[n-1].Pos == ev.Pos {
		return nil
	}
	tr.events = append(tr.events, ev)
	return nil
}

// saw notes a message; at is empty in raw.
func (c *client) saw(topic, at string, data []byte) error {
	ev := event{Kind: evMessage, Sum: c.a.sum(data)}
	if at != "" || c.protocol != testcluster.Raw {
		var err error
		if ev.Pos, err = position.Parse(at); err != nil {
			return fmt.Errorf("%w: position %q: %w", errBroken, at, err)
		}
	}
	return c.note(topic, ev)
}

// moved notes a position without a message.
func (c *client) moved(topic, at string) error {
	p, err := position.Parse(at)
	if err != nil {
		return fmt.Errorf("%w: position %q: %w", errBroken, at, err)
	}
	return c.note(topic, event{Kind: evMoved, Pos: p})
}

// fresh notes what a heartbeat says of a topic, when that has changed or the connection is new.
func (c *client) fresh(topic string, stale bool) error {
	c.mu.Lock()
	tr := c.tracks[topic]
	if tr == nil || tr.told == c.conns && tr.stale == stale {
		c.mu.Unlock()
		return nil
	}
	tr.told, tr.stale = c.conns, stale
	last := tr.last
	c.mu.Unlock()
	return c.note(topic, event{Kind: evFresh, Pos: last, Stale: stale})
}

// gap notes a gap.
func (c *client) gap(topic, reason, after, at string) error {
	p, err := position.Parse(at)
	if err != nil {
		return fmt.Errorf("%w: position %q: %w", errBroken, at, err)
	}
	from, err := position.Parse(after)
	if err != nil {
		return fmt.Errorf("%w: position %q: %w", errBroken, after, err)
	}
	return c.note(topic, event{Kind: evGap, Pos: p, After: from, Reason: reason})
}

// last is where the client stands in a topic; empty before it has stood anywhere.
func (c *client) last(topic string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.tracks[topic].last; p != (position.Position{}) {
		return p.String()
	}
	return ""
}

// pause keeps the client from reading as its trait says.
func (c *client) pause(ctx context.Context) {
	if c.a.hurry.Load() {
		return
	}
	var wait time.Duration
	switch c.trait {
	case slowly:
		wait = time.Duration(c.rng.Int64N(int64(longestPause)))
	case stalling:
		c.mu.Lock()
		wait = time.Until(c.stalled)
		c.mu.Unlock()
	default:
		return
	}
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// dial connects; those that are meant to be slow let the kernel hold little for them.
func (c *client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 3 * time.Second}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && (c.trait == slowly || c.trait == stalling) {
		if err := tcp.SetReadBuffer(smallBuffer); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// target is the path and query of the next connection.
func (c *client) target() string {
	parts := strings.Split(c.topics[0], "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	path := "/t/" + strings.Join(parts, "/")
	if last := c.last(c.topics[0]); c.protocol == testcluster.V1 && last != "" {
		path += "?since=" + url.QueryEscape(last)
	}
	return path
}

// histories are all that the client saw, topic by topic.
func (c *client) histories() []history {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []history
	for i, topic := range c.topics {
		list = append(list, history{
			Toggles: c.trait == toggling && i > 0,
			Session: c.name, Topic: topic, Raw: c.protocol == testcluster.Raw,
			Slow: c.trait == slowly || c.trait == stalling, Events: c.tracks[topic].events,
		})
	}
	return list
}

func (c *client) behind(last map[string]publication) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open && c.trait != leaving {
		return fmt.Errorf("%s is not connected (%d connections, %d attempts failed, last: %v)", c.name, c.conns, c.attempts, c.lastErr)
	}
	for _, topic := range c.topics {
		tr, want := c.tracks[topic], last[topic]
		if c.protocol == testcluster.Raw && tr.fresh != want.Sum || c.protocol != testcluster.Raw && tr.last.ID.Less(want.ID) {
			return fmt.Errorf("%s, topic %q stands at %v, not at %v", c.name, topic, tr.last, want.ID)
		}
	}
	return nil
}
