package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// taken is what a fake server was told to publish.
type taken struct {
	sync.Mutex
	topics, payloads []string // guarded by Mutex
}

func (t *taken) add(topic, payload string) {
	t.Lock()
	defer t.Unlock()
	t.topics, t.payloads = append(t.topics, topic), append(t.payloads, payload)
}

func (t *taken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Topic string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method+r.URL.Path != "POST/publish" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	t.add(body.Topic, string(body.Data))
	_, _ = io.WriteString(w, `{"position":"1-1"}`)
}

// serveRedis answers XADD, on one connection after the other, until the test ends.
func (t *taken) serveRedis(tb testing.TB, answer string) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.redis(c, answer)
			c.Close()
		}
	}()
	tb.Cleanup(func() { ln.Close(); <-done })
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

// TestPressPublishes publishes both ways to fakes and looks at what they got, and at the times.
func TestPressPublishes(t *testing.T) {
	f := func(via string, serve func(*taken) string) {
		t.Helper()
		var got taken
		o := latencyOptions{rate: 2000, size: 200, connections: 4}
		p, err := newPress(o, via, serve(&got), []string{"a", "b", "ü\"c"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		for range 2 { // a press is used again
			got.topics, got.payloads = nil, nil
			b, err := p.publish(context.Background(), 30*time.Millisecond)
			if err != nil {
				t.Fatalf("%s: %v", via, err)
			}
			if len(b.messages) != 60 || len(got.topics) != 60 {
				t.Fatalf("%s: published %d messages, %d came; want 60", via, len(b.messages), len(got.topics))
			}
			for i, m := range b.messages {
				if m.due != time.Duration(i)*500*time.Microsecond || m.sent < m.due || m.answered < m.sent {
					t.Errorf("%s: message %d: due %v, sent %v, answered %v", via, i, m.due, m.sent, m.answered)
				}
			}
			b.checkTaken(t, &got)
			if err := b.clockWasSet(); err != nil {
				t.Error(err)
			}
		}
	}
	f(viaXADD, func(got *taken) string { return got.serveRedis(t, "$3\r\n1-1\r\n") })
	f(viaPost, func(got *taken) string {
		s := httptest.NewServer(got)
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	})
}

// checkTaken looks whether every payload says when it was due and went to the topic whose turn it was.
func (b *batch) checkTaken(t *testing.T, got *taken) {
	t.Helper()
	for i, payload := range got.payloads {
		at, ok := stamp([]byte(payload))
		n := time.Duration(at-b.start.UnixNano()) / b.every
		if want := []string{"a", "b", "ü\"c"}[n%3]; !ok || len(payload) != 200 || got.topics[i] != want {
			t.Errorf("message %d of %d bytes went to %q, want %q, and 200 bytes", n, len(payload), got.topics[i], want)
		}
	}
}

func TestPressFails(t *testing.T) {
	f := func(via, addr, want string) {
		t.Helper()
		p, err := newPress(latencyOptions{rate: 1000, size: 100, connections: 2}, via, addr, []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.publish(context.Background(), time.Minute)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", via, err, want)
		}
		p.close()
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	f(viaPost, strings.TrimPrefix(s.URL, "http://"), "404")
	var got taken
	f(viaXADD, got.serveRedis(t, "-OOM no memory\r\n"), "OOM no memory")
}

func TestPressIsStopped(t *testing.T) {
	var got taken
	p, err := newPress(latencyOptions{rate: 1000, size: 100}, viaXADD, got.serveRedis(t, "$3\r\n1-1\r\n"), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.publish(ctx, time.Hour/100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
}
