//go:build !linux

package main

import "errors"

func enterStage(string) (code int, started bool) { return 0, false }

// stage is the network of a run: here, loopback, where nothing can be cut.
type stage struct{ why string }

type host struct{ ip string }

func newStage() *stage { return &stage{why: "nodes are cut off from each other only on Linux"} }

func (s *stage) host(string) (*host, error) { return &host{}, nil }

func (s *stage) start(_ *host, name, log, path string, args ...string) (*process, error) {
	return startProcess(name, log, path, args...)
}

func (s *stage) cut(_, _ *host, _ bool) error { return errors.ErrUnsupported }

func (s *stage) heal(_, _ *host, _ bool) error { return errors.ErrUnsupported }
