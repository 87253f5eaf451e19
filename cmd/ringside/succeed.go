package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/router"
)

// predecessor is the router that this process succeeds.
type predecessor struct {
	path     string // of its socket
	conn     *handover.Conn
	state    portsState
	listener net.Listener
	admin    net.Listener
}

// meet connects to the predecessor at path and takes its ports.
func meet(ctx context.Context, path string) (*predecessor, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	p := &predecessor{path: path, conn: conn}
	if err := p.takePorts(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return p, nil
}

// dial waits a moment for somebody to listen at path: a router that has just succeeded another one does so only when it has
// got everything.
func dial(ctx context.Context, path string) (conn *handover.Conn, err error) {
	for until := time.Now().Add(socketTimeout); ; {
		conn, err = handover.Dial(ctx, path)
		soon := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
		if !soon || time.Now().After(until) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *predecessor) takePorts(ctx context.Context) error {
	m, err := p.conn.Receive(ctx)
	if err != nil {
		return err
	}
	if m.Kind != msgPorts || len(m.Items) != 1 || len(m.Items[0].FDs) != 2 {
		return fmt.Errorf("got message %d, want the ports", m.Kind)
	}
	if err := p.conn.Ack(ctx); err != nil {
		return err
	}
	if err := json.Unmarshal(m.Items[0].State, &p.state); err != nil {
		return fmt.Errorf("the ports: %w", err)
	}
	if err := new(config.ID).UnmarshalText([]byte(p.state.ID)); err != nil {
		return fmt.Errorf("the predecessor's ID: %w", err)
	}
	if p.listener, err = listenerOf(m.Items[0].FDs[0]); err != nil {
		return err
	}
	p.admin, err = listenerOf(m.Items[0].FDs[1])
	return err
}

// listenerOf makes a listener of a descriptor, which is used up.
func listenerOf(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	return net.FileListener(f)
}

// errTakenBack ends a router whose predecessor goes on.
var errTakenBack = errors.New("takeover: the predecessor has taken everything back that it had not given yet")

// lives reports whether somebody still waits for successors at the predecessor's socket: itself.
func (p *predecessor) lives() bool {
	c, err := net.DialTimeout("unix", p.path, time.Second)
	if err == nil {
		c.Close() // without a greeting: it is told nothing
	}
	return err == nil
}

// takeOver takes the sessions, once the router takes clients. It returns nil when it has all, or when the predecessor is gone:
// what it has not given is lost then. It returns errTakenBack when the predecessor has given up on us and goes on itself.
func (p *predecessor) takeOver(ctx context.Context, r *router.Router, log *zap.Logger) error {
	defer p.conn.Close()
	select {
	case <-ctx.Done():
		return nil
	case <-r.Accepting(): // until now only the predecessor did: it knew gateways
	}
	taken := 0
	if err := p.conn.Send(ctx, msgReady, nil); err != nil {
		return p.lost(ctx, err, taken, log)
	}
	for {
		m, err := p.conn.Receive(ctx)
		switch {
		case err != nil:
			return p.lost(ctx, err, taken, log)
		case m.Kind == msgEnd:
			log.Info("has taken over", zap.Int("sessions", taken))
			return nil
		case m.Kind != msgSessions:
			log.Error("the predecessor says something that is not understood", zap.Uint8("message", m.Kind))
			return nil
		}
		if err := p.conn.Ack(ctx); err != nil { // they stay the predecessor's
			return p.lost(ctx, err, taken, log)
		}
		if err := r.Adopt(m.Items); err != nil {
			log.Error("some sessions could not be taken over", zap.Error(err))
		}
		taken += len(m.Items)
	}
}

// lost decides how to go on without the connection to the predecessor, which broke before everything had been given: why it
// did matters less than whether the predecessor is still there.
func (p *predecessor) lost(ctx context.Context, why error, taken int, log *zap.Logger) error {
	if ctx.Err() == nil && p.lives() {
		log.Error("the predecessor goes on by itself", zap.Int("sessions", taken), zap.Error(why))
		return errTakenBack
	}
	if ctx.Err() == nil {
		log.Error("the predecessor is gone before it had given everything", zap.Int("sessions", taken), zap.Error(why))
	}
	return nil
}
