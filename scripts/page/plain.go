package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

//go:embed plain.html
var plainPage []byte

// plainTopic wants escapes in a URL, as pages meet them.
const plainTopic = "final: Köln/1"

// plain is a visit to a page of another site that has nothing of ours: the browser's own EventSource and WebSocket, on a cluster that is
// broken in every way. The page sees three followers, which must have every message once and in order whatever happens:
//
//	stream ──┐
//	socket ──┴─ balancer ──┬─ router-1 ─┬─ g1, g2
//	direct ────────────────┘  router-2 ─┘
type plain struct {
	*check
	stage    *testcluster.Stage
	now      map[string]*testcluster.Node // by name: the life that is
	balancer *balancer
	story    *story
}

// followers are the names under which the page follows from the beginning.
var followers = []string{"stream", "socket", "direct"} //nolint:gochecknoglobals // a constant

// follower is what the page was told.
type follower struct {
	Opens, Breaks int
	State         string
	Messages      [][2]any // position, data
	Gaps          []struct{ At, Reason string }
	Refusals      []struct{ Reconnect int }
}

// runPlain builds the cluster and the site, and visits.
func runPlain(ctx context.Context, binary string, b *browser) (err error) {
	dir, err := os.MkdirTemp("", "ringside-page-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stage, err := testcluster.NewStage(ctx, binary, dir, true)
	if err != nil {
		return err
	}
	defer func() { stage.End(err) }()
	p := &plain{check: &check{ctx: ctx, b: b}, stage: stage, now: map[string]*testcluster.Node{}}
	p.story = &story{topic: plainTopic, redis: stage.Redis.Addr}
	p.start("router-1", "g1", "g2", "router-2")
	if p.err != nil {
		return p.err
	}
	if p.balancer, err = startBalancer(p.now["router-1"].Addr, p.now["router-2"].Addr); err != nil {
		return err
	}
	defer p.balancer.close()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(plainPage) }))
	defer site.Close()
	p.policy(400 * time.Millisecond)
	p.open(site.URL)
	p.is("document.title", "plain")
	for _, name := range followers {
		p.follow(name)
	}
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() { defer close(told); p.story.run(ctx) }()
	defer func() { cancel(); <-told }()
	p.gateways()
	p.routers()
	p.refused()
	p.away()
	p.gap()
	p.retry()
	return errors.Join(p.err, b.complaints())
}

// start starts nodes, or starts them again on the addresses that they had, and waits until all that run are of one mind.
func (p *plain) start(names ...string) {
	for _, name := range names {
		if p.err != nil {
			return
		}
		spec := testcluster.NodeSpec{Role: testcluster.Gateway, ID: name, Reuse: p.now[name], Flags: []string{"--heartbeat", "300ms"}}
		if strings.HasPrefix(name, "router") {
			spec.Role, spec.ID, spec.Flags = testcluster.Router, "", []string{"--drain-window", "500ms"}
		}
		p.now[name], p.err = p.stage.Start(p.ctx, spec)
	}
	for _, name := range []string{"router-1", "router-2"} {
		if router := p.now[name]; p.err == nil && router != nil && !router.Exited() {
			ctx, cancel := context.WithTimeout(p.ctx, testcluster.Limit())
			p.err = p.stage.Await(ctx, router, p.running("g1", "g2")...)
			cancel()
		}
	}
}

func (p *plain) running(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return p.now[name] == nil || p.now[name].Exited() })
}

func (p *plain) kill(names ...string) {
	for _, name := range names {
		if p.err == nil {
			p.now[name].Kill()
		}
	}
}

// policy sets how long clients wait before they come back, and waits until all nodes know.
func (p *plain) policy(wait time.Duration) {
	if p.err != nil {
		return
	}
	body := fmt.Sprintf(`{"min":%d,"max":%[1]d}`, wait.Milliseconds())
	if r, err := p.now["router-1"].Post(p.ctx, "/policy", body); err != nil || r.Status != http.StatusOK {
		p.err = fmt.Errorf("/policy: %d %s (%w)", r.Status, r.Body, err)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, testcluster.Limit())
	defer cancel()
	for _, n := range p.now {
		if p.err == nil && !n.Exited() {
			p.err = testcluster.Poll(ctx, func() error {
				r, err := n.Get(ctx, "/policy")
				if err == nil && !strings.Contains(r.Body, fmt.Sprintf(`"min":%d,"max":%[1]d`, wait.Milliseconds())) {
					err = fmt.Errorf("%s has the policy %s", n.Name, r.Body)
				}
				return err
			})
		}
	}
}

// follow has the page follow under a name, and waits until it is told something.
func (p *plain) follow(name string) {
	addr, scheme, f := p.balancer.addr(), "http", "stream"
	if strings.HasPrefix(name, "direct") {
		addr = p.now["router-1"].Addr
	}
	if strings.HasPrefix(name, "socket") {
		scheme, f = "ws", "socket"
	}
	p.do(fmt.Sprintf("%s(%q, '%s://%s/t/' + encodeURIComponent(%q))", f, name, scheme, addr, plainTopic))
	if p.err == nil && len(p.running("g1", "g2")) > 0 {
		p.is(member(name, "state"), "open")
	}
}

// member is JavaScript for something that a follower was told.
func member(name, what string) string { return fmt.Sprintf("told[%q].%s", name, what) }

// more waits until everybody has been told of messages that were published from now on.
func (p *plain) more(names ...string) {
	if p.err != nil {
		return
	}
	n, err := p.story.published()
	p.err = err
	for _, name := range names {
		p.is(fmt.Sprintf("%s.at(-1)?.[1] >= %d", member(name, "messages"), n+20), true)
	}
}

// exact waits until followers have had what is published by now and more, and checks that it was every message, once and in order.
func (p *plain) exact(gaps int, names ...string) {
	p.more(names...)
	for _, name := range names {
		f := p.told(name)
		var got []message
		for _, m := range f.Messages {
			got = append(got, message{fmt.Sprint(m[0]), fmt.Sprint(m[1])})
		}
		if p.err == nil && len(f.Gaps) != gaps {
			p.err = fmt.Errorf("%s was told of gaps %+v, want %d", name, f.Gaps, gaps)
		}
		if p.err == nil {
			p.err = p.story.follows(got)
		}
		if p.err != nil {
			p.err = fmt.Errorf("%s: %w", name, p.err)
			return
		}
	}
}

func (p *plain) told(name string) (f follower) {
	p.eval(fmt.Sprintf("told[%q]", name), &f)
	return f
}

// opens waits until a follower has opened that many connections, and checks that it does not open more until it has had more messages.
func (p *plain) opens(name string, n int) {
	p.is(member(name, "opens"), n)
	p.more(name)
	p.is(member(name, "opens"), n)
}
