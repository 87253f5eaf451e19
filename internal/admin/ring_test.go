package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

func testRing() *ring.Ring {
	return ring.New([]ring.Member{
		gateway("g2", ring.StateActive, "127.0.0.1:9202"),
		gateway("g10", ring.StateDraining, "127.0.0.1:9210"),
		gateway("g1", ring.StateActive, "127.0.0.1:9201"),
		{ID: "legacy", Role: ring.RoleGateway, State: ring.StateActive, Addr: "10.0.0.9:80", Weight: 1, Static: true},
		{ID: "edge-1", Role: ring.RoleRouter, State: ring.StateActive, Addr: "127.0.0.1:8080", Admin: "127.0.0.1:8081", Zone: "a"},
	})
}

func TestRing(t *testing.T) {
	p := start(t, "edge-1", false, nil)
	p.ring.Store(testRing())
	a := p.do(t, "GET", "/ring", "")
	var got struct {
		Node, Version string
		Slots         int
		Members       []member
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("%d %v in %s", a.status, err, a.body)
	}
	if got.Node != "edge-1" || got.Version != testRing().Version() || got.Slots != topic.Slots || len(got.Members) != 5 {
		t.Errorf("got %+v", got)
	}
	owned := 0
	for _, m := range got.Members {
		owned += m.Slots
	}
	if owned != topic.Slots {
		t.Errorf("the members own %d slots, want %d", owned, topic.Slots)
	}
	if got, want := strings.Count(a.body, "\n"), 5+6; got < want {
		t.Errorf("%d lines, want one per member:\n%s", got, a.body)
	}
	if again := p.do(t, "GET", "/ring", ""); again.body != a.body {
		t.Errorf("asked again: got %s, want %s", again.body, a.body)
	}
}

func TestRingEmpty(t *testing.T) {
	p := start(t, "r1", false, nil)
	if a := p.do(t, "GET", "/ring", ""); !json.Valid([]byte(a.body)) || !strings.Contains(a.body, `"members": [`) {
		t.Errorf("got %s", a.body)
	}
	if a := p.do(t, "GET", "/ring?topic=finals", ""); !strings.Contains(a.body, `"owner":"","preference":[]`) {
		t.Errorf("got %s", a.body)
	}
}

// The table's columns are aligned: what stands below a heading begins where it does.
func TestRingText(t *testing.T) {
	p := start(t, "edge-1", false, nil)
	p.ring.Store(testRing())
	a := p.do(t, "GET", "/ring?format=text", "")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if len(lines) != 8 || !strings.HasPrefix(lines[0], "ring "+testRing().Version()+" as edge-1 sees it: 256 slots on 3 active gateways") {
		t.Fatalf("got\n%s", a.body)
	}
	for _, heading := range []string{"ROLE", "STATE", "LOAD", "ADDRESS", "ADMIN"} {
		at := strings.Index(lines[2], heading)
		for _, line := range lines[3:] {
			if at < 1 || len(line) <= at || line[at-1] != ' ' || line[at] == ' ' {
				t.Errorf("%s does not line up in %q", heading, line)
			}
		}
	}
	for _, want := range []string{"g10     gateway  draining  0 ", "legacy  static   active", "edge-1  router   active    -      0     -       a "} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the table lacks %q:\n%s", want, a.body)
		}
	}
}

func TestPlace(t *testing.T) {
	p := start(t, "edge-1", false, nil)
	p.ring.Store(testRing())
	var got place
	a := p.do(t, "GET", "/ring?topic=finals", "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	owner, _ := testRing().Owner(topic.Slot("finals"))
	if got.Topic != "finals" || got.Slot != topic.Slot("finals") || got.Stream != p.deps.StreamKey(got.Slot) || got.Owner != owner.ID || len(got.Preference) != 3 || got.Preference[0] != owner.ID {
		t.Errorf("got %+v", got)
	}
	if a := p.do(t, "GET", "/ring?topic=finals&format=text", ""); !strings.Contains(a.body, "owner       "+owner.ID+"\n") {
		t.Errorf("got %s", a.body)
	}
	f := func(query, reason string) {
		t.Helper()
		if a := p.do(t, "GET", "/ring?"+query, ""); a.status != 400 || a.reason() != reason {
			t.Errorf("%s: got %d %s, want 400 %s", query, a.status, a.body, reason)
		}
	}
	f("topic=", "topic_empty")
	f("topic="+strings.Repeat("x", 256), "topic_too_long")
	f("format=xml", "format")
}

// What can be replayed, and how far this node has read, stand beside a topic's place.
func TestRingTellsOfTheStream(t *testing.T) {
	p := start(t, "g1", true, nil)
	f := func(want string) {
		t.Helper()
		if a := p.do(t, "GET", "/ring?topic=finals", ""); !strings.Contains(a.body, want) {
			t.Errorf("got %s, want %s in it", a.body, want)
		}
	}
	text := func(want string) {
		t.Helper()
		if a := p.do(t, "GET", "/ring?topic=finals&format=text", ""); !strings.Contains(a.body, want) {
			t.Errorf("got %s, want %s in it", a.body, want)
		}
	}
	f(`"window":null,"tail":null`)
	text("window      unknown: redis does not answer\ntail        not tailed by this node\n")
	p.streams.window = &Window{Epoch: "6f1c22aa", First: "1-0", Last: "2-0", Entries: 3, Seconds: 598.5}
	p.streams.tail = &Tail{Owned: true, Stands: true, Position: "6f1c22aa-2-0", AsOf: 2, Lag: 7000, Stale: true, Unread: 1, Pending: 5}
	f(`"window":{"epoch":"6f1c22aa","first":"1-0","last":"2-0","entries":3,"seconds":598.5}`)
	f(`"tail":{"owned":true,"stands":true,"position":"6f1c22aa-2-0","asOf":2,"lag":7000,"stale":true,"unread":1,"pending":5}`)
	text("window      598 s, 3 entries, epoch 6f1c22aa\ntail        owned, lag 7000 ms, STALE\n")
}
