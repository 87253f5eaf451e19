//go:build !linux

package eventloop

var inherited, rest [][2]int
