package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// way is how clients come to a gateway.
type way struct {
	name string
	node *testcluster.Node // that they connect to
}

func (w way) url(topic string) string { return "ws://" + w.node.Addr + "/t/" + topic }

// foreignCase is one thing that a user of a WebSocket library does, or meets.
type foreignCase struct {
	rfc  string // section
	name string
	run  func(f foreigner, w way) error
}

// foreignCases are all of them.
func foreignCases() []foreignCase {
	return slices.Concat(foreignHandshakes(), foreignMessages(), foreignControls(), foreignCloses(), foreignEnds())
}

// foreignTopics counts the topics of cases.
var foreignTopics atomic.Int64

// in is a case within a session, which has to be alive behind it, and is left.
func in(rfc, name, protocol string, run func(p *peer, w way) error) foreignCase {
	return foreignCase{rfc, name, func(f foreigner, w way) error {
		// Of its own, because what another case has published may come late at the next gateway.
		topic := fmt.Sprintf("foreign-%d", foreignTopics.Add(1))
		p, err := session(f, w.url(topic), protocol)
		if err != nil {
			return err
		}
		p.topic = topic
		if err := run(p, w); err != nil {
			return errors.Join(err, p.terminate())
		}
		return p.leave()
	}}
}

// ending is a case that ends its session.
func ending(rfc, name, protocol string, run func(p *peer, w way) error) foreignCase {
	return foreignCase{rfc, name, func(f foreigner, w way) error {
		p, err := session(f, w.url("foreign"), protocol)
		if err != nil {
			return err
		}
		if err := run(p, w); err != nil {
			return errors.Join(err, p.terminate())
		}
		return nil
	}}
}

// shakes is a handshake of which the client says what it got.
func shakes(rfc, name string, opts dialOptions, want string) foreignCase {
	return foreignCase{rfc, name, func(f foreigner, w way) error {
		p, first, err := connect(f, w.url("foreign"), opts)
		if err != nil {
			return err
		}
		if got := first.String(); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		if !strings.HasPrefix(want, "open") {
			return nil
		}
		return p.leaveFrom(first.payload)
	}}
}

// leaveFrom leaves a session, behind the welcome that some subprotocols have.
func (p *peer) leaveFrom(protocol string) error {
	if protocol != "ringside.raw" {
		if err := errors.Join(p.begins(`text {"type":"welcome"`), p.alive()); err != nil {
			return err
		}
	}
	return p.leave()
}

func foreignHandshakes() []foreignCase {
	return []foreignCase{
		shakes("4.2.2", "subprotocol `ringside.v1`", dialOptions{protocols: []string{"ringside.v1"}}, "open ringside.v1"),
		shakes("4.2.2", "subprotocol `ringside.raw`", dialOptions{protocols: []string{"ringside.raw"}}, "open ringside.raw"),
		shakes("4.2.2", "no subprotocol: `ringside.v1` is spoken, and not named", dialOptions{}, "open"),
		shakes("4.2.2", "several subprotocols: the first that is known", dialOptions{protocols: []string{"mqtt", "ringside.raw", "ringside.v1"}}, "open ringside.raw"),
		shakes("4.2.2", "unknown subprotocol: refused with 400", dialOptions{protocols: []string{"mqtt"}}, "refused 400"),
		shakes("9.1", "`permessage-deflate` offered: declined, and nothing is compressed", dialOptions{protocols: []string{"ringside.v1"}, deflate: true}, "open ringside.v1"),
		shakes("4.2.2", "not authenticated: refused with 401", dialOptions{protocols: []string{"ringside.v1"}}, "refused 401").on("vip"),
		{"7.4.2", "not authenticated, with an `Origin`: close 4401", func(f foreigner, w way) error {
			p, first, err := connect(f, w.url("vip"), dialOptions{protocols: []string{"ringside.v1"}, origin: "https://shop.example"})
			if err != nil || first.what != "open" {
				return fmt.Errorf("got %q, %w", first, err)
			}
			return p.ends(4401, `{"error":"token_missing"}`)
		}},
	}
}

// on is a handshake for another topic.
func (c foreignCase) on(topic string) foreignCase {
	run := c.run
	c.run = func(f foreigner, w way) error { return run(elsewhere{f, topic}, w) }
	return c
}

// elsewhere opens sessions of another topic.
type elsewhere struct {
	foreigner
	topic string
}

func (e elsewhere) open(url string, opts dialOptions, events func(what, payload string)) foreignSession {
	return e.foreigner.open(strings.Replace(url, "/t/foreign", "/t/"+e.topic, 1), opts, events)
}

// Sizes of messages: the largest of a client's, and one of a server's that needs many packets.
const (
	maxFrame   = 64 << 10
	largeOne   = 512 << 10
	manySmall  = 150 // in one go: fewer than a client may send at once
	heartbeats = "300ms"
)

// padded is a command of n bytes.
func padded(n int) string {
	const ping = `{"type":"ping"}`
	return ping + strings.Repeat(" ", n-len(ping))
}

// published wants a payload that is published to come as want.
func (p *peer) published(w way, payload, want string) error {
	if _, err := publishBody(w.node, p.topic, payload); err != nil {
		return err
	}
	for {
		e, err := p.word()
		switch {
		case err != nil:
			return fmt.Errorf("%w, want %.100q", err, want)
		case strings.HasPrefix(e.String(), want) || strings.HasSuffix(e.String(), want):
			return nil
		case e.what == "close" || e.what == "error":
			return fmt.Errorf("got %.200q, want %.100q", e, want)
		}
	}
}

