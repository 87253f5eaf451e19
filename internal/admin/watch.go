package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

const (
	// watchEvery is how often the others are asked while somebody watches, however many do.
	watchEvery = 400 * time.Millisecond
	// watchFor is how long they are asked after the last one has looked.
	watchFor = 5 * time.Second
	// watchTimeout is what a node has to answer.
	watchTimeout = 700 * time.Millisecond
	// watchStale is how old an answer may be: an older one is not shown.
	watchStale = 1500 * time.Millisecond
	// watchFirst is how long who looks first waits for answers.
	watchFirst = 500 * time.Millisecond
	// watchAtOnce bounds the requests that are under way.
	watchAtOnce = 64
	// maxWatched bounds the nodes that are asked.
	maxWatched = 512
	// maxNode bounds a node's answer in bytes.
	maxNode = 256 << 10
)

// key names a member's life at an address.
type key struct{ role, id, admin string }

// told is the latest that is known of another node.
type told struct {
	node    *Node
	at      time.Time // when node came
	problem string    // of the latest request; empty when it was answered
	since   time.Time // since when there is one
	asking  bool
}

// seen is told as /cluster has it.
type seen struct {
	node    *Node
	problem string
	age     int64
}

// watch asks the other nodes for what they tell of themselves, as long as somebody looks: all who do share what it finds.
//
//	GET /cluster ──want──► watch ──GET /node──► every other node, each every 400 ms, 64 at a time
//	     ◄──── answers ──────┘
type watch struct {
	server *Server
	kick   chan struct{}
	client *http.Client
	places chan struct{} // a token for each request under way

	mu            sync.Mutex
	until         time.Time     // somebody looks until then
	authorization string        // of the last one who looked; empty while nobody does
	told          map[key]*told // nobody's while nobody looks
	round         chan struct{} // closed when every node of the first round has answered; nil while nobody looks
}

func newWatch(s *Server) *watch {
	w := &watch{server: s, kick: make(chan struct{}, 1), places: make(chan struct{}, watchAtOnce), told: map[key]*told{}}
	w.client = newClient(s.cfg.Trust.Client)
	w.client.Timeout = watchTimeout
	if t, ok := w.client.Transport.(*http.Transport); ok {
		t.DialContext = (&net.Dialer{Timeout: watchTimeout / 2}).DialContext
		t.DisableKeepAlives, t.MaxIdleConnsPerHost, t.IdleConnTimeout = false, 1, watchFor
	}
	return w
}

// want says that somebody looks who may. It waits a moment for answers if nobody did before.
func (w *watch) want(ctx context.Context, authorization string) {
	w.mu.Lock()
	w.until, w.authorization = time.Now().Add(watchFor), authorization
	if w.round == nil {
		w.round = make(chan struct{})
	}
	round := w.round
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
	patience := time.NewTimer(watchFirst)
	defer patience.Stop()
	select {
	case <-round:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// answers are what is known at present. Nothing in it is older than it may be.
func (w *watch) answers(now time.Time) map[key]seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[key]seen, len(w.told))
	for k, t := range w.told {
		fresh := t.node != nil && now.Sub(t.at) <= watchStale
		switch {
		case t.problem != "":
			all[k] = seen{problem: t.problem, age: now.Sub(t.since).Milliseconds()}
		case fresh:
			all[k] = seen{node: t.node, age: now.Sub(t.at).Milliseconds()}
		case t.node != nil:
			all[k] = seen{problem: "it does not answer", age: now.Sub(t.at).Milliseconds()}
		}
	}
	return all
}

// run asks, as long as somebody looks, until ctx ends. It waits for the requests that it has begun.
func (w *watch) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer w.client.CloseIdleConnections()
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		}
		w.whileWatched(ctx, &wg)
	}
}

func (w *watch) whileWatched(ctx context.Context, wg *sync.WaitGroup) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for w.askAll(ctx, wg) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askAll asks every node that is not being asked, and reports whether somebody looks.
func (w *watch) askAll(ctx context.Context, wg *sync.WaitGroup) bool {
	others := w.server.others()
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.After(w.until) {
		w.told, w.authorization, w.round = map[key]*told{}, "", nil
		return false
	}
	was, round := w.told, w.round
	w.told = make(map[key]*told, len(others))
	var all sync.WaitGroup
	for _, m := range others {
		k := key{m.Role.String(), m.ID, m.Admin}
		t := was[k]
		if t == nil {
			t = &told{}
		}
		w.told[k] = t
		if t.asking {
			continue
		}
		t.asking = true
		authorization := w.authorization
		all.Add(1)
		wg.Go(func() {
			defer all.Done()
			w.ask(ctx, m, t, authorization)
		})
	}
	select {
	case <-round:
	default:
		wg.Go(func() {
			all.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.round == round {
				select {
				case <-round:
				default:
					close(round)
				}
			}
		})
	}
	return true
}

// gatherError is what is wrong with a node's answer.
type gatherError struct{ outcome, text string }

func (e *gatherError) Error() string { return e.text }

func (w *watch) ask(ctx context.Context, m ring.Member, t *told, authorization string) {
	w.places <- struct{}{}
	n, err := w.get(ctx, m, authorization)
	<-w.places
	if ctx.Err() != nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = "unreachable"
		if e, ok := errors.AsType[*gatherError](err); ok {
			outcome = e.outcome
		}
	}
	w.server.metrics.gathers.WithLabelValues(outcome).Inc()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	t.asking = false
	if err == nil {
		t.node, t.at, t.problem = n, now, ""
		return
	}
	if t.problem == "" {
		t.since = now
	}
	t.node, t.problem = nil, cut(err.Error())
}

func (w *watch) get(ctx context.Context, m ring.Member, authorization string) (*Node, error) {
	cfg := &w.server.cfg
	if authorization != "" && !cfg.Sealed && !loopback(m.Admin) {
		return nil, &gatherError{"no_secret", "not asked: the cluster has no secret, so that anybody could be this node, and get the token"}
	}
	target := url.URL{Scheme: "http", Host: m.Admin, Path: "/node"}
	if cfg.Trust.TLS != nil {
		target.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(forwardedHeader, cfg.Self)
	if authorization != "" { // who may look here may look there
		req.Header.Set("Authorization", authorization)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("it does not answer: %w", cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxNode+1))
	var n Node
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer broke off: %w", err)
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, &gatherError{"refused", "it does not take this token, or this node's certificate"}
	case resp.StatusCode == http.StatusMisdirectedRequest:
		return nil, &gatherError{"refused", "it does not go by the name in its address: see admin-hosts"}
	case resp.StatusCode == http.StatusNotFound:
		return nil, &gatherError{"bad_answer", "it is of an earlier version, which does not tell"}
	case resp.StatusCode != http.StatusOK:
		return nil, &gatherError{"bad_answer", fmt.Sprintf("it answers with status %d", resp.StatusCode)}
	case len(body) > maxNode:
		return nil, &gatherError{"bad_answer", "its answer is too large"}
	case json.Unmarshal(body, &n) != nil:
		return nil, &gatherError{"bad_answer", "its answer is not understood"}
	case n.ID != m.ID || n.Role != m.Role.String():
		return nil, &gatherError{"bad_answer", fmt.Sprintf("another node answers at its address: %.64q", n.ID)}
	}
	n.bound()
	return &n, nil
}

// loopback reports whether an address is of this machine.
func loopback(hostport string) bool {
	addr, err := netip.ParseAddrPort(hostport)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}
