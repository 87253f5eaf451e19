package load

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// taken is what a server was told to publish.
type taken struct {
	mu       sync.Mutex
	topics   []string // guarded by mu, as all below
	payloads []string
	requests int
	auth     string
}

func (t *taken) add(topic, payload string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.topics, t.payloads = append(t.topics, topic), append(t.payloads, payload)
}

func (t *taken) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.topics, t.payloads, t.requests = nil, nil, 0
}

// ServeHTTP takes what the templates of Ringside and of AnyCable send.
func (t *taken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	t.requests++
	t.auth = r.Header.Get("Authorization")
	t.mu.Unlock()
	switch r.Method + r.URL.Path {
	case "POST/publish":
		var body struct {
			Topic string
			Data  json.RawMessage
		}
		if json.NewDecoder(r.Body).Decode(&body) == nil {
			t.add(body.Topic, string(body.Data))
			_, _ = io.WriteString(w, `{"position":"1-1"}`)
			return
		}
	case "POST/_broadcast":
		var list []struct{ Stream, Data string }
		if json.NewDecoder(r.Body).Decode(&list) == nil {
			for _, b := range list {
				t.add(b.Stream, b.Data)
			}
			w.WriteHeader(http.StatusCreated)
			return
		}
	}
	w.WriteHeader(http.StatusBadRequest)
}

