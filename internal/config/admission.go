package config

import (
	"errors"
	"time"
)

// Admission is who may open a session at a router, and how fast. Sessions that are established are not concerned.
type Admission struct {
	// A token bucket per address, IPv6 by /64. Reservations and resume tokens pass it.
	PerIPRate float64 `name:"per-ip-rate" group:"Admission" default:"3" help:"New sessions per second and client address; 0 for no limit."`
	// A household or an office whose router came back is served at once; a page that is opened twenty times as well.
	PerIPBurst int `name:"per-ip-burst" group:"Admission" default:"20" min:"1" max:"100000" help:"New sessions of a client address at once."`
	// About 100 bytes each. Only addresses that came within the last seconds have a place.
	PerIPTable int `name:"per-ip-table" group:"Admission" default:"131072" min:"16" max:"16777216" help:"Client addresses that are known at most."`
	// Loopback is a proxy or a probe on the same machine. Name a stadium's or a carrier's gateway here.
	PerIPAllow []Prefix `name:"per-ip-allow" group:"Admission" default:"127.0.0.0/8,::1/128" help:"Networks that are not limited by address, separated by commas."`
	// Many people may stand behind one address, and one attacker: what has a resume token, and reservations given out.
	PerIPPassRate  float64 `name:"per-ip-pass-rate" group:"Admission" default:"30" help:"Sessions resumed, and reservations given, per second and client address."`
	PerIPPassBurst int     `name:"per-ip-pass-burst" group:"Admission" default:"300" min:"1" max:"1000000" help:"The same at once."`

	// The limit follows from how long handshakes take, and stays below this.
	Handshakes int `group:"Admission" default:"512" min:"0" max:"65536" help:"Handshakes under way with gateways at most; 0 for no limit, and no queue."`
	// On a network of more than a few milliseconds the least latency that is measured counts instead.
	HandshakeLatency time.Duration `group:"Admission" default:"10ms" min:"100us" max:"10s" help:"Latency of handshakes that is always good enough."`
	// Each is an open connection.
	AdmitQueue     int           `group:"Admission" default:"1024" min:"1" max:"65536" help:"Handshakes that wait to begin at most."`
	AdmitQueueTime time.Duration `group:"Admission" default:"500ms" min:"1ms" max:"1m" help:"How long a handshake waits at most."`
	// Routers divide it among them.
	AdmitRate float64 `group:"Admission" default:"0" help:"New sessions per second that the whole cluster takes, for those who are told to come back; 0 for as many as is measured."`
	// What is booked beyond is spread over the second half of it.
	ReturnWindow time.Duration `group:"Admission" default:"10m" min:"2s" max:"1h" help:"Time over which clients that are turned away are told to return at most."`
	// Then connections wait in the system's backlog.
	AcceptLag time.Duration `group:"Admission" default:"20ms" min:"0s" max:"10s" help:"Lag of the event loops above which fewer connections are accepted; 0 for no limit."`
}

func (a *Admission) validate() error {
	switch {
	case !(a.PerIPRate >= 0 && a.PerIPRate <= 1e6): // written so that it refuses NaN
		return errors.New("per-ip-rate: want 0 to 1000000")
	case !(a.PerIPPassRate >= 0.01 && a.PerIPPassRate <= 1e6):
		return errors.New("per-ip-pass-rate: want 0.01 to 1000000")
	case !(a.AdmitRate >= 0 && a.AdmitRate <= 1e9):
		return errors.New("admit-rate: want 0 to 1000000000")
	}
	return nil
}
