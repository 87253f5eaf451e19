// Package ring computes the placement: which shard owns which slot, and which come next.
//
// It is a pure function of the membership. Equal members give an equal ring on every node, in whatever order they became
// known; [Ring.Version] tells whether two nodes agree. There is no I/O, no clock and no goroutine here, and a Ring never
// changes.
//
// The placement is a ring of tokens with bounded loads, resolved as a stable matching: a slot prefers shards in the order
// in which the ring's walk meets them, a shard prefers the slots that are nearest before its tokens, and no shard takes
// more than its bound. docs/decisions/002-placement.md compares it with others.
package ring

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	// TokensPerWeight is how many tokens a shard has on the ring for each unit of its weight.
	TokensPerWeight = 128
	// Bound is how many times its fair share of the slots a shard owns at most, rounded up to a whole slot.
	Bound = 1.05

	// algorithm is part of the version: nodes that place differently must not take each other's ring for theirs.
	algorithm = "ringside-ring-1"
)

// Ring is a placement. It is immutable and safe for concurrent use. Who is where is computed when it is first asked for, and from what
// an earlier ring has computed: where many members come at once most rings are never asked.
type Ring struct {
	members []Member        // all, by role and ID
	shards  []*Member       // the placed ones, by ID; they point into members
	wishes  Wishes          // normal
	apart   map[string]bool // the dedicated shards, by ID; never all of them
	pinned  []Pin           // the wishes that have an effect
	version string

	once   sync.Once
	placed atomic.Pointer[placement] // nil until somebody asks
	basis  atomic.Pointer[placement] // of an earlier ring; nil for none, and once placed is there
	hash   func(id string, i int) uint32
}

// New computes the ring of members. Active gateways are placed, static ones included; all others are only listed. Members
// that share role and ID count once: an active one before any other, then the one with the smallest address.
func New(members []Member) *Ring { return NewWith(members, Wishes{}) }

// NewWith is New with what operators want. Wishes that concern members which are not placed change nothing.
func NewWith(members []Member, wishes Wishes) *Ring {
	return build(new(Ring), members, wishes, tokenAt)
}

// Next is NewWith, at less cost the less has changed since r was computed; as a rule only loads have.
func (r *Ring) Next(members []Member, wishes Wishes) *Ring { return build(r, members, wishes, tokenAt) }

func build(was *Ring, members []Member, wishes Wishes, hash func(id string, i int) uint32) *Ring {
	r := &Ring{members: unique(members), wishes: wishes.normal(), hash: hash}
	for i := range r.members {
		if m := &r.members[i]; m.Role == RoleGateway && m.State == StateActive {
			r.shards = append(r.shards, m)
		}
	}
	r.dedicate()
	r.pinned = r.effective()
	r.version = version(r.shards, r.apart, r.pinned)
	r.basis.Store(was.newest())
	return r
}

// newest is the newest placement that there is, the ring's own or an earlier one; nil for none.
func (r *Ring) newest() *placement {
	if b := r.basis.Load(); b != nil {
		return b
	}
	return r.placed.Load() // which is there before basis goes
}

// placement is who is where.
func (r *Ring) placement() *placement {
	if p := r.placed.Load(); p != nil {
		return p
	}
	r.once.Do(func() {
		r.placed.Store(r.place(r.basis.Load()))
		r.basis.Store(nil)
	})
	return r.placed.Load()
}

// unique sorts a copy of members and drops all but the first of each role and ID.
func unique(members []Member) []Member {
	ms := slices.Clone(members)
	for i := range ms {
		ms[i].Weight = max(ms[i].Weight, 1)
	}
	active := func(m Member) int {
		if m.State == StateActive {
			return 0
		}
		return 1
	}
	slices.SortFunc(ms, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.ID, b.ID), cmp.Compare(active(a), active(b)),
			cmp.Compare(a.State, b.State), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Gossip, b.Gossip),
			cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Zone, b.Zone))
	})
	return slices.CompactFunc(ms, func(a, b Member) bool { return a.Role == b.Role && a.ID == b.ID })
}

// version is a hash over everything that the placement depends on.
func version(shards []*Member, apart map[string]bool, pins []Pin) string {
	h := sha256.New()
	field := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(algorithm)
	for _, m := range shards {
		field(m.ID)
		field(m.Zone)
		var w [8]byte
		binary.BigEndian.PutUint64(w[:], uint64(m.Weight))
		h.Write(w[:])
		if apart[m.ID] {
			field("dedicated")
		}
	}
	for _, p := range pins { // without wishes the version is that of programs that know none
		field("pin")
		field(p.Topic)
		field(strconv.Itoa(len(p.Shards)))
		for _, id := range p.Shards {
			field(id)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Version is a hash of the placement's input, 16 hexadecimal digits: two rings are equal when, and only when, their
// versions are. Loads, addresses and members that are not placed do not enter.
func (r *Ring) Version() string { return r.version }

// Members are all members, by role and ID; the slice is the caller's.
func (r *Ring) Members() []Member { return slices.Clone(r.members) }

// Shards are the placed members by ID. The slice is shared and must not be changed.
func (r *Ring) Shards() []*Member { return r.shards }

// Member is the member with this ID, placed or not. Where a router and a gateway share an ID it is the gateway.
func (r *Ring) Member(id string) (Member, bool) {
	for i := len(r.members) - 1; i >= 0; i-- { // gateways stand behind routers
		if r.members[i].ID == id {
			return r.members[i], true
		}
	}
	return Member{}, false
}

// Owner is the shard that owns slot; ok is false when there is no shard at all. Only the first call of all allocates.
func (r *Ring) Owner(slot int) (m Member, ok bool) {
	if m := r.placement().owner[slot]; m != nil {
		return *m, true
	}
	return Member{}, false
}

// Preference are all shards in the order in which they should serve slot, the owner first. The slice is shared and must
// not be changed. Only the first call of all allocates.
func (r *Ring) Preference(slot int) []*Member { return r.placement().prefs[slot] }

// Owned are the slots that the shard owns, ascending. The slice is shared and must not be changed.
func (r *Ring) Owned(id string) []int { return r.placement().owned[id] }

// With is the ring as it would be with m added, or in place of the member of the same role and ID.
func (r *Ring) With(m Member) *Ring {
	ms := slices.DeleteFunc(r.Members(), func(o Member) bool { return o.Role == m.Role && o.ID == m.ID })
	return r.Next(append(ms, m), r.wishes)
}
