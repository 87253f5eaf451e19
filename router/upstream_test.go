package router

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// upstreamServer is a gateway made for tests: it reads a handshake, gives the answer that the test wants, and leaves the
// connection to the test.
type upstreamServer struct {
	t      testing.TB
	id     string
	static bool // a server that is none of ours
	ln     net.Listener
	silent atomic.Bool // answers no heartbeats
	deaf   atomic.Bool // takes connections and answers nothing on them

	mu     sync.Mutex
	reply  func(*far) bool // answers; false: the connection is of no further use
	conns  []net.Conn
	closed bool
	wg     sync.WaitGroup

	sessions chan *far
}

// far is the upstream's end of a session, and what its handshake was.
type far struct {
	t    testing.TB
	u    *upstreamServer
	conn *net.TCPConn
	r    *bufio.Reader
	head string // of the request, as it came
	req  *http.Request
}

// gateway starts a gateway that answers with a leg.
func gateway(t testing.TB, id string) *upstreamServer {
	return newUpstream(t, id, false, replyLeg)
}

// rawServer starts a WebSocket and SSE server that is none of ours.
func rawServer(t testing.TB, id string) *upstreamServer {
	return newUpstream(t, id, true, replyRaw)
}

func newUpstream(t testing.TB, id string, static bool, reply func(*far) bool) *upstreamServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstreamServer{t: t, id: id, static: static, ln: ln, reply: reply, sessions: make(chan *far, 10000)}
	u.wg.Go(u.accept)
	t.Cleanup(u.stop)
	return u
}

func (u *upstreamServer) addr() string { return u.ln.Addr().String() }

func (u *upstreamServer) accept() {
	for {
		c, err := u.ln.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		if u.closed {
			c.Close()
		}
		u.conns = append(u.conns, c)
		u.mu.Unlock()
		u.wg.Go(func() { u.serve(c.(*net.TCPConn)) }) //nolint:forcetypeassert // of a TCP listener
	}
}

func (u *upstreamServer) serve(c *net.TCPConn) {
	f := &far{t: u.t, u: u, conn: c}
	var head bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(oneByte{c}, &head)))
	if err != nil {
		c.Close()
		return
	}
	f.req, f.head, f.r = req, head.String(), bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(patience))
	u.mu.Lock()
	reply := u.reply
	u.mu.Unlock()
	if u.deaf.Load() {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	if req.Method == leg.MethodBeat {
		u.beat(f)
		return
	}
	if !reply(f) {
		c.Close()
		return
	}
	u.sessions <- f
}

// beat answers heartbeats.
func (u *upstreamServer) beat(f *far) {
	defer f.conn.Close()
	_ = f.conn.SetDeadline(time.Time{})
	f.write("HTTP/1.1 101 Switching Protocols\r\n" + leg.HeaderLeg + ": v1\r\n\r\n")
	buf := make([]byte, 64)
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			return
		}
		if !u.silent.Load() {
			_, _ = f.conn.Write(buf[:n])
		}
	}
}

// oneByte reads byte by byte, so that nothing behind the head is swallowed.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// setReply changes how handshakes are answered from now on.
func (u *upstreamServer) setReply(reply func(*far) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reply = reply
}

// stop closes the listener and all connections, as a process that ends does.
func (u *upstreamServer) stop() {
	u.ln.Close()
	u.mu.Lock()
	u.closed = true
	for _, c := range u.conns {
		c.Close()
	}
	u.mu.Unlock()
	u.wg.Wait()
}

// session is the next session that came.
func (u *upstreamServer) session() *far {
	u.t.Helper()
	select {
	case f := <-u.sessions:
		return f
	case <-time.After(patience):
		u.t.Fatalf("no session came to %s", u.id)
		return nil
	}
}

// replyLeg begins a session of ours: the router must have signed its request.
func replyLeg(f *far) bool {
	signed := leg.Request{Method: "GET", URI: f.req.RequestURI, Host: f.req.Host, Client: f.req.Header.Get(leg.HeaderClient)}
	if err := testKeys(f.t).Verify(signed, f.req.Header.Get(leg.HeaderAuth), time.Now()); err != nil {
		f.t.Errorf("the router's signature: %v", err)
	}
	f.write(f.answer(leg.HeaderLeg + ": v1\r\n" + leg.HeaderShard + ": " + f.u.id + "\r\n"))
	return true
}

func replyRaw(f *far) bool {
	f.write(f.answer(""))
	return true
}

// answer is the head of an answer that begins the session.
func (f *far) answer(headers string) string {
	if f.req.Header.Get("Upgrade") == "" {
		return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n" + headers + "\r\n"
	}
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
		httphead.AcceptFor(f.req.Header.Get("Sec-WebSocket-Key")) + "\r\n" + headers + "\r\n"
}

// replyWith answers with the same bytes to everybody.
func replyWith(s string) func(*far) bool {
	return func(f *far) bool {
		f.write(s)
		return false
	}
}

func (f *far) write(s string) {
	if _, err := io.WriteString(f.conn, s); err != nil && !strings.Contains(err.Error(), "closed") {
		f.t.Errorf("upstream write: %v", err)
	}
}

// record is a record of a leg.
func record(kind leg.Kind, body string) string {
	h := leg.Header{Length: uint32(len(body)), Kind: kind}
	if kind == leg.Data {
		h.Topic, h.Position = 1, position.Position{Epoch: 1, ID: position.ID{Ms: 1}}
	}
	return string(leg.AppendHeader(nil, h)) + body
}

func (f *far) want(want string) {
	f.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(f.r, got); err != nil || string(got) != want {
		f.t.Fatalf("upstream got %q, %v, want %q", got[:n], err, want)
	}
}

// end waits for the end of what the client sends.
func (f *far) end() {
	f.t.Helper()
	if b, err := io.ReadAll(f.r); err != nil && !isReset(err) || len(b) > 0 {
		f.t.Fatalf("upstream got %q, %v, want the end", b, err)
	}
}

// reset closes the connection the hard way.
func (f *far) reset() {
	_ = f.conn.SetLinger(0)
	f.conn.Close()
}
