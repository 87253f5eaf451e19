//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// tryCompose brings the project up and does to it what happens to a machine.
func tryCompose(ctx context.Context, w *world, short bool) error {
	p, err := manifests.Compose(w.deploy, "a secret that openssl rand would have made")
	if err != nil {
		return err
	}
	t := &composeTrial{project: &project{w: w, p: p, services: map[string]*service{}}, ctx: ctx}
	dns, err := serveNames(t.find)
	if err != nil {
		return err
	}
	defer dns.close()
	if err := w.steps(
		"the project comes up: Redis first, all find each other by name, and every health check passes", t.rise,
		"containers are what the file says: user, capabilities, root, limits", t.confined,
		"Prometheus reaches every node", t.targets,
		"clients come in by the published ports", t.come,
	); err != nil {
		return err
	}
	defer t.audience.leave()
	if err := w.steps(
		"a rolling restart, a gateway at a time, as docs/DEPLOY.md has it: no client notices", t.rolling,
		"a gateway is killed, and is started again: no client notices", t.kill,
		"Redis restarts with its data: no client notices", t.restartRedis,
	); err != nil {
		return err
	}
	if !short {
		if err := w.steps("a router is made anew, and its clients go to the other", t.renewRouter); err != nil {
			return err
		}
	}
	return w.steps(
		"Prometheus reaches every node again, and nobody was woken for nothing", t.quiet,
		"everybody has had every message once and in order", func() error { return t.audience.finish(ctx) },
	)
}

type composeTrial struct {
	*project
	ctx      context.Context //nolint:containedctx // of one run
	audience *audience
}

func (t *composeTrial) rise() error {
	if err := t.up(t.ctx); err != nil {
		return err
	}
	for _, s := range t.nodes() {
		if err := t.healthy(t.ctx, s.cfg.Name); err != nil {
			return err
		}
	}
	if err := t.ready(t.ctx); err != nil {
		return err
	}
	return t.agree()
}

// agree waits until every node has every gateway in its ring.
func (t *composeTrial) agree() error {
	return t.w.await(t.ctx, "all nodes agree", func() error {
		for _, s := range t.nodes() {
			ring, err := ringOf(t.ctx, s.node(), nil)
			if err != nil {
				return err
			}
			for _, g := range t.nodes() {
				m, _ := ring.Member(g.cfg.Hostname)
				if gateway := strings.HasPrefix(g.cfg.Name, "gateway"); gateway && (m.State != "active" || !strings.HasPrefix(m.Addr, g.host.IP+":")) {
					return fmt.Errorf("%s has %s as %q at %q", s.cfg.Name, g.cfg.Name, m.State, m.Addr)
				}
			}
		}
		return nil
	})
}

func (t *composeTrial) confined() error {
	for _, s := range t.nodes() {
		if err := confined(s.container()); err != nil {
			return fmt.Errorf("%s: %w", s.cfg.Name, err)
		}
	}
	return nil
}

func (t *composeTrial) come() (err error) {
	t.audience, err = gather(t.ctx, t.w, net.JoinHostPort(t.get("redis").host.IP, "6379"), t.published)
	return err
}

// prometheus asks its API.
func (t *composeTrial) prometheus(path string, query url.Values, data any) error {
	target := "http://" + t.get("prometheus").host.IP + ":9090/api/v1/" + path + "?" + query.Encode()
	r, err := testcluster.Do(t.ctx, http.MethodGet, target, "", nil)
	if err != nil {
		return err
	}
	answer := struct{ Data any }{data}
	if err := json.Unmarshal([]byte(r.Body), &answer); err != nil || r.Status != http.StatusOK {
		return fmt.Errorf("%s: %d %s (%w)", path, r.Status, r.Body, err)
	}
	return nil
}

// targets waits until all nodes are scraped, and nothing else is looked for, and the alerts are looked at as often as they need.
func (t *composeTrial) targets() error {
	if err := t.evaluated(); err != nil {
		return err
	}
	groups, err := t.rules()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Interval > 5 {
			return fmt.Errorf("the alerts of %s are looked at every %v s, want 5", g.Name, g.Interval)
		}
	}
	return t.w.await(t.ctx, "all targets are up", func() error {
		var data struct {
			ActiveTargets []struct{ ScrapeURL, Health, LastError string }
		}
		if err := t.prometheus("targets", nil, &data); err != nil {
			return err
		}
		if len(data.ActiveTargets) != len(t.nodes()) {
			return fmt.Errorf("%d targets for %d nodes", len(data.ActiveTargets), len(t.nodes()))
		}
		for _, target := range data.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
			}
		}
		return nil
	})
}

