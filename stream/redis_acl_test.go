package stream

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// rightsInDocs are the ACL rules that docs/OPERATIONS.md tells people to set, for a server and what more there is for others.
func rightsInDocs(t *testing.T) (rules []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "OPERATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, rest, ok := strings.Cut(line, "ACL SETUSER ringside on "); ok {
			return strings.Fields(strings.ReplaceAll(rest, "'", ""))[1:] // the first is the password
		}
	}
	t.Fatal("docs/OPERATIONS.md has no line with ACL SETUSER")
	return nil
}

// useAll uses all that a router and a gateway use.
func useAll(t *testing.T, cfg Config, replicas int) {
	t.Helper()
	w := startWatchers(t, cfg)
	var want []string
	for i, name := range topicsOfGroups() {
		want = []string{fmt.Sprint(i)}
		if _, err := w.pub.Publish(t.Context(), Message{Topic: name, ID: "1", Payload: []byte(want[0]), Replicas: replicas}); err != nil {
			t.Fatal(err)
		}
		w.wantPayloads(t, name, want...)
	}
	p := publish(t, w.pub, "finals", "x")
	if _, err := w.pub.Range(t.Context(), p.Slot, position.ID{}, 10); err != nil {
		t.Error(err)
	}
	if _, err := w.pub.Edges(t.Context(), p.Slot); err != nil {
		t.Error(err)
	}
	h := newHeard(t)
	c := ready(t, start(t, cfg))
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g2", Beacon: 20 * time.Millisecond, Members: func() []string { return []string{"g1", "g2"} }})
	tl.Want([]int{0, 1}, []int{2})
	run(t, h, tl, 3)
	tl.Want([]int{1, 2}, []int{0})
	h.wait("there are beacons", func() bool { return c.metrics.entries.Load() > 10 })
	testcluster.Soon(t, "a slot is owned, and looked at", func() bool { st, ok := tl.Stats(2); return ok && st.Owned && st.Length > 0 })
	tl.collectOnce(t.Context(), map[string]bool{Key(1) + " " + groupPrefix + "gone": true})
	checked(t, c, 1)
	for name, n := range map[string]uint64{
		"tail errors": c.metrics.tailErrors.Load(), "wake errors": c.metrics.wakeErrors.Load(), "watch errors": c.metrics.watchErrors.Load(),
		"health errors": c.metrics.healthErrors.Load(),
	} {
		if n != 0 {
			t.Errorf("%s: got %d, want none", name, n)
		}
	}
}

// nothingRefused sees that a server has refused nothing to anybody.
func nothingRefused(t *testing.T, servers ...*testcluster.RedisServer) {
	t.Helper()
	for _, s := range servers {
		if log, _ := s.Do(t, "ACL", "LOG").([]any); len(log) > 0 {
			t.Errorf("%s refused: %v", s.Addr, log[0])
		}
	}
}

// withUser is a URL with a user.
func withUser(raw, user, password string) string {
	return strings.Replace(raw, "://", "://"+url.UserPassword(user, password).String()+"@", 1)
}

// The rights that the documentation asks for are enough, for single servers, Sentinels and Clusters.
func TestRightsInTheDocumentation(t *testing.T) {
	rules := rightsInDocs(t)
	t.Run("single", func(t *testing.T) {
		s := testcluster.NewRedis(t, false)
		r := testcluster.NewRedisWith(t, testcluster.RedisOptions{ReplicaOf: s})
		s.WaitReplicas(t, r)
		u := s.SetUser(t, "ringside", "secret", rules...)
		publish(t, ready(t, start(t, Config{URL: s.URL()})), "finals", "0")
		s.Do(t, "XGROUP", "CREATE", Key(1), groupPrefix+"gone", "0", "MKSTREAM")
		useAll(t, Config{URL: u}, 1)
		nothingRefused(t, s)
	})
	t.Run("database", func(t *testing.T) {
		s := testcluster.NewRedis(t, false)
		useAll(t, Config{URL: s.SetUser(t, "ringside", "secret", append(rules, "+select")...) + "/3"}, 0)
		nothingRefused(t, s)
	})
	t.Run("sentinel", func(t *testing.T) {
		s := testcluster.NewSentinel(t, 1)
		for _, server := range s.Servers {
			server.SetUser(t, "ringside", "secret", append(rules, "+role")...)
		}
		useAll(t, Config{URL: withUser(s.URL(), "ringside", "secret")}, 1)
		nothingRefused(t, s.Servers...)
	})
	t.Run("cluster", func(t *testing.T) {
		rc := testcluster.NewRedisCluster(t)
		for _, server := range rc.Servers {
			server.SetUser(t, "ringside", "secret", append(rules, "+cluster|slots")...)
		}
		useAll(t, Config{URL: withUser(rc.URL(), "ringside", "secret")}, 1)
		nothingRefused(t, rc.Servers...)
	})
}

// With one right less it says which, where it is missed.
func TestRightsThatAreMissing(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	ready(t, start(t, Config{URL: s.URL()}))
	rules := rightsInDocs(t)
	without := func(cut string) (u string) {
		var kept []string
		for _, r := range rules {
			if r != cut {
				kept = append(kept, r)
			}
		}
		if strings.HasPrefix(cut, "-") {
			kept = append(kept, cut)
		}
		return s.SetUser(t, "ringside", "secret", kept...)
	}
	f := func(cut string, words ...string) {
		t.Helper()
		u := without(cut)
		c := start(t, Config{URL: u})
		notReady(t, c, append(words, "the Redis user lacks a right")...)
		if _, err := c.Publish(t.Context(), Message{Topic: "finals"}); !isUnavailable(err) {
			t.Errorf("publish without %s: got %v, want ErrUnavailable", cut, err)
		}
	}
	f("~ringside:*", "keys")
	f("+@stream", "XADD")
	f("-xrange", "XRANGE")
	f("-xlen", "XLEN")
	f("-xrevrange", "XREVRANGE")
	f("-xtrim", "XTRIM")
	f("+get", "'get'")
	f("+set", "SET")
	f("+del", "DEL")
	f("+pexpire", "PEXPIRE")
	f("+time", "TIME")
	f("+evalsha", "'evalsha'")
	f("+eval", "'eval'")
	f("+info", "'info'")
	s.Do(t, "DEL", keySlots)
	f("+setnx", "'setnx'")
	ready(t, start(t, Config{URL: s.URL()}))
	tail := func(k kind, cut string) {
		t.Helper()
		u := without(cut)
		c := ready(t, start(t, Config{URL: u}))
		h := &lostBecause{heard: newHeard(t)}
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1"})
		k.want(tl, 0)
		stop := run(t, h.heard, tl, 0)
		h.wait("the tail says what is missing", func() bool {
			return h.err != nil && strings.Contains(h.err.Error(), "the Redis user lacks a right") &&
				strings.Contains(h.err.Error(), strings.TrimPrefix(cut, "-"))
		})
		stop()
	}
	tail(followed, "-xread")
	tail(owned, "-xreadgroup")
	tail(owned, "-xgroup")
	tail(owned, "-xinfo")
	u := without("+wait")
	if _, err := ready(t, start(t, Config{URL: u})).Publish(t.Context(), Message{Topic: "finals", Replicas: 1}); !isAmbiguous(err) || !strings.Contains(err.Error(), "'wait'") {
		t.Errorf("WAIT: got %v", err)
	}
}

// lostBecause is a Sink that keeps the last reason why a tail was lost.
type lostBecause struct {
	*heard
	err error // guarded by mu
}

func (h *lostBecause) TailLost(slot int, err error) {
	h.change(func() { h.err, h.lost[slot] = err, true })
}
