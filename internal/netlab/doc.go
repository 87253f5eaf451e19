// Package netlab gives a program of tests a network of its own: every host in a network namespace of its own, with an address of its
// own, and the program's routes between them.
//
//	host r1 ── 10.77.1.2 ══ 10.77.1.1 ┐
//	host g1 ── 10.77.2.2 ══ 10.77.2.1 ┼ the program, at [Middle]
//	host g2 ── 10.77.3.2 ══ 10.77.3.1 ┘
//
// A cut is a pair of routing rules by which packets between two hosts vanish without an answer, as they do in a real network; a host
// whose line is down hears nobody. The program itself is started again in namespaces of its own ([Enter]), of which it is the first
// process: the kernel ends all of its processes with it, and takes networks, rules and mounts away with the last. Nothing of it is
// visible outside, and nothing can be left over, however the run ends.
//
// It needs Linux, and root or user namespaces. It starts nothing but itself and ip(8).
package netlab

// Middle is the address at which hosts reach the program.
const Middle = "10.77.0.1"

// insideEnv tells the program that it is inside; its value is why it can't be, when it can't.
const insideEnv = "NETLAB"

const insideOK = "ok"
