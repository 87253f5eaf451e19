package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// fakeGateway speaks ringside.v1 as each test wants it: a function for each connection, in their order.
type fakeGateway struct {
	url      string
	requests chan string // request targets
	serve    chan func(*websocket.Conn)
}

func newFakeGateway(t *testing.T, serve ...func(*websocket.Conn)) *fakeGateway {
	t.Helper()
	g := &fakeGateway{requests: make(chan string, 100), serve: make(chan func(*websocket.Conn), 100)}
	for _, f := range serve {
		g.serve <- f
	}
	up := websocket.Upgrader{Subprotocols: []string{"ringside.v1"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.requests <- r.RequestURI
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		select {
		case f := <-g.serve:
			f(conn)
		default:
		}
	}))
	t.Cleanup(s.Close)
	g.url = "ws" + strings.TrimPrefix(s.URL, "http")
	return g
}

const welcome = `{"type":"welcome","session":"1","topic":"finals","position":"%s","heartbeat":60000,"backoff":{"min":1,"max":2,"factor":2,"jitter":0.5}}`

// says makes a connection of text messages; {} waits for the client to close, a number is a close code.
func says(messages ...any) func(*websocket.Conn) {
	return func(c *websocket.Conn) {
		for _, m := range messages {
			switch m := m.(type) {
			case string:
				_ = c.WriteMessage(websocket.TextMessage, []byte(m))
			case closeFrame:
				_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(m.code, m.reason), time.Now().Add(time.Minute))
			}
		}
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	}
}

type closeFrame struct {
	code   int
	reason string
}

func message(id, data string) string {
	return fmt.Sprintf(`{"type":"message","topic":"finals","id":"%s","data":%s}`, id, data)
}

func welcomeAt(position string) string { return fmt.Sprintf(welcome, position) }

func TestSubscribe(t *testing.T) {
	f := func(out string, requests []string, args []string, serve ...func(*websocket.Conn)) {
		t.Helper()
		g := newFakeGateway(t, serve...)
		code, got, errOut := command(t.Context(), "", nil, append([]string{"subscribe", g.url + "/t/finals"}, args...)...)
		if code != exitOK || got != out {
			t.Errorf("%q: got %d, %q, want %q\n%s", args, code, got, out, errOut)
		}
		for _, want := range requests {
			if got := <-g.requests; got != want {
				t.Errorf("%q: got the request %s, want %s", args, got, want)
			}
		}
	}
	f("a-1-0 {\"n\":1}\n", []string{"/t/finals"}, []string{"--once"},
		says(welcomeAt("a-0-0"), message("a-1-0", "{\n \"n\": 1}"), message("a-2-0", "2")))
	f("a-1-0 1\na-2-0 \"//4A\" (base64)\n", nil, []string{"--count", "2"},
		says(welcomeAt("a-0-0"), message("a-1-0", "1"), `{"type":"message","topic":"finals","id":"a-2-0","encoding":"base64","data":"//4A"}`))
	f(welcomeAt("a-0-0")+"\n"+message("a-1-0", "1")+"\n", nil, []string{"--once", "--json"},
		says(welcomeAt("a-0-0"), message("a-1-0", " 1")))
	f("0000000a-9-0 9\n", []string{"/t/finals?since=0000000a-8-0"}, []string{"--since", "0000000a-8-0", "--once"},
		says(welcomeAt("a-8-0"), message("0000000a-9-0", "9")))
	// It comes back where it was: after a message, a heartbeat, a gap or the welcome alone.
	f("a-1-0 1\na-7-0 7\n", []string{"/t/finals", "/t/finals?since=a-1-0", "/t/finals?since=a-3-0", "/t/finals?since=a-5-0"}, []string{"--count", "2"},
		says(welcomeAt("a-0-0"), message("a-1-0", "1"), closeFrame{1012, `{"reconnect":1}`}),
		says(welcomeAt("a-1-0"), `{"type":"heartbeat","topic":"finals","position":"a-3-0"}`, closeFrame{1013, `{"reconnect":0}`}),
		says(welcomeAt("a-3-0"), `{"type":"gap","topic":"finals","reason":"trimmed","after":"a-3-0","position":"a-5-0"}`, closeFrame{1001, ""}),
		says(welcomeAt("a-5-0"), message("a-7-0", "7")))
	// It shows a reservation, which is good once, and else the token of the welcome.
	f("a-1-0 1\n", []string{"/t/finals", "/t/finals?pass=booked&since=a-0-0", "/t/finals?pass=token&since=a-0-0"}, []string{"--once"},
		says(strings.TrimSuffix(welcomeAt("a-0-0"), "}")+`,"resume":"token"}`, closeFrame{1013, `{"reconnect":1,"pass":"booked"}`}),
		says(closeFrame{1012, `{"reconnect":1}`}),
		says(welcomeAt("a-0-0"), message("a-1-0", "1")))
}

