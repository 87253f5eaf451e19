package router

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/origin"
	"github.com/ringside-edge/ringside/leg"
)

// Where a gateway knows that no other would say anything else, none is asked, and the client gets its answer.
func TestFinalRefusal(t *testing.T) {
	g1, g2 := gateway(t, "g1"), gateway(t, "g2")
	r := start(t, false, nil, g1, g2)
	topic := r.ownedBy("g1", "g2")
	g1.setReply(replyWith("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nRingside-Final: v1\r\nContent-Length: 24\r\n\r\n" + `{"error":"app_down"}....`))
	c := r.connect()
	c.send("GET /t/" + topic + " HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
	resp := c.answer()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "7" || !strings.Contains(string(body), "app_down") ||
		resp.Header.Get(leg.HeaderFinal) != "" {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if n := len(g2.sessions); n != 0 {
		t.Errorf("the other gateway was asked %d times", n)
	}
	if got := r.value("ejected"); got != 0 {
		t.Errorf("ejected: got %v, want 0", got)
	}
	r.empty()
}

// A raw upstream can't say such a thing: it is passed over like any that is busy.
func TestFinalOfOthers(t *testing.T) {
	s1, s2 := rawServer(t, "s1"), rawServer(t, "s2")
	r := start(t, false, nil, s1, s2)
	topic := r.ownedBy("s1", "s2")
	s1.setReply(replyWith("HTTP/1.1 503 Service Unavailable\r\nRingside-Final: v1\r\nContent-Length: 0\r\n\r\n"))
	r.open(topic, wsHead, "")
	s2.session()
}

// A gateway that wants to know is told, with the last bytes of the leg, that its session goes on elsewhere, under the newest ticket;
// one that does not want to know is told nothing, and none is told of a client that leaves.
func TestFarewell(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		f := func(header string, renewed string, want bool) {
			t.Helper()
			g1, g2 := movable(t, "g1"), movable(t, "g2")
			r := start(t, portable, func(c *Config, _ *Deps) { c.NoRebalance = true }, g1, g2)
			topic := r.ownedBy("g1", "g2")
			g1.setReply(func(f *far) bool {
				f.write(f.answer("Ringside-Leg: v1\r\nRingside-Ticket: " + testTicket + "\r\n" + header))
				return true
			})
			ticket := "ticket"
			g2.setReply(func(f *far) bool {
				if f.req.Method != leg.MethodResume || f.req.Header.Get(leg.HeaderTicket) != leg.TicketText([]byte(ticket)) {
					t.Errorf("asked for %s", f.head)
				}
				f.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ringside-leg\r\nRingside-Leg: v1\r\n\r\n")
				return true
			})
			c := r.open(topic, wsHead, "")
			old := g1.session()
			old.write(rec(leg.Topic, 0, 1, at(1), topic) + message(1, 2, "hello"))
			c.want("hello")
			if renewed != "" {
				ticket = renewed
				old.write(rec(leg.Renew, 0, 0, at(0), renewed) + message(1, 3, "again"))
				c.want("again")
			}
			old.write(rec(leg.Move, 0, 0, at(0), ""))
			next := g2.session()
			next.resume()
			b, err := io.ReadAll(old.r)
			if err != nil {
				t.Fatal(err)
			}
			farewell := leg.Farewell([]byte(ticket))
			if got := string(b); want && got != string(farewell[:]) || !want && got != "" {
				t.Errorf("%q: the old gateway got %x", header, b)
			}
			c.conn.Close()
			if b, err := io.ReadAll(next.r); err != nil || len(b) > 0 {
				t.Errorf("the end of the client: got %x, %v", b, err)
			}
			next.conn.Close()
			r.empty()
		}
		f("", "", false)
		f("Ringside-Farewell: v1\r\n", "", true)
		f("Ringside-Farewell: v1\r\n", "another ticket", true)
	})
}

func TestOrigins(t *testing.T) {
	allowed, err := origin.Parse([]string{"https://shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.Origins = allowed }, g)
	f := func(head string, want int) {
		t.Helper()
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + head + "\r\n")
		if resp := c.answer(); resp.StatusCode != want {
			t.Errorf("%q: got %d, want %d", head, resp.StatusCode, want)
		}
		c.conn.Close()
	}
	f(wsHead, http.StatusSwitchingProtocols)
	f(wsHead+"Origin: https://shop.example\r\n", http.StatusSwitchingProtocols)
	f(wsHead+"Origin: https://evil.example\r\n", http.StatusForbidden)
	f(wsHead+"Origin: https://shop.example\r\nOrigin: https://evil.example\r\n", http.StatusForbidden)
	f(sseHead+"Origin: null\r\n", http.StatusForbidden)
	if got := r.value("refused_total", "reason=origin"); got != 3 {
		t.Errorf("refused_total{origin}: got %v, want 3", got)
	}
}
