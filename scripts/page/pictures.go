package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// pictures saves what the documents show: a match whose gateway has just been killed, and the dashboard while a gateway drains.
func (c *check) pictures(dir string) {
	if c.err = os.MkdirAll(dir, 0o755); c.err != nil {
		return
	}
	c.step("picture: the page, after a kill", func() {
		c.size(1280, "light")
		c.open("http://" + c.node.Admin + "/")
		c.is(text("plain-state"), "live")
		c.is(numberOf("received")+" > 150", true)
		c.click("#kill:enabled")
		c.is(numberOf("plain-lost")+" > 0", true)
		c.goesOnWithoutBlinks()
		c.picture(filepath.Join(dir, "demo.png"), 1280, "light")
		c.picture(filepath.Join(dir, "demo-360.png"), 360, "dark")
	})
	c.step("picture: the dashboard", func() {
		c.is("document.querySelectorAll('#gateways .active').length", 3)
		c.open("http://" + c.node.Admin + "/dashboard/")
		c.is(text("state"), "live")
		c.is("document.querySelectorAll('#hot tbody tr').length", 1)
		c.is("document.querySelectorAll('.tile path')[3].getAttribute('d').split('L').length > 45", true)
		c.is(text("wrong"), "Nothing that these nodes know of.")
		c.picture(filepath.Join(dir, "dashboard.png"), 1280, "light")
		c.picture(filepath.Join(dir, "dashboard-360.png"), 360, "light")
	})
	c.step("picture: the dashboard, with a gateway gone", func() {
		c.kill("g1")
		c.is("document.querySelector('#wrong .bad') !== null", true)
		c.is(fmt.Sprintf("/does not tell|gone/.test(%s)", state("g1")), true)
		c.picture(filepath.Join(dir, "dashboard-dark.png"), 1280, "dark")
	})
}

// goesOnWithoutBlinks waits until the kill is well in the picture.
func (c *check) goesOnWithoutBlinks() {
	var before float64
	c.eval(numberOf("received"), &before)
	c.is(fmt.Sprintf("%s > %v", numberOf("received"), before+gone), true)
	c.is(text("plain-state"), "live")
	c.is(text("lost")+" + ' ' + "+text("repeated")+" + ' ' + "+text("connections"), "0 0 1")
}

// leave goes to an empty page, so that what the last one had open is closed.
func (c *check) leave() { c.open("about:blank") }
