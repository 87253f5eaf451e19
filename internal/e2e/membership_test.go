package e2e

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestNewGatewayIsSeenAndUsed adds a gateway: it shows up in the ring of every router, owns slots, and gets the
// new sessions of its topics.
func TestNewGatewayIsSeenAndUsed(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways)
	before, err := c.Router(0).Ring(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g4 := c.AddGateway("g4")
	started := time.Now() // it answers, but may not be ready
	c.WaitReady()
	c.WaitConverged()
	t.Logf("everybody has the new gateway in the ring %v after it first answered", time.Since(started).Round(time.Millisecond))

	var topic string
	for i := range routers {
		ring, err := c.Router(i).Ring(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, ok := ring.Member("g4")
		if !ok || m.Slots == 0 || m.Addr != g4.Addr {
			t.Errorf("router %d: got %+v, want g4 with slots at %s", i, m, g4.Addr)
		}
		if ring.Version == before.Version {
			t.Errorf("router %d: the version is still %s", i, ring.Version)
		}
	}
	for i := 0; topic == ""; i++ {
		name := fmt.Sprintf("new-%d", i)
		place, err := c.Router(0).Place(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if place.Slot != testcluster.Slot(name) || place.Stream != testcluster.StreamKey(name) || len(place.Preference) != gateways+1 {
			t.Fatalf("place of %s: got %+v", name, place)
		}
		if place.Owner == "g4" {
			topic = name
		}
	}
	a := join(t, c, redis, []string{topic}, 12)
	held, err := g4.Metric(t.Context(), "ringside_gateway_sessions")
	if err != nil || held != 12 {
		t.Errorf("sessions of g4: got %v, %v, want 12", held, err)
	}
	tr := publishers(t, c, redis, []string{topic}, 2, 50)
	tr.wait()
	a.verify(t)
}

// TestStaticUpstream has a WebSocket server that knows nothing of Ringside as a shard: its sessions are
// spliced as they are.
func TestStaticUpstream(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var up websocket.Upgrader
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ringside-Auth") != "" && r.Header.Get("X-Spoofed") == "" {
			w.Header().Set("X-Saw-Auth", "1")
		}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return // the answer is written
		}
		defer conn.Close()
		if err := conn.WriteMessage(websocket.TextMessage, []byte("path "+r.URL.Path)); err != nil {
			return
		}
		for {
			kind, b, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, b) != nil {
				return
			}
		}
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-served })

	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	router := c.AddRouter("--static", "legacy="+ln.Addr().String())
	c.WaitReady()

	conn, _, err := websocket.DefaultDialer.Dial("ws://"+router.Addr+"/t/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := func(want string) {
		t.Helper()
		if _, b, err := conn.ReadMessage(); err != nil || string(b) != want {
			t.Fatalf("got %.100q, %v, want %.100q", b, err, want)
		}
	}
	read("path /t/chat")
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = 'a' + byte(i%26)
	}
	for _, text := range []string{"hello", string(large), ""} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		read(text)
	}
	ring, err := router.Ring(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := ring.Member("legacy"); !ok || m.Addr != ln.Addr().String() || m.Slots != ring.Slots {
		t.Errorf("the ring has %+v, want legacy with all %d slots", m, ring.Slots)
	}
}

// TestDirectConnection needs no router.
func TestDirectConnection(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	g1 := c.AddGateway("g1")
	g2 := c.AddGateway("g2")
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(10)
	a := &audience{redis: redis.Dial(t), from: map[string]int{}}
	for i := range 40 { // each topic at both gateways: any gateway serves any topic
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name:     fmt.Sprintf("s%d", i),
			Protocol: []testcluster.Protocol{testcluster.V1, testcluster.SSE}[i/20],
			Base:     []*testcluster.Node{g1, g2}[i/10%2].HTTP,
			Topic:    topics[i%10],
		}))
	}
	a.waitOpen(t)
	for i := range 200 {
		if _, err := publish([]*testcluster.Node{g1, g2}[i%2], topics[i%10], fmt.Sprintf(`{"n":%d}`, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	a.verify(t)
}

// TestForgedHeaders checks that nobody talks to a gateway as a router without the secret, and that a router
// takes such headers off.
func TestForgedHeaders(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	forged := "Ringside-Leg: v1\r\nRingside-Client: 1.2.3.4\r\nRingside-Auth: t=1,n=00,mac=00\r\n"
	r, err := ask(c.Gateway("g1").Addr, "GET /t/a", wsHeaders+forged)
	if err != nil || r.Status != http.StatusForbidden {
		t.Errorf("at the gateway: got %d %s, %v, want 403", r.Status, r.Body, err)
	}
	r, err = ask(c.Router(0).Addr, "GET /t/a", wsHeaders+forged)
	if err != nil || r.Status != http.StatusSwitchingProtocols {
		t.Errorf("at the router: got %d %s, %v, want 101", r.Status, r.Body, err)
	}
	for name := range r.Header {
		if len(name) > 8 && name[:8] == "Ringside" {
			t.Errorf("the router lets %s out", name)
		}
	}
}

// TestIdempotentPublish publishes the same ID twice, and at two nodes.
func TestIdempotentPublish(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	a := join(t, c, redis, []string{"finals"}, 6)
	first, err := publish(c.Router(0), "finals", `{"n":1}`, "key-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		if again, err := publish(n, "finals", `{"n":1}`, "key-1"); err != nil || again.Position != first.Position {
			t.Errorf("%s: got %+v, %v, want %s", n.Name, again, err, first.Position)
		}
	}
	a.verify(t)
	truth, err := a.redis.Truth("finals")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(truth) - a.from["finals"]; n != 1 {
		t.Errorf("entries: got %d, want 1", n)
	}
}
