package main

import (
	"context"
	"fmt"
	"math"
)

// axis is what grows, and the points at which it is looked at.
type axis struct {
	Name   string
	X      string // what the horizontal axis of its pictures counts
	Log    bool   // it does so in powers
	Points []point
	Memory bool // there is a picture of the memory of a session

	measure func(context.Context, growthOptions, axis) ([]pointResult, error)
}

// point is a cluster and what is published to it.
type point struct {
	Series            string // points of a series make a line; empty where there is but one
	X                 float64
	Sessions          []int // where the machine has no more left, the next number is measured as well
	Topics            int
	Routers, Gateways int
	Size              int
	Rate              float64 // messages per second, over all topics
	Direct            bool    // subscribers are at the gateways
	Idle              bool    // the cluster is measured without messages, too
	flags             []string
}

// Series.
const (
	seriesChain  = "router and gateway"
	seriesDirect = "gateway alone"
	seriesSends  = "sends and nothing else"
	seriesParked = "shared feeds"
	seriesLegs   = "a leg each"
)

const growthSize = 200 // bytes of a message, where nothing else is said

// Shapes of clusters. A router has a share of its descriptors for a session, as if it were on a leg: below 9,000 sessions, of 20,000 descriptors.
func growthAxes() []axis {
	sessions := axis{Name: "sessions", X: "sessions", Memory: true, measure: measureAxis}
	for _, n := range []int{1000, 4000, 8000, 16000, 32000, 60000} {
		sessions.Points = append(sessions.Points, point{X: float64(n), Sessions: []int{n}, Topics: 1, Routers: 8, Gateways: 4, Size: growthSize, Rate: 1})
	}
	topics := axis{Name: "topics", X: "topics", Log: true, Memory: true, measure: measureAxis}
	for _, n := range []int{1, 10, 100, 1000, 10_000, 50_000} {
		topics.Points = append(topics.Points, point{X: float64(n), Sessions: []int{4000}, Topics: n, Routers: 2, Gateways: 2, Size: growthSize, Rate: 25, Idle: true})
	}
	gateways := axis{Name: "gateways", X: "gateways", Memory: true, measure: measureAxis}
	for _, n := range []int{1, 2, 4, 8, 16} {
		gateways.Points = append(gateways.Points, point{X: float64(n), Sessions: []int{4000}, Topics: 64, Routers: 2, Gateways: n, Size: growthSize, Rate: 64, Idle: true})
	}
	size := axis{Name: "size", X: "bytes of a message", Log: true, Memory: true, measure: measureAxis}
	for _, n := range []int{100, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		size.Points = append(size.Points, point{X: float64(n), Sessions: []int{1000}, Topics: 1, Routers: 1, Gateways: 1, Size: n, Rate: 4})
	}
	rate := axis{Name: "rate", X: "messages/s to one topic", Log: true, measure: measureAxis}
	for _, series := range []string{seriesChain, seriesDirect, seriesSends} {
		for _, n := range []float64{1, 10, 100} {
			if series == seriesSends && n > 10 { // a send for each message costs the same at any rate
				continue
			}
			p := point{Series: series, X: n, Sessions: []int{8000}, Topics: 1, Routers: 1, Gateways: 1, Size: growthSize, Rate: n, Direct: series == seriesDirect}
			if series == seriesSends {
				p.Routers, p.Gateways = 0, 0
			}
			if n == 100 {
				p.Sessions = []int{8000, 2000}
			}
			rate.Points = append(rate.Points, p)
		}
	}
	idle := axis{Name: "idle", X: "idle sessions", measure: measureIdle}
	for _, series := range []string{seriesParked, seriesLegs, seriesDirect} {
		for _, n := range []int{0, 1000, 4000, 8000} {
			p := point{Series: series, X: float64(n), Sessions: []int{n}, Topics: 1, Routers: 1, Gateways: 1, Direct: series == seriesDirect, Idle: true}
			if series == seriesLegs {
				p.flags = []string{"--no-shared-feeds"}
			}
			idle.Points = append(idle.Points, p)
		}
	}
	return []axis{sessions, topics, gateways, size, rate, idle}
}

// count is a number as people read it.
func count(v float64) string {
	if v != math.Trunc(v) || v < 1000 {
		return fmt.Sprintf("%g", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
