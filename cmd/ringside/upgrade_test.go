package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// edge is a router that can be succeeded, a gateway, and a client.
type edge struct {
	redis, socket   string
	routerProcess   *process
	router, gateway *testcluster.Node
	client          *process
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{redis: "redis://" + miniredis.RunT(t).Addr(), socket: filepath.Join(t.TempDir(), "s")}
	e.routerProcess = role(t, e.redis, "router", "--id", "edge", "--takeover-socket", e.socket)
	e.router = e.routerProcess.node(t)
	e.gateway = role(t, e.redis, "gateway", "--id", "g1", "--join", e.router.Gossip).node(t)
	ready(t, e.router)
	e.client = start(t, "subscribe", "ws://"+e.router.Addr+"/t/finals")
	e.client.err.waitFor(t, "following finals")
	return e
}

// heard publishes something and looks whether the client gets it, over the connection that it has had from the beginning.
func (e *edge) heard(t *testing.T, text string) {
	t.Helper()
	if code, _, errOut := command(t.Context(), "", nil, "publish", "--to", "http://"+e.gateway.Admin, "finals", `"`+text+`"`); code != exitOK {
		t.Fatalf("publish: got %d %s", code, errOut)
	}
	e.client.out.waitFor(t, text)
}

// succeed connects as a successor, and takes the ports.
func (e *edge) succeed(ctx context.Context, t *testing.T) *handover.Conn {
	t.Helper()
	conn, err := handover.Dial(ctx, e.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m, err := conn.Receive(ctx)
	if err != nil || m.Kind != msgPorts {
		t.Fatalf("got message %d, %v, want the ports", m.Kind, err)
	}
	if err := conn.Ack(ctx); err != nil {
		t.Fatal(err)
	}
	for _, fd := range m.Items[0].FDs {
		eventloop.CloseFD(fd)
	}
	return conn
}

// serviceManager takes what nodes tell it (sd_notify), and returns how to wait for the next.
func serviceManager(t *testing.T) (next func(t *testing.T, want string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func(t *testing.T, want string) {
		t.Helper()
		buf := make([]byte, 1024)
		_ = conn.SetReadDeadline(time.Now().Add(testcluster.Limit())) // an open socket takes it
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("the service manager heard %q, %v, want %q", buf[:n], err, want)
		}
	}
}

// TestSuccessorDiesHalfWay has a successor that dies with a batch that it has not acknowledged, and leaves a port behind for
// longer than a router likes to wait: the router has it all back in the end, and another one can succeed it.
func TestSuccessorDiesHalfWay(t *testing.T) {
	notified := serviceManager(t)
	e := newEdge(t)
	main := fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid())
	for range 2 { // the router and the gateway
		notified(t, main)
	}
	for _, held := range []time.Duration{0, backTimeout + 200*time.Millisecond} {
		conn := e.succeed(t.Context(), t)
		taken, err := net.Listen("tcp", e.router.Gossip) // free: it was given away
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(t.Context(), msgReady, nil); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.Receive(t.Context()); err != nil || m.Kind != msgSessions || len(m.Items) != 1 {
			t.Fatalf("got %+v, %v, want a session", m, err)
		}
		conn.Close()
		e.heard(t, "without gossip after "+held.String())
		<-time.After(held)
		taken.Close()
		ready(t, e.router)
		e.heard(t, "with gossip after "+held.String())
		notified(t, main)
	}
	next := start(t, "router", "--listen", e.router.Addr, "--admin", e.router.Admin, "--gossip", e.router.Gossip, "--redis", e.redis,
		"--log-format", "json", "--takeover", e.socket)
	next.err.waitFor(t, `"msg":"has taken over","sessions":1`)
	<-e.routerProcess.done
	if e.routerProcess.code != exitOK {
		t.Errorf("the predecessor: got exit code %d, want 0", e.routerProcess.code)
	}
	e.heard(t, "from the next")
}

// TestPredecessorEndsTheTakeover has a predecessor that breaks the takeover off: one that lives goes on by itself, so that the
// successor leaves; the successor of a dead one stays.
func TestPredecessorEndsTheTakeover(t *testing.T) {
	redis := "redis://" + miniredis.RunT(t).Addr()
	gateway := role(t, redis, "gateway", "--id", "g1").node(t)
	ready(t, gateway)
	for _, lives := range []bool{true, false} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := handover.Listen(socket)
		if err != nil {
			t.Fatal(err)
		}
		next := role(t, redis, "router", "--takeover", socket, "--drain-window", "50ms")
		conn, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := givePorts(t, conn, gateway.Gossip); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.Receive(t.Context()); err != nil || m.Kind != msgReady {
			t.Fatalf("got %+v, %v, want ready", m, err)
		}
		if !lives {
			l.Close()
		}
		conn.Close()
		if lives {
			<-next.done
			if next.code == exitOK {
				t.Error("a successor that was given up ended as if all was well")
			}
			l.Close()
			continue
		}
		next.err.waitFor(t, "the predecessor is gone before it had given everything")
		ready(t, next.node(t))
	}
}

// givePorts gives two fresh listeners as a predecessor does.
func givePorts(t *testing.T, conn *handover.Conn, seed string) error {
	t.Helper()
	item := handover.Item{}
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		fd, err := eventloop.Duplicate(ln.(syscall.Conn)) //nolint:forcetypeassert // a TCP listener
		if err != nil {
			return err
		}
		defer eventloop.CloseFD(fd)
		item.FDs = append(item.FDs, fd)
	}
	var err error
	if item.State, err = json.Marshal(portsState{ID: "edge", Seeds: []string{seed}}); err != nil {
		return err
	}
	return conn.Give(t.Context(), msgPorts, []handover.Item{item})
}

// TestSignalBeforeItsTime asks a router for a successor that has not got everything from its predecessor yet: it is asked for
// when it has. That there is no program to start is no reason to end.
func TestSignalBeforeItsTime(t *testing.T) {
	out := newOutput()
	log, err := newLogger(config.Logging{LogLevel: "info", LogFormat: "json"}, out)
	if err != nil {
		t.Fatal(err)
	}
	u := &upgrader{log: log, program: filepath.Join(t.TempDir(), "nothing"), usr2: make(chan os.Signal, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	settled, done := make(chan struct{}), make(chan error, 1)
	u.usr2 <- syscall.SIGUSR2
	go func() { done <- u.serve(ctx, "", settled) }()
	close(settled)
	out.waitFor(t, "the takeover has failed")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
}

// TestNobodyToSucceedYet has a successor that comes before the router which it is to succeed listens, and one that comes to
// nobody at all.
func TestNobodyToSucceedYet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	type met struct {
		conn *handover.Conn
		err  error
	}
	came := make(chan met, 1)
	go func() {
		conn, err := dial(t.Context(), socket)
		came <- met{conn, err}
	}()
	<-time.After(200 * time.Millisecond) // it has looked by then
	l, err := handover.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := <-came
	if m.err != nil {
		t.Fatal(m.err)
	}
	m.conn.Close()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := dial(ctx, socket); err == nil {
		t.Error("somebody was there")
	}
}
