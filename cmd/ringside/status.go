package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/look"
)

// statusCmd shows what every node says of itself, as the dashboard does.
type statusCmd struct {
	Of     adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway, which asks the others."`
	Topics bool     `help:"Show the busiest topics instead."`

	asJSON
	credentials
}

// clusterStatus is what a status needs of the answer of /cluster.
type clusterStatus struct {
	Self    string       `json:"self"`
	Version string       `json:"version"`
	Slots   int          `json:"slots"`
	Members []nodeStatus `json:"members"`
}

type nodeStatus struct {
	ID      string      `json:"id"`
	Role    string      `json:"role"`
	State   string      `json:"state"`
	Owned   int         `json:"slots"`
	Load    uint64      `json:"load"`
	Static  bool        `json:"static"`
	Node    *admin.Node `json:"node"`
	Problem string      `json:"problem"`
}

// Run prints the status. It fails when a node is not well, so that a script need not read it.
func (s *statusCmd) Run(ctx context.Context, std stdio) error {
	answer, err := s.ask(ctx, s.Of, http.MethodGet, "/cluster", nil)
	if err != nil {
		return err
	}
	var c clusterStatus
	if err := json.Unmarshal(answer, &c); err != nil || c.Self == "" {
		return notRingside(string(s.Of), string(answer))
	}
	style := std.style(std.out)
	switch {
	case s.JSON:
		_, err = std.out.Write(answer)
	case s.Topics:
		_, err = fmt.Fprint(std.out, c.topics(style))
	default:
		_, err = fmt.Fprintf(std.out, "%s\n\n%s", look.Printable(fmt.Sprintf("ring %s as %s sees it", c.Version, c.Self)), c.nodes(style))
	}
	if err != nil {
		return err
	}
	return c.unwell()
}

// nodes is a row for each node.
func (c *clusterStatus) nodes(s look.Style) *look.Table {
	t := look.NewTable(s, "ID", "ROLE", "STATE", "SESSIONS", "LIMIT", "SLOTS", "BEHIND", "MOVING", "VERSION", "")
	for _, m := range c.Members {
		sessions, limit, behind, moving, version, slots := fmt.Sprint(m.Load), "", "", "", "", ""
		if n := m.Node; n != nil {
			sessions, limit, moving, version = fmt.Sprint(n.Sessions), fmt.Sprint(n.Limit), fmt.Sprint(n.Leaving), n.Version
			if n.Gateway != nil {
				behind = fmt.Sprintf("%d ms", behindMost(n.Gateway))
			}
		}
		if m.Role == "gateway" {
			slots = fmt.Sprint(m.Owned)
		}
		wrong := look.Cell{Text: m.wrong(), Paint: s.Bad}
		if wrong.Text == "" {
			wrong = look.Cell{Text: "ok", Paint: s.Good}
		}
		t.Row(m.ID, m.Role, look.Cell{Text: m.State, Paint: s.State}, sessions, limit, slots, behind, moving, version, wrong)
	}
	return t
}

// behindMost is the age of what a gateway can vouch for, in ms, at the slot that is furthest behind.
func behindMost(g *admin.GatewayNode) (most int64) {
	for _, t := range g.Tails {
		most = max(most, t.Lag)
	}
	return most
}

// wrong is what is not well with a node; empty when nothing is.
func (m *nodeStatus) wrong() string {
	if m.Node == nil {
		if m.Static { // it can't be asked
			return ""
		}
		return cmp.Or(m.Problem, "nobody has asked it yet")
	}
	var list []string
	for _, c := range m.Node.Checks {
		if !c.Ready {
			list = append(list, c.Name+": "+c.Message)
		}
	}
	if g := m.Node.Gateway; g != nil && g.StaleSlots > 0 {
		list = append(list, fmt.Sprintf("%d slots are stale", g.StaleSlots))
	}
	if r := m.Node.Router; r != nil && r.Frozen {
		list = append(list, "it goes by the last good ring")
	}
	return strings.Join(list, "; ")
}

// unwell is an error when a node is not well.
func (c *clusterStatus) unwell() error {
	var ids []string
	for _, m := range c.Members {
		if m.wrong() != "" {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return errors.New("not well: " + look.Printable(strings.Join(ids, ", ")))
}

// topics is a row for each of the busiest topics of all gateways.
func (c *clusterStatus) topics(s look.Style) *look.Table {
	type row struct {
		admin.HotTopic
		at string
	}
	var rows []row
	for _, m := range c.Members {
		if m.Node != nil && m.Node.Gateway != nil {
			for _, h := range m.Node.Gateway.Hottest {
				rows = append(rows, row{h, m.ID})
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.Sessions, a.Sessions) })
	t := look.NewTable(s, "TOPIC", "GATEWAY", "SESSIONS", "MESSAGES/S")
	for _, r := range rows {
		rate := fmt.Sprintf("%.1f", r.Rate)
		if r.Rate < 0 { // not known yet
			rate = ""
		}
		t.Row(r.Topic, r.at, fmt.Sprint(r.Sessions), rate)
	}
	return t
}
