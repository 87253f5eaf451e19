package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/load"
)

// plan is one storm: who comes back, to what, and by which rules.
//
// Routers don't know of each other while they admit, and clients choose theirs at random, so that a cluster of n routers is n times
// one router with its share of the clients. That one is simulated.
type plan struct {
	Clients int           // of one router
	Policy  bool          // clients keep to delays and to the backoff policy, and show their passes; else they come again as naively as can be
	Resume  bool          // with Policy: they show the resume token of the session that they had too
	Limits  bool          // the router limits addresses and admits
	Shared  float64       // share of the clients that are behind a shared address
	Behind  int           // clients of one shared address that come to this router
	Spread  time.Duration // over which their connections ended
	Patience,
	Retry time.Duration // a naive client's: until it gives an attempt up, and until the next
	Host host
	Rate admission.LimiterConfig // of one address
	Door admission.DoorConfig
	Book admission.BookConfig
	Most time.Duration // after which the simulation ends
	Seed uint64
}

// host is what the processors of one router, and of the gateways that are its share, can do.
type host struct {
	Handshake time.Duration // of processor time that a session costs to be opened, all of the chain
	Refusal   time.Duration // likewise to be refused
	Backlog   int           // connections that wait to be accepted; more get no answer
	Cores     int           // of the router: so many times 2,000 connections are accepted per second at most
}

// step is what a storm is counted in.
const step = load.Step

// slice is what happened in one step of a storm.
type slice struct {
	Attempts, Opened, Refused, Abandoned int
	Open                                 int     // sessions at its end
	Busy                                 float64 // share of the processors' time
	Delay                                time.Duration
}

// outcome is what became of a storm.
type outcome struct {
	Plan  plan
	Steps []slice
	Back  [3]time.Duration // when half, 99 % and all were back; 0 for not at all
}

// What happens. Events carry the low bits of the attempt's number above these, so that those of earlier ones are known.
const (
	comes   uint8 = iota // a client begins an attempt
	parsed               // the router has read its request
	opened               // its handshake is through
	late                 // it has waited in the queue for too long
	giveUp               // it waits no longer
	knocks               // its system asks again, because the first time there was no answer
	accepts              // the router accepts the connection that has waited longest; who has no meaning
	lags                 // the router looks how much its event loops lag; likewise

	kindBits = 4
	kindMask = 1<<kindBits - 1
)

type client struct {
	tries   uint8 // in a row
	number  uint8 // of the attempt
	state   uint8
	pass    bool // it has a reservation
	until   time.Duration
	knock   time.Duration // between its last two requests for a connection
	address int32
	door    *admission.Waiter
}

// States of a client.
const (
	away uint8 = iota
	connecting
	waiting // at the door
	served  // its handshake is under way
	open
)

// world is a storm that runs.
type world struct {
	plan
	agenda
	rng     *rand.Rand
	now     time.Duration
	clients []client
	busy    time.Duration // until when the processors have work
	idle    time.Duration // of the processors in the present second
	pending int           // connections that are not accepted yet, and without limits those that are not read
	backlog []visit       // connections that wait to be accepted, the oldest first
	pacer   *admission.Pacer
	open    int
	limiter *admission.Limiter[int32]
	door    *admission.Door
	book    *admission.Book
	begun   []time.Duration // when each one's handshake began
	sum     []slice
	cur     slice
}

// visit is one attempt of a client.
type visit struct {
	who    int32
	number uint8
}

// acceptLag is the default of the router's setting.
const acceptLag = 20 * time.Millisecond

// origin is the moment 0, for what wants a time of day.
//
//nolint:gochecknoglobals // a constant in all but name
var origin = time.Unix(0, 0)