// rolling restarts each gateway, the next one when the one before is ready.
func (t *composeTrial) rolling() error {
	return t.audience.unnoticed(t.ctx, func() error {
		for _, s := range t.nodes() {
			if !strings.HasPrefix(s.cfg.Name, "gateway") {
				continue
			}
			err := t.recreate(s.cfg.Name)
			if err == nil {
				err = t.ready(t.ctx)
			}
			if err == nil {
				err = t.audience.more(t.ctx)
			}
			if err != nil {
				return err
			}
		}
		if err := t.agree(); err != nil {
			return err
		}
		return t.fired() // nothing at all: a deployment is everyday business
	})
}

func (t *composeTrial) kill() error {
	return t.audience.unnoticed(t.ctx, func() error {
		s := t.get("gateway-2")
		s.container().Kill()
		if err := t.audience.more(t.ctx); err != nil {
			return err
		}
		if err := t.ready(t.ctx); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.restarts != 1 {
			return fmt.Errorf("gateway-2 was started again %d times, want 1", s.restarts)
		}
		return nil
	})
}

func (t *composeTrial) restartRedis() error {
	return t.audience.unnoticed(t.ctx, func() error {
		s := t.get("redis")
		if err := s.restart(); err != nil {
			return err
		}
		if err := t.healthy(t.ctx, "redis"); err != nil {
			return err
		}
		return t.ready(t.ctx)
	})
}

func (t *composeTrial) renewRouter() error {
	if err := t.recreate("router-1"); err != nil {
		return err
	}
	if err := t.audience.more(t.ctx); err != nil {
		return err
	}
	return errors.Join(t.ready(t.ctx), t.w.await(t.ctx, "clients are in", t.audience.open))
}

// starved are the alerts that fire, and should, where the machine that all of this is on has too little time for it.
var starved = []string{"RingsideGatewaySilent", "RingsideDeliverySlow"} //nolint:gochecknoglobals // a constant

// fired says which alerts have fired until now, but for those that should have.
func (t *composeTrial) fired(but ...string) error {
	if err := t.evaluated(); err != nil {
		return err
	}
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	expr := fmt.Sprintf(`max_over_time(ALERTS{alertstate="firing",alertname!~"%s"}[1h])`, strings.Join(append(but, starved...), "|"))
	if err := t.prometheus("query", url.Values{"query": {expr}}, &data); err != nil {
		return err
	}
	if len(data.Result) > 0 {
		return fmt.Errorf("alerts have fired: %v", data.Result)
	}
	return nil
}

// ruleGroup is a part of the alerts.
type ruleGroup struct {
	Name           string
	Interval       float64 // seconds
	LastEvaluation time.Time
}

func (t *composeTrial) rules() ([]ruleGroup, error) {
	var rules struct{ Groups []ruleGroup }
	err := t.prometheus("rules", nil, &rules)
	if err == nil && len(rules.Groups) == 0 {
		err = errors.New("Prometheus has no rules")
	}
	return rules.Groups, err
}

// evaluated waits until Prometheus has had the time to scrape what is now, and to look at it.
func (t *composeTrial) evaluated() error {
	since := time.Now()
	return t.w.await(t.ctx, "Prometheus has looked at its rules", func() error {
		groups, err := t.rules()
		for _, g := range groups {
			if interval := time.Duration(g.Interval) * time.Second; g.LastEvaluation.Before(since.Add(interval)) {
				return fmt.Errorf("%s were evaluated at %v", g.Name, g.LastEvaluation)
			}
		}
		return err
	})
}

// quiet checks that of all that was done only what should have has woken anybody: that Redis was away.
func (t *composeTrial) quiet() error {
	if err := t.targets(); err != nil {
		return err
	}
	return t.fired("RingsideRedisDown", "RingsideStaleSlots", "RingsideWatermarkOld", "RingsideTailsMissing")
}

// ringOf asks a node for its ring.
func ringOf(ctx context.Context, n *testcluster.Node, header http.Header) (ring testcluster.Ring, err error) {
	r, err := testcluster.Do(ctx, http.MethodGet, "http://"+n.Admin+"/ring", "", header)
	if err != nil {
		return ring, err
	}
	if r.Status != http.StatusOK {
		return ring, fmt.Errorf("%s: /ring: %d %s", n.ID, r.Status, r.Body)
	}
	return ring, json.Unmarshal([]byte(r.Body), &ring)
}
