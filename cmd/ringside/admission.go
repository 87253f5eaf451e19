package main

import (
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/router"
)

// admissionOf is how a router admits sessions.
func admissionOf(a config.Admission, c config.AddrConnections) router.Admission {
	return router.Admission{
		PerIPConns: c.PerIPConnections,
		PerIPRate:  a.PerIPRate, PerIPBurst: a.PerIPBurst, PerIPTable: a.PerIPTable, PerIPAllow: config.Prefixes(a.PerIPAllow),
		PerIPPassRate: a.PerIPPassRate, PerIPPassBurst: a.PerIPPassBurst,
		Handshakes: a.Handshakes, HandshakeLatency: a.HandshakeLatency, Queue: a.AdmitQueue, QueueTime: a.AdmitQueueTime,
		AdmitRate: a.AdmitRate, ReturnWindow: a.ReturnWindow, AcceptLag: a.AcceptLag,
	}
}
