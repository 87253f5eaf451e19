package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// hostile is a topic that would be markup on a page that does not take care.
const hostile = `<img src=x onerror="document.title='owned'">&amp;`

// board is a visit to the dashboard, with a session of a hostile topic beside it.
func (c *check) board(viewers int) {
	c.step("dashboard: every member is there, and nothing is wrong", func() {
		c.open("http://" + c.node.Admin + "/dashboard/")
		c.is(text("state"), "live")
		c.is(cells("gateways", 1), "active,active,active")
		c.is(cells("routers", 1), "active")
		c.is(text("wrong"), "Nothing that these nodes know of.")
		c.is("document.querySelectorAll('#ring .slot:not(.nobody)').length", 256)
		c.is("[...document.querySelectorAll('#legend button')].reduce((n, b) => n + parseInt(b.textContent.split(': ')[1]), 0)", 256)
	})
	c.step("dashboard: what its numbers mean", c.model)
	session, err := follow(c.ctx, c.node, hostile)
	if err != nil && c.err == nil {
		c.err = err
	}
	if c.err != nil {
		return
	}
	defer session.Close()
	c.step("dashboard: a hot topic and its session appear, as text", func() {
		c.publish(hostile, "1")
		c.is(has("#hot tbody tr", hostile+"1"), true) // the topic, and the number of its sessions
		c.is(text("tile-sessions"), viewers+1)
		c.is("document.querySelectorAll('#ring .share').length > 0", true)
		c.is("document.querySelectorAll('main img').length", 0)
		c.is("document.title.endsWith('Ringside: the cluster')", true)
	})
	c.step("dashboard: refusals appear by reason", func() {
		r, err := testcluster.Do(c.ctx, "GET", c.node.HTTP()+"/t/finals", "", nil)
		if c.err = err; c.err == nil && r.Status/100 != 4 {
			c.err = fmt.Errorf("a request that is no session: got %d", r.Status)
		}
		c.is(has("#refusals tbody th", r.Reason()), true)
	})
	c.step("dashboard: the keyboard is enough to look around", c.look)
	c.step("dashboard: fits and is legible at 360 px and above, in the light and in the dark", c.fitsAt)
	c.step("dashboard: a gateway drains by keyboard, after a question", func() {
		c.drainByKeyboard()
		c.is(text("tile-sessions"), viewers+1) // all are still there
	})
	c.step("dashboard: a gateway that is killed is shown as gone, without numbers", c.killed)
	c.step("dashboard: a port that does not answer leaves no old number", c.silent)
}

// model hands the page's model answers of a cluster that never was, and holds what it makes of them.
func (c *check) model() {
	c.is(`(async () => {
		const { Model } = await import('/dashboard/model.js');
		const node = (at, life, delivered, refused, more) => ({ id: 'g1', role: 'gateway', life, at, ring: 'v', state: 'active', checks: [], sessions: 5, limit: 10,
			blocked: 0, leaving: 0, refused: { full: refused }, counts: { opened: 5, closed: 0, moved: 0, delivered, sent: 0, gaps: 0, published: 0 },
			gateway: { staleSlots: 0, missingTails: 0, hottest: [], tails: [{ slot: 3, owned: true, stands: true, stale: false, asOf: 100, lag: 70, unread: 2, pending: 1 }],
				delivery: { bounds: [0.001, 0.01], counts: [delivered / 2, delivered, delivered] } }, ...more });
		const answer = (...members) => ({ self: 'r1', version: 'v', slots: 4, owners: ['g1', 'g1', 'g1', 'g1'], pins: [], members });
		const member = (state, n, problem) => ({ id: 'g1', role: 'gateway', state, slots: 4, load: 5, node: n, problem, static: false });
		const m = new Model(), t = performance.now() + 1, said = [];
		const take = (at, ...members) => {
			const v = m.take(answer(...members), t + at);
			const g = v.gateways[0];
			said.push([g?.rates ? g.rates.delivered : 'unknown', g?.p99 ?? 'none', g?.lag ?? 'none', v.totals.known, v.wrong.map((w) => w.key.split(' ')[0]).join('+')].join(' '));
		};
		take(0, member('active', node(1000, 'a', 0, 0)));          // one look says nothing of a rate
		take(1000, member('active', node(2000, 'a', 100, 0)));
		take(2000, member('active', node(3000, 'b', 7, 0)));       // started anew: what it counts now is no rate
		take(3000, member('active', node(4000, 'b', 7, 4)));       // it refuses
		take(3400, member('active', node(4400, 'b', 7, 4, { gateway: { staleSlots: 2, missingTails: 1, hottest: [], tails: [], delivery: { bounds: [], counts: [] } } })));
		take(4000, member('active', null, 'it does not answer'));  // nothing of it is known
		take(5000);                                                // and now it is gone
		take(66000);                                               // long ago
		take(67000, member('draining', node(9000, 'b', 7, 4)));
		take(68000);                                               // it had said that it leaves
		return said.join('; ');
	})()`, "unknown none 70 1 ; 100 10 70 1 ; unknown none 70 1 ; 0 none 70 1 refused; 0 none none 1 stale+tails+refused; unknown none none 0 out; "+
		"unknown none none 0 none+gone; unknown none none 0 none; unknown none 70 1 none+drain; unknown none none 0 none+left")
}

