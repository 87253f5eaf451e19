package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// check is a visit to the page. The first step that fails ends it.
type check struct {
	ctx  context.Context
	b    *browser
	node *testcluster.Node
	err  error
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
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "ArrowRight": 39}
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

// insert types a text where the focus is.
func (c *check) insert(text string) {
	if c.err == nil {
		c.err = c.b.call(c.ctx, "Input.insertText", map[string]any{"text": text}, nil)
	}
}

// publish publishes past the page.
func (c *check) publish(topic, payload string) {
	if c.err != nil {
		return
	}
	r, err := c.node.Post(c.ctx, "/publish/"+url.PathEscape(topic), payload)
	if err == nil && r.Status/100 != 2 {
		err = fmt.Errorf("publish: %d %s", r.Status, r.Body)
	}
	c.err = err
}

// size makes the window one of a width and a scheme.
func (c *check) size(width int, scheme string) {
	for _, call := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}},
	} {
		if c.err == nil {
			c.err = c.b.call(c.ctx, call.method, call.params, nil)
		}
	}
}

// fitsAt checks that a page does not scroll sideways, whatever the size and scheme.
func (c *check) fitsAt() {
	for _, width := range []int{360, 768, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			c.size(width, scheme)
			c.is(fmt.Sprintf("document.documentElement.scrollWidth <= %d", width), true)
		}
	}
	var light, dark string
	c.size(1280, "dark")
	c.eval("getComputedStyle(document.body).backgroundColor", &dark)
	c.size(1280, "light")
	c.eval("getComputedStyle(document.body).backgroundColor", &light)
	if c.err == nil && light == dark {
		c.err = fmt.Errorf("light and dark are both %s", light)
	}
}

// picture saves the page as it is, from its top.
func (c *check) picture(path string, width int, scheme string) {
	c.size(width, scheme)
	c.do("scrollTo(0, 0); document.activeElement?.blur()")
	c.is(fmt.Sprintf("document.documentElement.scrollWidth <= %d", width), true) // no scrolling sideways
	var size struct{ CSSContentSize struct{ Height float64 } }
	if c.err == nil {
		c.err = c.b.call(c.ctx, "Page.getLayoutMetrics", nil, &size)
	}
	var shot struct{ Data string }
	if c.err == nil {
		c.err = c.b.call(c.ctx, "Page.captureScreenshot", map[string]any{
			"captureBeyondViewport": true, "clip": map[string]any{"x": 0, "y": 0, "width": width, "height": min(size.CSSContentSize.Height, 2400), "scale": 1},
		}, &shot)
	}
	if c.err != nil {
		return
	}
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	c.err = err
}
