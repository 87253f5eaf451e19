package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// Admission is who may open a session, and how fast. A zero field takes the default that stands beside it; where none
// stands, zero means without that limit.
type Admission struct {
	PerIPRate  float64        // new sessions per second and address
	PerIPBurst int            // 20: at once
	PerIPTable int            // 131072: addresses known at most
	PerIPAllow []netip.Prefix // who is not limited by address
	// Of one address, per second and at once: sessions with a resume token, and reservations that are given to it.
	PerIPPassRate  float64 // 30
	PerIPPassBurst int     // 300
	PerIPConns     int     // its connections that are no session yet

	Handshakes       int           // under way, at most; the limit adapts below that
	HandshakeLatency time.Duration // 10ms: how long handshakes may take without the limit's shrinking, however fast they can be
	Queue            int           // 1024: handshakes that wait
	QueueTime        time.Duration // 500ms: how long
	AdmitRate        float64       // new sessions per second that the cluster takes; 0: as measured
	ReturnWindow     time.Duration // 10m: over which clients are told to return, at most
	AcceptLag        time.Duration // how long event loops may take to turn before fewer connections are accepted
}

func (a *Admission) setDefaults() error {
	orElse(&a.PerIPBurst, 20)
	orElse(&a.PerIPTable, 1<<17)
	orElse(&a.PerIPPassRate, 30)
	orElse(&a.PerIPPassBurst, 300)
	orElse(&a.HandshakeLatency, 10*time.Millisecond)
	orElse(&a.Queue, 1024)
	orElse(&a.QueueTime, 500*time.Millisecond)
	orElse(&a.ReturnWindow, 10*time.Minute)
	for name, v := range map[string]float64{
		"rate per address": a.PerIPRate, "burst per address": float64(a.PerIPBurst), "table of addresses": float64(a.PerIPTable),
		"rate of passes per address": a.PerIPPassRate, "burst of passes per address": float64(a.PerIPPassBurst), "connections per address": float64(a.PerIPConns),
		"limit of handshakes": float64(a.Handshakes), "latency of handshakes": float64(a.HandshakeLatency),
		"queue": float64(a.Queue), "queue time": float64(a.QueueTime), "admission rate": a.AdmitRate,
		"return window": float64(a.ReturnWindow), "accept lag": float64(a.AcceptLag),
	} {
		if v < 0 {
			return fmt.Errorf("the %s must not be negative", name)
		}
	}
	return nil
}

const (
	leastHandshakes = 4
	// A session may be gone on with twice at once, and then every 20 s.
	resumeRate, resumeBurst = 0.05, 2
	// usesSize bounds the reservations that are remembered as used: more than can be let in while they are good.
	usesSize = 1 << 18
)

// guessedRate is what this router is taken to admit per second before it has shown it.
func guessedRate() float64 { return admission.FirstRate * float64(runtime.GOMAXPROCS(0)) }

// gate holds what decides about admission. Parts that are nil are without a limit.
type gate struct {
	perIP, perIPPass *admission.Limiter[netip.Addr]
	perSession       *admission.Limiter[uint64]
	uses             *admission.Uses
	door             *admission.Door
	book             *admission.Book
	pacer            *admission.Pacer
	knock            chan struct{} // one lies in it when connections have come
}

func newGate(a Admission) gate {
	g := gate{
		knock:      make(chan struct{}, 1),
		perIPPass:  admission.NewLimiter[netip.Addr](admission.LimiterConfig{Rate: a.PerIPPassRate, Burst: a.PerIPPassBurst, Size: a.PerIPTable}),
		perSession: admission.NewLimiter[uint64](admission.LimiterConfig{Rate: resumeRate, Burst: resumeBurst, Size: a.PerIPTable}),
		uses:       admission.NewUses(usesSize),
		book: admission.NewBook(admission.BookConfig{
			Least: admission.LeastReturn, Horizon: a.ReturnWindow, Grace: admission.ReturnGrace, Rand: rand.Float64,
		}),
	}
	if a.PerIPRate > 0 {
		g.perIP = admission.NewLimiter[netip.Addr](admission.LimiterConfig{Rate: a.PerIPRate, Burst: a.PerIPBurst, Size: a.PerIPTable})
	}
	if a.Handshakes > 0 {
		g.door = admission.NewDoor(admission.DoorConfig{
			Limit: admission.GradientConfig{
				Min: min(leastHandshakes, a.Handshakes), Max: a.Handshakes, Target: a.HandshakeLatency, Rand: rand.Float64,
			},
			Queue: a.Queue, QueueTime: a.QueueTime, Rate: guessedRate(),
		})
	}
	if a.AcceptLag > 0 {
		g.pacer = admission.NewPacer(a.AcceptLag, admission.LeastAccept, admission.FirstAccept*float64(runtime.GOMAXPROCS(0)))
	}
	return g
}

