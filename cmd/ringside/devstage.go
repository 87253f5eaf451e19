package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/config"
)

const (
	// devDrain is over how long a gateway of a development cluster drains: long enough to watch.
	devDrain = 3 * time.Second
	// devReturn is how long a gateway that was drained stays away.
	devReturn = 3 * time.Second
	// devRecovery is how long one that was killed does: the others shall have noticed by gossip too.
	devRecovery = 6 * time.Second
)

// devGateway is a gateway of a development cluster, which comes back when it was drained or killed.
type devGateway struct {
	cfg config.Gateway
	log *zap.Logger

	mu     sync.Mutex
	node   *gatewayNode       // guarded by mu: nil while there is none
	end    context.CancelFunc // guarded by mu: ends its life
	killed bool               // guarded by mu
}

// run runs one life after the other until ctx ends.
func (d *devGateway) run(ctx context.Context) error {
	for {
		n, err := newGateway(d.cfg, d.log, newTrigger())
		if err != nil {
			return err
		}
		life, end := context.WithCancel(ctx)
		d.begin(n, end)
		err = n.run(life)
		killed := d.over()
		end()
		away := devReturn
		switch {
		case killed:
			away = devRecovery
			d.log.Info("killed; a fresh one comes in a moment", zap.Duration("after", away))
		case err != nil || ctx.Err() != nil:
			return err
		default:
			d.log.Info("drained; it comes back in a moment", zap.Duration("after", away))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(away):
		}
	}
}

func (d *devGateway) begin(n *gatewayNode, end context.CancelFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node, d.end, d.killed = n, end, false
}

// over says that the present life has ended, and whether it was killed.
func (d *devGateway) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node = nil
	return d.killed
}

// errNotThere is the answer to who wants to kill what does not live.
var errNotThere = errors.New("it is not there at present")

// kill ends the present life as kill -9 would end its process: its ports, its sessions' legs and its gossip are gone at once, and
// nobody is told.
func (d *devGateway) kill() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.node == nil {
		return errNotThere
	}
	d.killed = true
	d.node.gossip().Vanish()
	d.node.gateway.Kill()
	d.node.face.Load().admin.Kill()
	d.end()
	return nil
}

// stage is a development cluster's gateways, which its page can kill.
type stage map[string]*devGateway

// kill kills a gateway.
func (s stage) kill(shard string) error {
	d, ok := s[shard]
	if !ok {
		return fmt.Errorf("no gateway of this process is called %.64q", shard)
	}
	return d.kill()
}
