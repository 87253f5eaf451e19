package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeAdmin is an admin port that answers as f says.
func fakeAdmin(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func TestPublish(t *testing.T) {
	type request struct{ uri, body string }
	var got request
	admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{r.RequestURI, string(body)}
		fmt.Fprintln(w, `{"topic":"finals","slot":198,"position":"6f1c22aa-1-0"}`)
	})
	f := func(stdin, uri, body string, args ...string) {
		t.Helper()
		code, out, errOut := command(t.Context(), stdin, nil, append([]string{"publish", "--to", admin}, args...)...)
		if code != exitOK || !strings.Contains(out, `"position":"6f1c22aa-1-0"`) {
			t.Errorf("%q: got exit code %d, %q %q", args, code, out, errOut)
		}
		if want := (request{uri, body}); got != want {
			t.Errorf("%q: sent %q, want %q", args, got, want)
		}
	}
	f("", "/publish/finals", `{"score":"2:1"}`, "finals", `{"score":"2:1"}`)
	f("from stdin\n", "/publish/finals", "from stdin\n", "finals", "-")
	f("", "/publish/a%2F..%2Fb%20c%3F", "x", "a/../b c?", "x")
	f("", "/publish/finals?id=a+b%26", "x", "finals", "x", "--id", "a b&")
}

func TestPublishRefused(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"error":"unavailable","message":"Redis can't be reached"}`)
	})
	code, out, errOut := command(t.Context(), "", nil, "publish", "--to", admin, "finals", "1")
	if code != exitFailure || out != "" || errOut != "ringside: not published: Redis can't be reached\n" {
		t.Errorf("got %d, %q, %q", code, out, errOut)
	}
	code, _, errOut = command(t.Context(), "", nil, "publish", "--to", "http://127.0.0.1:1", "finals", "1")
	if code != exitFailure || !strings.Contains(errOut, "cannot reach the admin port http://127.0.0.1:1") {
		t.Errorf("nobody there: got %d, %q", code, errOut)
	}
}

func TestRing(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.RequestURI) })
	f := func(want string, args ...string) {
		t.Helper()
		code, out, errOut := command(t.Context(), "", nil, append([]string{"ring", "--of", admin}, args...)...)
		if code != exitOK || out != want+"\n" {
			t.Errorf("%q: got %d, %q %q, want %q", args, code, out, errOut, want)
		}
	}
	f("/ring?format=text")
	f("/ring?format=json", "--json")
	f("/ring?format=text&topic=a%2Fb", "--topic", "a/b")
}

// drainRing is what GET /ring says while g1 drains: one state after the other, the last for ever.
type drainRing struct {
	node   string
	states []string // of g1; "" when it is not in the ring
	looks  atomic.Int32
}

func (d *drainRing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/drain" {
		if r.URL.Query().Get("shard") != "g1" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"error":"shard_unknown","message":"no gateway is called \"nobody\"; there are: g1"}`)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, `{"shard":"g1","state":"draining","sessions":3}`)
		return
	}
	i := int(d.looks.Add(1)) - 1
	state := d.states[min(i, len(d.states)-1)]
	if state == "broken" {
		panic(http.ErrAbortHandler)
	}
	members := []map[string]any{{"id": "g1", "role": "router", "state": "active"}} // a router may be called so too
	if state != "" {
		members = append(members, map[string]any{"id": "g1", "role": "gateway", "state": state, "load": max(0, 10-i)})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"node": d.node, "members": members})
}

func TestDrain(t *testing.T) {
	f := func(node, want string, code int, states ...string) {
		t.Helper()
		admin := fakeAdmin(t, (&drainRing{node: node, states: states}).ServeHTTP)
		out, errOut := newOutput(), newOutput()
		cmd := drainCmd{Shard: "g1", Of: adminURL(admin), Timeout: time.Minute, every: time.Millisecond}
		err := cmd.Run(t.Context(), stdio{nil, out, errOut})
		if (err != nil) != (code != exitOK) || !strings.HasSuffix(strings.TrimSpace(out.String()), want) {
			t.Errorf("%q: got %v, %q, want %q", states, err, out, want)
		}
	}
	f("edge", "g1 has left", 0, "active", "draining", "draining", "left")
	f("edge", "g1 is draining, 8 sessions left\ng1 has left", 0, "active", "draining", "draining", "")
	f("edge", "g1 has left", 0, "draining", "broken", "broken", "")
	f("edge", "g1 has left, and is back: joining", 0, "draining", "joining")
	f("g1", "g1 has left, and its admin port with it", 0, "draining", "broken")
	f("edge", "g1 is draining, 10 sessions left", 1, "draining", "broken")
}

func TestDrainCommand(t *testing.T) {
	admin := fakeAdmin(t, (&drainRing{node: "edge", states: []string{"draining"}}).ServeHTTP)
	code, out, errOut := command(t.Context(), "", nil, "drain", "--of", admin, "nobody")
	if code != exitFailure || !strings.Contains(errOut, `cannot drain nobody: no gateway is called "nobody"; there are: g1`) {
		t.Errorf("nobody: got %d, %q %q", code, out, errOut)
	}
	if code, out, errOut = command(t.Context(), "", nil, "drain", "--of", admin, "--no-wait", "g1"); code != exitOK || out != "g1 drains\n" {
		t.Errorf("--no-wait: got %d, %q %q", code, out, errOut)
	}
	cmd := drainCmd{Shard: "g1", Of: adminURL(admin), Timeout: 20 * time.Millisecond, every: time.Millisecond}
	if err := cmd.Run(t.Context(), stdio{nil, newOutput(), newOutput()}); err == nil || !strings.Contains(err.Error(), "has not left after 20ms") {
		t.Errorf("time-out: got %v", err)
	}
}
