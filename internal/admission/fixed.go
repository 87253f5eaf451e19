package admission

import "time"

// What is no setting: of routers, and of a simulation of them.
const (
	// FirstRate is what each core of a router is taken to admit per second before it has shown it: a quarter of what one does
	// together with its share of the gateways and the clients (docs/SCALE.md). A crowd that is turned away in the first second is told to return
	// at that rate, however fast it then turns out to be.
	FirstRate = 500
	// ReturnGrace is how long after its time a reservation is good.
	ReturnGrace = 10 * time.Second
	// LeastReturn is the soonest that a client is told to return.
	LeastReturn = time.Second
	// Accepting goes on at LeastAccept however much the loops lag. FirstAccept is for each core, before it is known how fast it is: so many first
	// requests are read and refused in a fraction of its time, and a backlog that is taken up at once would stand before the loops' next turn.
	LeastAccept, FirstAccept = 100, 4_000
	// LagEvery is how often the event loops are asked how long they take to turn.
	LagEvery = 50 * time.Millisecond
)
