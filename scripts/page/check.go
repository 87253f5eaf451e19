package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// check is a visit to the page. The first step that fails ends it.
type check struct {
	ctx  context.Context
	b    *browser
	node *testcluster.Node
	err  error
}

// all are the steps of the visit.
func (c *check) all() {
	c.step("the public port leads to the page", func() {
		c.open(c.node.HTTP() + "/")
		c.is("location.origin", "http://"+c.node.Admin)
	})
	c.step("it connects", func() {
		c.is(text("state"), "live")
		c.is(text("connections"), "1")
		c.is("document.querySelectorAll('#members tr').length", 4)
	})
	c.step("a goal arrives", func() {
		c.click("[data-goal=home]")
		c.is(text("home")+" + ':' + "+text("away"), "1:0")
		c.is(text("told"), "Goal for Home! It stands 1:0.")
		c.is("document.querySelectorAll('#messages li').length", 1)
		c.is(text("published")+".includes("+text("position")+")", true)
	})
	c.step("a message from elsewhere arrives", func() {
		c.publish("finals", `{"score":"1:1"}`)
		c.is(text("home")+" + ':' + "+text("away"), "1:1")
	})
	c.step("what was published while it was away arrives first, in order", func() {
		c.click("#pause")
		c.is(text("state"), "disconnected")
		for i := range 3 {
			c.publish("finals", fmt.Sprintf(`{"text":"away %d"}`, i))
		}
		c.click("#pause")
		c.is(text("state"), "live")
		c.is(text("replayed"), "3")
		c.is("[...document.querySelectorAll('#messages li span')].slice(0, 3).map((e) => e.textContent).join()",
			`{"text":"away 2"},{"text":"away 1"},{"text":"away 0"}`)
		c.is(text("received")+" + ' ' + "+text("gaps"), "5 0")
	})
	c.step("the keyboard is enough", c.keyboard)
	c.step("another topic, with what is awkward in a URL", func() {
		const topic = "match/7 & co?"
		c.do(fmt.Sprintf("document.getElementById('topic').value = %q", topic))
		c.click("#follow button:not(#pause)")
		c.is(text("state")+" + ' ' + "+text("received"), "live 0")
		c.publish(topic, "hello <b>you</b>")
		c.is("document.querySelector('#messages li span').textContent", "hello <b>you</b>")
		c.is("document.querySelector('#place strong').textContent", topic)
	})
	c.step("the gateway that serves it drains, and the page does not notice", c.drain)
}

// keyboard publishes by tabbing from the address bar on.
func (c *check) keyboard() {
	c.do("document.activeElement.blur(); document.getElementById('topic').focus()")
	for range 20 {
		var id string
		c.eval("document.activeElement.id", &id)
		if c.err != nil || id == "data" {
			break
		}
		c.key("Tab", "\t")
	}
	c.is("document.activeElement.id", "data")
	c.is("getComputedStyle(document.activeElement).outlineStyle", "solid")
	c.do(`document.getElementById('data').value = 'typed'`)
	c.key("Enter", "\r")
	c.is("document.querySelector('#messages li span').textContent", "typed")
}

// drain drains the owner by its button while messages go on.
func (c *check) drain() {
	const topic = "match/7 & co?"
	var owner, connections string
	c.eval("document.querySelector('tr.owner th').textContent", &owner)
	c.eval(text("connections"), &connections)
	c.click("[data-drain=" + owner + "]")
	for i := range 20 {
		c.publish(topic, fmt.Sprintf(`{"text":"during %d"}`, i))
	}
	// It is gone, or back as another life of itself: then its sessions have moved.
	row := "[...document.querySelectorAll('#members tr')].find((r) => r.cells[0].textContent === '" + owner + "')"
	c.is("("+row+"?.cells[1].textContent ?? 'gone') !== 'active'", true)
	c.is("['gone', 'joining', 'active'].includes("+row+"?.cells[1].textContent ?? 'gone')", true)
	c.is(text("state"), "live")
	c.publish(topic, "the end")
	c.is("document.querySelector('#messages li span').textContent", "the end")
	c.is(text("received")+" + ' ' + "+text("gaps"), "22 0")
	c.is(text("connections"), connections)
}

// text is JavaScript for what an element says.
func text(id string) string { return "document.getElementById('" + id + "').textContent" }

func (c *check) step(name string, f func()) {
	if c.err != nil {
		return
	}
	f()
	if c.err != nil {
		c.err = fmt.Errorf("%s: %w", name, c.err)
		return
	}
	fmt.Println("page:", name)
}

func (c *check) open(url string) {
	if c.err == nil {
		c.err = c.b.call(c.ctx, "Page.navigate", map[string]any{"url": url}, nil)
	}
}

func (c *check) eval(script string, v any) {
	if c.err == nil {
		c.err = c.b.eval(c.ctx, script, v)
	}
}

func (c *check) do(script string) { c.eval(script, nil) }

// is waits until a script has a value.
func (c *check) is(script string, want any) {
	if c.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, testcluster.Limit())
	defer cancel()
	c.err = testcluster.Poll(ctx, func() error {
		var got any
		if err := c.b.eval(c.ctx, script, &got); err != nil { // not ctx: its end must not hide what was last seen
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%s: got %v, want %v", script, got, want)
		}
		return nil
	})
}

// click clicks an element, once it is there, where a mouse would.
func (c *check) click(selector string) {
	c.is(fmt.Sprintf("document.querySelectorAll(%q).length", selector), 1)
	var at struct{ X, Y float64 }
	c.eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: 'center', behavior: 'instant'});
		const r = e.getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`, selector), &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		if c.err == nil {
			c.err = c.b.call(c.ctx, "Input.dispatchMouseEvent", map[string]any{
				"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1,
			}, nil)
		}
	}
}

// key presses a key.
func (c *check) key(name, text string) {
	codes := map[string]int{"Tab": 9, "Enter": 13}
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": codes[name]}
		if kind == "keyDown" && name == "Enter" {
			params["text"] = text
		}
		if c.err == nil {
			c.err = c.b.call(c.ctx, "Input.dispatchKeyEvent", params, nil)
		}
	}
}

// publish publishes past the page.
func (c *check) publish(topic, payload string) {
	if c.err != nil {
		return
	}
	path := strings.NewReplacer("%", "%25", " ", "%20", "?", "%3F").Replace(topic)
	r, err := c.node.Post(c.ctx, "/publish/"+path, payload)
	if err == nil && r.Status/100 != 2 {
		err = fmt.Errorf("publish: %d %s", r.Status, r.Body)
	}
	c.err = err
}

// pictures saves the page as it is, in each size and scheme.
func (c *check) pictures(dir string) {
	if c.err = os.MkdirAll(dir, 0o755); c.err != nil {
		return
	}
	for _, width := range []int{360, 768, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			c.picture(filepath.Join(dir, fmt.Sprintf("page-%d-%s.png", width, scheme)), width, scheme)
		}
	}
}

func (c *check) picture(path string, width int, scheme string) {
	call := func(method string, params map[string]any, result any) {
		if c.err == nil {
			c.err = c.b.call(c.ctx, method, params, result)
		}
	}
	call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	c.is(fmt.Sprintf("document.documentElement.scrollWidth <= %d", width), true) // no scrolling sideways
	var shot struct{ Data string }
	call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	if c.err != nil {
		return
	}
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	c.err = err
}
