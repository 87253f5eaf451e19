package admin

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/ring"
)

func TestDrainSelf(t *testing.T) {
	p := start(t, "g1", true, nil)
	for i, path := range []string{"/drain", "/drain?shard=g1", "/drain"} {
		a := p.do(t, "POST", path, "")
		if want := `{"shard":"g1","state":"draining","sessions":7}` + "\n"; a.status != 202 || a.body != want {
			t.Errorf("%s: got %d %s, want 202 %s", path, a.status, a.body, want)
		}
		if got := p.drainer.drains.Load(); got != int32(i+1) {
			t.Errorf("%s: drained %d times, want %d", path, got, i+1)
		}
	}
	// Somebody's view is old: this address belongs to another gateway now.
	if a := p.do(t, "POST", "/drain?shard=g2", "", forwardedHeader+": r1"); a.status != 404 || a.reason() != "shard_unknown" {
		t.Errorf("forwarded to the wrong one: got %d %s", a.status, a.body)
	}
}

func TestDrainForwards(t *testing.T) {
	g1 := start(t, "g1", true, nil)
	p := start(t, "edge-1", false, nil)
	p.ring.Store(ring.New([]ring.Member{
		gateway("g1", ring.StateActive, g1.Addr()),
		gateway("g2", ring.StateActive, closedAddr(t)),
		gateway("g3", ring.StateLeft, "127.0.0.1:1"),
		{ID: "legacy", Role: ring.RoleGateway, State: ring.StateActive, Addr: "127.0.0.1:1", Static: true},
		{ID: "edge-1", Role: ring.RoleRouter, State: ring.StateActive, Admin: p.Addr()},
	}))
	f := func(path, body string, status int, want string) {
		t.Helper()
		if a := p.do(t, "POST", path, body); a.status != status || !strings.Contains(a.body, want) {
			t.Errorf("%s %s: got %d %s, want %d %s", path, body, a.status, a.body, status, want)
		}
	}
	f("/drain?shard=g1", "", 202, `"shard":"g1","state":"draining"`)
	f("/drain", `{"shard":"g1"}`, 202, `"shard":"g1","state":"draining"`)
	f("/drain?shard=g1", `{"shard":"g1"}`, 202, `"g1"`)
	if got := g1.drainer.drains.Load(); got != 3 {
		t.Errorf("g1 was drained %d times, want 3", got)
	}
	f("/drain", "", 400, "one of: g1, g2")
	f("/drain?shard=g7", "", 404, "there are: g1, g2")
	f("/drain?shard=g3", "", 404, "shard_unknown")
	f("/drain?shard=edge-1", "", 404, "shard_unknown")
	f("/drain?shard=legacy", "", 409, "static")
	f("/drain?shard=g2", "", 502, "unreachable")
	f("/drain?shard=g1", `{"shard":"g2"}`, 400, "shard_conflict")
	f("/drain", `{"node":"g2"}`, 400, "json")
	f("/drain", strings.Repeat(" ", envelope+1), 413, "body")
	f("/drain?node=g1", "", 400, "query")
}

// What answers at the address of a gateway need not be one.
func TestDrainForwardsToAnother(t *testing.T) {
	other := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer other.Close()
	p := start(t, "edge-1", false, nil)
	p.ring.Store(ring.New([]ring.Member{gateway("g1", ring.StateActive, strings.TrimPrefix(other.URL, "http://"))}))
	if a := p.do(t, "POST", "/drain?shard=g1", ""); a.status != 502 || a.reason() != "unreachable" {
		t.Errorf("got %d %s, want 502", a.status, a.body)
	}
}

// closedAddr is an address that nobody listens on.
func closedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
