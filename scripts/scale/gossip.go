package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	metrics "github.com/hashicorp/go-metrics"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gossip"
	"github.com/ringside-edge/ringside/ring"
)

// gossipResult is what gossip costs, and how fast it is, with so many members.
type gossipResult struct {
	Members int
	Formed  time.Duration // from the first start to the moment when all knew all
	Drain   spread        // from SetState to every other member's ring
	Crash   spread        // from the death without a word likewise
	Join    spread        // from the start of one more likewise
	Sent    float64       // bytes that a member sends per second when nothing happens; UDP, and TCP for the exchanges of the whole state
	CPU     float64       // share of one core per member when nothing happens
	Heap    float64       // bytes per member
}

func (r gossipResult) String() string {
	return fmt.Sprintf("%3d members: formed in %v; a drain known to half after %v and to all after %v, a crash %v and %v, a join %v and %v; "+
		"quiet, each sends %.0f B/s, takes %.2f %% of a core and %.0f KiB", r.Members, r.Formed.Round(time.Millisecond),
		r.Drain.Median, r.Drain.Last, r.Crash.Median, r.Crash.Last, r.Join.Median, r.Join.Last, r.Sent, 100*r.CPU, r.Heap/1024)
}

// spread is when half of the members, and the last one, knew.
type spread struct{ Median, Last time.Duration }

const (
	gossipTimeout = 2 * time.Minute       // for all to know of one change
	gossipPoll    = 5 * time.Millisecond  // how often new rings are looked for
	gossipSettle  = 12 * time.Second      // one exchange of the whole state
	gossipQuiet   = 20 * time.Second      // over which the cost of doing nothing is taken
	gossipStagger = 50 * time.Millisecond // between two starts
	gossipGC      = 400                   // GOGC: the members share a heap, which none of them would have
	routersOf     = 4                     // one member in so many is a router
)

// crowd are members in this process, each with sockets of its own on loopback.
type crowd struct {
	nodes []*crowdNode
	sink  *byteSink
	seeds []string
}

type crowdNode struct {
	*gossip.Node
	id     string
	cancel context.CancelFunc
	done   chan struct{}
}

