package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// command runs the binary to its end and returns its output.
func command(t *testing.T, args ...string) (string, int) {
	t.Helper()
	p := background(t, args...)
	code, err := p.Wait(testcluster.Limit())
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, p.Log())
	}
	return p.Log(), code
}

// background starts the binary; it ends with the test at the latest.
func background(t *testing.T, args ...string) *testcluster.Process {
	t.Helper()
	p, err := testcluster.StartProcess(args[0], testcluster.Binary(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if fault := p.Faults(); fault != "" {
			t.Error(fault)
		}
		if t.Failed() {
			t.Logf("---- %v\n%s", args, p.LogTail(30))
		}
	})
	return p
}

// says waits until a process has written text.
func says(t *testing.T, p *testcluster.Process, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s says %q", p.Name, text), func() error {
		if !strings.Contains(p.Log(), text) {
			return fmt.Errorf("so far it said %q", p.LogTail(5))
		}
		return nil
	})
}

// TestCommands runs publish, subscribe, ring and drain as a person would.
func TestCommands(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2, drainWindow)
	router := c.Router(0)
	admin := "http://" + router.Admin

	sub := background(t, "subscribe", "ws://"+router.Addr+"/t/finals")
	// The session stands when a gateway counts it as begun; a message published before its welcome would be
	// none of its business.
	eventually(t, "the subscriber is there", func() error {
		var sum float64
		for _, g := range c.Running(testcluster.Gateway) {
			n, err := g.Metric(t.Context(), "ringside_gateway_sessions")
			if err != nil {
				return err
			}
			sum += n
		}
		if sum != 1 {
			return fmt.Errorf("%v sessions", sum)
		}
		return nil
	})
	out, code := command(t, "publish", "--to", admin, "finals", `{"score":"2:1"}`)
	if code != 0 {
		t.Fatalf("publish: exit %d\n%s", code, out)
	}
	says(t, sub, "2:1")
	truth, err := redis.Dial(t).Truth("finals")
	if err != nil || len(truth) != 1 || truth[0].Payload != `{"score":"2:1"}` {
		t.Fatalf("the stream has %+v, %v", truth, err)
	}
	if !strings.Contains(out, truth[0].ID.String()) {
		t.Errorf("publish does not tell the position: %q", out)
	}
	if err := sub.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Wait(testcluster.Limit()); err != nil {
		t.Error(err)
	}

	first := positionIn(t, sub.Log(), truth[0].ID.String())
	if out, code := command(t, "publish", "--to", admin, "finals", `{"score":"3:1"}`); code != 0 {
		t.Fatalf("publish: exit %d\n%s", code, out)
	}
	later := background(t, "subscribe", "ws://"+router.Addr+"/t/finals", "--since", first)
	says(t, later, "3:1")
	if strings.Contains(later.Log(), "2:1") {
		t.Errorf("--since %s repeats what stood there: %s", first, later.Log())
	}

	out, code = command(t, "ring", "--of", admin)
	if code != 0 || !strings.Contains(out, "g1") || !strings.Contains(out, "g2") || !strings.Contains(out, "active") {
		t.Errorf("ring: exit %d\n%s", code, out)
	}
	out, code = command(t, "drain", "--of", admin, "g1")
	if code != 0 {
		t.Errorf("drain: exit %d\n%s", code, out)
	}
	if code, err := c.Gateway("g1").Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the drained gateway: got %d, %v, want 0", code, err)
	}
	if out, code := command(t, "drain", "--of", admin, "nobody"); code == 0 || !strings.Contains(out, "nobody") {
		t.Errorf("drain of nobody: exit %d\n%s", code, out)
	}
}

// positionIn finds the whole position, epoch and all, that ends with an entry's ID in what a subscriber printed.
func positionIn(t *testing.T, text, id string) string {
	t.Helper()
	const epoch = len("00000000-")
	i := strings.Index(text, "-"+id)
	if i < epoch-1 {
		t.Fatalf("no position with %s in %q", id, text)
	}
	return text[i-epoch+1 : i+1+len(id)]
}

// TestDev runs the whole cluster in one process, with Redis inside.
func TestDev(t *testing.T) {
	listen, err1 := testcluster.FreeAddr()
	admin, err2 := testcluster.FreeAddr()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	p := background(t, "dev", "--listen", listen, "--admin", admin)
	dev := &testcluster.Node{Process: p, Addr: listen, Admin: admin}
	eventually(t, "dev is ready", func() error { return dev.Ready(t.Context()) })
	eventually(t, "three gateways are active", func() error {
		ring, err := dev.Ring(t.Context())
		active := 0
		for _, m := range ring.Members {
			if m.Role == testcluster.Gateway && m.State == "active" {
				active++
			}
		}
		if active != 3 {
			return fmt.Errorf("%d are active: %+v, %v", active, ring, err)
		}
		return nil
	})
	if !servesPage(t, dev.HTTP()) && !servesPage(t, "http://"+admin) {
		t.Error("no page at /")
	}
	topics := topicNames(10)
	var subs []*testcluster.Subscriber
	for i := range 20 {
		subs = append(subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: fmt.Sprintf("s%d", i), Protocol: []testcluster.Protocol{testcluster.V1, testcluster.SSE}[i/10],
			Base: dev.HTTP, Topic: topics[i%10],
		}))
	}
	for _, s := range subs {
		eventually(t, "connected", s.Open)
	}
	for i := range 100 {
		eventually(t, "a publish that is known to have succeeded", func() error { // on a busy machine it can take longer than is waited for
			_, err := publish(dev, topics[i%10], fmt.Sprintf(`{"n":%d}`, i), strconv.Itoa(i))
			return err
		})
	}
	for _, s := range subs {
		topic := s.Topics()[0]
		eventually(t, "ten messages", func() error {
			if n := s.Count(topic); n != 10 {
				return fmt.Errorf("%v has %d of 10 messages: %v", s, n, s.Broken())
			}
			return nil
		})
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		s.Stop()
	}
	if code, err := p.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit: got %d, %v, want 0", code, err)
	}
}

// servesPage reports whether a browser finds a page at /.
func servesPage(t *testing.T, base string) bool {
	t.Helper()
	r, err := testcluster.Do(t.Context(), http.MethodGet, base+"/", "", http.Header{"Accept": {"text/html"}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status == http.StatusOK && strings.Contains(r.Body, "<html")
}
