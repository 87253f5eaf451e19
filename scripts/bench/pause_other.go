//go:build !linux

package main

import "time"

func precise() (undo func()) { return func() {} }

// pause waits until t.
func pause(t time.Time) { <-time.After(time.Until(t)) }
