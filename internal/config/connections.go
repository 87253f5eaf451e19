package config

// Connections bounds those that are no session yet, so that who connects and says nothing costs nobody else.
type Connections struct {
	// When all places are taken, who has not sent a whole request within a fifth of handshake-timeout makes room, and the rest wait in
	// the system's backlog.
	HTTPConnections int `name:"http-connections" group:"Limits" default:"0" min:"0" max:"65536" help:"Connections that are no session yet at most; 0 for an eighth of the descriptor limit, and 4096 at most."`
}

// AddrConnections bounds the same for each address.
type AddrConnections struct {
	// Further ones are closed at once. IPv6 by /64. Not those of per-ip-allow, proxy-protocol-from and trusted-proxies, nor ever more than
	// half of http-connections.
	PerIPConnections int `name:"per-ip-connections" group:"Admission" default:"300" min:"0" max:"65536" help:"Connections of a client address that are no session yet at most; 0 for no limit."`
}
