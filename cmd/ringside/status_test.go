package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A status tells what is wrong with whom, and its exit code whether anything is.
func TestStatus(t *testing.T) {
	f := func(code int, want, errWant, members string, args ...string) {
		t.Helper()
		admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"self":"edge","version":"v1","slots":256,"members":[%s]}`+"\n", members)
		})
		got, out, errOut := command(t.Context(), "", nil, append([]string{"status", "--of", admin}, args...)...)
		if got != code || !strings.Contains(out, want) || !strings.Contains(errOut, errWant) {
			t.Errorf("%s: got %d, %q, %q, want %d, %q, %q", members, got, out, errOut, code, want, errWant)
		}
	}
	const g1 = `{"id":"g1","role":"gateway","state":"active","slots":256,"load":7,"node":{"sessions":8,"limit":100,"version":"v2","checks":[{"name":"redis","ready":%s,"message":"away"}],` +
		`"gateway":{"staleSlots":%s,"tails":[{"lag":3},{"lag":41},{"lag":5}],"hottest":[{"topic":"semi","sessions":2,"rate":-1},{"topic":"finals\u001b","sessions":5,"rate":1.5}]}}}`
	f(exitOK, "g1  gateway  active  8         100    256    41 ms   0       v2       ok\n", "", fmt.Sprintf(g1, "true", "0"))
	f(exitFailure, "redis: away\n", "not well: g1", fmt.Sprintf(g1, "false", "0"))
	f(exitFailure, "3 slots are stale\n", "not well: g1", fmt.Sprintf(g1, "true", "3"))
	f(exitFailure, "does not answer\n", "not well: r1", `{"id":"r1","role":"router","state":"active","node":null,"problem":"does not answer"}`)
	f(exitFailure, "last good ring", "not well: r1", `{"id":"r1","role":"router","state":"active","node":{"router":{"frozen":true}}}`)
	f(exitOK, "ok\n", "", `{"id":"legacy","role":"gateway","state":"active","static":true,"problem":"named by configuration"}`)
	f(exitOK, "TOPIC    GATEWAY  SESSIONS  MESSAGES/S\nfinals\ufffd  g1       5         1.5\nsemi     g1       2         -\n", "", fmt.Sprintf(g1, "true", "0"), "--topics")
	f(exitFailure, `"members":[{"id":"r1"`, "not well: r1", `{"id":"r1","problem":"away"}`, "--json")
	f(exitUnreachable, "", "not as an admin port", `1`)
}
