package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// gateways drains and kills the gateway that the followers are on: no browser notices.
func (p *plain) gateways() {
	p.step("plain: a gateway drains, and another is killed: nothing opens a second connection", func() {
		p.more(followers...)
		for _, end := range []func(*testcluster.Node){p.drain, func(n *testcluster.Node) { p.kill(n.ID) }} {
			if busy := p.owner(); p.err == nil {
				end(busy)
				p.more(followers...)
				p.start(busy.ID)
			}
		}
		for _, name := range followers {
			p.opens(name, 1)
		}
		p.exact(0, followers...)
	})
}

// owner is the gateway that has the topic.
func (p *plain) owner() *testcluster.Node {
	if p.err != nil {
		return nil
	}
	place, err := p.now["router-1"].Place(p.ctx, plainTopic)
	p.err = err
	return p.now[place.Owner]
}

func (p *plain) drain(n *testcluster.Node) {
	r, err := n.Post(p.ctx, "/drain", "")
	if err == nil && r.Status/100 != 2 {
		err = fmt.Errorf("/drain: %d %s", r.Status, r.Body)
	}
	if err == nil {
		_, err = n.Wait(testcluster.Limit())
	}
	p.err = err
}

// routers kills one router after the other, and has one leave.
func (p *plain) routers() {
	p.step("plain: a router is killed: one finds the other, the next waits until it is back", func() {
		p.kill("router-1")
		p.opens("stream", 2)
		p.opens("socket", 2)
		p.is(member("direct", "breaks")+" > 1", true) // it has tried in vain
		p.start("router-1")
		p.opens("direct", 2)
		p.exact(0, followers...)
	})
	p.step("plain: a router leaves, and sends its clients away", func() {
		if p.err == nil {
			p.err = p.now["router-2"].Signal(syscall.SIGTERM)
		}
		p.opens("stream", 3)
		p.opens("socket", 3)
		p.exact(0, followers...)
		p.start("router-2")
	})
}

// refused has new followers come, and others come back, while there is no gateway: a browser can read why and when to return, and does.
func (p *plain) refused() {
	p.step("plain: while there is no gateway new ones are refused, readably, and come in once there is", func() {
		p.kill("g1", "g2")
		late := []string{"stream-late", "socket-late"}
		for _, name := range late {
			p.follow(name)
			p.is(member(name, "refusals.length")+" > 1", true)
			for _, r := range p.told(name).Refusals {
				if r.Reconnect <= 0 && p.err == nil {
					p.err = fmt.Errorf("%s was refused without a time to come back: %+v", name, r)
				}
			}
		}
		p.do(fmt.Sprintf("stream('never', 'http://%s/t/%%01')", p.balancer.addr()))
		p.is(member("never", "state"), "closed") // what will never be let in is told so, and does not come back
		p.start("g1", "g2")
		p.exact(0, append(late, followers...)...)
		p.is(member("direct", "opens"), 2) // it never lost its connection
	})
}

// everything are the nodes, in the order in which they come back.
var everything = []string{"router-1", "g1", "router-2", "g2"} //nolint:gochecknoglobals // a constant

// away kills all of the cluster, and Redis, for as long as it takes followers to try in vain.
func (p *plain) away() {
	p.step("plain: the whole cluster and Redis are gone for a while, and come back", func() {
		p.kill(everything...)
		n, err := p.story.published()
		if p.err == nil {
			p.err = err
		}
		p.tryInVain() // and messages are published
		if m, _ := p.story.published(); p.err == nil && m == n {
			p.err = fmt.Errorf("nothing was published while the cluster was away")
		}
		p.holds(func() {
			p.stage.Redis.Kill()
			p.tryInVain()
			if p.err == nil {
				p.err = p.stage.Redis.Restart(p.ctx)
			}
			p.start(everything...)
		})
		p.exact(0, followers...)
	})
}

// tryInVain waits until each follower has tried, and failed.
func (p *plain) tryInVain() {
	for _, name := range followers {
		if before := p.told(name).Breaks; p.err == nil {
			p.is(fmt.Sprintf("%s > %d", member(name, "breaks"), before+1), true)
		}
	}
}

// holds runs f while nothing is published.
func (p *plain) holds(f func()) {
	_ = p.story.holds(func() error { f(); return nil })
}

// gap trims the stream beyond the followers' position while they are away.
func (p *plain) gap() {
	const left, lost = 5, 15
	p.step("plain: what was trimmed while they were away is told as a gap, and what is left follows", func() {
		p.holds(func() {
			p.is(fmt.Sprintf("Object.values(told).every((t) => t.state == 'closed' || t.messages.at(-1)[1] == %d)", p.story.next-1), true)
			p.kill(everything...)
			for range lost + left {
				if p.err == nil {
					p.err = p.story.tell()
				}
			}
			if p.err == nil {
				_, p.err = p.story.conn.Do("XTRIM", testcluster.StreamKey(plainTopic), "MAXLEN", fmt.Sprint(left))
			}
			p.story.all = slices.Delete(p.story.all, p.story.next-left-lost, p.story.next-left)
			p.start(everything...)
		})
		p.exact(1, followers...)
		for _, name := range followers {
			if f := p.told(name); p.err == nil && f.Gaps[0].Reason != "trimmed" {
				p.err = fmt.Errorf("%s was told of %+v, want it trimmed", name, f.Gaps)
			}
		}
	})
}

// retry checks that the stream's retry is what the browser goes by: more than the three seconds that Chromium waits of its own accord.
func (p *plain) retry() {
	const wait = 4 * time.Second
	p.step("plain: an event stream comes back when its retry says so", func() {
		p.policy(wait)
		others := p.balancer
		defer func() { p.balancer = others }()
		if p.balancer, p.err = startBalancer(others.backends...); p.err != nil {
			return
		}
		defer p.balancer.close()
		p.follow("stream-patient")
		p.balancer.cut()
		p.opens("stream-patient", 2)
		if back := p.balancer.back(); p.err == nil && back < wait {
			p.err = fmt.Errorf("a client came back after %v, and was told to wait for %v", back, wait)
		}
		p.exact(0, "stream-patient")
	})
}
