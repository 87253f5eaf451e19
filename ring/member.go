package ring

// Role is what a member of the cluster does.
type Role uint8

// The roles. The zero Role is invalid.
const (
	RoleRouter Role = iota + 1
	RoleGateway
)

// State is where a member stands in its life.
type State uint8

// The states, in the order in which a member passes through them. The zero State is invalid.
const (
	StateJoining  State = iota + 1 // started, not yet able to do its work: owns nothing, gets no sessions
	StateActive                    // does its work
	StateDraining                  // leaves: owns nothing, gets no new sessions
	StateLeft                      // gone on purpose
)

// Member is one node of the cluster as its gossip describes it. It is a value; nothing in it is shared.
type Member struct {
	ID     string // of a gateway the shard ID, stable over restarts; of a router its node name
	Role   Role
	State  State
	Addr   string // host:port that takes sessions
	Admin  string // host:port of the admin port; empty for a static upstream
	Gossip string // host:port of gossip; empty for a static upstream
	Zone   string // failure zone; empty when not set
	Weight int    // share of the ring, 1 when not set
	Load   uint64 // sessions that it carries, as last gossiped; at a gateway those of a feed are one. Not an input of the placement
	Static bool   // named by configuration instead of gossip; its answers carry no leg header
}
