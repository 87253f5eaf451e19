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

// A successor knows that the gateway wants to be told, and what it is told.
func TestFarewellOfSuccessor(t *testing.T) {
	g1, g2 := movable(t, "g1"), movable(t, "g2")
	g1.setReply(func(f *far) bool {
		f.write(f.answer("Ringside-Leg: v1\r\nRingside-Ticket: " + testTicket + "\r\nRingside-Farewell: v1\r\n"))
		return true
	})
	old := start(t, false, func(c *Config, _ *Deps) { c.NoRebalance = true }, g1, g2)
	topic := old.ownedBy("g1", "g2")
	c := old.open(topic, wsHead, "")
	leaving := g1.session()
	leaving.write(rec(leg.Topic, 0, 3, at(0), topic) + message(3, 1, "one"))
	c.want("one")
	next := start(t, false, func(c *Config, _ *Deps) { c.NoRebalance = true }, g1, g2)
	if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
		t.Fatal(err)
	}
	old.empty()
	leaving.write(rec(leg.Move, 0, 0, at(0), ""))
	g2.session().resume()
	farewell := leg.Farewell([]byte("ticket"))
	if b, err := io.ReadAll(leaving.r); err != nil || string(b) != string(farewell[:]) {
		t.Errorf("the old gateway got %x, %v", b, err)
	}
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
	// A page of the site can read what the router itself refuses.
	c := r.connect()
	defer c.conn.Close()
	c.send("GET /t/ HTTP/1.1\r\nHost: x\r\n" + sseHead + "Origin: https://shop.example\r\n\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("a refusal: got %d, %v", resp.StatusCode, resp.Header)
	}
}

// A browser asks first when a page's script reads an event stream with a token in its head.
func TestPreflight(t *testing.T) {
	allowed, err := origin.Parse([]string{"https://shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.Origins = allowed }, g)
	f := func(head string, status int, headers string) {
		t.Helper()
		c := r.connect()
		defer c.conn.Close()
		c.send("OPTIONS /t/a HTTP/1.1\r\nHost: x\r\n" + head + "\r\n")
		resp := c.answer()
		if got := resp.Header.Get("Access-Control-Allow-Headers"); resp.StatusCode != status || got != headers {
			t.Errorf("%q: got %d, headers %q, want %d, %q", head, resp.StatusCode, got, status, headers)
		}
	}
	const asks, fields = "Origin: https://shop.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n", "Authorization, Last-Event-ID, Cache-Control"
	f(asks, http.StatusNoContent, fields)
	f("Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\n", http.StatusMethodNotAllowed, "")
	f("Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n", http.StatusForbidden, "")
	f("Origin: https://shop.example\r\n", http.StatusMethodNotAllowed, "")
	f(asks+"Content-Length: 3\r\n", http.StatusBadRequest, "")
	if got := r.value("preflights_total"); got != 1 {
		t.Errorf("preflights_total: got %v, want 1", got)
	}

	// On the same connection the page then gets its stream.
	c := r.connect()
	defer c.conn.Close()
	c.send("OPTIONS /t/a HTTP/1.1\r\nHost: x\r\n" + asks + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("got %d", resp.StatusCode)
	}
	c.send("GET /t/a HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\n" + sseHead + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusOK {
		t.Errorf("got %d, want an event stream", resp.StatusCode)
	}
}
