package config

// AdminLimits is what an admin port bears.
type AdminLimits struct {
	// When there are as many, one of which no request is being served makes room; when there is none, the new one gets 503. They count with the descriptors that are left beside those of sessions.
	AdminConnections int `group:"Admin port" default:"128" min:"8" max:"65536" help:"Connections to the admin port at once."`
	// More is refused as a whole, and nothing of it published.
	BatchEntries int `group:"Admin port" default:"1000" min:"1" max:"10000" help:"Entries that one request may publish."`
	// Eight such bodies are in memory at once.
	BatchBytes Size `group:"Admin port" default:"4MiB" min:"4KiB" max:"64MiB" help:"Largest body of a request that publishes several entries."`
}
