package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// member is a member in the answer of /ring. The order of the fields is that of the answer.
type member struct {
	ID     string `json:"id"`
	Role   string `json:"role"`
	State  string `json:"state"`
	Slots  int    `json:"slots"` // owned
	Load   uint64 `json:"load"`  // sessions that it carries, as last gossiped; at a gateway those of a feed are one
	Weight int    `json:"weight"`
	Zone   string `json:"zone"`
	Addr   string `json:"addr"`
	Admin  string `json:"admin"`
	Gossip string `json:"gossip"`
	Static bool   `json:"static"`
	Apart  bool   `json:"dedicated"` // owns nothing: for pinned topics only
}

func members(r *ring.Ring) []member {
	var list []member
	for _, m := range r.Members() {
		list = append(list, member{
			ID: m.ID, Role: m.Role.String(), State: m.State.String(), Slots: len(r.Owned(m.ID)), Load: m.Load,
			Weight: m.Weight, Zone: m.Zone, Addr: m.Addr, Admin: m.Admin, Gossip: m.Gossip, Static: m.Static,
			Apart: m.Role == ring.RoleGateway && r.Dedicated(m.ID),
		})
	}
	return list
}

// place is where a topic is.
type place struct {
	Topic      string   `json:"topic"`
	Slot       int      `json:"slot"`
	Stream     string   `json:"stream"`
	Owner      string   `json:"owner"` // empty while no gateway is active
	Preference []string `json:"preference"`
	Sharing    int      `json:"sharing"` // of the first of them share the load; the others serve only when none of these can
	Why        string   `json:"why"`     // the preference is like that: "pinned" or "slot"
	Version    string   `json:"version"` // of the ring
	Window     *Window  `json:"window"`  // null while Redis does not answer
	Tail       *Tail    `json:"tail"`    // null on a node that does not tail the slot
}

func (s *Server) place(ctx context.Context, r *ring.Ring, name string) place {
	slot := topic.Slot(name)
	p := place{Topic: name, Slot: slot, Stream: s.deps.StreamKey(slot), Preference: []string{}, Version: r.Version()}
	key := ring.Key(name)
	prefs, sharing := r.Group(key)
	p.Sharing, p.Why = sharing, "slot"
	if r.Pinned(key) {
		p.Why = "pinned"
	}
	for _, m := range prefs {
		p.Preference = append(p.Preference, m.ID)
	}
	if owner, ok := r.Owner(slot); ok {
		p.Owner = owner.ID
	}
	if w, err := s.deps.Streams.Window(ctx, slot); err == nil {
		p.Window = &w
	}
	if t, ok := s.deps.Streams.Tail(slot); ok {
		p.Tail = &t
	}
	return p
}

func (s *Server) serveRing(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "topic", "format")
	if err != nil {
		return err
	}
	var text bool
	switch q["format"] {
	case "", "json":
	case "text":
		text = true
	default:
		return refuse(http.StatusBadRequest, "format", "format takes text or json")
	}
	current := s.deps.Ring()
	name, one := q["topic"]
	if one {
		if err := topic.Validate(name); err != nil {
			return refuseTopic(err)
		}
	}
	switch {
	case one && text:
		writeText(w, s.place(r.Context(), current, name).text(look.Style{}))
	case one:
		answer(w, http.StatusOK, s.place(r.Context(), current, name))
	case text:
		writeText(w, s.ring(current).text(look.Style{}))
	default:
		writeJSON(w, http.StatusOK, s.ring(current).json())
	}
	return nil
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the client has gone when it fails
}

// ringAnswer is the answer of /ring.
type ringAnswer struct {
	Node    string   `json:"node"` // whose view it is
	Version string   `json:"version"`
	Slots   int      `json:"slots"`
	Members []member `json:"members"`
}

func (s *Server) ring(current *ring.Ring) *ringAnswer {
	return &ringAnswer{s.cfg.Self, current.Version(), topic.Slots, members(current)}
}

