package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// ofRedis reports whether a fault is one of Redis.
func ofRedis(fault string) bool {
	switch fault {
	case faultRedisKill, faultRedisStop, faultFailover, faultFlush:
		return true
	}
	return false
}

// failRedis makes a fault of Redis and repairs it. One is made at a time.
func (r *run) failRedis(ctx context.Context, s step) error {
	redis := r.cluster.redis
	redis.fault.Lock()
	defer redis.fault.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.For+2*startLimit)
	defer cancel()
	switch s.Fault {
	case faultRedisKill:
		return r.killRedis(ctx, s)
	case faultRedisStop:
		return r.stopRedis(ctx, s)
	case faultFailover:
		return r.failover(ctx, s)
	}
	return r.flush()
}

// killRedis kills the master, which comes back with what stands on its disk.
func (r *run) killRedis(ctx context.Context, s step) error {
	redis := r.cluster.redis
	since := r.crowd.now()
	master := redis.master.Load()
	master.Kill()
	wait(ctx, s.For)
	if err := redis.start(ctx, master, nil); err != nil {
		return err
	}
	r.silent(since, s)
	return redis.waitReplica(ctx)
}

// stopRedis has the master stand still for a while. It knows nothing of that afterwards.
func (r *run) stopRedis(ctx context.Context, s step) error {
	master := r.cluster.redis.master.Load()
	since := r.crowd.now()
	if err := master.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, s.For)
	r.silent(since, s)
	return master.Signal(syscall.SIGCONT)
}

// flush empties Redis, and keeps what stood there.
func (r *run) flush() error {
	redis := r.cluster.redis
	c, err := redis.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	before := new(shot)
	if err := before.take(c, r.crowd.sum); err != nil {
		return err
	}
	redis.shots = append(redis.shots, before)
	return nil
}

// The ways of a failover.
const (
	withLoss     = "with loss"     // the replica had been cut off for a while when the master was killed
	withoutLoss  = "without loss"  // it had everything when the master was killed
	withHandover = "with handover" // it had everything, and the master lives on as its replica
)

// failover puts the replica in the master's place.
func (r *run) failover(ctx context.Context, s step) error {
	redis := r.cluster.redis
	old, next := redis.master.Load(), redis.other()
	c, err := testcluster.DialRedis(old.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.How == withLoss {
		if err := r.loseTail(ctx, c, s.For); err != nil {
			return err
		}
	} else if err := redis.pause(ctx, c); err != nil {
		return err
	}
	since := r.crowd.now()
	if s.How != withHandover {
		old.Kill()
	}
	if err := redis.promote(ctx, next); err != nil {
		return err
	}
	redis.master.Store(next)
	r.silent(since, s)
	say("%s is the master now, after %.2f s", next.name, (r.crowd.now() - since).Seconds())
	if old.Exited() {
		wait(ctx, time.Second)
		err = redis.start(ctx, old, next)
	} else {
		err = redis.demote(c, old, next)
	}
	if err != nil {
		return err
	}
	return redis.waitReplica(ctx)
}

// pauseFor is longer than a failover takes.
const pauseFor = 60 * time.Second

// pause has the master take no writes, and waits until the replica has them all.
func (r *store) pause(ctx context.Context, master *testcluster.Redis) error {
	if _, err := master.Do("CLIENT", "PAUSE", strconv.FormatInt(pauseFor.Milliseconds(), 10), "WRITE"); err != nil {
		return err
	}
	return r.waitReplica(ctx)
}

// loseTail has the master take writes that its replica does not get, and keeps what it then has. It takes no more afterwards.
func (r *run) loseTail(ctx context.Context, master *testcluster.Redis, length time.Duration) error {
	redis := r.cluster.redis
	if err := redis.waitReplica(ctx); err != nil {
		return err
	}
	before := new(shot)
	if err := before.read(master, r.crowd.sum); err != nil { // most of it: later it is to be short
		return err
	}
	for _, args := range [][]string{
		{"ACL", "SETUSER", "default", "-psync", "-sync"}, // replicas connect as this user
		{"CLIENT", "KILL", "TYPE", "replica"},
	} {
		if _, err := master.Do(args...); err != nil {
			return err
		}
	}
	wait(ctx, length)
	if _, err := master.Do("CLIENT", "PAUSE", strconv.FormatInt(pauseFor.Milliseconds(), 10), "WRITE"); err != nil {
		return err
	}
	if err := before.read(master, r.crowd.sum); err != nil {
		return err
	}
	redis.shots = append(redis.shots, before)
	return nil
}

// promote has the sentinel put a server in the master's place, and waits until it has.
func (r *store) promote(ctx context.Context, next *server) error {
	return testcluster.Poll(ctx, func() error {
		v, err := r.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
		if err != nil {
			return err
		}
		pair, _ := v.([]any)
		if len(pair) == 2 && fmt.Sprintf("%v:%v", pair...) == next.addr {
			info, err := next.info()
			if err == nil && info["role"] != "master" {
				err = fmt.Errorf("%s is a %s", next.name, info["role"])
			}
			return err
		}
		// One that is on its way is left alone: INPROG.
		_, err = r.sentinel.ask("SENTINEL", "FAILOVER", masterName)
		return fmt.Errorf("the master is %v, want %s: %w", v, next.addr, errors.Join(err, errors.New("it takes its time")))
	})
}

// demote has the old master follow the new one. Its clients, whose writes wait, are sent away first, so that none of them is
// carried out.
func (r *store) demote(c *testcluster.Redis, old, next *server) error {
	host, port, _ := net.SplitHostPort(next.addr)
	for _, args := range [][]string{
		{"MULTI"}, {"REPLICAOF", host, port}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}, {"EXEC"}, {"CLIENT", "UNPAUSE"},
	} {
		if _, err := c.Do(args...); err != nil {
			return fmt.Errorf("%s: %v: %w", old.name, args, err)
		}
	}
	return nil
}

// waitReplica waits until the replica, if there is one, has what the master had.
func (r *store) waitReplica(ctx context.Context) error {
	if r.sentinel == nil {
		return nil
	}
	return testcluster.Poll(ctx, func() error {
		master, err := r.master.Load().info()
		if err != nil {
			return err
		}
		info, err := r.other().info()
		if err != nil {
			return err
		}
		want, err := strconv.ParseInt(master["master_repl_offset"], 10, 64)
		if err != nil {
			return err
		}
		got, err := strconv.ParseInt(info["slave_repl_offset"], 10, 64) // a master has none
		if err != nil || info["master_link_status"] != "up" || info["master_replid"] != master["master_replid"] || got < want {
			return fmt.Errorf("%s: role %s, link %s, at %d, want %d", r.other().name, info["role"], info["master_link_status"], got, want)
		}
		return nil
	})
}
