package topicrule

import (
	"slices"
	"strings"
	"testing"
)

func TestAuth(t *testing.T) {
	rules, err := Parse("topics.yaml", []byte(`
- topics: lobby.open
  auth: open
- topics: lobby.*
  slow: latest
- topics: [lobby.*, vip.*]
  auth: [jwt, rpc]
- topics: vip.*
  auth: webhook
`))
	if err != nil {
		t.Fatal(err)
	}
	f := func(topic string, want ...string) {
		t.Helper()
		if got, set := rules.Auth(topic); !slices.Equal(got, want) || set != (want != nil) {
			t.Errorf("%s: got %q, %v, want %q", topic, got, set, want)
		}
	}
	f("lobby.open", "open")
	f("lobby.1", "jwt", "rpc")
	f("vip.1", "jwt", "rpc") // the first that says something
	f("other")
	if got := rules.Demands(); len(got) != 3 {
		t.Errorf("demands: got %q", got)
	}
	var none *Rules
	if _, set := none.Auth("x"); set || none.Demands() != nil {
		t.Error("without rules: something is demanded")
	}
	refused := func(auth, want string) {
		t.Helper()
		_, err := Parse("topics.yaml", []byte("- topics: x\n  auth: "+auth+"\n"))
		if err == nil || !strings.Contains(err.Error(), "topics.yaml:2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", auth, err, want)
		}
	}
	refused("magic", "want open")
	refused("[]", "one method at least")
	refused("[open, jwt]", "stands alone")
	refused("[jwt, jwt]", "twice")
	refused("[rpc, webhook]", "exclude")
	refused("{a: b}", "plain value")
	refused("", "plain value")
}