func TestSubscribeFails(t *testing.T) {
	f := func(url string, code int, want ...string) {
		t.Helper()
		got, _, errOut := command(t.Context(), "", nil, "subscribe", url)
		for _, w := range want {
			if got != code || !strings.Contains(errOut, w) || strings.Count(errOut, "ringside:") != 1 {
				t.Errorf("%s: got %d, %q, want %d, %q", url, got, errOut, code, w)
			}
		}
	}
	f("ws://127.0.0.1:1/t/x", exitUnreachable, "cannot connect to ws://127.0.0.1:1/t/x", "Nobody listens there")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"topic_empty","message":"the topic is empty"}`)
	}))
	defer s.Close()
	f(s.URL+"/t/", exitRefused, "refuses (400): the topic is empty")
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	f(page.URL, exitUnreachable, "refuses (404)", "a topic's URL")
	f(newFakeGateway(t, says(closeFrame{1002, "no"})).url, exitFailure, "the server closed with 1002 no")
	f(newFakeGateway(t, says(closeFrame{4403, "no"})).url, exitRefused, "the server closed with 4403 no")
	f(newFakeGateway(t, says("nonsense")).url, exitUnreachable, "not JSON", "a topic's URL")

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	defer other.Close()
	f(other.URL, exitUnreachable, "does not speak ringside.v1")
}

// A refusal that will pass is waited for, once a connection has stood.
func TestSubscribeComesBack(t *testing.T) {
	g := newFakeGateway(t, says(welcomeAt("a-0-0"), closeFrame{1012, ""}),
		func(c *websocket.Conn) { c.UnderlyingConn().Close() },
		says(welcomeAt("a-0-0"), message("a-1-0", "1")))
	code, out, errOut := command(t.Context(), "", nil, "subscribe", g.url, "--once")
	if code != exitOK || out != "a-1-0 1\n" || strings.Count(errOut, "back in") != 2 {
		t.Errorf("got %d, %q, %q", code, out, errOut)
	}
}

// Silence of more than two heartbeats is a dead connection.
func TestSubscribeSilence(t *testing.T) {
	g := newFakeGateway(t,
		says(`{"type":"welcome","topic":"finals","position":"a-0-0","heartbeat":1,"backoff":{"min":1,"max":1,"factor":1,"jitter":0}}`),
		says(welcomeAt("a-0-0"), message("a-1-0", "1")))
	code, _, errOut := command(t.Context(), "", nil, "subscribe", g.url, "--once")
	if code != exitOK || !strings.Contains(errOut, "silent") {
		t.Errorf("got %d, %q", code, errOut)
	}
}

func TestSubscribeInterrupted(t *testing.T) {
	g := newFakeGateway(t, says(welcomeAt("a-0-0"), message("a-1-0", "1")))
	ctx, cancel := context.WithCancel(t.Context())
	out, errOut := newOutput(), newOutput()
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"subscribe", g.url}, nil, stdio{out: out, err: errOut}) }()
	out.waitFor(t, "a-1-0 1")
	cancel()
	if code := <-done; code != exitOK || !strings.Contains(errOut.String(), "last position: a-1-0") {
		t.Errorf("got %d, %q", code, errOut)
	}
}
