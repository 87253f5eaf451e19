package router

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// told is what a client that is turned away can read.
type told struct {
	Error     string `json:"error"`
	Retry     int64  `json:"retry"`
	Reconnect int64  `json:"reconnect"`
	Pass      string `json:"pass"`
}

// ask sends a handshake for a topic and returns the answer's head.
func (r *rig) ask(target, head string) (*client, *http.Response) {
	r.t.Helper()
	c := r.connect()
	c.send("GET " + target + " HTTP/1.1\r\nHost: edge.example\r\n" + head + "\r\n")
	return c, c.answer()
}

// status asks and returns the status alone.
func (r *rig) status(target, head string) int {
	r.t.Helper()
	_, resp := r.ask(target, head)
	return resp.StatusCode
}

func (r *rig) refusal(target, head string, status int) told {
	r.t.Helper()
	_, resp := r.ask(target, head)
	var what told
	if err := json.NewDecoder(resp.Body).Decode(&what); err != nil || resp.StatusCode != status {
		r.t.Fatalf("got %s (%v), want %d with JSON", resp.Status, err, status)
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || int64(after)*1000 < what.Retry {
		r.t.Errorf("Retry-After is %q where retry is %d ms", resp.Header.Get("Retry-After"), what.Retry)
	}
	return what
}

// limited lets two sessions in from each address.
func limited(c *Config, _ *Deps) {
	c.Admission = Admission{PerIPRate: 0.001, PerIPBurst: 2}
}

func TestLimitPerAddress(t *testing.T) {
	r := start(t, false, limited, gateway(t, "g1"))
	r.open("a", wsHead, "")
	r.open("a", wsHead, "")
	no := r.refusal("/t/a", wsHead, http.StatusTooManyRequests)
	if no.Error != "per_ip" || no.Retry < admission.LeastReturn.Milliseconds()-100 || no.Pass == "" {
		t.Errorf("got %+v", no)
	}
	if got := r.value("refused_total", "reason=per_ip"); got != 1 {
		t.Errorf("refused_total{per_ip}: got %v, want 1", got)
	}
}

func TestLimitPerAddressSparesWhoIsAllowed(t *testing.T) {
	r := start(t, false, func(c *Config, d *Deps) {
		limited(c, d)
		c.Admission.PerIPAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}, gateway(t, "g1"))
	for range 5 {
		r.open("a", wsHead, "")
	}
}

// The limit is about the client, not about the proxy that it comes through.
func TestLimitPerAddressBehindAProxy(t *testing.T) {
	r := start(t, false, func(c *Config, d *Deps) {
		limited(c, d)
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}, gateway(t, "g1"))
	f := func(client string, want int) {
		t.Helper()
		if got := r.status("/t/a", wsHead+"X-Forwarded-For: "+client+"\r\n"); got != want {
			t.Errorf("%s: got %d, want %d", client, got, want)
		}
	}
	f("192.0.2.1", 101)
	f("192.0.2.1", 101)
	f("::ffff:192.0.2.1", 429)
	f("192.0.2.2", 101)
	f("2001:db8::1", 101)
	f("2001:db8::2", 101)
	f("2001:db8::3", 429) // the same /64
	f("2001:db8:0:1::3", 101)
}

func TestPasses(t *testing.T) {
	r := start(t, false, limited, gateway(t, "g1"))
	r.open("a", wsHead, "")
	r.open("a", wsHead, "")
	f := func(pass string, want int, outcome string) {
		t.Helper()
		before := r.value("passes_total", "outcome="+outcome)
		if got := r.status("/t/a?pass="+pass, wsHead); got != want {
			t.Errorf("%s: got %d, want %d", outcome, got, want)
		}
		if got := r.value("passes_total", "outcome="+outcome) - before; got != 1 {
			t.Errorf("passes_total{%s} grew by %v, want 1", outcome, got)
		}
	}
	now := time.Now()
	good := r.keys.Reserve(now, now.Add(10*time.Second))
	f(good, 101, "reservation")
	f(good, 429, "again")
	f(r.keys.Reserve(now.Add(time.Minute), now.Add(2*time.Minute)), 429, "early")
	f(r.keys.Reserve(now.Add(-2*time.Minute), now.Add(-time.Minute)), 429, "expired")
	f("nonsense", 429, "malformed")
	f(good[:20], 429, "malformed")
	others, err := leg.NewKeyring("a secret of another cluster")
	if err != nil {
		t.Fatal(err)
	}
	f(others.Reserve(now, now.Add(10*time.Second)), 429, "mac")
	resume := r.keys.Pass(leg.Pass{Kind: leg.PassResume, Until: now.Add(time.Hour), ID: 7})
	f(resume, 101, "resume")
	f(resume, 101, "resume")
	f(resume, 429, "too_often")
}

// What a client was given when it was turned away is honoured by another router of the cluster.
func TestReservationIsGoodAtAnotherRouter(t *testing.T) {
	g := gateway(t, "g1")
	one, other := start(t, false, limited, g), start(t, false, limited, g)
	for _, r := range []*rig{one, other} {
		r.open("a", wsHead, "")
		r.open("a", wsHead, "")
	}
	// It is early by less than clocks may differ.
	no := one.refusal("/t/a", wsHead, http.StatusTooManyRequests)
	if got := other.status("/t/a?pass="+no.Pass, wsHead); got != 101 {
		t.Errorf("got %d, want a session", got)
	}
}

// An address that asks again and again is given no end of reservations, and does not fill the book.
func TestReservationsPerAddress(t *testing.T) {
	r := start(t, false, func(c *Config, d *Deps) {
		limited(c, d)
		c.Admission.PerIPPassRate, c.Admission.PerIPPassBurst = 0.001, 3
	}, gateway(t, "g1"))
	with, without := 0, 0
	for range 12 {
		if r.status("/t/a", wsHead) == 101 {
			continue
		}
		if no := r.refusal("/t/a", wsHead, 429); no.Pass != "" {
			with++
		} else if without++; no.Retry < strangerLeast.Milliseconds() {
			t.Errorf("without a reservation: told to return in %d ms", no.Retry)
		}
	}
	if with == 0 || with > 3 || without == 0 {
		t.Errorf("got %d refusals with a reservation and %d without, of 3 reservations", with, without)
	}
	if got := r.value("reservations_total"); got != 3 {
		t.Errorf("reservations_total: got %v, want 3", got)
	}
}

// noGateway is a router that turns everybody away.
func noGateway(t *testing.T) *rig { return start(t, false, nil) }

// Browsers can't read a failed handshake.
func TestBrowsersAreToldByAClose(t *testing.T) {
	r := noGateway(t)
	f := func(target, head, subprotocol string) {
		t.Helper()
		c, resp := r.ask(target, wsHead+head)
		if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != httphead.AcceptFor(testKey) || resp.Header.Get("Sec-WebSocket-Protocol") != subprotocol {
			t.Fatalf("got %s %v", resp.Status, resp.Header)
		}
		frame := c.rest()
		code, reason, err := wsframe.ParseClose([]byte(frame[2:]))
		var what told
		if err != nil || code != codeTryLater || json.Unmarshal([]byte(reason), &what) != nil || what.Reconnect < 900 || what.Pass == "" {
			t.Errorf("got %d %q, %v", code, reason, err)
		}
		if len(frame) > 2+125 {
			t.Errorf("a close frame of %d bytes", len(frame))
		}
	}
	f("/t/a", "Origin: https://example.com\r\n", "")
	f("/t/a?refuse=close", "", "")
	f("/t/a", "Origin: https://example.com\r\nSec-WebSocket-Protocol: ringside.raw, x\r\n", "ringside.raw")
	if got := r.value("refused_total", "reason=no_shard"); got != 3 {
		t.Errorf("refused_total{no_shard}: got %v, want 3", got)
	}
	r.empty()
	eventually(t, "no connection is left", func() bool { return r.r.conns.room.Len() == 0 })
}

func TestEventStreamsAreToldByARetry(t *testing.T) {
	r := noGateway(t)
	c, resp := r.ask("/t/a", sseHead)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s %v", resp.Status, resp.Header)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(b), "retry: ") || !strings.Contains(string(b), "\nevent: refused\ndata: {\"error\":\"no_shard\",\"reconnect\":") ||
		!strings.HasSuffix(string(b), "}\n\n") {
		t.Errorf("got %q, %v", b, err)
	}
	c.rest() // it ends
}

// With one handshake under way the next waits, and a longer queue than there may be is refused.
func TestQueue(t *testing.T) {
	g := gateway(t, "g1")
	goOn := make(chan struct{})
	arrived := make(chan struct{}, 10)
	g.setReply(func(f *far) bool { arrived <- struct{}{}; <-goOn; return replyLeg(f) })
	r := start(t, false, func(c *Config, _ *Deps) {
		c.Admission = Admission{Handshakes: 1, Queue: 1, QueueTime: patience / 4}
		c.HandshakeTimeout = patience
	}, g)
	send := func() *client {
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
		return c
	}
	first := send()
	<-arrived
	second := send()
	eventually(t, "the second waits", func() bool { return r.value("admission_queue") == 1 })
	if no := r.refusal("/t/a", wsHead, http.StatusServiceUnavailable); no.Error != "queue_full" || no.Pass == "" {
		t.Errorf("got %+v", no)
	}
	close(goOn)
	for _, c := range []*client{first, second} {
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Errorf("got %s", resp.Status)
		}
	}
	if got := r.value("admitted_total", "class=new"); got != 2 {
		t.Errorf("admitted_total{new}: got %v, want 2", got)
	}
	if got := r.value("admission_handshakes"); got != 0 {
		t.Errorf("%v handshakes are under way, want none", got)
	}
}

func TestQueueTime(t *testing.T) {
	g := gateway(t, "g1")
	goOn := make(chan struct{})
	arrived := make(chan struct{}, 10)
	g.setReply(func(f *far) bool { arrived <- struct{}{}; <-goOn; return replyLeg(f) })
	r := start(t, false, func(c *Config, _ *Deps) {
		c.Admission = Admission{Handshakes: 1, QueueTime: 20 * time.Millisecond}
		c.HandshakeTimeout = patience
	}, g)
	c := r.connect()
	c.send("GET /t/a HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
	<-arrived
	if no := r.refusal("/t/a", wsHead, http.StatusServiceUnavailable); no.Error != "queue_time" {
		t.Errorf("got %+v", no)
	}
	close(goOn)
	c.answer()
	eventually(t, "one session is left", func() bool { return r.r.Sessions() == 1 })
}

// The cluster's rate is divided by its routers.
func TestAdmitRateIsShared(t *testing.T) {
	r := start(t, false, func(c *Config, _ *Deps) { c.Admission.AdmitRate = 100 })
	if got := r.value("admission_rate"); got != 100 {
		t.Errorf("with no router in the ring but this one: got %v, want 100", got)
	}
}