// look goes around the ring and finds a topic.
func (c *check) look() {
	c.do("document.getElementById('ring').focus()")
	c.key("ArrowRight", "")
	c.is("document.getElementById('ring').getAttribute('aria-valuenow')", "1")
	c.is(text("slot"), "1")
	c.key("End", "")
	c.is(text("slot"), "255")
	c.is("document.querySelector('#facts dd').textContent.startsWith('g')", true)
	c.is("document.getElementById('ring').getAttribute('aria-valuetext').startsWith('slot 255, owned by g')", true)
	c.is("getComputedStyle(document.activeElement).outlineStyle", "solid")
	c.key("Tab", "")
	c.is("document.activeElement.id", "topic")
	c.insert(hostile)
	c.key("Enter", "\r")
	c.is(text("found")+".includes('slot ' + "+text("slot")+" + ', served by g')", true)
	c.is(text("found")+".startsWith("+quote(hostile)+")", true)
}

// drainByKeyboard drains the gateway of the session.
func (c *check) drainByKeyboard() {
	c.do("document.querySelector('[data-drain=g2]').focus()")
	c.key("Enter", "\r")
	c.is("document.getElementById('drain').open", true)
	c.is(text("drain-title"), "Drain g2?")
	c.is(text("drain-text")+".includes('session') && "+text("drain-text")+".includes('2 active gateways')", true)
	c.is("document.activeElement.textContent", "Keep it")
	c.key("Escape", "")
	c.is("document.getElementById('drain').open", false)
	c.is("document.activeElement.dataset.drain", "g2")
	c.key("Enter", "\r")
	c.is("document.getElementById('drain').open", true)
	c.key("Tab", "")
	c.is("document.activeElement.textContent", "Drain g2")
	c.do(`window.progressed = false; new MutationObserver(() => { window.progressed ||= document.querySelector('#gateways progress') !== null; })
		.observe(document.getElementById('gateways'), { childList: true, subtree: true })`)
	c.key("Enter", "\r")
	c.is(state("g2")+" !== 'active'", true)
	c.is("window.progressed", true)
	c.is(text("said")+".startsWith('g2 has left')", true)
	c.is(state("g2"), "active")
}

// killed kills a gateway as kill -9 does.
func (c *check) killed() {
	c.kill("g1")
	c.is("/gone|does not tell/.test("+state("g1")+")", true)
	c.is("[...document.querySelectorAll('#wrong .bad')].some((e) => e.textContent.startsWith('g1'))", true)
	c.is(state("g1"), "active")
}

