package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// fakeApp is an application that does what it is told.
type fakeApp struct {
	mu         sync.Mutex
	err        error   // guarded by mu
	say        verdict // guarded by mu
	hold       chan struct{}
	asked      atomic.Int64
	most, have atomic.Int64
	farewells  chan uint64
}

func (f *fakeApp) answer(ctx context.Context) (verdict, error) {
	f.asked.Add(1)
	n := f.have.Add(1)
	defer f.have.Add(-1)
	for m := f.most.Load(); n > m && !f.most.CompareAndSwap(m, n); m = f.most.Load() {
	}
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return verdict{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.say, f.err
}

func (f *fakeApp) set(say verdict, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.say, f.err = say, err
}

func (f *fakeApp) connect(ctx context.Context, _ *Request, _ *App) (verdict, error) {
	return f.answer(ctx)
}

func (f *fakeApp) command(ctx context.Context, _ uint64, _ *App, _ Command) (verdict, error) {
	return f.answer(ctx)
}

func (f *fakeApp) disconnect(ctx context.Context, session uint64, _ *App, _ []string) (verdict, error) {
	v, err := f.answer(ctx)
	if err == nil && f.farewells != nil {
		f.farewells <- session
	}
	return v, err
}

func (f *fakeApp) close() {}

// asking is a guard that asks f.
func asking(t *testing.T, f *fakeApp, cfg CallConfig, queue int) *Guard {
	t.Helper()
	g, err := New(Config{Queue: queue}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	g.rpc = newCaller("rpc", f, cfg, zap.NewNop())
	return g
}

func calm() CallConfig {
	return CallConfig{Timeout: 5 * time.Second, Concurrency: 4, Waiting: 100, Failures: 3, Pause: 50 * time.Millisecond}
}

func connect(t *testing.T, g *Guard) string {
	t.Helper()
	_, no := g.Connect(t.Context(), []Methods{RPC}, request("/t/finals"))
	return reason(no)
}

func TestAnswers(t *testing.T) {
	f := &fakeApp{}
	g := asking(t, f, calm(), 1)
	for _, c := range []struct {
		say  verdict
		err  error
		want string
	}{
		{verdict{status: statusYes}, nil, ""},
		{verdict{status: statusNo, message: "no"}, nil, Denied},
		{verdict{status: statusError}, nil, AppError},
		{verdict{}, &strangeError{"x"}, AppError},
		{verdict{}, errors.New("nobody there"), AppDown},
	} {
		f.set(c.say, c.err)
		if got := connect(t, g); got != c.want {
			t.Errorf("%+v, %v: got %q, want %q", c.say, c.err, got, c.want)
		}
	}
}

// Ten thousand who come at once are asked about in turn, and those who can't be are refused without waiting.
func TestStampede(t *testing.T) {
	f := &fakeApp{hold: make(chan struct{}), say: verdict{status: statusYes}}
	cfg := calm()
	cfg.Timeout = time.Minute
	g := asking(t, f, cfg, 1)
	var wg sync.WaitGroup
	var busy, in atomic.Int64
	for range 10000 {
		wg.Go(func() {
			switch _, no := g.Connect(t.Context(), []Methods{RPC}, request("/t/finals")); reason(no) {
			case "":
				in.Add(1)
			case AppBusy:
				busy.Add(1)
			default:
				t.Errorf("got %v", no)
			}
		})
	}
	want := int64(10000 - cfg.Concurrency - cfg.Waiting)
	testcluster.Soon(t, "those for whom there is no place are gone", func() bool { return busy.Load() == want })
	close(f.hold)
	wg.Wait()
	if in.Load() != int64(cfg.Concurrency+cfg.Waiting) || f.most.Load() > int64(cfg.Concurrency) || f.asked.Load() != in.Load() {
		t.Errorf("%d came in, %d were asked about, %d at once", in.Load(), f.asked.Load(), f.most.Load())
	}
}

func TestBreaker(t *testing.T) {
	f := &fakeApp{}
	g := asking(t, f, calm(), 1)
	f.set(verdict{}, errors.New("nobody there"))
	for range 50 {
		if got := connect(t, g); got != AppDown {
			t.Fatalf("got %q", got)
		}
	}
	if n := f.asked.Load(); n >= 50 {
		t.Errorf("it was asked %d times while it was down", n)
	}
	f.set(verdict{status: statusYes}, nil)
	testcluster.Soon(t, "it is asked again", func() bool { return connect(t, g) == "" })
	// That the application says no, or fails, is an answer.
	f.set(verdict{status: statusError}, nil)
	for range 20 {
		if got := connect(t, g); got != AppError {
			t.Fatalf("got %q", got)
		}
	}
}

func TestTimeout(t *testing.T) {
	f := &fakeApp{hold: make(chan struct{})}
	cfg := calm()
	cfg.Timeout, cfg.Concurrency = 20*time.Millisecond, 1
	g := asking(t, f, cfg, 1)
	if got := connect(t, g); got != AppDown {
		t.Errorf("got %q", got)
	}
	if n := g.rpc.metrics.counts[callConnect][resultTimeout].Load(); n != 1 {
		t.Errorf("%d time-outs are counted", n)
	}
	close(f.hold)
}

// The application is told of each session once, as far as there is room, and what is dropped is counted.
func TestFarewells(t *testing.T) {
	f := &fakeApp{hold: make(chan struct{}), say: verdict{status: statusYes}, farewells: make(chan uint64, 100)}
	g := asking(t, f, calm(), 5)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	grant := &Grant{Passed: RPC, App: &App{}}
	for i := range 7 {
		g.Ended(uint64(i), grant, nil)
	}
	g.Ended(100, nil, nil)                 // an open topic's
	g.Ended(101, &Grant{Passed: JWT}, nil) // a token's
	g.Vanished(grant)                      // nobody knows
	if n := g.farewells.dropped[dropFull].Load(); n != 2 {
		t.Errorf("%d are dropped, want 2", n)
	}
	if n := g.farewells.dropped[dropUnknown].Load(); n != 1 {
		t.Errorf("%d are unknown, want 1", n)
	}
	go func() { done <- g.Run(ctx) }()
	close(f.hold)
	seen := map[uint64]bool{}
	for range 5 {
		seen[<-f.farewells] = true
	}
	if len(seen) != 5 || seen[5] || seen[6] {
		t.Errorf("told of %v", seen)
	}
	for i := range 3 { // and what is left when the gateway ends
		g.Ended(uint64(200+i), grant, nil)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(f.farewells); n != 3 {
		t.Errorf("told of %d at the end, want 3", n)
	}
}

func TestWebhook(t *testing.T) {
	var got question
	var signature, body string
	reply, code := `{"status":"success","identifiers":"app's","state":{"a":"1"},"streams":["x"]}`, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, signature, got = string(b), r.Header.Get(SignatureHeader), question{}
		if err := json.Unmarshal(b, &got); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, b, err)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, reply)
	}))
	defer server.Close()
	now := time.Unix(1763900000, 0)
	calls := calm()
	calls.Headers, calls.Failures = []string{"cookie"}, 100
	g := guard(t, Config{
		JWT:     nil,
		Webhook: &WebhookConfig{URL: server.URL, SecretFile: file(t, "secret", testSecret), CallConfig: calls}, Queue: 10,
		Now: func() time.Time { return now },
	})
	grant, no := g.Connect(t.Context(), []Methods{Webhook}, request("/t/finals?x=1", "Cookie: a=b", "Authorization: Bearer x"))
	if no != nil {
		t.Fatal(no)
	}
	if got.Call != "connect" || got.Topic != "finals" || got.URL != "http://edge.example/t/finals?x=1" || got.Client != "192.0.2.7" ||
		got.Headers["cookie"] != "a=b" || len(got.Headers) != 1 || got.Session != "0000000000000007" {
		t.Errorf("connect: %+v", got)
	}
	if want := sign([]byte(testSecret), now, []byte(body)); signature != want || !strings.HasPrefix(want, "t=1763900000,mac=") {
		t.Errorf("signature: got %q, want %q", signature, want)
	}
	next, answer, no := g.Command(t.Context(), 7, grant, Command{Name: "message", Identifier: "chat", Data: "hi"})
	if no != nil || len(answer.Streams) != 1 || next.App.State["a"] != "1" || got.Identifiers != "app's" || got.Data != "hi" || got.State["a"] != "1" {
		t.Errorf("command: %+v, %+v, %v", got, answer, no)
	}
	g.Ended(7, next, []string{"finals"})
	testcluster.Soon(t, "the end is told", func() bool { return g.webhook.metrics.counts[callDisconnect][resultYes].Load() == 1 })
	f := func(c int, text, want string) {
		t.Helper()
		code, reply = c, text
		if _, no := g.Connect(t.Context(), []Methods{Webhook}, request("/t/finals")); reason(no) != want {
			t.Errorf("%d %q: got %q, want %q", c, text, reason(no), want)
		}
	}
	f(200, `{"status":"success"}`, "")
	f(200, `{"status":"failure","message":"no"}`, Denied)
	f(200, `{"status":"error"}`, AppError)
	f(200, `{}`, AppError)
	f(200, `nonsense`, AppError)
	f(200, `"`+strings.Repeat("x", maxAppAnswer)+`"`, AppError)
	f(401, ``, Denied)
	f(403, `{"message":"no"}`, Denied)
	f(404, ``, AppError)
	f(302, ``, AppError) // redirects are not followed
	f(500, ``, AppDown)
	f(429, ``, AppDown)
	f(200, `{"status":"success","identifiers":"`+strings.Repeat("x", MaxGrant)+`"}`, TooLarge)
	if v := strconv.FormatUint(g.webhook.metrics.counts[callConnect][resultYes].Load(), 10); v == "0" {
		t.Error("nothing is counted")
	}
}
