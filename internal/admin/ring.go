package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// member is a member in the answer of /ring. The order of the fields is that of the answer.
type member struct {
	ID     string `json:"id"`
	Role   string `json:"role"`
	State  string `json:"state"`
	Slots  int    `json:"slots"` // owned
	Load   uint64 `json:"load"`  // sessions, as last gossiped
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
		writeText(w, placeText(s.place(r.Context(), current, name)))
	case one:
		answer(w, http.StatusOK, s.place(r.Context(), current, name))
	case text:
		writeText(w, ringText(s.cfg.Self, current.Version(), members(current)))
	default:
		writeJSON(w, http.StatusOK, ringJSON(s.cfg.Self, current.Version(), members(current)))
	}
	return nil
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the client has gone when it fails
}

// ringJSON has a line per member, so that it reads well in a terminal.
func ringJSON(self, version string, list []member) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n  \"node\": %s,\n  \"version\": %s,\n  \"slots\": %d,\n  \"members\": [", encode(self), encode(version), topic.Slots)
	for i, m := range list {
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

func ringText(self, version string, list []member) string {
	var b strings.Builder
	gateways, load := 0, uint64(0)
	for _, m := range list {
		load += m.Load
		if m.Role == ring.RoleGateway.String() && m.State == ring.StateActive.String() {
			gateways++
		}
	}
	fmt.Fprintf(&b, "ring %s as %s sees it: %d slots on %d active gateways\n\n", version, self, topic.Slots, gateways)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tROLE\tSTATE\tSLOTS\tSESSIONS\tWEIGHT\tZONE\tADDRESS\tADMIN")
	for _, m := range list {
		role, slots, weight := m.Role, fmt.Sprint(m.Slots), fmt.Sprint(m.Weight)
		switch {
		case m.Static:
			role = "static"
		case m.Apart:
			role = "dedicated"
		}
		if m.Role == ring.RoleRouter.String() {
			slots, weight = "-", "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			m.ID, role, m.State, slots, m.Load, weight, dash(m.Zone), m.Addr, dash(m.Admin))
	}
	_ = t.Flush() // a strings.Builder takes everything
	return b.String()
}

func placeText(p place) string {
	window, tail := "unknown: redis does not answer", "not tailed by this node"
	if w := p.Window; w != nil {
		window = fmt.Sprintf("%.0f s, %d entries, epoch %s", w.Seconds, w.Entries, w.Epoch)
	}
	if t := p.Tail; t != nil {
		tail = fmt.Sprintf("%s, lag %d ms", map[bool]string{true: "owned", false: "followed"}[t.Owned], t.Lag)
		if t.Stale {
			tail += ", STALE"
		}
	}
	return fmt.Sprintf("topic       %s\nslot        %d\nstream      %s\nowner       %s\npreference  %s\nwhy         %s\nring        %s\nwindow      %s\ntail        %s\n",
		p.Topic, p.Slot, p.Stream, dash(p.Owner), dash(strings.Join(p.Preference, " ")), p.reason(), p.Version, window, tail)
}

// reason says in words why the preference is like that.
func (p place) reason() string {
	if p.Why == "pinned" {
		return fmt.Sprintf("the topic is pinned: the first %d share its load", p.Sharing)
	}
	return fmt.Sprintf("the slot's walk around the ring: the first %d share the load", p.Sharing)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
