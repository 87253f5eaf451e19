package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ringside-edge/ringside/internal/metrics"
	"github.com/ringside-edge/ringside/internal/openapi/conform"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPayload = 1024 // payload limit

// fakePublisher remembers what it was given, and fails when told to.
type fakePublisher struct {
	mu   sync.Mutex
	got  []Message
	errs map[string]error // by topic; "" is all of them
	// When they are not nil, publishing says on entered that it has begun, and waits for release.
	entered, release chan struct{}
}

func (f *fakePublisher) hold(entered, release chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entered, f.release = entered, release
}

func (f *fakePublisher) Publish(ctx context.Context, ms []Message) []Outcome {
	out := make([]Outcome, len(ms))
	f.mu.Lock()
	entered, release, errs := f.entered, f.release, f.errs
	f.mu.Unlock()
	if entered != nil {
		entered <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
			for i := range out {
				out[i].Err = ErrAmbiguous
			}
			return out
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range ms {
		if err := errs[m.Topic]; err != nil {
			out[i].Err = err
			continue
		}
		if err := errs[""]; err != nil {
			out[i].Err = err
			continue
		}
		f.got = append(f.got, m)
		out[i].Published = Published{
			Slot:      topic.Slot(m.Topic),
			Position:  position.Position{Epoch: 0x6f1c22aa, ID: position.ID{Ms: 1763900000000}},
			Duplicate: m.ID == "again",
		}
	}
	return out
}

// fail has publishes fail from now on, to one topic or all.
func (f *fakePublisher) fail(err error, topics ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = map[string]error{}
	if len(topics) == 0 {
		topics = []string{""}
	}
	for _, name := range topics {
		f.errs[name] = err
	}
}

func (f *fakePublisher) last(t *testing.T) Message {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.got) == 0 {
		t.Fatal("nothing was published")
	}
	return f.got[len(f.got)-1]
}

// fakeDrainer counts.
type fakeDrainer struct{ drains atomic.Int32 }

func (f *fakeDrainer) Drain()           { f.drains.Add(1) }
func (f *fakeDrainer) Sessions() uint64 { return 7 }

// fakeStreams tells of streams what a test wants.
type fakeStreams struct {
	window *Window // nil: Redis does not answer
	tail   *Tail   // nil: not tailed
}

func (f *fakeStreams) Window(context.Context, int) (Window, error) {
	if f.window == nil {
		return Window{}, errors.New("no answer")
	}
	return *f.window, nil
}

func (f *fakeStreams) Tail(int) (Tail, bool) {
	if f.tail == nil {
		return Tail{}, false
	}
	return *f.tail, true
}

// port is a running admin port.
type port struct {
	*Server
	publisher *fakePublisher
	streams   *fakeStreams
	drainer   *fakeDrainer // of a gateway
	ring      atomic.Pointer[ring.Ring]
}

// start runs the admin port of the member self; with change the dependencies can be other ones.
func start(t *testing.T, self string, gateway bool, change func(*Deps)) *port {
	t.Helper()
	return startWith(t, Config{Listen: "127.0.0.1:0", Self: self, MaxPayload: testPayload}, gateway, change)
}

// startTrusting runs the admin port of a gateway that trusts whom it is told to.
func startTrusting(t *testing.T, trust Trust) *port {
	t.Helper()
	return startWith(t, Config{Listen: "127.0.0.1:0", Self: "g1", MaxPayload: testPayload, Trust: trust}, true, nil)
}

func startWith(t *testing.T, cfg Config, gateway bool, change func(*Deps)) *port {
	t.Helper()
	p := &port{publisher: &fakePublisher{}, streams: &fakeStreams{}}
	p.ring.Store(ring.New(nil))
	registry := metrics.New("test", "test")
	deps := Deps{
		Ring:      p.ring.Load,
		StreamKey: func(slot int) string { return fmt.Sprintf("ringside:{%d}:%d:stream", slot/16, slot) },
		Publisher: p.publisher,
		Streams:   p.streams,
		Metrics:   metrics.Handler(registry),
		Log:       zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)),
	}
	if gateway {
		p.drainer = &fakeDrainer{}
		deps.Drainer = p.drainer
	}
	if change != nil {
		change(&deps)
	}
	var err error
	if p.Server, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(prometheus.Collector(p.Server))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// answered is an answer with its body read.
type answered struct {
	status int
	header http.Header
	body   string
}

// reason is the "error" of a JSON error.
func (a answered) reason() string {
	var v struct{ Error string }
	_ = json.Unmarshal([]byte(a.body), &v)
	return v.Error
}

// do sends a request and holds that the answer is as the API's description says; headers are "Name: value".
func (p *port) do(t *testing.T, method, path, body string, headers ...string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := conform.Answer(req, resp.StatusCode, resp.Header, b); err != nil {
		t.Error(err)
	}
	return answered{resp.StatusCode, resp.Header, string(b)}
}

// member makes a gateway's or a router's entry in the ring.
func gateway(id string, state ring.State, admin string) ring.Member {
	return ring.Member{ID: id, Role: ring.RoleGateway, State: state, Addr: "127.0.0.1:9101", Admin: admin, Gossip: "127.0.0.1:7947", Weight: 1, Load: 5}
}
