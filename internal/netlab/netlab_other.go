//go:build !linux

package netlab

import "errors"

// Enter starts nothing: there are no namespaces here.
func Enter(...string) (code int, started bool) { return 0, false }

// Lab is no network: there is none but on Linux.
type Lab struct{}

// Host is none.
type Host struct{ IP, Node string }

// New makes one that says why it is none.
func New() *Lab { return &Lab{} }

// Why says why there is no network.
func (l *Lab) Why() string { return "there are network namespaces only on Linux" }

// Host fails, as does everything else.
func (l *Lab) Host() (*Host, error) { return nil, errors.ErrUnsupported }

// Remove fails.
func (l *Lab) Remove(*Host) error { return errors.ErrUnsupported }

// In fails.
func (l *Lab) In(*Host, func() error) error { return errors.ErrUnsupported }

// Line fails.
func (l *Lab) Line(*Host, bool) error { return errors.ErrUnsupported }

// Cut fails.
func (l *Lab) Cut(_, _ *Host, _ int) error { return errors.ErrUnsupported }

// Heal fails.
func (l *Lab) Heal(_, _ *Host, _ int) error { return errors.ErrUnsupported }
