//go:build !race

package testcluster

// Race reports whether the tests run under the race detector: the binary is then built with it too, and time
// limits are longer.
const Race = false