// serveRedis answers commands of ten words until the test ends.
func (t *taken) serveRedis(tb testing.TB, answer string) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				t.redis(c, answer)
			})
		}
	})
	tb.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func (t *taken) redis(c net.Conn, answer string) {
	in := bufio.NewReader(c)
	for {
		lines := make([]string, 21) // *10, and a length and a value for each
		for i := range lines {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			lines[i] = strings.TrimSpace(line)
		}
		if lines[0] != "*10" || lines[2] != "XADD" || lines[6] != "MINID" || lines[4] != testcluster.StreamKey(lines[16]) {
			return
		}
		t.add(lines[16], lines[20])
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func newTestPress(t *testing.T, template, url string, change func(*PressConfig)) *Press {
	t.Helper()
	tpl, err := FindTemplate(template)
	if err != nil {
		t.Fatal(err)
	}
	cfg := PressConfig{URL: url, Template: tpl, Topics: []string{"a", "b", "ü\"c"}, Size: 200, Connections: 2}
	if change != nil {
		change(&cfg)
	}
	p, err := NewPress(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestPressPublishes publishes in every way and looks at what came, and at the times.
func TestPressPublishes(t *testing.T) {
	f := func(template, url string, got *taken, change func(*PressConfig)) *Press {
		t.Helper()
		p := newTestPress(t, template, url, change)
		for round := range 2 { // a press is used again
			got.clear()
			b, err := p.Publish(t.Context(), 2000, 30*time.Millisecond, true)
			if err != nil || b.Err() != nil {
				t.Fatalf("%s: %v, %v", template, err, b.Err())
			}
			if b.Published != 60 || b.Answered != 60 || len(got.topics) != 60 || b.Late.TotalCount() != 60 || b.Call.TotalCount() != 60 {
				t.Fatalf("%s: published %d messages, %d answered, %d came; want 60", template, b.Published, b.Answered, len(got.topics))
			}
			for i, m := range b.Messages {
				if m.Due != time.Duration(i)*500*time.Microsecond || m.Sent < m.Due || m.Answered < m.Sent {
					t.Errorf("%s: message %d: %+v", template, i, m)
				}
			}
			last := map[string]uint32{}
			for i, payload := range got.payloads {
				m, _, ok := nextMark([]byte(payload), markPrefix(p.Run))
				n := time.Duration(m.due-b.Start.UnixNano()) / b.Every
				topic := got.topics[i]
				if want := p.cfg.Topics[n%3]; !ok || len(payload) != 200 || topic != want {
					t.Errorf("%s: message %d of %d bytes went to %q, want %q, and 200 bytes", template, n, len(payload), topic, want)
				}
				if want := max(last[topic]+1, uint32(20*round+1)); m.number != want {
					t.Errorf("%s: %q got number %d, want %d", template, topic, m.number, want)
				}
				last[topic] = m.number
			}
		}
		if ends, failed := p.Ends(); !slices.Equal(ends, []uint32{40, 40, 40}) || !slices.Equal(failed, []uint32{0, 0, 0}) {
			t.Errorf("%s: ends %v, %v not taken", template, ends, failed)
		}
		return p
	}
	var got taken
	s := httptest.NewServer(&got)
	defer s.Close()
	f("ringside", "redis://"+got.serveRedis(t, "$3\r\n1-1\r\n"), &got, nil)
	f("ringside", s.URL, &got, func(c *PressConfig) { c.Token = "secret" })
	if got.auth != "Bearer secret" {
		t.Errorf("authorization: got %q", got.auth)
	}
	f("anycable", s.URL, &got, func(c *PressConfig) { c.Batch = 8 })
}

// Messages that are due while an answer is awaited go together.
func TestPressBatches(t *testing.T) {
	var got taken
	slow := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-slow
		got.ServeHTTP(w, r)
	}))
	defer s.Close()
	p := newTestPress(t, "anycable", s.URL, func(c *PressConfig) { c.Batch, c.Connections = 50, 1 })
	time.AfterFunc(50*time.Millisecond, func() { close(slow) })
	b, err := p.Publish(t.Context(), 2000, 40*time.Millisecond, false)
	if err != nil || b.Answered != 80 || len(got.payloads) != 80 {
		t.Fatalf("got %d of %d, %v", len(got.payloads), b.Answered, err)
	}
	if got.requests >= 80 {
		t.Errorf("%d messages came in %d requests", len(got.payloads), got.requests)
	}
}

// What is not taken is counted, and the press goes on.
func TestPressFails(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		p := newTestPress(t, "ringside", url, nil)
		b, err := p.Publish(t.Context(), 1000, 20*time.Millisecond, false)
		if err != nil || b.Err() == nil || !strings.Contains(b.Err().Error(), want) || b.Answered != 0 || b.Failed[want] != 20 {
			t.Errorf("got %v, %v, %v, want %q", err, b.Err(), b.Failed, want)
		}
		if _, failed := p.Ends(); failed[0]+failed[1]+failed[2] != 20 {
			t.Errorf("not taken: got %v", failed)
		}
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	f(s.URL, "status 404")
	f("redis://"+new(taken).serveRedis(t, "-OOM no memory\r\n"), "OOM no memory")
}

// A server that goes away, and comes back at the same place.
func TestPressConnectsAnew(t *testing.T) {
	var got taken
	s := httptest.NewServer(&got)
	p := newTestPress(t, "ringside", s.URL, nil)
	addr := s.Listener.Addr().String()
	s.CloseClientConnections()
	s.Close()
	b, err := p.Publish(t.Context(), 1000, 10*time.Millisecond, false)
	if err != nil || b.Answered != 0 || b.Err() == nil {
		t.Fatalf("without a server: got %d, %v, %v", b.Answered, err, b.Err())
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("SKIPPED: the port was taken meanwhile: %v", err)
	}
	again := &httptest.Server{Listener: ln, Config: &http.Server{Handler: &got}} //nolint:gosec // a test's
	again.Start()
	defer again.Close()
	testcluster.Soon(t, "it publishes again", func() bool {
		b, err := p.Publish(t.Context(), 1000, 3*time.Millisecond, false)
		return err == nil && b.Answered == b.Published
	})
}

func TestPressIsStopped(t *testing.T) {
	var got taken
	p := newTestPress(t, "ringside", "redis://"+got.serveRedis(t, "$3\r\n1-1\r\n"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if b, err := p.Publish(ctx, 1000, time.Hour, false); err != nil || b.Answered != b.Published || b.Published == 0 {
		t.Errorf("got %+v, %v, want what was published until then", b, err)
	}
}

func TestPressRefuses(t *testing.T) {
	f := func(url, template, want string, change func(*PressConfig)) {
		t.Helper()
		tpl, err := FindTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		cfg := PressConfig{URL: url, Template: tpl, Topics: []string{"a"}, Size: 200}
		if change != nil {
			change(&cfg)
		}
		if _, err := NewPress(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
	f("nonsense", "ringside", "no URL", nil)
	f("ftp://127.0.0.1:1", "ringside", "http, https", nil)
	f("http://127.0.0.1:1", "ringside", "refused", nil)
	f("http://127.0.0.1:1", "socketio", "by HTTP", nil)
	f("redis://127.0.0.1:1", "centrifugo", "by Redis", nil)
	f("http://127.0.0.1:1", "ringside", "no batches", func(c *PressConfig) {
		h := *c.Template.Publish.HTTP
		h.Batch = Batches{}
		c.Batch, c.Template.Publish.HTTP = 2, &h
	})
	f("redis://127.0.0.1:1", "ringside", "pipelined", func(c *PressConfig) { c.Batch = 2 })
	f("http://127.0.0.1:1", "ringside", "38 bytes", func(c *PressConfig) { c.Size = 10 })
	f("http://127.0.0.1:1", "ringside", "a topic", func(c *PressConfig) { c.Topics = nil })
}

// A real Redis, with a user and another database.
func TestPressRedis(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	url := redis.SetUser(t, "bench", "word", "~*", "+@all")
	p := newTestPress(t, "ringside", url+"/3", nil)
	b, err := p.Publish(t.Context(), 1000, 30*time.Millisecond, false)
	if err != nil || b.Err() != nil || b.Answered != 30 {
		t.Fatalf("got %+v, %v, %v", b, err, b.Err())
	}
	c := redis.Dial(t)
	if _, err := c.Do("SELECT", "3"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Do("XLEN", testcluster.StreamKey("a")); err != nil || n != int64(10) {
		t.Errorf("entries: got %v, %v, want 10", n, err)
	}
	if _, err := NewPress(PressConfig{URL: strings.Replace(url, "word", "wrong", 1), Template: p.cfg.Template, Topics: []string{"a"}, Size: 200}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("a wrong password: got %v", err)
	}
}

func TestPressStride(t *testing.T) {
	var got taken
	addr := got.serveRedis(t, "+1-1\r\n")
	p := newTestPress(t, "ringside", "redis://"+addr, func(c *PressConfig) { c.Topics, c.Stride, c.Connections = []string{"a", "b", "c", "d", "e"}, 7, 1 })
	if b, err := p.Publish(t.Context(), 1000, 6*time.Millisecond, false); err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	if want := []string{"a", "c", "e", "b", "d", "a"}; !slices.Equal(got.topics, want) {
		t.Errorf("got %q, want %q", got.topics, want)
	}
}

func TestRedisAnswer(t *testing.T) {
	f := func(in, reason, failed string) {
		t.Helper()
		got, err := redisAnswer(bufio.NewReader(strings.NewReader(in)))
		if got != reason || (err == nil) != (failed == "") || err != nil && !strings.Contains(err.Error(), failed) {
			t.Errorf("%q: got %q, %v, want %q, %q", in, got, err, reason, failed)
		}
	}
	f("+OK\r\n", "", "")
	f(":1\r\n", "", "")
	f("$3\r\nabc\r\n", "", "")
	f("$-1\r\n", "", "")
	f("*2\r\n$1\r\na\r\n*1\r\n-ERR x\r\n", "ERR x", "")
	f("-MOVED 1 a:1\r\n", "MOVED 1 a:1", "")
	f("$3\r\na", "", "EOF")
	f("", "", "EOF")
	f("HTTP/1.1\r\n", "", "not Redis")
	f("$x\r\n", "", "not Redis")
	f("\r\n", "", "not Redis")
	f(strings.Repeat("*1\r\n", 20), "", "not Redis")
}
