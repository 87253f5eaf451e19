package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a server of ours: what it does with each connection, behind the request, is the test's.
type server struct {
	addr     string
	mu       sync.Mutex
	requests []*http.Request       // guarded by mu
	conns    map[net.Conn]struct{} // guarded by mu
}

const upgraded = "HTTP/1.1 101 Switching Protocols\r\n\r\n"

func serve(t *testing.T, f func(n int, conn net.Conn, in *bufio.Reader)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), conns: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = struct{}{}
			s.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				s.mu.Lock()
				s.requests = append(s.requests, req)
				s.mu.Unlock()
				f(n, conn, in)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.cut()
		wg.Wait()
	})
	return s
}

// cut ends all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// urls are the targets that were asked for.
func (s *server) urls() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		list = append(list, r.URL.String())
	}
	return list
}

// text is a server's frame.
func textFrame(s string) string { return string(wsframe.AppendFrame(nil, wsframe.Text, []byte(s))) }

// stay reads until the client goes.
func stay(in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) }

func newTestFleet(t *testing.T) *Fleet {
	t.Helper()
	f, err := NewFleet(2, Inside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func template(t *testing.T, text string) Template {
	t.Helper()
	tpl, err := ParseTemplate("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// until polls the fleet.
func until(t *testing.T, f *Fleet, what string, ok func(Totals) bool) (last Totals) {
	t.Helper()
	testcluster.Soon(t, what, func() bool {
		var err error
		if last, err = f.Stats(true); err != nil {
			t.Fatal(err)
		}
		return ok(last)
	})
	return last
}

func TestFleetCounts(t *testing.T) {
	const run = "0000beef"
	s := serve(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		text := upgraded
		for _, n := range []uint32{1, 2, 2} {
			text += textFrame("around " + payload(run, n, time.Now(), 100))
		}
		text += textFrame("two of them: " + payload(run, 5, time.Now(), 100) + ", " + payload(run, 4, time.Now(), 60))
		text += textFrame(payload("0000f00d", 9, time.Now(), 100))
		_, _ = io.WriteString(conn, text)
		stay(in)
	})
	f := newTestFleet(t)
	if err := f.Reset(run, true); err != nil {
		t.Fatal(err)
	}
	const n = 101
	if err := f.Open(t.Context(), Spec{Template: template(t, "path: /{topic}"), Targets: []string{s.addr}, Topics: []string{"a", "b"}, Dialers: 8}, n); err != nil {
		t.Fatal(err)
	}
	got := until(t, f, "all messages", func(t Totals) bool { return t.Frames == 4*n })
	if got.Least != 4 || got.Most != 4 || got.Repeated != n || got.Disordered != n || got.Missing != n || got.Latency.TotalCount() != 5*n || got.Lost != 0 {
		t.Errorf("got %+v", got)
	}
	if final, err := f.Final([]uint32{5, 8}); err != nil || final.Missing != n+3*(n/2) { // those of b lack three more
		t.Errorf("missing at the end: got %d, %v, want %d", final.Missing, err, n+3*(n/2))
	}
	if list, err := f.Receipts(); err != nil || len(list) != 5*n || list[0].At < list[0].Due {
		t.Errorf("receipts: got %d, %v", len(list), err)
	}
	if topics, err := f.Topics(); err != nil || topics[0] != n-n/2 || topics[1] != n/2 {
		t.Errorf("topics: got %v, %v", topics, err)
	}
	if err := f.Reset(run, false); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Stats(true); err != nil || got.Frames+got.Missing+got.Repeated != 0 || got.Latency.TotalCount() != 0 || got.Open != n {
		t.Errorf("after a reset: got %+v, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Stats(false); err != nil || got.Sessions+got.Open != 0 {
		t.Errorf("after the end: got %+v, %v", got, err)
	}
}

// A server of frames of its own: it wants a frame, confirms, pings in its own way, and puts messages into lines, fragments and encodings.
func TestForeignProtocol(t *testing.T) {
	const run = "0000beef"
	said := make(chan string, 10)
	s := serve(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, upgraded)
		hear := func() string {
			f, err := readClientFrame(in)
			if err != nil {
				return err.Error()
			}
			said <- f
			return f
		}
		if hear() != `{"hello":1}` {
			return
		}
		_, _ = io.WriteString(conn, textFrame(`{"welcome":1}`+"\n"))
		if hear() != `{"sub":"finals"}` {
			return
		}
		quoted, _ := json.Marshal(payload(run, 2, time.Now(), 100))
		_, _ = io.WriteString(conn, textFrame(`{"subscribed":true}`+"\n"+`{"p":`+payload(run, 1, time.Now(), 100)+"}\n{\"ping\":1}\n{\"p\":"+string(quoted)+"}"))
		hear()
		whole := `{"p":` + payload(run, 3, time.Now(), 100) + "}"
		frames := wsframe.AppendFrame(nil, wsframe.Text, []byte(whole[:50]))
		frames[0] &^= 0x80
		frames = wsframe.AppendFrame(wsframe.AppendFrame(frames, wsframe.Ping, []byte("x")), wsframe.Continuation, []byte(whole[50:]))
		_, _ = conn.Write(frames)
		hear()
		stay(in)
	})
	f := newTestFleet(t)
	if err := f.Reset(run, false); err != nil {
		t.Fatal(err)
	}
	tpl := template(t, `
path: /ws
subprotocol: odd.v1
headers: {X-Topic: '{topic}'}
lines: true
frames:
  - send: '{"hello":1}'
  - {on: {contains: welcome}, send: '{"sub":{topic:json}}'}
  - {on: {is: '{"ping":1}'}, send: '{"pong":1}'}
subscribed: {begins: '{"subscribed"'}
`)
	if err := f.Open(t.Context(), Spec{Template: tpl, Targets: []string{s.addr}, Topics: []string{"finals"}}, 1); err != nil {
		t.Fatal(err)
	}
	until(t, f, "all three messages", func(t Totals) bool { return t.Frames == 3 && t.Missing == 0 })
	for _, want := range []string{`{"hello":1}`, `{"sub":"finals"}`, `{"pong":1}`, "x"} {
		if got := <-said; got != want {
			t.Errorf("the client said %q, want %q", got, want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[0]; r.Header.Get("Sec-WebSocket-Protocol") != "odd.v1" || r.Header.Get("X-Topic") != "finals" || r.URL.Path != "/ws" {
		t.Errorf("the handshake is %+v", r)
	}
}

// readClientFrame reads a short frame of a client.
func readClientFrame(in *bufio.Reader) (string, error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(in, head); err != nil {
		return "", err
	}
	p := make([]byte, head[1]&0x7f)
	_, err := io.ReadFull(in, p)
	return string(p), err
}

// Whoever is turned away comes back as it was told, with its pass, or does not listen.
func TestComingBack(t *testing.T) {
	refuse := func(n int, conn net.Conn) bool {
		body := `{"error":"queue_full","retry":30,"pass":"reserved"}`
		switch n {
		case 0:
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		case 1: // as browsers are told
			_, _ = io.WriteString(conn, upgraded+string(wsframe.AppendClose(nil, 1013, `{"reconnect":20,"pass":"second"}`)))
		default:
			return false
		}
		return true
	}
	f := func(back Back, want ...string) {
		t.Helper()
		s := serve(t, func(n int, conn net.Conn, in *bufio.Reader) {
			if refuse(n, conn) {
				return
			}
			_, _ = io.WriteString(conn, upgraded+textFrame(`{"type":"welcome","position":"e-1-0","backoff":{"min":1,"max":2,"factor":1,"jitter":0},"resume":"token"}`))
			if n == 2 {
				_, _ = io.WriteString(conn, textFrame(`{"id":"e-2-0"}`)+string(wsframe.AppendClose(nil, 1012, `{"reconnect":10}`)))
				return
			}
			stay(in)
		})
		fleet := newTestFleet(t)
		tpl, err := FindTemplate("ringside")
		if err != nil {
			t.Fatal(err)
		}
		spec := Spec{Template: tpl, Targets: []string{s.addr}, Topics: []string{"x"}, Back: back, Retry: time.Millisecond, Resume: true}
		if err := fleet.Begin(spec, 1); err != nil {
			t.Fatal(err)
		}
		got := until(t, fleet, string(back)+" is back", func(t Totals) bool { return t.Open == 1 && t.Lost == 1 })
		if sum := got.Attempts(); sum.Attempts != 4 || sum.Refused != 2 || sum.Opened != 2 || got.Reasons["status 503 queue_full"] != 1 ||
			got.Reasons["close 1013"] != 1 || got.Reasons["lost: close 1012"] != 1 {
			t.Errorf("%s: got %+v, %v", back, sum, got.Reasons)
		}
		if first := time.Duration(got.Back.Min()) * time.Microsecond; back == Obedient && first < 49*time.Millisecond {
			t.Errorf("it was open after %v, and was told 30 ms, and 20 ms more", first)
		}
		if urls := s.urls(); strings.Join(urls, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %q, want %q", back, urls, want)
		}
	}
	f(Obedient, "/t/x", "/t/x?pass=reserved", "/t/x?pass=second", "/t/x?since=e-2-0&pass=token")
	f(Naive, "/t/x", "/t/x", "/t/x", "/t/x?since=e-2-0")
}

// A storm is cut by us, and everybody is back once.
func TestCut(t *testing.T) {
	s := serve(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, upgraded)
		stay(in)
	})
	f := newTestFleet(t)
	const n = 50
	if err := f.Open(t.Context(), Spec{Template: template(t, "path: /"), Targets: []string{s.addr}, Topics: []string{"x"}}, n); err != nil {
		t.Fatal(err)
	}
	if err := f.Cut(50*time.Millisecond, Naive, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	got, err := f.Settle(t.Context(), nil)
	if sum := got.Attempts(); err != nil || got.Open != n || sum.Attempts != n || got.Back.TotalCount() != n || len(s.urls()) != 2*n {
		t.Errorf("got %d open, %+v, %d times, %d connections, %v", got.Open, sum, got.Back.TotalCount(), len(s.urls()), err)
	}
	if err := f.Cut(0, Never, 0); err == nil {
		t.Error("nobody comes back: got no error")
	}
}

func TestSendIsAnswered(t *testing.T) {
	s := serve(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, upgraded)
		if got, err := readClientFrame(in); err == nil {
			_, _ = io.WriteString(conn, textFrame("echo of "+got))
		}
		stay(in)
	})
	f := newTestFleet(t)
	const n = 10
	if err := f.Open(t.Context(), Spec{Template: template(t, "path: /"), Targets: []string{s.addr}, Topics: []string{"x"}}, n); err != nil {
		t.Fatal(err)
	}
	if err := f.Send("hello", "of hello", time.Now()); err != nil {
		t.Fatal(err)
	}
	until(t, f, "all echoes", func(t Totals) bool { return t.Echoes.TotalCount() == n })
}

// TestLeave has each subscriber go as soon as it is there: all have been, and never more at once than may be opened at once.
func TestLeave(t *testing.T) {
	const n, dialers = 40, 3
	var here, most atomic.Int32
	s := serve(t, func(_ int, conn net.Conn, _ *bufio.Reader) {
		now := here.Add(1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		_, _ = io.WriteString(conn, upgraded)
		_, _ = io.Copy(io.Discard, conn) // until it goes
		here.Add(-1)
	})
	f := newTestFleet(t)
	spec := Spec{Template: template(t, "path: /"), Targets: []string{s.addr}, Topics: []string{"x"}, Dialers: dialers, Leave: true}
	if err := f.Begin(spec, n); err != nil {
		t.Fatal(err)
	}
	got, err := f.Settle(t.Context(), nil)
	if err != nil || got.Settled != n || got.Open != 0 || got.Attempts().Opened != n || got.Lost != 0 || got.Connect.TotalCount() != n {
		t.Errorf("got %+v, %v", got, err)
	}
	testcluster.Soon(t, "all have gone", func() bool { return here.Load() == 0 })
	if most.Load() >= n {
		t.Errorf("got %d at once, want no more than a few beyond %d", most.Load(), dialers)
	}
}

func TestOpenFails(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		s := serve(t, func(_ int, conn net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(conn, answer) })
		spec := Spec{Template: template(t, "path: /"), Targets: []string{s.addr}, Topics: []string{"x"}}
		if err := newTestFleet(t).Open(t.Context(), spec, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", answer, err, want)
		}
	}
	f("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404 (3)")
	f("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{\"error\":\"topic_empty\"}", "status 400 topic_empty (3)")
	f("", "the server hung up (3)")
	f("nonsense\r\n\r\n", "no HTTP")
	fleet := newTestFleet(t)
	spec := Spec{Template: template(t, "path: /"), Targets: []string{"127.0.0.1:1"}, Topics: []string{"x"}}
	if err := fleet.Open(t.Context(), spec, 3); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec.Back, spec.Retry = Naive, time.Hour
	if err := fleet.Open(ctx, spec, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	spec.Topics = nil
	if err := fleet.Open(t.Context(), spec, 5); err == nil || !strings.Contains(err.Error(), "a topic") {
		t.Errorf("no topic: got %v", err)
	}
}

// TestFeedInPieces cuts what a server sends at every place.
func TestFeedInPieces(t *testing.T) {
	const run = "0000beef"
	feed := func(name, stream string) {
		tpl, err := FindTemplate(name)
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, func(n int, conn net.Conn, in *bufio.Reader) {
			cut := n % len(stream)
			_, _ = io.WriteString(conn, stream[:cut])
			// No sleep: the kernel may put both pieces together, which is another way to cut.
			_, _ = io.WriteString(conn, stream[cut:])
			stay(in)
		})
		f := newTestFleet(t)
		if err := f.Reset(run, false); err != nil {
			t.Fatal(err)
		}
		spec := Spec{Template: tpl, Targets: []string{s.addr}, Topics: []string{"x"}, Dialers: 16}
		if err := f.Open(t.Context(), spec, len(stream)); err != nil {
			t.Fatal(err)
		}
		until(t, f, "three messages each", func(t Totals) bool { return t.Least == 3 && t.Most == 3 && t.Missing == 0 })
	}
	three := make([]string, 3)
	for i := range three {
		three[i] = payload(run, uint32(i+1), time.Now(), 60+70*i)
	}
	feed("ringside-raw", upgraded+textFrame(three[0])+textFrame(three[1])+string(wsframe.AppendFrame(nil, wsframe.Binary, []byte(three[2]))))
	feed("ringside-events", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1000\nid: a\n\nid: b\ndata: "+strings.Join(three, "\n\nid: c\ndata: ")+"\n\n")
}