// enter lets a handshake in, after a wait perhaps. It has the place of a session then, and [Router.leave] has to follow.
func (r *Router) enter(hs *handshake) *refusal {
	told := make(chan bool, 1)
	w := &admission.Waiter{Told: func(in bool) { told <- in }}
	waits, no := r.knock(hs, w)
	if no != nil {
		return no
	}
	if waits {
		if no := r.wait(hs, w, told); no != nil {
			r.release()
			return no
		}
	}
	hs.entered = r.now()
	return nil
}

// knock takes the place of a session for a handshake, and asks whether it may begin. When it waits, w is told.
func (r *Router) knock(hs *handshake, w *admission.Waiter) (waits bool, no *refusal) {
	now := r.now()
	class := r.classOf(hs, now)
	if class == admission.New && r.gate.perIP != nil && !r.isAllowed(hs.addr) && !r.gate.perIP.Allow(now, admission.AddrKey(hs.addr)) {
		return false, refuse(fasthttp.StatusTooManyRequests, reasonPerIP, "too many new sessions from this address")
	}
	if no := r.admit(); no != nil {
		return false, no
	}
	if r.gate.door == nil {
		return false, nil
	}
	switch r.gate.door.Enter(now, class, w) {
	case admission.Leave:
		r.release()
		return false, queueFull()
	case admission.Wait:
		return true, nil
	case admission.In:
	}
	return false, nil
}

// queueFull and queueTime refuse because of the crowd.
func queueFull() *refusal {
	return refuse(fasthttp.StatusServiceUnavailable, reasonQueueFull, "more sessions begin at once than can")
}

func queueTime() *refusal {
	return refuse(fasthttp.StatusServiceUnavailable, reasonQueueTime, "more sessions begin at once than can")
}

// patience is how long a handshake waits in the queue.
func (r *Router) patience(hs *handshake) time.Duration {
	return min(r.cfg.Admission.QueueTime, time.Until(hs.deadline))
}

// wait stands in the queue.
func (r *Router) wait(hs *handshake, w *admission.Waiter, told <-chan bool) *refusal {
	patience := time.NewTimer(r.patience(hs))
	defer patience.Stop()
	select {
	case in := <-told:
		if !in {
			return queueFull()
		}
		return nil
	case <-patience.C:
	case <-r.ctx.Done():
	}
	if r.gate.door.Abandon(w) || !<-told {
		return queueTime()
	}
	return nil // it was let in at the last moment
}

// leave tells that a handshake which was let in has been answered.
func (r *Router) leave(hs *handshake, answered bool) {
	if d := r.gate.door; d != nil {
		now := r.now()
		took := now.Sub(hs.entered)
		d.Done(now, took, answered || took >= r.cfg.DialTimeout) // a refusal at once says nothing about the load
	}
}

func (r *Router) isAllowed(a netip.Addr) bool {
	return admission.Allowed(r.cfg.Admission.PerIPAllow, a)
}

// classOf is what the handshake's pass is worth. One that is not believed is counted, and none.
func (r *Router) classOf(hs *handshake, now time.Time) admission.Class {
	text := queryValue(hs.uri, leg.PassParam)
	if text == "" || r.deps.Keys == nil {
		return admission.New
	}
	p, err := r.deps.Keys.OpenPass(text, now)
	if err != nil {
		r.metrics.pass(leg.PassError(err))
		return admission.New
	}
	if p.Kind == leg.PassReservation {
		if !r.gate.uses.First(now, p.ID, p.Until.Add(leg.PassSkew)) {
			r.metrics.pass(passAgain)
			return admission.New
		}
		r.metrics.pass(passReserved)
		return admission.Reserved
	}
	if !r.gate.perSession.Allow(now, p.ID) || !r.isAllowed(hs.addr) && !r.gate.perIPPass.Allow(now, admission.AddrKey(hs.addr)) {
		r.metrics.pass(passTooOften)
		return admission.New
	}
	r.metrics.pass(passResume)
	return admission.Resume
}

// queryValue is the first value of a parameter in a request target; names are compared as they come.
func queryValue(uri, name string) string {
	_, query, _ := strings.Cut(uri, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(pair, "="); key == name {
			v, err := url.QueryUnescape(value)
			if err != nil {
				return value // no pass, and counted as such
			}
			return v
		}
	}
	return ""
}

// rate is how many sessions per second this router is good for.
func (r *Router) rate(now time.Time) float64 {
	if all := r.cfg.Admission.AdmitRate; all > 0 {
		routers := 0
		for _, m := range r.ring().Members() {
			if m.Role == ring.RoleRouter && m.State == ring.StateActive {
				routers++
			}
		}
		return all / float64(max(1, routers))
	}
	if r.gate.door == nil {
		return guessedRate()
	}
	return r.gate.door.Rate(now)
}