// silent has the process hang for a while.
func (c *check) silent() {
	if c.err != nil {
		return
	}
	if c.err = c.node.Pause(); c.err != nil {
		return
	}
	c.is(text("state"), "no answer")
	c.is(text("tile-sessions"), "–")
	c.is("document.querySelectorAll('#gateways tbody tr').length", 0)
	if err := c.node.Resume(); err != nil && c.err == nil {
		c.err = err
	}
	c.is(text("state"), "live")
	c.is(cells("gateways", 1)+".includes('active')", true)
}

// token visits the dashboard of a router that demands one.
func (c *check) token(binary string) {
	const secret = "a-token-of-the-browser-test"
	dir, err := os.MkdirTemp("", "ringside-page-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.WriteFile(filepath.Join(dir, "tokens"), []byte(secret+"\n"), 0o600)
	}
	listen, err1 := testcluster.FreeAddr()
	admin, err2 := testcluster.FreeAddr()
	gossip, err3 := testcluster.FreeAddr()
	for _, e := range []error{err, err1, err2, err3} {
		if c.err == nil {
			c.err = e
		}
	}
	if c.err != nil {
		return
	}
	p, err := testcluster.StartProcess("router", binary, "router", "--listen", listen, "--admin", admin, "--gossip", gossip,
		"--redis", "redis://127.0.0.1:1", "--admin-token-file", filepath.Join(dir, "tokens"))
	if c.err = err; err != nil {
		return
	}
	defer p.Kill()
	c.step("dashboard: a token is asked for, kept in the tab, and in no URL", func() {
		c.err = testcluster.Poll(c.ctx, func() error {
			_, err := testcluster.Do(c.ctx, "GET", "http://"+admin+"/healthz", "", nil)
			return err
		})
		c.open("http://" + admin + "/")
		c.is("location.pathname", "/dashboard/")
		c.is("document.getElementById('ask').open", true)
		c.is("document.activeElement.id", "token")
		c.insert("something else entirely")
		c.key("Enter", "\r")
		c.is(text("ask-why"), "That token is not taken.")
		c.insert(secret)
		c.key("Enter", "\r")
		c.is(text("state"), "live")
		c.is("[...document.querySelectorAll('#wrong .bad')].map((e) => e.textContent).some((t) => t.includes('No gateway is active'))", true)
		c.is("performance.getEntriesByType('resource').some((e) => e.name.includes("+quote(secret)+")) || location.href.includes("+quote(secret)+")", false)
		c.open("http://" + admin + "/dashboard/")
		c.is(text("state"), "live")
		c.click("#forget")
		c.is("document.getElementById('ask').open", true)
	})
}

// follow opens a session of a topic at the public port.
func follow(ctx context.Context, node *testcluster.Node, topic string) (*websocket.Conn, error) {
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+node.Addr+"/t/"+url.PathEscape(topic), nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot follow %q: %w", topic, err)
	}
	go func() { // ends with the connection
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	return ws, nil
}

// kill kills a gateway of the development cluster.
func (c *check) kill(shard string) {
	if c.err != nil {
		return
	}
	r, err := c.node.Post(c.ctx, "/stage/kill?shard="+shard, "")
	if err == nil && r.Status/100 != 2 {
		err = fmt.Errorf("kill: %d %s", r.Status, r.Body)
	}
	c.err = err
}

// cells is JavaScript for the texts of a table's column; 0 is the heading of each row.
func cells(table string, column int) string {
	return fmt.Sprintf("[...document.querySelectorAll('#%s tbody tr')].map((r) => r.cells[%d].textContent).join()", table, column)
}

// state is JavaScript for the state that the dashboard shows of a gateway.
func state(id string) string {
	return "([...document.querySelectorAll('#gateways tbody tr')].find((r) => r.cells[0].textContent === " + quote(id) + ")?.cells[1].textContent ?? 'nothing')"
}

// has is JavaScript for whether the text of one of the elements begins with a text.
func has(selector, beginning string) string {
	return "[...document.querySelectorAll(" + quote(selector) + ")].some((e) => e.textContent.startsWith(" + quote(beginning) + "))"
}

// quote is a text as JavaScript has it.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(text) + "'"
}
