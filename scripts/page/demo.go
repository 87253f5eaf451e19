package main

import (
	"fmt"
	"strconv"
)

// numberOf is JavaScript for the number that an element says.
func numberOf(id string) string { return "Number(" + text(id) + ".replaceAll(',', ''))" }

// gone is a number of messages that are certain to have been sent after something was broken.
const gone = 60

// demo is a visit to the page of the match, in which gateways are killed and drained under it.
func (c *check) demo(viewers int) {
	c.step("page: the public port leads to it", func() {
		c.open(c.node.HTTP() + "/")
		c.is("location.origin", "http://"+c.node.Admin)
	})
	c.step("page: the match is on, and the cluster says how many watch", func() {
		c.is(text("state"), "live")
		c.is(text("plain-state"), "live")
		c.is(numberOf("received")+" > 20", true)
		c.is(text("viewers"), strconv.Itoa(viewers+2)) // the crowd, this page, and the plain WebSocket
		c.is("document.querySelectorAll('#gateways .active').length", 3)
		c.is("document.querySelector('#chart .line').getAttribute('d').includes('L')", true)
		c.do(`window.blinks = 0; // what a slow machine may cause, stale, is none
			new MutationObserver(([m]) => { if (!['live', 'stale'].includes(m.target.dataset.state)) window.blinks++; })
				.observe(document.getElementById('state'), { attributes: true })`)
	})
	c.step("page: the gateway under it is killed, and nothing blinks", func() {
		c.click("#kill:enabled")
		c.is(text("did")+".startsWith('Killed g')", true)
		c.goesOn()
		c.is(numberOf("plain-lost")+" > 0", true)
		c.is(text("plain-state"), "live")
		c.is(numberOf("plain-connections")+" > 1", true)
		c.is("document.querySelectorAll('#gateways .active').length", 3) // a fresh one has joined
	})
	c.step("page: the gateway under it is drained, by keyboard, and nothing blinks", func() {
		c.is("document.getElementById('drain').disabled", false)
		c.do("document.getElementById('kill').focus()")
		c.key("Tab", "")
		c.is("document.activeElement.id", "drain")
		c.is("getComputedStyle(document.activeElement).outlineStyle !== 'none'", true)
		c.key("Enter", "\r")
		c.is(text("did")+".startsWith('Draining g')", true)
		c.goesOn()
		c.is("document.querySelectorAll('#gateways .active').length", 3)
	})
	c.step("page: fits and is legible at 360 px and above, in the light and in the dark", c.fitsAt)
	c.step("page: another topic, by hand and by keyboard", c.byHand)
}

// goesOn waits for many more messages, and looks whether any was lost or came twice, here or at another viewer.
func (c *check) goesOn() {
	var before float64
	c.eval(numberOf("received"), &before)
	c.is(fmt.Sprintf("%s > %v", numberOf("received"), before+gone), true)
	c.is(text("lost")+" + ' ' + "+text("repeated")+" + ' ' + "+text("connections"), "0 0 1")
	c.is(text("crowd-lost")+" + ' ' + "+text("crowd-repeated")+" + ' ' + "+text("crowd-returns"), "0 0 0")
	c.is("window.blinks", 0)
	c.is("document.getElementById('chart').dataset.holes", "0")
}

// byHand follows a topic with what is awkward in a URL, publishes, goes away and comes back.
func (c *check) byHand() {
	const topic = "match/7 & co?"
	c.do("document.querySelector('#try summary').focus()")
	c.key("Enter", "\r")
	c.is(text("try-state"), "live")
	c.do("document.getElementById('topic').focus(); document.getElementById('topic').select()")
	c.insert(topic)
	c.key("Enter", "\r")
	c.is(text("try-state")+" + ' ' + "+text("try-received"), "live 0")
	c.is(text("place")+".startsWith("+quote(topic)+")", true)
	c.publish(topic, "hello <b>you</b>")
	c.is("document.querySelector('#messages li span').textContent", "hello <b>you</b>")
	c.do("document.getElementById('data').focus(); document.getElementById('data').select()")
	c.insert("typed")
	c.key("Enter", "\r")
	c.is("document.querySelector('#messages li span').textContent", "typed")
	c.is(text("published")+".includes("+text("position")+")", true)
	c.click("#leave")
	c.is(text("try-state"), "disconnected")
	for i := range 3 {
		c.publish(topic, fmt.Sprintf(`{"text":"away %d"}`, i))
	}
	c.click("#leave")
	c.is(text("try-state"), "live")
	c.is(text("try-replayed"), "3")
	c.is("[...document.querySelectorAll('#messages li span')].slice(0, 3).map((e) => e.textContent).join()",
		`{"text":"away 2"},{"text":"away 1"},{"text":"away 0"}`)
	c.is(text("try-received")+" + ' ' + "+text("try-gaps"), "5 0")
}
