package testcluster

import (
	"testing"

	"go.uber.org/goleak"
)

// Settling is for goleak.VerifyTestMain where libraries leave goroutines behind that end by themselves within seconds and that they
// do not wait for: it looks for leaks only once those have ended, or had the time to.
func Settling(m *testing.M) goleak.TestingM { return settling{m} }

type settling struct{ m *testing.M }

func (s settling) Run() int {
	code := s.m.Run()
	for range 20 {
		if goleak.Find() == nil { // it tries for about a second
			break
		}
	}
	return code
}
