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
	if code != exitUnreachable || !strings.Contains(errOut, "cannot reach the admin port http://127.0.0.1:1: connection refused\nNobody listens there.") {
		t.Errorf("nobody there: got %d, %q", code, errOut)
	}
}

const (
	aRing  = `{"node":"edge","version":"v1","slots":256,"members":[{"id":"g1","role":"gateway","state":"active","slots":256,"load":7,"weight":1,"zone":"","addr":"a:1","admin":"a:2"},{"id":"edge","role":"router","state":"draining"}]}`
	aPlace = `{"topic":"a/b","slot":9,"stream":"s","owner":"g1","preference":["g1"],"sharing":1,"why":"slot","version":"v1","window":null,"tail":null}`
)

func TestRing(t *testing.T) {
	var got string
	admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.RequestURI
		if r.URL.Query().Has("topic") {
			fmt.Fprintln(w, aPlace)
		} else {
			fmt.Fprintln(w, aRing)
		}
	})
	f := func(uri, want string, args ...string) {
		t.Helper()
		code, out, errOut := command(t.Context(), "", nil, append([]string{"ring", "--of", admin}, args...)...)
		if code != exitOK || out != want || got != uri {
			t.Errorf("%q: got %d, %s, %q %q, want %s, %q", args, code, got, out, errOut, uri, want)
		}
	}
	table := "ring v1 as edge sees it: 256 slots on 1 active gateways\n\n" +
		"ID    ROLE     STATE     SLOTS  LOAD  WEIGHT  ZONE  ADDRESS  ADMIN\n" +
		"g1    gateway  active    256    7     1       -     a:1      a:2\n" +
		"edge  router   draining  -      0     -       -     -        -\n"
	f("/ring", table)
	f("/ring", aRing+"\n", "--json")
	f("/ring?topic=a%2Fb", aPlace+"\n", "--topic", "a/b", "--json")
	f("/ring", aRing+"\n", "--json", "--color", "always")
	code, out, _ := command(t.Context(), "", nil, "ring", "--of", admin, "--topic", "a/b", "--color", "never")
	if code != exitOK || !strings.Contains(out, "owner       g1\n") {
		t.Errorf("got %d, %q", code, out)
	}
	_, out, _ = command(t.Context(), "", nil, "ring", "--of", admin, "--color", "always")
	if !strings.Contains(out, "\x1b[32mactive\x1b[0m  ") || !strings.Contains(out, "\x1b[33mdraining\x1b[0m") {
		t.Errorf("with colours: got %q", out)
	}
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

// A drain says what it does on one output and how far it is on the other, and ends with a code of its own.
func TestDrain(t *testing.T) {
	f := func(node, outcome, want, progress string, code int, states ...string) {
		t.Helper()
		for _, asked := range []bool{false, true} {
			admin := fakeAdmin(t, (&drainRing{node: node, states: states}).ServeHTTP)
			out, errOut := newOutput(), newOutput()
			cmd := drainCmd{Shard: "g1", Of: adminURL(admin), Timeout: time.Minute, asJSON: asJSON{asked}, every: time.Millisecond}
			err := cmd.Run(t.Context(), stdio{out: out, err: errOut})
			if exitCode(err) != code || !strings.Contains(errOut.String(), progress) || strings.ContainsAny(errOut.String(), "\x1b\r") {
				t.Errorf("%q: got %v, %q, want %d, %q", states, err, errOut, code, progress)
			}
			if !asked && out.String() != want {
				t.Errorf("%q: got %q, want %q", states, out, want)
			}
			var got drainOutcome
			if err := json.Unmarshal([]byte(out.String()), &got); asked && (err != nil || got.Shard != "g1" || got.Outcome != outcome || got.Seconds <= 0) {
				t.Errorf("%q: got %q, %v, want %s", states, out, err, outcome)
			}
		}
	}
	const done = "g1 drains: 100 %, 0 sessions left"
	f("edge", drainLeft, "g1 drains\ng1 has left\n", done, exitOK, "active", "draining", "draining", "left")
	f("edge", drainLeft, "g1 drains\ng1 has left\n", done, exitOK, "active", "draining", "draining", "")
	f("edge", drainLeft, "g1 drains\ng1 has left\n", done, exitOK, "draining", "broken", "broken", "")
	f("edge", drainBack, "g1 drains\ng1 has left, and is back: joining\n", done, exitOK, "draining", "joining")
	f("g1", drainLeft, "g1 drains\ng1 has left, and its admin port with it\n", done, exitOK, "draining", "broken")
	f("edge", drainLost, "g1 drains\n", "0 %, 10 sessions left", exitUnreachable, "draining", "broken")
}

func TestDrainCommand(t *testing.T) {
	admin := fakeAdmin(t, (&drainRing{node: "edge", states: []string{"draining"}}).ServeHTTP)
	code, out, errOut := command(t.Context(), "", nil, "drain", "--of", admin, "nobody")
	if code != exitRefused || !strings.Contains(errOut, `cannot drain nobody: no gateway is called "nobody"; there are: g1`) {
		t.Errorf("nobody: got %d, %q %q", code, out, errOut)
	}
	if code, out, errOut = command(t.Context(), "", nil, "drain", "--of", admin, "--no-wait", "g1"); code != exitOK || out != "g1 drains\n" {
		t.Errorf("--no-wait: got %d, %q %q", code, out, errOut)
	}
	cmd := drainCmd{Shard: "g1", Of: adminURL(admin), Timeout: 20 * time.Millisecond, every: time.Millisecond}
	if err := cmd.Run(t.Context(), stdio{out: newOutput(), err: newOutput()}); exitCode(err) != exitUnfinished || !strings.Contains(err.Error(), "has not left after 20ms") {
		t.Errorf("time-out: got %v", err)
	}
}
