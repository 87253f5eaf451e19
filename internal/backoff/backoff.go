// Package backoff is the policy by which clients come back: told in the welcome, obeyed by clients, and the measure of
// every delay that routers and gateways choose for a client. It is pure but for its dice.
package backoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Policy says how long a client waits before its n-th try in a row, counted from 0: Min × Factor^n, at most Max, times a
// random factor within 1 ± Jitter.
type Policy struct {
	Min    time.Duration
	Max    time.Duration
	Factor float64
	Jitter float64
}

// Default is the policy of a cluster that nobody has told another.
func Default() Policy {
	return Policy{Min: 200 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Jitter: 0.5}
}

// Bounds of a policy. They keep a slip of the operator's from becoming a storm, or an outage of hours.
const (
	leastMin   = time.Millisecond
	mostMax    = time.Hour
	mostFactor = 10
	mostJitter = 0.9
)

// Validate says what is wrong with the policy; nil when it can be followed.
func (p Policy) Validate() error {
	switch {
	case p.Min < leastMin || p.Min%time.Millisecond != 0:
		return fmt.Errorf("min is %v: want whole milliseconds, %v or more", p.Min, leastMin)
	case p.Max < p.Min || p.Max > mostMax || p.Max%time.Millisecond != 0:
		return fmt.Errorf("max is %v: want whole milliseconds, from min (%v) to %v", p.Max, p.Min, mostMax)
	case !(p.Factor >= 1 && p.Factor <= mostFactor): // so that NaN is refused too
		return fmt.Errorf("factor is %v: want 1 to %d", p.Factor, mostFactor)
	case !(p.Jitter >= 0 && p.Jitter <= mostJitter):
		return fmt.Errorf("jitter is %v: want 0 to %v", p.Jitter, mostJitter)
	}
	return nil
}

// wire is the policy as clients and admin ports read it: times in milliseconds.
type wire struct {
	Min    int64   `json:"min"`
	Max    int64   `json:"max"`
	Factor float64 `json:"factor"`
	Jitter float64 `json:"jitter"`
}

// MarshalJSON gives {"min","max","factor","jitter"}, times in milliseconds.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{p.Min.Milliseconds(), p.Max.Milliseconds(), p.Factor, p.Jitter})
}

// UnmarshalJSON takes what MarshalJSON gives. It does not validate; fields that are not there become zero.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	const most = math.MaxInt64 / int64(time.Millisecond)
	if w.Min < 0 || w.Min > most || w.Max < 0 || w.Max > most {
		return errors.New("a time is out of range")
	}
	*p = Policy{time.Duration(w.Min) * time.Millisecond, time.Duration(w.Max) * time.Millisecond, w.Factor, w.Jitter}
	return nil
}

// String is the policy as it is set: min=200ms max=30s factor=2 jitter=0.5.
func (p Policy) String() string {
	return fmt.Sprintf("min=%v max=%v factor=%v jitter=%v", p.Min, p.Max, p.Factor, p.Jitter)
}

// With is the policy with some of its fields changed, each "name=value". The result is validated.
func (p Policy) With(changes ...string) (Policy, error) {
	seen := map[string]bool{}
	for _, c := range changes {
		name, value, ok := strings.Cut(c, "=")
		var err error
		switch {
		case !ok:
			return p, fmt.Errorf("%.40q: want name=value, for example min=200ms", c)
		case seen[name]:
			return p, fmt.Errorf("%s is given twice", name)
		case name == "min":
			p.Min, err = time.ParseDuration(value)
		case name == "max":
			p.Max, err = time.ParseDuration(value)
		case name == "factor":
			p.Factor, err = strconv.ParseFloat(value, 64)
		case name == "jitter":
			p.Jitter, err = strconv.ParseFloat(value, 64)
		default:
			return p, fmt.Errorf("%.40q is no part of the policy: want min, max, factor or jitter", name)
		}
		if err != nil {
			return p, fmt.Errorf("%s=%.40s can't be read: want for example min=200ms max=30s factor=2 jitter=0.5", name, value)
		}
		seen[name] = true
	}
	return p, p.Validate()
}

// Version tells policies apart: equal policies have equal ones, on every node. It is never 0.
func (p Policy) Version() uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, p)
	return max(1, h.Sum32())
}

// Delay is the wait after the n-th failure in a row, counted from 0.
func (p Policy) Delay(n int) time.Duration {
	d := math.Min(float64(p.Min)*math.Pow(p.Factor, float64(n)), float64(p.Max))
	return time.Duration(d * (1 + p.Jitter*(2*rand.Float64()-1)))
}

// Widest is a window for [Policy.Over] that only the policy bounds.
const Widest = mostMax

// Over chooses a delay for one of many clients that are sent away together, so that their returns are spread over the
// window: Min at least, Min and the window or Max at most.
func (p Policy) Over(window time.Duration) time.Duration {
	window = min(window, p.Max-p.Min)
	if window <= 0 {
		return p.Min
	}
	return p.Min + rand.N(window)
}

// Soon chooses a delay for a client that is to come back soon, because what it was connected to is gone without a word:
// 25 times Min at most, 5 s by default.
func (p Policy) Soon() time.Duration { return p.Paced(Widest) }

// Paced chooses a delay for a client that is sent away as one of many, one after the other over the window. That spreads their returns
// already, so that each may come back soon.
func (p Policy) Paced(window time.Duration) time.Duration {
	return p.Over(min(window, p.SoonMost()-p.Min))
}

// SoonMost is the longest that Soon gives.
func (p Policy) SoonMost() time.Duration { return min(25*p.Min, p.Max) }

// Steady chooses the delay of a client that knows one only, and no factor, such as a browser's EventSource: 5 to 15 times
// Min, 1 to 3 s by default, and Max at most.
func (p Policy) Steady() time.Duration { return min(5*p.Min+rand.N(10*p.Min), p.Max) }
