//go:build !linux

package eventloop

import "time"

// setKeepAlive keeps the system's intervals: SO_KEEPALIVE alone is portable.
func setKeepAlive(int, int) error { return nil }

// setUnsent leaves the system's.
func setUnsent(int, int) error { return nil }

// unanswered is known on Linux only; elsewhere the write time-outs of sessions have to do.
func unanswered(int) time.Duration { return 0 }