// heard waits for a ping of the server, behind which a session of ringside.raw is known to be subscribed.
func (p *peer) heard() error {
	for {
		e, err := p.next()
		switch {
		case err != nil:
			return fmt.Errorf("%w, want a ping of the server", err)
		case e.what == "ping":
			return nil
		case e.what == "close" || e.what == "error":
			return fmt.Errorf("got %q, want a ping of the server", e)
		}
	}
}

func foreignMessages() []foreignCase {
	const text = `{"city":"Köln 🏟"}`
	return []foreignCase{
		in("5.6", "text of a client", "ringside.v1", func(p *peer, _ way) error { return p.alive() }),
		in("5.6", "text of the server, beyond ASCII", "ringside.v1", func(p *peer, w way) error { return p.published(w, text, `"data":`+text+`}`) }),
		in("5.6", "text of the server in `ringside.raw`", "ringside.raw", func(p *peer, w way) error {
			return errors.Join(p.heard(), p.published(w, text, "text "+text))
		}),
		in("5.6", "bytes that are no text, in `ringside.raw`: a binary message", "ringside.raw", func(p *peer, w way) error {
			return errors.Join(p.heard(), p.published(w, "\xff\x00\xfe", "binary \xff\x00\xfe"))
		}),
		in("5.4", "three fragments, one of them empty", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.send(false, `{"type":`, ``, `"ping"}`), p.begins(`text {"type":"pong"}`))
		}),
		in("5.4", "ping between fragments: answered at once", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.interrupt(`{"type":`, `"ping"}`), p.begins("pong"), p.begins(`text {"type":"pong"}`))
		}),
		in("5.2", "many small messages: each is answered, in order", "ringside.v1", func(p *peer, _ way) error {
			for range manySmall {
				if err := p.send(false, `{"type":"ping"}`); err != nil {
					return err
				}
			}
			for range manySmall {
				if err := p.begins(`text {"type":"pong"}`); err != nil {
					return err
				}
			}
			return nil
		}),
		in("5.2", "largest message of a client (`max-frame`, 64 KiB)", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.send(false, padded(maxFrame)), p.begins(`text {"type":"pong"}`))
		}),
		in("5.2", "message of the server of 512 KiB", "ringside.v1", func(p *peer, w way) error {
			large := `"` + strings.Repeat("x", largeOne) + `"`
			return p.published(w, large, large+"}")
		}),
	}
}

func foreignControls() []foreignCase {
	ping := func(name, payload string) foreignCase {
		return in("5.5.2", name, "ringside.v1", func(p *peer, _ way) error {
			if err := p.ping(payload); err != nil {
				return err
			}
			return errors.Join(p.begins(strings.TrimSpace("pong "+payload)), p.alive())
		})
	}
	return []foreignCase{
		ping("ping: answered", ""),
		ping("ping of 125 bytes: answered with them", strings.Repeat("p", 125)),
		in("5.5.3", "pong that nobody asked for: ignored", "ringside.v1", func(p *peer, _ way) error {
			if err := p.pong("unasked"); err != nil {
				return err
			}
			return p.alive()
		}),
		in("5.5.2", "pings of the server: answered by the client itself", "ringside.raw", func(p *peer, w way) error {
			return errors.Join(p.heard(), p.heard(), p.published(w, `"still here"`, `text "still here"`))
		}),
	}
}

func foreignCloses() (list []foreignCase) {
	for _, code := range []int{1000, 1001, 3000, 4000, 4999} {
		list = append(list, ending("7.1.5", fmt.Sprintf("close %d with a reason: answered with the code", code), "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.close(code, "good bye"), p.endsLike(fmt.Sprintf("^close %d", code)))
		}))
	}
	return append(list,
		ending("7.1.5", "close without a status: answered likewise", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.close(1005, ""), p.ends(1005, ""))
		}),
		ending("7.1.5", "close in `ringside.raw`", "ringside.raw", func(p *peer, _ way) error { return p.leave() }),
		ending("7.4.1", "binary message in `ringside.v1`: close 1003", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.send(true, "\x00"), p.endsLike("^close 1003"))
		}),
		ending("7.4.1", "any message in `ringside.raw`: close 1003", "ringside.raw", func(p *peer, _ way) error {
			return errors.Join(p.send(false, "hello"), p.endsLike("^close 1003"))
		}),
		ending("8.1", "text that is no UTF-8: close 1007", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.send(false, "\xff\xfe"), p.ends(1007, "utf8"))
		}),
		ending("7.4.1", "message above `max-frame`: close 1009", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.send(false, padded(maxFrame+1)), p.ends(1009, "too_large"))
		}),
	)
}

func foreignEnds() []foreignCase {
	return []foreignCase{
		ending("7.1.4", "both close at once: each ends cleanly, and the session is counted once", "ringside.v1", func(p *peer, _ way) error {
			// What makes the server close and the client's own close cross the server's.
			return errors.Join(p.send(true, "\x00"), p.close(1000, "me too"), p.endsLike("^close (1003|1000)"))
		}),
		ending("7.1.7", "connection cut without a close: the session is over", "ringside.v1", func(p *peer, _ way) error {
			return errors.Join(p.terminate(), p.endsLike("^close 1006"))
		}),
	}
}
