package config

import "time"

// Counts is how gateways count who follows a topic.
type Counts struct {
	// Only what has changed is told, to the one gateway that adds it up: so old is what another gateway's part of a count may be.
	CountEvery time.Duration `group:"Counts" default:"500ms" min:"50ms" max:"1m" help:"Time between two reports of how many follow each topic to other gateways."`
	// Sessions that asked for it (?viewers=1) are told a topic's count at once, and then when it has changed. Each time costs what a message to them costs.
	ViewersEvery time.Duration `group:"Counts" default:"5s" min:"100ms" max:"1h" help:"How often at most sessions that asked are told how many follow their topic."`
}
