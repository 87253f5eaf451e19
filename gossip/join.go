package gossip

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	rejoinMin      = 15 * time.Second // jittered up to twice that
	joinMin        = 200 * time.Millisecond
	joinMax        = 5 * time.Second
	maxJoins       = 8 // that are tried at the same time; others have their turn later
	resolveTimeout = 5 * time.Second
)

// keepJoined looks for the nodes that should be there and are not: the seeds, their names resolved anew, and those that
// were lost. It does so often while this node is alone, and else every 15–30 s, because a split does not heal by itself.
func (n *Node) keepJoined(ctx context.Context) {
	pause := joinMin
	for {
		n.join(ctx)
		switch {
		case n.view.size() > 0 || len(n.cfg.Join) == 0:
			pause = rejoinMin
		case pause >= rejoinMin: // it was not alone before
			pause = joinMin
		default:
			pause = min(2*pause, joinMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jittered(pause)):
		}
	}
}

// join contacts nodes that are not members, several at once, and waits for all of them: seconds, when they don't answer.
func (n *Node) join(ctx context.Context) {
	targets := n.targets(ctx)
	if ctx.Err() != nil || len(targets) == 0 {
		return
	}
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, addr := range targets {
		wg.Go(func() { _, errs[i] = n.list.Join([]string{addr}) })
	}
	wg.Wait()
	var last error
	hungUp := ""
	for _, err := range errs {
		if err != nil {
			last = err
			reason := joinReason(err)
			n.metrics.joinErrors.WithLabelValues(reason).Inc()
			if reason == joinSecret || reason == joinClosed {
				hungUp = reason
			}
		}
	}
	defer n.strange.Store(hungUp != "")
	switch {
	case last == nil || n.view.size() > 0 || ctx.Err() != nil:
	case hungUp != "" && n.metrics.mayWarn("strange", time.Now()):
		n.log.Warn("the seeds don't take this node: do all have the same cluster and secrets? trying on", zap.Strings("join", n.cfg.Join), zap.Error(last))
	case hungUp == "" && n.metrics.mayWarn("join", time.Now()):
		n.log.Warn("no seed answers; trying on", zap.Strings("join", n.cfg.Join), zap.Error(last))
	}
}

// Ready says what keeps the node from taking part in its cluster; nil when nothing does that is known. A node that is alone because
// nobody answers takes part: it may be the first.
func (n *Node) Ready() error {
	if n.strange.Load() && n.view.size() == 0 {
		return errors.New("the seeds don't take this node: its secret or its cluster is not theirs")
	}
	return nil
}

// targets are the addresses of seeds and of lost nodes, without those of this node and of members, at most maxJoins of
// them.
func (n *Node) targets(ctx context.Context) []string {
	seen := n.view.addrs()
	seen[n.addr] = true
	var list []string
	add := func(addr string) {
		if !seen[addr] {
			seen[addr] = true
			list = append(list, addr)
		}
	}
	for _, seed := range n.cfg.Join {
		for _, addr := range n.lookup(ctx, seed) {
			add(addr)
		}
	}
	for _, addr := range n.view.lostAddrs(time.Now()) {
		add(addr)
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), maxJoins)]
}

// lookup resolves a seed to numeric addresses. A failure is counted and gives none.
func (n *Node) lookup(ctx context.Context, seed string) (addrs []string) {
	host, port, err := split(seed)
	if err != nil {
		return nil // checked by New
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		defer cancel()
		if ips, err = n.cfg.resolve(ctx, "ip", host); err != nil {
			if ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded {
				n.metrics.joinErrors.WithLabelValues(joinResolve).Inc()
				if n.metrics.mayWarn("resolve", time.Now()) {
					n.log.Warn("cannot resolve a seed; trying on", zap.String("seed", seed), zap.Error(err))
				}
			}
			return nil
		}
	}
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), port).String())
	}
	return addrs
}

// Why a node could not be joined.
const (
	joinResolve = "resolve" // its name has no address
	joinRefused = "refused" // nothing listens there
	joinTimeout = "timeout" // it does not answer, or there is no way to it
	joinClosed  = "closed"  // it hung up: so do nodes of another cluster
	joinSecret  = "secret"  // it has another secret
	joinOther   = "other"
)

// joinReason tells from an error's text why: memberlist does not wrap what it got.
func joinReason(err error) string {
	text := strings.ToLower(err.Error())
	for _, r := range []struct{ text, reason string }{
		{"crypt", joinSecret},
		{"refused", joinRefused},
		{"timeout", joinTimeout},
		{"unreachable", joinTimeout},
		{"no route to host", joinTimeout},
		{"eof", joinClosed},
		{"reset by peer", joinClosed},
		{"closed", joinClosed},
	} {
		if strings.Contains(text, r.text) {
			return r.reason
		}
	}
	return joinOther
}