// simulate runs a storm to its end.
func simulate(p plan) outcome {
	w := &world{plan: p, rng: rand.New(rand.NewPCG(p.Seed, 1)), clients: make([]client, p.Clients), begun: make([]time.Duration, p.Clients)}
	w.Door.Limit.Rand, w.Book.Rand = w.rng.Float64, w.rng.Float64
	w.limiter, w.door, w.book = admission.NewLimiter[int32](p.Rate), admission.NewDoor(w.Door), admission.NewBook(w.Book)
	if p.Limits {
		w.pacer = admission.NewPacer(acceptLag, admission.LeastAccept, admission.FirstAccept*float64(p.Host.Cores))
		w.agenda.plan(admission.LagEvery, lags, 0)
	}
	shared := int(p.Shared * float64(p.Clients))
	for i := range w.clients {
		c := &w.clients[i]
		c.address = int32(i)
		if i < shared {
			c.address = int32(-1 - i/max(1, p.Behind))
		}
		lost := time.Duration(w.rng.Float64() * float64(p.Spread))
		w.later(lost+w.again(c), comes, int32(i))
	}
	w.run()
	return summarize(p, w.sum)
}

// later plans what happens to a client's present attempt.
func (w *world) later(at time.Duration, kind uint8, who int32) {
	w.agenda.plan(at, kind|w.clients[who].number<<kindBits, who)
}

func (w *world) run() {
	for w.open < len(w.clients) {
		e, ok := w.next()
		if !ok || e.at > w.Most {
			return
		}
		for e.at >= time.Duration(len(w.sum)+1)*step {
			w.endStep()
		}
		w.now = e.at
		w.happen(e)
	}
	w.endStep()
}

func (w *world) happen(e event) {
	who, c := e.who, &w.clients[e.who]
	kind, present := e.kind&kindMask, e.kind>>kindBits == c.number&kindMask // else of an attempt that was given up
	switch {
	case kind == comes:
		w.comes(who, c)
	case kind == accepts:
		w.accept()
	case kind == lags:
		w.pacer.Lagged(max(0, w.busy-w.now))
		w.agenda.plan(w.now+admission.LagEvery, lags, 0)
	case kind == parsed:
		if !w.Limits {
			w.pending--
		}
		if present && c.state == connecting {
			w.parsed(who, c)
		}
	case !present:
	case kind == opened && c.state == served:
		w.opened(who, c)
	case kind == knocks && c.state == connecting:
		w.knock(who, c, 2*c.knock)
	case kind == late && c.state == waiting && w.door.Abandon(c.door):
		w.refuse(who, c)
	case kind == giveUp && c.state != open && c.state != away:
		w.giveUp(who, c)
	}
}

// work puts work into the line of the processors, and tells when it is done.
func (w *world) work(d time.Duration) time.Duration {
	if w.busy < w.now {
		w.idle += w.now - w.busy
		w.busy = w.now
	}
	w.busy += d
	return w.busy
}

func (w *world) comes(who int32, c *client) {
	c.number++
	c.state = connecting
	w.cur.Attempts++
	w.later(w.now+w.Patience, giveUp, who)
	w.knock(who, c, time.Second)
}

// knock asks for a connection. Where the backlog is full there is no answer, and the client's system asks again: after 1 s, 2 s more,
// 4 s more (RFC 6298, section 2).
func (w *world) knock(who int32, c *client, again time.Duration) {
	if w.pending >= w.Host.Backlog {
		c.knock = again
		w.later(w.now+again, knocks, who)
		return
	}
	w.pending++
	if w.pacer == nil {
		w.later(w.work(w.Host.Refusal), parsed, who) // to read a request costs what a refusal does, but for the answer
		return
	}
	if w.backlog = append(w.backlog, visit{who, c.number}); len(w.backlog) == 1 {
		w.agenda.plan(w.now+w.pacer.Wait(origin.Add(w.now)), accepts, 0)
	}
}

// accept takes the connection that has waited longest. Whose client has given up costs as much.
func (w *world) accept() {
	v := w.backlog[0]
	if w.backlog = w.backlog[1:]; len(w.backlog) > 0 {
		w.agenda.plan(w.now+w.pacer.Wait(origin.Add(w.now)), accepts, 0)
	}
	w.pending--
	w.agenda.plan(w.work(w.Host.Refusal), parsed|v.number<<kindBits, v.who)
}

