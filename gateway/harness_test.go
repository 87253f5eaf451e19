package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/fasthttp/websocket"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one goroutine for the date, and its pool looks for its own end only every idle period.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const testSecret = "a secret of the tests"

// rig is a gateway that runs.
type rig struct {
	t      testing.TB
	g      *Gateway
	stream *stream.Client
	addr   string               // of Redis
	redis  *miniredis.Miniredis // the same, where it is embedded
	keys   *leg.Keyring
	stop   func()
}

// maxPayload is what the tests may publish at once.
const maxPayload = 32 << 20

// start runs a gateway with a Redis of its own; change may set its configuration.
func start(t testing.TB, change func(*Config), deps ...func(*Deps)) *rig {
	t.Helper()
	redis := miniredis.RunT(t)
	r := startOn(t, redis.Addr(), ring.StateJoining, change, deps...)
	r.redis = redis
	return r
}

// startOn runs a gateway on a Redis. It owns all slots, or none, as the state says.
func startOn(t testing.TB, redis string, state ring.State, change func(*Config), more ...func(*Deps)) *rig {
	t.Helper()
	r := &rig{t: t, addr: redis}
	var err error
	if r.keys, err = leg.NewKeyring(testSecret); err != nil {
		t.Fatal(err)
	}
	if r.stream, err = stream.New(stream.Config{URL: "redis://" + redis, MaxPayload: maxPayload, OpTimeout: testcluster.Limit()}, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	// Without beacons and first heartbeats: records come in the order that a test says, however long it takes. Its clients send as fast as they
	// can.
	cfg := Config{
		ID: "g1", Listen: "127.0.0.1:0", Beacon: time.Hour, StaleAfter: 4 * time.Hour, firstBeat: time.Hour,
		ClientRate: 100_000, ClientBurst: 1_000_000,
	}
	if change != nil {
		change(&cfg)
	}
	members := ring.New([]ring.Member{{ID: cfg.ID, Role: ring.RoleGateway, State: state, Weight: 1}})
	deps := Deps{
		Ring:    func() *ring.Ring { return members },
		Changed: func() (<-chan struct{}, func()) { return make(chan struct{}), func() {} },
		Stream:  r.stream, Keys: r.keys, Log: zap.NewNop(),
	}
	for _, f := range more {
		f(&deps)
	}
	r.g, err = New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- r.stream.Run(ctx) }()
	go func() { done <- r.g.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(r.stop)
	select {
	case <-r.g.Warm():
	case <-time.After(testcluster.Limit()):
		t.Fatalf("the gateway did not get warm: %v", r.g.Ready())
	}
	testcluster.Soon(t, "Redis is known to answer", func() bool { return r.stream.Ready() == nil })
	return r
}

// bothLoops runs a test on the platform's event loop and on the portable one.
func bothLoops(t *testing.T, change func(*Config), f func(t *testing.T, r *rig)) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			f(t, start(t, func(c *Config) {
				c.Portable = portable
				if change != nil {
					change(c)
				}
			}))
		})
	}
}

// publish publishes and returns the entry's position.
func (r *rig) publish(topic, payload string) string {
	r.t.Helper()
	p, err := r.stream.Publish(r.t.Context(), stream.Message{Topic: topic, Payload: []byte(payload)})
	if err != nil {
		r.t.Fatalf("publish: %v", err)
	}
	return p.Position.String()
}

// tailed waits until the gateway's tail has come to the entry at id.
func (r *rig) tailed(topic, id string) {
	r.t.Helper()
	want, err := position.Parse(id)
	if err != nil {
		r.t.Fatal(err)
	}
	s := r.g.slots[r.g.slotOf(topic)]
	testcluster.Soon(r.t, "the tail has come to "+id, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.at.ID.Less(want.ID)
	})
}

// redisDo sends a command to Redis by itself.
func (r *rig) redisDo(args ...string) {
	r.t.Helper()
	c, err := testcluster.DialRedis(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do(args...); err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
}

// wsClient is a WebSocket client that fails the test instead of returning errors.
type wsClient struct {
	t testing.TB
	c *websocket.Conn
}

// dial opens a session; query stands behind the topic, protocols are offered.
func (r *rig) dial(topicAndQuery string, protocols ...string) *wsClient {
	r.t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: testcluster.Limit()}
	c, resp, err := d.Dial("ws://"+r.g.Addr()+"/t/"+topicAndQuery, nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		r.t.Fatalf("dial: %v", err)
	}
	r.t.Cleanup(func() { c.Close() })
	return &wsClient{r.t, c}
}

// message is what a session of ringside.v1 gets.
type message struct {
	Type, Topic, ID, Position, After, Reason, Session, Message, Encoding string
	Data                                                                 json.RawMessage
	Until                                                                string
	Count                                                                int
}

func (c *wsClient) raw() (int, string) {
	c.t.Helper()
	_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	op, b, err := c.c.ReadMessage()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return op, string(b)
}

// next is the next message that is no heartbeat.
func (c *wsClient) next() message {
	c.t.Helper()
	for {
		_, b := c.raw()
		var m message
		if err := json.Unmarshal([]byte(b), &m); err != nil {
			c.t.Fatalf("not JSON: %q: %v", b, err)
		}
		if m.Type != "heartbeat" {
			return m
		}
	}
}

func (c *wsClient) want(kind string) message {
	c.t.Helper()
	m := c.next()
	if m.Type != kind {
		c.t.Fatalf("type: got %+v, want %s", m, kind)
	}
	return m
}

func (c *wsClient) send(s string) {
	c.t.Helper()
	if err := c.c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// closed reads to the end and returns the close frame.
func (c *wsClient) closed() *websocket.CloseError {
	c.t.Helper()
	_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	for {
		_, _, err := c.c.ReadMessage()
		if err == nil {
			continue
		}
		ce, ok := err.(*websocket.CloseError) //nolint:errorlint // the library returns it bare
		if !ok {
			c.t.Fatalf("end: got %v, want a close frame", err)
		}
		return ce
	}
}

// sse opens an SSE session.
func (r *rig) sse(topicAndQuery, lastEventID string) *http.Response {
	r.t.Helper()
	req, _ := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.g.Addr()+"/t/"+topicAndQuery, nil)
	req.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	tr := &http.Transport{}
	r.t.Cleanup(tr.CloseIdleConnections)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// otherTopic is another topic of the same slot.
func otherTopic(t *testing.T, name string) string {
	t.Helper()
	for i := range 100000 {
		other := name + "-" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String()
		if topics.Slot(other) == topics.Slot(name) {
			return other
		}
	}
	t.Fatal("no other topic of the slot")
	return ""
}
