package router

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// leaver hears of sessions that end while they are parked.
type leaver struct {
	ticket string
	resume leg.Resume
	t      *testing.T
}

func (*leaver) FeedMembers(leg.Members)  {}
func (*leaver) FeedAsked(uint32, []byte) {}

func (l *leaver) FeedLeft(ticket, resume []byte) {
	r, _, err := leg.ParseResume(resume, 10)
	if err != nil {
		l.t.Errorf("the block of a session that has ended: %v", err)
	}
	l.ticket, l.resume = string(ticket), r
}

// A session with notes of its gateway is parked with them. They come back with its next leg, or with word of its end.
func TestNotesAreKept(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		const welcome, one = "\x00000000.", "\x00000100.one"
		g := sharing(t, "g1")
		h := &hall{rig: start(t, portable, shares, g), g: g}
		for range 2 {
			c := h.open("finals", wsHead, "")
			f := h.g.session()
			if f.isFeed() {
				h.feed, f = f, h.g.session()
			}
			f.write(rec(leg.Topic, 0, 1<<31, position.Position{}, welcome) + rec(leg.Topic, leg.Asked, 1<<31|32, position.Position{}, one) +
				rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one") + offer(3, 0, time.Time{}))
			c.want("one")
			h.clients = append(h.clients, c)
			f.write(rec(leg.Data, 0, 1<<31|32, position.Position{}, "confirmed"))
			c.want("confirmed")
		}
		h.takeFeed(1)
		h.feed.write(rec(leg.Topic, 0, 9, at(1), "finals"))
		h.parked(2)

		pong := wsframe.AppendClientFrame(nil, wsframe.Text, [4]byte{1, 2, 3, 4}, []byte(cablePong))
		h.r.onEveryLoop(func(w *worker) { // as if they had been silent
			for _, s := range w.sessions {
				s.home.spoke -= minChatter
			}
		})
		h.clients[0].send(string(pong))
		h.feed.write(message(9, 2, "two"))
		h.want("two")
		if n := h.value("unparked_total"); n != 0 {
			t.Errorf("%v sessions were given legs for a pong", n)
		}

		h.clients[1].send("hello")
		f := h.g.session()
		names := func(r leg.Resume) (list []string) {
			for _, t := range r.Topics {
				list = append(list, t.Name)
			}
			slices.Sort(list)
			return list
		}
		want := []string{welcome, one, "finals"}
		if got := names(f.resume()); !slices.Equal(got, want) {
			t.Errorf("the next gateway is told of %q, want %q", got, want)
		}

		h.clients[0].conn.Close()
		l := &leaver{t: t}
		var w leg.Words
		for buf := make([]byte, 1); l.ticket == ""; {
			if _, err := io.ReadFull(h.feed.r, buf); err != nil {
				t.Fatalf("the gateway is not told that a session has ended: %v", err)
			}
			if err := w.Take(buf, l); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(l.resume); leg.TicketText([]byte(l.ticket)) != testTicket || !slices.Equal(got, want) {
			t.Errorf("got word of %q with %q, want %q", l.ticket, got, want)
		}
	})
}
