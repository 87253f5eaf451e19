package main

import (
	"regexp"
	"strings"
)

// target is a package's benchmarks that are held: those of hot paths, which cost per message, delivery, handshake or session.
type target struct {
	pkg     string
	pure    []string     // compute only
	sockets []withSocket // go through the kernel: what they cost depends on what else the machine does
}

// withSocket is a benchmark of a whole process, of which some goroutines allocate now and then.
type withSocket struct {
	name  string
	slack float64 // by so many its allocations may differ: fewer than one in each delivery of a turn
}

//nolint:gochecknoglobals // constants in all but name
var (
	targets = []target{
		{pkg: "gateway", pure: []string{"Encode", "Take", "Batch", "CableBatch", "Heartbeat", "Parse"}, sockets: []withSocket{{"FanOut", 32}}},
		{pkg: "router", pure: []string{"FeedTake", "FeedGather", "Understand", "Request", "Answer", "Frames", "Order"}, sockets: []withSocket{{"FeedFanOut", 32}, {"Splice", 250}, {"Handshake", 60}}},
		{pkg: "leg", pure: []string{"StripOneRecord", "Strip", "PutHeader", "Seal", "Open", "Sign", "Verify", "Resume"}},
		{pkg: "ring", pure: []string{"Lookup"}},
		{pkg: "stream", pure: []string{"PublishCall", "Decode"}},
		{pkg: "internal/topiclog", pure: []string{"Append", "Read", "Seek"}},
		{pkg: "internal/wsframe", pure: []string{"Feed", "FeedMasked", "AppendFrame"}},
		{pkg: "internal/position", pure: []string{"AppendText", "Parse"}},
		{pkg: "internal/topic", pure: []string{"Slot", "FromURI"}},
		{pkg: "internal/admission", pure: []string{"Allow", "LimiterFlood"}},
		{pkg: "internal/eventloop", sockets: []withSocket{{"PostToIdleLoop", 0}}},
	}

	// notHeld are the other benchmarks, and why they are not held.
	notHeld = map[string]string{
		"gateway.Hottest":            "a look by an operator, at 100,000 topics",
		"gateway.Viewers":            "measures a whole gateway",
		"ring.New":                   "once for a change of members",
		"ring.Next":                  "once for a change of members",
		"router.Bulk":                "large messages; what a read of ours takes is compared within it",
		"router.TLS":                 "measures crypto/tls",
		"stream.Publish":             "measures Redis",
		"internal/eventloop.Echo":    "compares kinds of loops with each other",
		"internal/eventloop.SendAll": "compares ways to write to many with each other",
		"internal/handover.Give":     "once for a takeover",
		"internal/load.NextMark":     "of the load generator",
		"internal/tally.Report":      "once for a changed count, some times a second",
	}
)

// pattern is what `go test -bench` takes for these.
func pattern(names []string) string { return "^Benchmark(" + strings.Join(names, "|") + ")$" }

// socketNames are the names of those with sockets.
func (t target) socketNames() (names []string) {
	for _, s := range t.sockets {
		names = append(names, s.name)
	}
	return names
}

// named are the targets whose benchmarks the expression names, and of those the benchmarks.
func named(all []target, only *regexp.Regexp) (list []target) {
	for _, t := range all {
		var some target
		for _, n := range t.pure {
			if only.MatchString(t.pkg + "." + n) {
				some.pure = append(some.pure, n)
			}
		}
		for _, s := range t.sockets {
			if only.MatchString(t.pkg + "." + s.name) {
				some.sockets = append(some.sockets, s)
			}
		}
		if some.pkg = t.pkg; len(some.pure)+len(some.sockets) > 0 {
			list = append(list, some)
		}
	}
	return list
}

// socket is the benchmark with sockets that a name, or what is within it, belongs to; nil for one that only computes.
func (t target) socket(name string) *withSocket {
	base, _, _ := strings.Cut(name, "/")
	for i := range t.sockets {
		if t.sockets[i].name == base {
			return &t.sockets[i]
		}
	}
	return nil
}
