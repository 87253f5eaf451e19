package topicrule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	const text = `
- topics: odds.total
  key: ""
- topics: odds.*
  slow: latest
  key: symbol
- topics: [vip.*, backstage]
  slow: close
- topics: "*.vip"
  slow: gap
- topics: "*"
  slow: latest
  key: id
`
	rules, err := Parse("topics.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := func(topic string, slow Slow, key string) {
		t.Helper()
		if got, want := rules.For(topic), (Rule{slow, key}); got != want {
			t.Errorf("%s: got %+v, want %+v", topic, got, want)
		}
	}
	f("odds.eur", SlowLatest, "symbol")
	f("odds.total", SlowLatest, "") // the first rule that sets a thing wins, for each thing
	f("vip.1", SlowClose, "")       // no key without latest, whatever a later rule says
	f("backstage", SlowClose, "")
	f("backstage.x", SlowLatest, "id")
	f("x.vip", SlowGap, "")
	f("anything", SlowLatest, "id")

	var none *Rules
	if got := none.For("anything"); got != (Rule{}) || none.Len() != 0 || none.Hash() != 0 {
		t.Errorf("without rules: %+v", got)
	}
	empty, err := Parse("topics.yaml", []byte("# nothing yet\n"))
	if err != nil || empty.Len() != 0 || empty.Hash() == 0 {
		t.Errorf("a file of comments: %+v, %v", empty, err)
	}
	if rules.Hash() == empty.Hash() {
		t.Error("two files have one hash")
	}
}

func TestPatterns(t *testing.T) {
	f := func(pattern, topic string, want bool) {
		t.Helper()
		p, err := parsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(topic); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, topic, got, want)
		}
	}
	f("a", "a", true)
	f("a", "A", false)
	f("a", "ab", false)
	f("*", "anything/at.all", true)
	f("a*", "a", true)
	f("a*", "ab", true)
	f("a*", "ba", false)
	f("*a", "ba", true)
	f("*a", "ab", false)
	f("a*a", "a", false) // the ends don't overlap
	f("a*a", "aa", true)
	f("a*b*c", "a-b-c", true)
	f("a*b*c", "abc", true)
	f("a*b*c", "acb", false)
	f("a*bc*bc", "abc", false)
	f("a*bc*bc", "abcbc", true)
	f("*b*", "abc", true)
	f("*b*", "ac", false)
	f("a*", "a*", true) // a star in a topic is a byte like any other
	f("ü*", "über", true)
	f("*x*x*x*", "xx", false)
}

// What would take a matcher that tries every way for ever takes no time.
func TestMatchingIsLinear(t *testing.T) {
	p, err := parsePattern(strings.Repeat("*a", maxStars) + "b")
	if err != nil {
		t.Fatal(err)
	}
	topic := strings.Repeat("a", 255)
	done := make(chan bool)
	go func() {
		for range 1000 {
			if p.match(topic) {
				t.Error("matched")
			}
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("still matching")
	}
}

func TestRefused(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := Parse("topics.yaml", []byte(text))
		if err == nil {
			t.Errorf("taken: %s", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: got %q, want %q in it", text, err, w)
			}
		}
	}
	f("topics: a\n", "topics.yaml:1: want a list of rules")
	f("a", "topics.yaml:1: want a list of rules")
	f("- a\n", "topics.yaml:1: want a rule")
	f("-\n", "topics.yaml:1: want a rule")
	f("- topics: a\n", "topics.yaml:1: the rule sets nothing")
	f("- slow: gap\n", "topics.yaml:1: the rule has no topics")
	f("- topics: a\n  slow: fast\n", `topics.yaml:2: slow: "fast": want gap, latest or close`)
	f("- topics: a\n  slow:\n", "topics.yaml:2: slow: want a plain value")
	f("- topics: a\n  slow: [gap]\n", "topics.yaml:2: slow: want a plain value")
	f("- topics: a\n  slw: gap\n", `topics.yaml:2: unknown setting "slw": want one of topics, slow, key`)
	f("- topics: a\n  slow: gap\n  slow: gap\n", "topics.yaml:3: slow: set twice")
	f("- topics: a\n  slow: gap\n  key: b\n", "topics.yaml:1: key: means something with slow: latest only")
	f("- topics: a\n  key: "+strings.Repeat("k", 65)+"\n", "topics.yaml:2: key: 65 bytes")
	f("- topics: a\n  key: {}\n", "topics.yaml:2: key: want a plain value")
	f("- topics: []\n  slow: gap\n", "topics.yaml:1: topics: 0 patterns")
	f("- topics:\n  - a\n  - \"\"\n  slow: gap\n", `topics.yaml:3: topics: pattern "" can match no topic: the topic is empty`)
	f("- topics: \"a\\n\"\n  slow: gap\n", `topics.yaml:1: topics: pattern "a\n" can match no topic`)
	f("- topics: a**\n  slow: gap\n", "topics.yaml:1: topics: pattern \"a**\" has two stars in a row")
	f("- topics: \""+strings.Repeat("*a", 17)+"\"\n  slow: gap\n", "topics.yaml:1: topics: pattern", "17 stars")
	f("- topics: "+strings.Repeat("a", 256)+"\n  slow: gap\n", "topics.yaml:1: topics: pattern", "256 bytes")
	f("- &a {topics: a, slow: gap}\n- *a\n", "topics.yaml:2: want a rule")
	f("- topics: a\n  slow: gap\n---\n- b\n", "topics.yaml:3: a second document")
	f("- topics: [\n", "topics.yaml: yaml: line")
	f(strings.Repeat("# much\n", 100000), "topics.yaml: larger than 256 KiB")
	f(strings.Repeat("- {topics: a, slow: gap}\n", 1001), "topics.yaml:1: 1001 rules: want 1000 at most")
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "topics.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "cannot read the rules of topics") {
		t.Errorf("no file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("- topics: a\n  slow: nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "topics.yaml:2: slow") {
		t.Errorf("a bad file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("- topics: a\n  slow: close\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rules, err := Load(path); err != nil || rules.For("a").Slow != SlowClose {
		t.Errorf("a good file: got %+v, %v", rules, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("- topics: [a.*, b]\n  slow: latest\n  key: k\n", "a.b")
	f.Add("- &x topics\n", "t")
	f.Fuzz(func(t *testing.T, text, topic string) {
		rules, err := Parse("f", []byte(text))
		if (rules == nil) == (err == nil) {
			t.Fatalf("rules %v, error %v", rules, err)
		}
		rules.For(topic)
	})
}
