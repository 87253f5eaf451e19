package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before the next connection: the policy that the server's welcome carries.
type backoff struct {
	Min    float64 `json:"min"` // ms
	Max    float64 `json:"max"` // ms
	Factor float64 `json:"factor"`
	Jitter float64 `json:"jitter"`
}

// defaultBackoff serves until a welcome has come.
var defaultBackoff = backoff{Min: 200, Max: 30_000, Factor: 2, Jitter: 0.5}

// valid reports whether the policy is one that can be followed.
func (b backoff) valid() bool {
	return b.Min >= 1 && b.Max >= b.Min && b.Max <= 3.6e6 && b.Factor >= 1 && b.Jitter >= 0 && b.Jitter < 1
}

// delay is the wait after the n-th failure in a row, counted from 0.
func (b backoff) delay(n int) time.Duration {
	ms := min(b.Min*math.Pow(b.Factor, float64(n)), b.Max)
	ms *= 1 + b.Jitter*(2*rand.Float64()-1)
	return time.Duration(ms * float64(time.Millisecond))
}
