package admin

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// clusterMember is a member in the answer of /cluster: what gossip says of it, and what it says of itself. One of Node and Problem is set, unless
// nobody has asked it yet.
type clusterMember struct {
	member
	Node    *Node  `json:"node"`
	Problem string `json:"problem,omitempty"` // why there is none: a sentence
	Age     int64  `json:"age"`               // of Node, ms; of a problem, how long it has lasted
}

// clusterAnswer is the answer of /cluster.
type clusterAnswer struct {
	Self    string          `json:"self"`
	Version string          `json:"version"` // of the ring
	Slots   int             `json:"slots"`
	Owners  []string        `json:"owners"` // by slot; empty while no gateway is active
	Every   int64           `json:"every"`  // how often others are asked, ms
	Members []clusterMember `json:"members"`
	Pins    []pinAnswer     `json:"pins"`
}

// serveCluster tells of the whole cluster. It waits a moment for what nobody has asked for lately.
func (s *Server) serveCluster(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s.watch.want(r.Context(), r.Header.Get("Authorization"))
	answer(w, http.StatusOK, s.cluster())
	return nil
}

// cluster puts together what is known. Old numbers are not among it: a node that has not answered lately has a problem instead.
func (s *Server) cluster() clusterAnswer {
	current := s.deps.Ring()
	a := clusterAnswer{
		Self: s.cfg.Self, Version: current.Version(), Slots: topic.Slots, Owners: make([]string, topic.Slots),
		Every: watchEvery.Milliseconds(), Members: []clusterMember{}, Pins: []pinAnswer{},
	}
	for i := range a.Owners {
		if m, ok := current.Owner(i); ok {
			a.Owners[i] = m.ID
		}
	}
	if s.deps.Settings != nil {
		for _, p := range s.deps.Settings.Wishes().Pins {
			a.Pins = append(a.Pins, pinAnswer(p))
		}
	}
	now := time.Now()
	self := s.self()
	known := s.watch.answers(now)
	for _, m := range members(current) {
		cm := clusterMember{member: m}
		switch found, ok := known[key{m.Role, m.ID, m.Admin}]; {
		case m.ID == s.cfg.Self && m.Role == s.deps.role():
			cm.Node = &self
		case m.Static:
			cm.Problem = "named by configuration: it has no admin port"
		case ok:
			cm.Node, cm.Problem, cm.Age = found.node, found.problem, found.age
		}
		a.Members = append(a.Members, cm)
	}
	return a
}

// role is what the node is, as an answer has it.
func (d *Deps) role() string {
	if d.Drainer != nil {
		return ring.RoleGateway.String()
	}
	return ring.RoleRouter.String()
}

// others are the members that can be asked.
func (s *Server) others() (list []ring.Member) {
	role := s.deps.role()
	for _, m := range s.deps.Ring().Members() {
		if m.Static || m.Admin == "" || m.State == ring.StateLeft || m.ID == s.cfg.Self && m.Role.String() == role {
			continue
		}
		list = append(list, m)
	}
	if len(list) > maxWatched {
		slices.SortFunc(list, func(a, b ring.Member) int { return strings.Compare(a.ID, b.ID) })
		list = list[:maxWatched]
	}
	return list
}
