package gateway

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

const (
	modelPayload = 128 << 10              // the largest payload
	modelLog     = 24                     // entries of a topic that gateways keep in memory
	modelKeys    = 2                      // of the newest of a key that are kept behind that
	modelBeacon  = 200 * time.Millisecond // and how often they look at their streams
)

// member is a gateway of the case, with a link of its own to Redis, as it has it in its own process.
type member struct {
	*rig
	id      string
	link    *link
	changed chan struct{}
	down    func() error
}

// world is one case: two gateways on a Redis, the clients, and the truth.
type world struct {
	t        *rapid.T
	outer    *testing.T
	redis    *testcluster.RedisServer
	conn     *testcluster.Redis // past all code of ours; spared when the connections are killed
	limit    time.Duration      // for what must come true
	failed   *string            // what the first case that failed said
	members  []*member
	portable bool
	rough    bool // Redis loses data in this case

	mu    sync.Mutex
	ring  *ring.Ring // guarded by mu
	rings []*ring.Ring

	pub     *stream.Client
	pubDown func() error

	topics  []string
	rules   *topicrule.Rules
	slots   []*truth
	clients []*modelClient
	backup  *backup
	number  int // of payloads
	paused  int // how often Redis stood still

	story story
	began time.Time
}

// newWorld is a case on an empty Redis.
func newWorld(t *rapid.T, outer *testing.T, redis *testcluster.RedisServer, conn *testcluster.Redis, failed *string) *world {
	w := &world{t: t, outer: outer, redis: redis, conn: conn, failed: failed, limit: 20 * time.Second, began: time.Now()}
	if *failed != "" {
		w.limit = 8 * time.Second // what is tried is to make the case smaller
	}
	w.portable = rapid.Bool().Draw(t, "portable")
	w.rough = rapid.Bool().Draw(t, "rough")
	w.do("FLUSHALL")
	w.rings = modelRings()
	w.ring = w.rings[0]
	w.topics, w.slots = modelTopics(w.rings)
	w.story.slots = w.slots
	w.rules = modelRules(t, w.topics)
	w.members = []*member{{id: "g1", changed: make(chan struct{}, 1)}, {id: "g2", changed: make(chan struct{}, 1)}}
	return w
}

// begin starts the gateways.
func (w *world) begin() {
	var err error
	w.pub, w.pubDown, err = connect(w.redis.Addr, zap.NewNop())
	w.must(err)
	for _, m := range w.members {
		m.link, err = newLink(w.redis.Addr)
		w.must(err)
		w.must(w.boot(m))
	}
	for _, m := range w.members {
		w.warm(m)
	}
	w.look()
}

// modelRings are placements in which both gateways own slots, and in which one of them leaves. Most slots belong to others,
// so that a case does not spend its time on slots without topics.
func modelRings() (rs []*ring.Ring) {
	for _, states := range [][2]ring.State{
		{ring.StateActive, ring.StateActive}, {ring.StateDraining, ring.StateActive}, {ring.StateActive, ring.StateDraining},
	} {
		rs = append(rs, ring.New([]ring.Member{
			{ID: "g1", Role: ring.RoleGateway, State: states[0], Weight: 1}, {ID: "g2", Role: ring.RoleGateway, State: states[1], Weight: 1},
			{ID: "others", Role: ring.RoleGateway, State: ring.StateActive, Weight: 6},
		}))
	}
	return rs
}

// modelTopics are two topics of a slot that belongs to g1 as long as that stays, and one of a slot of g2; who is left takes them over.
func modelTopics(rs []*ring.Ring) (names []string, slots []*truth) {
	owners := func(slot int) (s string) {
		for _, r := range rs {
			m, _ := r.Owner(slot)
			s += m.ID
		}
		return s
	}
	for i := 0; len(names) < 3; i++ {
		name := "topic-" + strconv.Itoa(i)
		slot := topics.Slot(name)
		want := [3]string{"g1g2g1", "g1g2g1", "g2g2g1"}[len(names)]
		switch {
		case owners(slot) != want, len(names) == 1 && slot != slots[0].slot:
			continue
		case len(names) != 1:
			slots = append(slots, &truth{slot: slot, epochs: map[uint32]position.ID{}})
		}
		names = append(names, name)
	}
	return names, slots
}

// modelRules are drawn: what becomes of slow clients of each topic.
func modelRules(t *rapid.T, names []string) *topicrule.Rules {
	text := ""
	for _, name := range names {
		text += "- topics: " + name + rapid.SampledFrom([]string{"\n  slow: gap\n", "\n  slow: latest\n", "\n  slow: latest\n  key: k\n"}).Draw(t, "rule")
	}
	rules, err := topicrule.Parse("rules", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// slotOf is the truth of a topic's slot.
func (w *world) slotOf(topic string) *truth {
	for _, s := range w.slots {
		if s.slot == topics.Slot(topic) {
			return s
		}
	}
	panic("BUG: gateway: the case has no such topic")
}

// connect connects to Redis.
func connect(addr string, log *zap.Logger) (*stream.Client, func() error, error) {
	c, err := stream.New(stream.Config{URL: "redis://" + addr, MaxPayload: modelPayload}, log)
	if err != nil {
		return nil, nil, err
	}
	return c, running(c.Run), nil
}

// running runs f and returns what ends it.
func running(f func(context.Context) error) func() error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// boot starts a gateway.
func (w *world) boot(m *member) error {
	log := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "msg", NameKey: "gateway"}), zapcore.AddSync(&w.story),
		zap.DebugLevel)).Named("        " + m.id)
	keys, err := leg.NewKeyring(testSecret)
	if err != nil {
		return err
	}
	client, down, err := connect(m.link.ln.Addr().String(), log)
	if err != nil {
		return err
	}
	cfg := Config{
		ID: m.id, Listen: "127.0.0.1:0", Loops: 2, Portable: w.portable, LogEntries: modelLog, Beacon: modelBeacon, StaleAfter: time.Minute,
		LatestKeys: modelKeys, Rules: w.rules,
	}
	g, err := New(cfg, Deps{
		Ring: func() *ring.Ring {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.ring
		},
		Changed: func() (<-chan struct{}, func()) { return m.changed, func() {} },
		Stream:  client, Keys: keys, Log: log,
	})
	if err != nil {
		return errors.Join(err, down())
	}
	g.unheardMargin = 100 // the clocks are one here
	m.rig = &rig{g: g, stream: client, keys: keys, addr: w.redis.Addr}
	gDown := running(g.Run)
	m.down = func() error { return errors.Join(gDown(), down()) }
	return nil
}

// tail is where a gateway's tail stands.
func (m *member) tail(slot int) (warm bool, at position.Position) {
	s := m.g.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.warm, s.at
}

func (w *world) warm(m *member) {
	w.until(m.id+" is warm", func() bool {
		select {
		case <-m.g.Warm():
			return m.stream.Ready() == nil
		default:
			return false
		}
	})
}

// end stops everything, whatever has become of the case.
func (w *world) end() {
	_ = w.redis.Resume()
	for _, c := range w.clients {
		c.stop()
	}
	for _, m := range w.members {
		if m.down != nil {
			m.link.stand(false)
			if err := m.down(); err != nil {
				w.outer.Errorf("%s: %v", m.id, err)
			}
		}
		if m.link != nil {
			m.link.close()
		}
	}
	if w.pubDown != nil {
		if err := w.pubDown(); err != nil {
			w.outer.Errorf("publisher: %v", err)
		}
	}
}
