package ringside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// balancer passes connections on to the first of its nodes that takes them, and can cut them all.
type balancer struct {
	ln    net.Listener
	nodes []*testcluster.Node

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	wg    sync.WaitGroup
}

func balance(t *testing.T, nodes ...*testcluster.Node) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{ln: ln, nodes: nodes, conns: map[net.Conn]bool{}}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		ln.Close()
		b.cut()
		b.wg.Wait()
	})
	return b
}

func (b *balancer) accept() {
	for {
		conn, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.serve(conn) })
	}
}

func (b *balancer) serve(conn net.Conn) {
	defer conn.Close()
	for _, n := range b.nodes {
		up, err := net.Dial("tcp", n.Addr)
		if err != nil {
			continue
		}
		defer up.Close()
		b.keep(conn, true)
		b.keep(up, true)
		defer b.keep(conn, false)
		defer b.keep(up, false)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(up, conn)
			up.Close()
		}()
		_, _ = io.Copy(conn, up)
		conn.Close()
		<-done
		return
	}
}

func (b *balancer) keep(c net.Conn, there bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if there {
		b.conns[c] = true
	} else {
		delete(b.conns, c)
	}
}

func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
}

// Three topics on one session: whatever happens to gateways, routers and the network, each message comes once and in order.
func TestEveryMessageOnceInOrder(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 2, 3, "--drain-window=100ms")
	b := balance(t, c.Router(0), c.Router(1))
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit())
	defer cancel()
	topics := []string{"finals", "semi", "Übertragung/3"}
	s, err := Connect(ctx, Config{URL: "ws://" + b.ln.Addr().String(), Topics: topics[:2]})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Subscribe(topics[2], ""); err != nil {
		t.Fatal(err)
	}
	next := func() Event {
		t.Helper()
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		return e
	}
	for s.Position(topics[0]) == "" || s.Position(topics[1]) == "" || s.Position(topics[2]) == "" {
		next()
	}
	const each = 120
	admin := &Publisher{URL: "http://" + c.Router(1).Admin}
	published := make(chan error, 1)
	var arrived atomic.Int64
	steps := map[int]func(){
		20:  func() { c.Gateway("g1").Kill() },
		40:  b.cut,
		60:  func() { _ = c.Gateway("g2").Signal(syscall.SIGTERM) },
		80:  func() { c.Router(0).Kill() },
		100: b.cut,
	}
	go func() {
		for i := range each {
			for _, topic := range topics {
				if _, err := admin.Publish(ctx, topic, fmt.Appendf(nil, "%d", i), Publish{}); err != nil {
					published <- err
					return
				}
			}
			if f := steps[i]; f != nil {
				err := testcluster.Poll(ctx, func() error { // what was broken before is mended
					if arrived.Load() < int64((i+1)*len(topics)) {
						return errors.New("not everything has arrived")
					}
					return nil
				})
				if err != nil {
					published <- err
					return
				}
				f()
			}
		}
		published <- nil
	}()
	seen, connections := map[string]int{}, 0
	for seen[topics[0]] < each || seen[topics[1]] < each || seen[topics[2]] < each {
		switch e := next().(type) {
		case Message:
			if string(e.Data) != fmt.Sprint(seen[e.Topic]) {
				t.Fatalf("%s: got %s, want %d", e.Topic, e.Data, seen[e.Topic])
			}
			seen[e.Topic]++
			arrived.Add(1)
		case Gap:
			t.Fatalf("got %+v", e)
		case Refused:
			t.Fatalf("got %+v", e)
		case Connected:
			connections++
		}
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if connections < 3 {
		t.Errorf("got %d more connections, want one behind each cut and behind the router's death", connections)
	}

	// Another session goes on where this one stands, and this one leaves a topic.
	at := s.Position("semi")
	if err := s.Unsubscribe("semi"); err != nil {
		t.Fatal(err)
	}
	last, err := admin.Publish(ctx, "semi", []byte(`"text"`), Publish{Key: "once"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := admin.Publish(ctx, "semi", []byte(`"text"`), Publish{Key: "once"}); again != last || err != nil {
		t.Errorf("published again: got %s, %v, want %s", again, err, last)
	}
	other, err := Connect(ctx, Config{URL: "http://" + c.Router(1).Addr, Since: map[string]string{"semi": at}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for {
		e, err := other.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := e.(Message); ok {
			if m.Position != last || string(m.Data) != `"text"` {
				t.Errorf("got %+v, want %s", m, last)
			}
			break
		}
	}
	for {
		if e, ok := next().(Unsubscribed); ok && e.Topic == "semi" {
			break
		}
	}
	s.Close()
	if _, err := s.Next(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Next of a closed session: got %v", err)
	}
}

// What will not change is an error at once, and a context that ends costs nothing.
func TestEnds(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	ctx := t.Context()
	url := "ws://" + c.Router(0).Addr
	for _, bad := range []Config{{URL: "live.example", Topics: []string{"a"}}, {URL: "ftp://live.example", Topics: []string{"a"}}, {URL: url}} {
		if _, err := Connect(ctx, bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	var final *FinalError
	if _, err := Connect(ctx, Config{URL: url, Topics: []string{"a\x00b"}}); !errors.As(err, &final) || final.Reason != "topic_control" {
		t.Errorf("a topic that is none: got %v", err)
	}
	admin := &Publisher{URL: "http://" + c.Router(0).Admin}
	if _, err := admin.Publish(ctx, "", nil, Publish{}); !errors.Is(err, ErrRefused) {
		t.Errorf("a publish to no topic: got %v", err)
	}

	s, err := Connect(ctx, Config{URL: url, Topics: []string{"finals"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, err := s.Next(ctx); err != nil || e.(Connected).Session == "" {
		t.Fatalf("got %+v, %v", e, err)
	}
	if err := s.Subscribe("bad\ntopic", ""); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.(Refused); ok {
			if r.Reason == "" {
				t.Errorf("got %+v", r)
			}
			break
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Next(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: got %v", err)
	}
	if _, err := admin.Publish(ctx, "finals", []byte{0xff, 0}, Publish{}); err != nil {
		t.Fatal(err)
	}
	for { // the message that came meanwhile is not lost
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := e.(Message); ok {
			if !m.Binary || string(m.Data) != "\xff\x00" {
				t.Errorf("got %+v", m)
			}
			break
		}
	}
}
