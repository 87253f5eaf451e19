package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rig is a set that runs, and what its handshakes go by.
type rig struct {
	t    *testing.T
	s    *Set
	ca   *testcluster.Authority
	cfg  *tls.Config
	stop func()
}

func start(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, s: NewSet(cfg), ca: testcluster.NewAuthority(t)}
	cert, err := tls.LoadX509KeyPair(r.ca.Issue(t, "x", net.IPv4(127, 0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.s.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		for side := range sides {
			if n := r.s.Len(side); n != 0 {
				t.Errorf("%d bridges of %v are left", n, side)
			}
		}
	}
	t.Cleanup(r.stop)
	return r
}

// open makes a bridge: the peer's TLS connection, its socket, and the session's end as a file.
func (r *rig) open() (peer *tls.Conn, sock *net.TCPConn, session *os.File) {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	peer = tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.ca.ClientConfig().RootCAs, ServerName: "127.0.0.1"})
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	w := NewWire(far, nil)
	conn, outcome, err := r.s.Accept(Client, w, r.cfg, time.Now().Add(patience))
	if err := errors.Join(err, <-shaken); err != nil || outcome != OK {
		r.t.Fatalf("handshake: %v, %v", outcome, err)
	}
	fd, err := r.s.Add(Client, conn, w)
	if err != nil {
		r.t.Fatal(err)
	}
	session = os.NewFile(uintptr(fd), "session")
	r.t.Cleanup(func() { session.Close() })
	_ = session.SetDeadline(time.Now().Add(patience))
	sock, _ = c.(*net.TCPConn)
	return peer, sock, session
}

func (r *rig) ended(reason endReason) {
	r.t.Helper()
	testcluster.Eventually(r.t, "it ended: "+reason.String(), func() error {
		if r.s.ended[Client][reason].Load() != 1 || r.s.Len(Client) != 0 {
			return errors.New("not yet")
		}
		return nil
	})
}

func exchange(t *testing.T, from io.Writer, to io.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

// TestPeerCloses first one direction, then the connection.
func TestPeerCloses(t *testing.T) {
	r := start(t, Config{})
	peer, _, session := r.open()
	exchange(t, peer, session, "up")
	exchange(t, session, peer, "down")
	_ = peer.CloseWrite()
	if n, err := session.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the session got %d, %v, want the end", n, err)
	}
	exchange(t, session, peer, "still listens")
	session.Close()
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the peer got %d, %v, want a close_notify", n, err)
	}
	r.ended(endSession)
}

// TestSessionCloses right behind its last words.
func TestSessionCloses(t *testing.T) {
	r := start(t, Config{})
	peer, _, session := r.open()
	if _, err := session.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	session.Close()
	if got, err := io.ReadAll(peer); string(got) != "last words" || err != nil {
		t.Errorf("the peer got %q, %v", got, err)
	}
	r.ended(endSession)
}

// TestPeerResets is told to the session.
func TestPeerResets(t *testing.T) {
	r := start(t, Config{})
	_, sock, session := r.open()
	_ = sock.SetLinger(0)
	sock.Close()
	if n, err := session.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the session got %d, %v, want the end", n, err)
	}
	r.ended(endPeer)
}

// TestPeerTalksNonsense ends it.
func TestPeerTalksNonsense(t *testing.T) {
	r := start(t, Config{})
	_, sock, session := r.open()
	if _, err := sock.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := session.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the session got %d, %v, want the end", n, err)
	}
	r.ended(endBroken)
}

// TestEndOfRun says last words and closes what is left.
func TestEndOfRun(t *testing.T) {
	r := start(t, Config{})
	leaving, _, session := r.open()
	staying, _, _ := r.open()
	if _, err := session.WriteString("bye"); err != nil {
		t.Fatal(err)
	}
	session.Close()
	r.stop()
	if got, err := io.ReadAll(leaving); string(got) != "bye" || err != nil {
		t.Errorf("who was told got %q, %v", got, err)
	}
	if n, err := staying.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("who was not got %d, %v, want the end", n, err)
	}
	c, w := tls.Server(NewWire(dead(t), nil), r.cfg), NewWire(dead(t), nil)
	if fd, err := r.s.Add(Client, c, w); err == nil {
		eventloop.CloseFD(fd)
		t.Error("a set that has ended took a connection")
	}
}

// dead is a connection that is closed.
func dead(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	b.Close()
	t.Cleanup(func() { a.Close() })
	return a
}

// TestWire reads first what was read before.
func TestWire(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() { _, _ = io.WriteString(b, "behind"); b.Close() }()
	got, err := io.ReadAll(NewWire(a, []byte("before ")))
	if string(got) != "before behind" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestNothingIsAllocated per message to a peer. What comes from a peer costs the one allocation that crypto/tls makes for a record.
func TestNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates: this test runs in the build without it")
	}
	r := start(t, Config{WriteTimeout: patience})
	peer, sock, session := r.open()
	exchange(t, session, peer, "what TLS says first has been read")
	const overhead = 5 + 1 + 16 // of TLS 1.3, for a message that is one record
	message, got := make([]byte, 200), make([]byte, 200+overhead)
	n := testing.AllocsPerRun(200, func() {
		if _, err := session.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(sock, got); err != nil {
			t.Fatal(err)
		}
	})
	if n >= 1 {
		t.Errorf("a message costs %v allocations, want none", n)
	}
}
