//go:build !linux

package load

import "time"

func precise() (undo func()) { return func() {} }

// pause waits until t.
func pause(t time.Time) { <-time.After(time.Until(t)) }
