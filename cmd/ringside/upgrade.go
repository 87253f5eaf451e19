package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/router"
)

// A router is replaced by a new process, of a new version perhaps, without a connection being closed:
//
//	predecessor                                   successor (--takeover)
//	     │ ◄──────────── connects ──────────────────── │
//	     │ frees the gossip port, stops the admin port │
//	     │ ── ports: listeners, ID, gossip seeds ────► │ joins gossip, learns the ring
//	     │ ◄──────────── ready ─────────────────────── │ accepts clients
//	     │ ── sessions, a batch at a time ───────────► │ serves them
//	     │ ── end ───────────────────────────────────► │
//	   exits, or goes on as a bridge of TLS clients    │
//
// Until a batch is acknowledged its sessions are the predecessor's. When the successor fails, at any point, the predecessor
// takes its ports back and goes on with what it holds. A successor that has only been too slow notices that it is not wanted
// any more: it sends away what it has got, and leaves.
const (
	msgPorts    = 1 // with two descriptors: the public listener and the admin port's; its state is a portsState
	msgReady    = 2
	msgSessions = 3
	msgEnd      = 4
)

const (
	// upgradeTimeout is what a successor may take to be ready.
	upgradeTimeout = 30 * time.Second
	// backTimeout is how long a port that is not free again is no reason to complain.
	backTimeout = 5 * time.Second
	// socketTimeout is how long a successor waits for somebody to listen at the socket.
	socketTimeout = 3 * time.Second
	// batchTimeout is what it may take for a batch of sessions.
	batchTimeout = 10 * time.Second
	// redisTimeout is how long one waits for Redis to answer before it goes on all the same.
	redisTimeout = 5 * time.Second
)

// portsState is what a successor is told beside the sessions.
type portsState struct {
	ID    string   `json:"id"`
	Seeds []string `json:"seeds"` // gossip addresses of the members
}

// errSucceeded ends a router whose successor has everything.
var errSucceeded = errors.New("a successor has taken over")

// upgrader gives a router over to its successor.
type upgrader struct {
	node    *routerNode
	router  *router.Router
	log     *zap.Logger
	program string // to start as successor
	usr2    chan os.Signal
}

// serve waits, once ready is closed, for successors on the socket at path, if there is one, and starts one at SIGUSR2. It
// returns errSucceeded when one has taken over.
func (u *upgrader) serve(ctx context.Context, path string, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	conns := make(chan *handover.Conn)
	if path != "" {
		l, err := listen(ctx, path)
		if err != nil {
			return fmt.Errorf("takeover-socket: %w", err)
		}
		defer l.Close()
		go u.accept(ctx, l, conns)
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case c := <-conns:
			err = u.giveWay(ctx, ctx, c, func() {})
		case <-u.usr2:
			err = u.replace(ctx)
		}
		if err == nil {
			u.node.succeeded.Store(true)
			return errSucceeded
		}
		if ctx.Err() == nil {
			u.log.Error("the takeover has failed: this process goes on", zap.Error(err))
		}
	}
}

// listen waits a moment for a predecessor to be gone from path.
func listen(ctx context.Context, path string) (l *handover.Listener, err error) {
	for until := time.Now().Add(upgradeTimeout); ; {
		if l, err = handover.Listen(path); !errors.Is(err, handover.ErrInUse) || time.Now().After(until) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (u *upgrader) accept(ctx context.Context, l *handover.Listener, conns chan<- *handover.Conn) {
	for ctx.Err() == nil {
		c, err := l.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			u.log.Warn("refused a successor", zap.Error(err))
			continue
		}
		select {
		case conns <- c:
		case <-ctx.Done():
			c.Close()
		}
	}
}

// replace starts the program anew, as this process was started, and gives way to it.
func (u *upgrader) replace(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ringside-takeover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	l, err := handover.Listen(path)
	if err != nil {
		return err
	}
	defer l.Close()
	cmd := exec.Command(u.program, append(withoutTakeover(os.Args[1:]), "--takeover", path)...) //nolint:gosec // itself
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start a successor: %w", err)
	}
	u.log.Info("started a successor", zap.Int("pid", cmd.Process.Pid), zap.String("program", u.program))
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cancel(fmt.Errorf("the successor has ended: %w", exitOf(cmd.Wait())))
	}()
	kill := func() {
		_ = cmd.Process.Kill() // it may be gone already
		<-ended
	}
	connect, done := context.WithTimeout(alive, upgradeTimeout)
	defer done()
	c, err := l.Accept(connect)
	if err != nil {
		kill()
		return errors.Join(err, context.Cause(alive))
	}
	if err := u.giveWay(ctx, alive, c, kill); err != nil {
		return errors.Join(err, context.Cause(alive))
	}
	return nil
}

func exitOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// withoutTakeover are the arguments without what made this process a successor itself.
func withoutTakeover(args []string) (list []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--takeover":
			i++
		case strings.HasPrefix(args[i], "--takeover="):
		default:
			list = append(list, args[i])
		}
	}
	return list
}

// giveWay hands everything to the successor at the other end, as long as alive has not ended. When that fails it calls end,
// which may put the successor out of the way, and takes the ports back.
func (u *upgrader) giveWay(ctx, alive context.Context, conn *handover.Conn, end func()) error {
	defer conn.Close()
	began := time.Now()
	c := u.node.core
	ports, fds, err := u.ports()
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range fds {
			eventloop.CloseFD(fd)
		}
	}()
	// The ports' own listeners end with the face.
	a := aside{freed: make(chan error, 1), back: make(chan *face, 1)}
	select {
	case c.asides <- a:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := <-a.freed; err != nil {
		u.log.Warn("the ports were not freed in peace", zap.Error(err))
	}
	err = u.exchange(alive, conn, handover.Item{State: ports, FDs: fds})
	if err == nil {
		u.log.Info("a successor has taken over", zap.Duration("took", time.Since(began)))
		return nil
	}
	u.log.Error("the successor has failed: taking the ports back", zap.Error(err))
	conn.Close()
	end()
	ln, lnErr := listenerOf(fds[1])
	if lnErr == nil {
		fds = fds[:1]
	}
	f, faceErr := u.takeBack(ctx, ln)
	if faceErr != nil {
		return errors.Join(err, lnErr, faceErr)
	}
	a.back <- f
	u.node.notify(daemon.SdNotifyReady) // the successor may have said that it is the main process now
	return err
}

// takeBack binds the ports again. A successor that ends may still hold one: without gossip the sessions go on as well, but
// there is no other way back than to wait for it.
func (u *upgrader) takeBack(ctx context.Context, ln net.Listener) (*face, error) {
	for patience := time.Now().Add(backTimeout); ; {
		f, err := u.node.newFace(ln, u.seeds())
		if err == nil {
			return f, nil
		}
		if !patience.IsZero() && time.Now().After(patience) {
			u.log.Error("cannot take the ports back: is the successor still there? Trying on", zap.Error(err))
			patience = time.Time{}
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ports is what the successor needs first.
func (u *upgrader) ports() (state []byte, fds []int, err error) {
	for _, ln := range []net.Listener{u.router.Listener(), u.node.face.Load().admin.Listener()} {
		sc, ok := ln.(syscall.Conn)
		if !ok {
			return nil, nil, fmt.Errorf("BUG: a %T can't be handed over", ln)
		}
		fd, err := eventloop.Duplicate(sc)
		if err != nil {
			return nil, nil, err
		}
		fds = append(fds, fd)
	}
	state, err = json.Marshal(portsState{ID: u.node.set.id, Seeds: u.seeds()})
	return state, fds, err
}

// seeds are the gossip addresses of the others.
func (u *upgrader) seeds() (list []string) {
	for _, m := range u.node.ring().Members() {
		if m.Gossip != "" && m.State != ring.StateLeft && (m.Role != ring.RoleRouter || m.ID != u.node.set.id) {
			list = append(list, m.Gossip)
		}
	}
	return list
}

// exchange is the predecessor's side of the protocol.
func (u *upgrader) exchange(ctx context.Context, conn *handover.Conn, ports handover.Item) error {
	prepare, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	if err := conn.Give(prepare, msgPorts, []handover.Item{ports}); err != nil {
		return fmt.Errorf("cannot hand the ports over: %w", err)
	}
	m, err := conn.Receive(prepare)
	if err == nil && m.Kind != msgReady {
		err = fmt.Errorf("got message %d, want ready", m.Kind)
	}
	if err != nil {
		return fmt.Errorf("the successor did not get ready: %w", err)
	}
	err = u.router.HandOver(ctx, func(ctx context.Context, items []handover.Item) error {
		ctx, cancel := context.WithTimeout(ctx, batchTimeout)
		defer cancel()
		return conn.Give(ctx, msgSessions, items)
	})
	if err != nil {
		return fmt.Errorf("cannot hand the sessions over: %w", err)
	}
	end, done := context.WithTimeout(ctx, batchTimeout)
	defer done()
	return conn.Send(end, msgEnd, nil)
}