// json has a line per member, so that it reads well in a terminal.
func (a *ringAnswer) json() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n  \"node\": %s,\n  \"version\": %s,\n  \"slots\": %d,\n  \"members\": [", encode(a.Node), encode(a.Version), a.Slots)
	for i, m := range a.Members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    " + encode(m))
	}
	b.WriteString("\n  ]\n}\n")
	return b.String()
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: admin: cannot encode a member: " + err.Error())
	}
	return string(b)
}

// RingText is the answer of /ring as people read it.
func RingText(answer []byte, s look.Style) (string, error) {
	var a ringAnswer
	if err := json.Unmarshal(answer, &a); err != nil || a.Node == "" || a.Slots == 0 {
		return "", errors.New("the answer is no ring")
	}
	return a.text(s), nil
}

// PlaceText is the answer of /ring?topic= as people read it.
func PlaceText(answer []byte, s look.Style) (string, error) {
	var p place
	if err := json.Unmarshal(answer, &p); err != nil || p.Topic == "" {
		return "", errors.New("the answer is no topic's place")
	}
	return p.text(s), nil
}

func (a *ringAnswer) text(s look.Style) string {
	gateways := 0
	for _, m := range a.Members {
		if m.Role == ring.RoleGateway.String() && m.State == ring.StateActive.String() {
			gateways++
		}
	}
	t := look.NewTable(s, "ID", "ROLE", "STATE", "SLOTS", "LOAD", "WEIGHT", "ZONE", "ADDRESS", "ADMIN")
	for _, m := range a.Members {
		role, slots, weight := m.Role, fmt.Sprint(m.Slots), fmt.Sprint(m.Weight)
		switch {
		case m.Static:
			role = "static"
		case m.Apart:
			role = "dedicated"
		}
		if m.Role == ring.RoleRouter.String() {
			slots, weight = "", ""
		}
		t.Row(m.ID, role, look.Cell{Text: m.State, Paint: s.State}, slots, fmt.Sprint(m.Load), weight, m.Zone, m.Addr, m.Admin)
	}
	return look.Printable(fmt.Sprintf("ring %s as %s sees it: %d slots on %d active gateways", a.Version, a.Node, a.Slots, gateways)) + "\n\n" + t.String()
}

func (p place) text(s look.Style) string {
	window, tail := look.Cell{Text: "unknown: redis does not answer", Paint: s.Warn}, look.Cell{Text: "not tailed by this node", Paint: s.Faint}
	if w := p.Window; w != nil {
		window = look.Cell{Text: fmt.Sprintf("%.0f s, %d entries, epoch %s", w.Seconds, w.Entries, w.Epoch)}
	}
	if t := p.Tail; t != nil {
		tail = look.Cell{Text: fmt.Sprintf("%s, lag %d ms", map[bool]string{true: "owned", false: "followed"}[t.Owned], t.Lag)}
		if t.Stale {
			tail = look.Cell{Text: tail.Text + ", STALE", Paint: s.Bad}
		}
	}
	t := look.NewTable(s)
	for _, row := range [][2]any{
		{"topic", p.Topic}, {"slot", fmt.Sprint(p.Slot)}, {"stream", p.Stream}, {"owner", p.Owner}, {"preference", strings.Join(p.Preference, " ")},
		{"why", p.reason()}, {"ring", p.Version}, {"window", window}, {"tail", tail},
	} {
		t.Row(look.Cell{Text: fmt.Sprint(row[0]), Paint: s.Head}, row[1])
	}
	return t.String()
}

// reason says in words why the preference is like that.
func (p place) reason() string {
	if p.Why == "pinned" {
		return fmt.Sprintf("the topic is pinned: the first %d share its load", p.Sharing)
	}
	return fmt.Sprintf("the slot's walk around the ring: the first %d share the load", p.Sharing)
}
