package config

// Hot is how a router keeps a hot topic from filling one gateway.
type Hot struct {
	// Of the gateways that share a topic's load; below 1.05 sessions would wander.
	LoadFactor float64 `group:"Hot topics" default:"1.25" help:"How many times the mean a gateway's sessions may be before new ones go to the next; 1.05 to 100."`
	// For each unit of a gateway's weight. With few sessions it is better to have a topic in one place.
	LoadFloor int `group:"Hot topics" default:"100" min:"1" max:"10000000" help:"Sessions of a gateway up to which locality wins, whatever the mean."`
}