func (w *world) parsed(who int32, c *client) {
	if !w.Limits {
		w.begin(who, c)
		return
	}
	class := admission.New
	switch {
	case c.pass && w.now <= c.until:
		class = admission.Reserved
	case w.Policy && w.Resume:
		class = admission.Resume
	case !w.limiter.Allow(origin.Add(w.now), c.address):
		w.refuse(who, c)
		return
	}
	c.door = &admission.Waiter{Told: func(in bool) {
		if in {
			w.begin(who, c)
			return
		}
		w.refuse(who, c)
	}}
	c.state = waiting
	switch w.door.Enter(origin.Add(w.now), class, c.door) {
	case admission.In:
		w.begin(who, c)
	case admission.Wait:
		w.later(w.now+w.Door.QueueTime, late, who)
	case admission.Leave:
		w.refuse(who, c)
	}
}

// begin opens the session: the gateways have work now.
func (w *world) begin(who int32, c *client) {
	c.state, c.door = served, nil
	w.begun[who] = w.now
	w.later(w.work(w.Host.Handshake-w.Host.Refusal), opened, who)
}

func (w *world) opened(who int32, c *client) {
	if w.Limits {
		defer w.door.Done(origin.Add(w.now), w.now-w.begun[who], true)
	}
	c.state, c.pass, c.tries = open, false, 0
	w.open++
	w.cur.Opened++
}

func (w *world) refuse(who int32, c *client) {
	c.state, c.door = away, nil
	w.cur.Refused++
	back := w.book.Reserve(origin.Add(w.now), w.door.Rate(origin.Add(w.now)), w.door.Queued())
	if w.Policy {
		c.pass, c.until = true, back.Until.Sub(origin)
		w.later(max(w.now, back.From.Sub(origin)), comes, who)
		return
	}
	w.later(w.now+w.again(c), comes, who)
}

func (w *world) giveUp(who int32, c *client) {
	if c.state == waiting {
		w.door.Abandon(c.door)
	}
	if c.state == served && w.Limits {
		w.door.Done(origin.Add(w.now), w.now-w.begun[who], true)
	}
	w.cur.Abandoned++
	c.state, c.door = away, nil
	w.later(w.now+w.again(c), comes, who)
}

// again is until a client's next attempt, where nobody has told it.
func (w *world) again(c *client) time.Duration {
	if !w.Policy {
		return w.Retry
	}
	d := backoff(c.tries, w.rng.Float64())
	c.tries = min(c.tries+1, 20)
	return d
}

// backoff is the cluster's policy as it is by default; random is from [0, 1).
func backoff(tries uint8, random float64) time.Duration {
	d := min(30*time.Second, time.Duration(float64(200*time.Millisecond)*math.Pow(2, float64(min(tries, 20)))))
	return time.Duration(float64(d) * (0.5 + random))
}

func (w *world) endStep() {
	end := time.Duration(len(w.sum)+1) * step
	if w.busy < end {
		w.idle += end - w.busy
		w.busy = end
	}
	w.cur.Open, w.cur.Busy, w.cur.Delay = w.open, 1-w.idle.Seconds()/step.Seconds(), w.busy-end
	w.sum = append(w.sum, w.cur)
	w.cur, w.idle = slice{}, 0
}

// summarize finds when the clients were back.
func summarize(p plan, sum []slice) outcome {
	o := outcome{Plan: p, Steps: sum}
	for i, share := range []float64{0.5, 0.99, 1} {
		at, _ := slices.BinarySearchFunc(sum, int(share*float64(p.Clients)), func(s slice, n int) int { return s.Open - n })
		if at < len(sum) {
			o.Back[i] = time.Duration(at+1) * step
		}
	}
	return o
}

// Attempts are how often a client has tried, in the mean.
func (o outcome) Attempts() float64 {
	n := 0
	for _, s := range o.Steps {
		n += s.Attempts
	}
	return float64(n) / float64(o.Plan.Clients)
}

// Peak is how many attempts there were at most in a second.
func (o outcome) Peak() int {
	most := 0
	for _, s := range o.Steps {
		most = max(most, s.Attempts)
	}
	return most * int(time.Second/step)
}

func (o outcome) String() string {
	return fmt.Sprintf("half back after %v, 99 %% %v, all %v; %.1f attempts each, %d/s at most", o.Back[0], o.Back[1], o.Back[2], o.Attempts(), o.Peak())
}