// measureGossip starts the members, lets one drain, one die and one join, and takes the cost of a quiet time.
func measureGossip(ctx context.Context, members int) (gossipResult, error) {
	c := &crowd{sink: newByteSink()}
	if _, err := metrics.NewGlobal(&metrics.Config{FilterDefault: true}, c.sink); err != nil {
		return gossipResult{}, fmt.Errorf("cannot count the bytes of gossip: %w", err)
	}
	defer c.stop()
	defer debug.SetGCPercent(debug.SetGCPercent(gossipGC))
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res := gossipResult{Members: members}
	began := time.Now()
	for i := range members {
		if err := c.start(i); err != nil {
			return res, err
		}
		select {
		case <-ctx.Done():
			return res, ctx.Err()
		case <-time.After(gossipStagger):
		}
	}
	if _, err := c.until(ctx, "all know all", func(n *crowdNode) bool { return active(n.Ring()) == members }); err != nil {
		return res, err
	}
	res.Formed = time.Since(began)
	if err := pause(ctx, gossipSettle); err != nil {
		return res, err
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	res.Heap = float64(int64(after.HeapInuse+after.StackInuse)-int64(before.HeapInuse+before.StackInuse)) / float64(members)
	sent, used := c.sink.bytes(), cpuTime()
	if err := pause(ctx, gossipQuiet); err != nil {
		return res, err
	}
	res.Sent = float64(c.sink.bytes()-sent) / gossipQuiet.Seconds() / float64(members)
	res.CPU = (cpuTime() - used).Seconds() / gossipQuiet.Seconds() / float64(members)
	return res, c.changes(ctx, &res)
}

// changes takes how long each kind of change takes to be known to all.
func (c *crowd) changes(ctx context.Context, res *gossipResult) (err error) {
	drains := c.nodes[len(c.nodes)-1]
	drains.SetState(ring.StateDraining)
	if res.Drain, err = c.until(ctx, "a drain is known", func(n *crowdNode) bool { return state(n.Ring(), drains.id) == ring.StateDraining }); err != nil {
		return err
	}
	dies := c.nodes[len(c.nodes)-2]
	c.nodes = slices.DeleteFunc(c.nodes, func(n *crowdNode) bool { return n == dies })
	if err := dies.Close(); err != nil { // its sockets; the others are told nothing
		return fmt.Errorf("cannot end a member: %w", err)
	}
	defer dies.end()
	if res.Crash, err = c.until(ctx, "a crash is known", func(n *crowdNode) bool { return state(n.Ring(), dies.id) == 0 }); err != nil {
		return err
	}
	if err := c.start(res.Members); err != nil {
		return err
	}
	joins := c.nodes[len(c.nodes)-1]
	res.Join, err = c.until(ctx, "a join is known", func(n *crowdNode) bool { return state(n.Ring(), joins.id) == ring.StateActive })
	return err
}

// start starts the member with this number.
func (c *crowd) start(i int) error {
	role, id := ring.RoleGateway, fmt.Sprintf("gateway-%d.eu-west-1.example", i)
	if i%routersOf == 0 {
		role, id = ring.RoleRouter, fmt.Sprintf("router-%d.eu-west-1.example", i)
	}
	n, err := gossip.New(gossip.Config{
		Bind: "127.0.0.1:0", Join: c.seeds, Secret: "a secret that encrypts what is measured here",
		Self: ring.Member{
			ID: id, Role: role, State: ring.StateActive, Weight: 1, Zone: "eu-west-1a",
			Addr: fmt.Sprintf("10.0.%d.%d:9101", i/256, i%256), Admin: fmt.Sprintf("10.0.%d.%d:9201", i/256, i%256),
		},
	}, zap.NewNop())
	if err != nil {
		return fmt.Errorf("cannot start member %d: %w", i, err)
	}
	if len(c.seeds) < 3 {
		c.seeds = append(c.seeds, n.Addr())
	}
	ctx, cancel := context.WithCancel(context.Background())
	node := &crowdNode{Node: n, id: id, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(node.done)
		_ = n.Run(ctx) // a member that was closed on purpose complains
	}()
	c.nodes = append(c.nodes, node)
	return nil
}

// until waits until every member knows, and tells how long it took them from now on.
func (c *crowd) until(ctx context.Context, what string, knows func(*crowdNode) bool) (spread, error) {
	began := time.Now()
	seen := map[*crowdNode]*ring.Ring{} // that did not know yet: to look at one twice would be work that the members lack
	waiting := slices.Clone(c.nodes)
	var took []time.Duration
	for len(waiting) > 0 {
		if time.Since(began) > gossipTimeout {
			return spread{}, fmt.Errorf("with %d members: not after %v: %s (%d don't know)", len(c.nodes), gossipTimeout, what, len(waiting))
		}
		waiting = slices.DeleteFunc(waiting, func(n *crowdNode) bool {
			r := n.Ring()
			if seen[n] == r {
				return false
			}
			seen[n] = r
			ok := knows(n)
			if ok {
				took = append(took, time.Since(began))
			}
			return ok
		})
		if err := pause(ctx, gossipPoll); err != nil {
			return spread{}, err
		}
	}
	return spread{Median: took[len(took)/2].Round(time.Millisecond), Last: took[len(took)-1].Round(time.Millisecond)}, nil
}

// stop ends all members at once.
func (c *crowd) stop() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(n.end)
	}
	wg.Wait()
}

func (n *crowdNode) end() {
	_ = n.Close() // they need not tell each other
	n.cancel()
	<-n.done
}

func active(r *ring.Ring) (n int) {
	for _, m := range r.Members() {
		if m.State == ring.StateActive {
			n++
		}
	}
	return n
}

// state is a member's state; 0 when it is not there.
func state(r *ring.Ring, id string) ring.State {
	m, _ := r.Member(id)
	return m.State
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// cpuTime is what this process has used so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("BUG: scale: no usage of this process: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// byteSink adds up what memberlist says that it sends.
type byteSink struct {
	metrics.BlackholeSink

	mu   sync.Mutex
	sent float64 // guarded by mu
}

func newByteSink() *byteSink { return &byteSink{} }

func (s *byteSink) bytes() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// IncrCounter implements metrics.MetricSink.
func (s *byteSink) IncrCounter(key []string, v float32) { s.add(key, v) }

// IncrCounterWithLabels implements metrics.MetricSink.
func (s *byteSink) IncrCounterWithLabels(key []string, v float32, _ []metrics.Label) { s.add(key, v) }

func (s *byteSink) add(key []string, v float32) {
	if n := len(key); n < 2 || key[n-1] != "sent" || key[n-2] != "udp" && key[n-2] != "tcp" {
		return
	}
	s.mu.Lock()
	s.sent += float64(v)
	s.mu.Unlock()
}
