package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// foreignStage is a cluster with the clients that come to it.
type foreignStage struct {
	t       *testing.T
	c       *testcluster.Cluster
	clients []foreigner
	routed  way // through the router
	direct  way // at gateway g1
	results results
}

// results are what came of each case: for each, a word per client and way.
type results struct {
	columns []string
	rows    []resultRow
}

type resultRow struct {
	rfc, name string
	cells     []string
}

const (
	cellPass = "✓"
	cellNone = "–"
)

// TestForeignClients has clients that others have written do whatever they can, through a router and directly at a gateway; in the end
// the gateway and the router are drained under them. With -conformance-doc it writes docs/CONFORMANCE.md.
func TestForeignClients(t *testing.T) {
	s := newForeignStage(t)
	for _, c := range foreignCases() {
		s.everywhere(c)
	}
	s.countedOnce()
	table := ownTable(t, s.routed.node, s.direct.node)
	s.gatewayDrains()
	s.routerDrains()
	for _, n := range s.c.Nodes() {
		for line := range strings.Lines(n.Log()) {
			if strings.Contains(line, "\terror\t") || strings.Contains(line, `"level":"error"`) {
				t.Errorf("%s: %s", n.Name, line)
			}
		}
	}
	s.writeDoc(table)
}

func newForeignStage(t *testing.T) *foreignStage {
	t.Helper()
	dir := t.TempDir()
	secret, rules := filepath.Join(dir, "jwt.secret"), filepath.Join(dir, "topics.yaml")
	err := errors.Join(os.WriteFile(secret, []byte(tokenSecret), 0o600), os.WriteFile(rules, []byte("- topics: vip\n  auth: [jwt]\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	s := &foreignStage{t: t, c: testcluster.New(t, testcluster.NewRedis(t, false).URL())}
	s.c.AddRouter("--drain-window=200ms")
	flags := []string{
		"--heartbeat=" + heartbeats, "--drain-window=200ms", "--topic-rules", rules, "--jwt-algorithms=HS256", "--jwt-secret-file", secret,
	}
	s.c.AddGateway("g1", flags...)
	s.c.AddGateway("g2", flags...)
	s.c.WaitReady()
	s.c.WaitConverged()
	s.routed, s.direct = way{"router", s.c.Router(0)}, way{"gateway", s.c.Gateway("g1")}
	s.clients = []foreigner{
		startNodeClient(t),
		coderClient{moduleVersion(t, "github.com/coder/websocket")},
		gorillaClient{moduleVersion(t, "github.com/gorilla/websocket")},
	}
	for _, f := range s.clients {
		for _, w := range s.ways() {
			s.results.columns = append(s.results.columns, f.name()+", "+w.name)
		}
	}
	return s
}

func (s *foreignStage) ways() []way { return []way{s.routed, s.direct} }

// everywhere runs a case with each client, each way.
func (s *foreignStage) everywhere(c foreignCase) {
	row := resultRow{rfc: c.rfc, name: c.name}
	for _, f := range s.clients {
		for _, w := range s.ways() {
			row.cells = append(row.cells, s.cell(c, f, w))
		}
	}
	s.results.rows = append(s.results.rows, row)
}

// cell is the result of a case.
func (s *foreignStage) cell(c foreignCase, f foreigner, w way) string {
	err := c.run(f, w)
	var no unable
	switch {
	case errors.As(err, &no):
		return cellNone
	case err != nil:
		s.t.Errorf("%s, %s, %s: %v", c.name, f.name(), w.name, err)
		return "**fails**"
	}
	return cellPass
}

// countedOnce holds that all sessions are over, and that each was counted as begun and as ended once.
func (s *foreignStage) countedOnce() {
	s.t.Helper()
	for _, n := range s.c.Nodes() {
		eventually(s.t, n.Name+" has no session left", func() error {
			if n.Exited() {
				return nil
			}
			prefix := "ringside_" + n.Role + "_"
			var v [3]float64
			for i, name := range []string{"sessions", "opened_total", "closed_total"} {
				var err error
				if v[i], err = n.Metric(s.t.Context(), prefix+name); err != nil {
					return err
				}
			}
			resumed := 0.0
			if n.Role == testcluster.Gateway {
				var err error
				if resumed, err = n.Metric(s.t.Context(), prefix+"resumed_total"); err != nil {
					return err
				}
			}
			refused, err := n.Metric(s.t.Context(), prefix+"closed_total", `reason="refused"`)
			if err != nil {
				return err
			}
			if v[0] != 0 || v[1]+resumed+refused*float64(oneOf(n.Role == testcluster.Gateway)) != v[2] || v[1] == 0 {
				return fmt.Errorf("%v sessions; %v opened, %v taken over, %v begun to be refused, %v closed", v[0], v[1], resumed, refused, v[2])
			}
			return nil
		})
	}
}

func oneOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// gatewayDrains drains g1 under clients that came to it directly, who are sent away, and under such as came through the router, who do
// not notice.
func (s *foreignStage) gatewayDrains() {
	s.t.Helper()
	topic := ""
	for i := range 1000 {
		name := fmt.Sprintf("foreign-%d", i)
		place, err := s.routed.node.Place(s.t.Context(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		if place.Owner == "g1" {
			topic = name
			break
		}
	}
	sent := resultRow{rfc: "7.4.1", name: "the gateway drains: close 1012 with a delay; through a router nobody notices"}
	var peers []*peer
	for _, f := range s.clients {
		for _, w := range s.ways() {
			p, err := session(f, w.url(topic), "ringside.v1")
			if err != nil {
				s.t.Fatalf("%s, %s: %v", f.name(), w.name, err)
			}
			peers = append(peers, p)
		}
	}
	s.c.Terminate(s.direct.node)
	if code, err := s.direct.node.Wait(testcluster.Limit()); code != 0 || err != nil {
		s.t.Errorf("the gateway ended with %d, %v", code, err)
	}
	for i, p := range peers {
		var err error
		if i%2 == 1 {
			err = p.endsLike(`^close 1012 {"reconnect":\d+}$`)
		} else {
			err = errors.Join(p.alive(), p.leave())
		}
		sent.cells = append(sent.cells, s.verdict(sent.name, i, err))
	}
	s.results.rows = append(s.results.rows, sent)
	s.countedOnce()
}

// routerDrains drains the router under its clients.
func (s *foreignStage) routerDrains() {
	s.t.Helper()
	row := resultRow{rfc: "7.4.1", name: "the router drains: close 1012 with a delay"}
	var peers []*peer
	for _, f := range s.clients {
		p, err := session(f, s.routed.url("foreign"), "ringside.v1")
		if err != nil {
			s.t.Fatalf("%s: %v", f.name(), err)
		}
		peers = append(peers, p)
	}
	s.c.Terminate(s.routed.node)
	for i, p := range peers {
		row.cells = append(row.cells, s.verdict(row.name, 2*i, p.endsLike(`^close 1012 {"reconnect":\d+}$`)), cellNone)
	}
	if code, err := s.routed.node.Wait(testcluster.Limit()); code != 0 || err != nil {
		s.t.Errorf("the router ended with %d, %v", code, err)
	}
	s.results.rows = append(s.results.rows, row)
	s.countedOnce()
}

func (s *foreignStage) verdict(name string, column int, err error) string {
	if err != nil {
		s.t.Errorf("%s, %s: %v", name, s.results.columns[column], err)
		return "**fails**"
	}
	return cellPass
}
