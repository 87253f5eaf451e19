package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ringside "github.com/ringside-edge/ringside/client/go"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// interpreters are what runs a block of a language: a program, and the name of the file that it gets.
var interpreters = map[string]struct{ args, file string }{
	"sh":     {"sh -eu", "example.sh"},
	"go":     {"go run", "example.go"},
	"js":     {"node", "example.mjs"},
	"python": {"python3", "example.py"},
}

// The examples of docs/PUBLISHING.md are run as they stand, each twice, against a real cluster that demands a token: a subscriber gets what the document says
// that they publish, in that order, once.
func TestPublishingExamples(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "PUBLISHING.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := testcluster.Build(dir, false); err != nil {
		t.Fatal(err)
	}
	redis := testcluster.NewRedis(t, false)
	admins, publishers := filepath.Join(dir, "admin.tokens"), filepath.Join(dir, "publish.tokens")
	for file, text := range map[string]string{admins: "the-token-of-admins\n", publishers: "the-token-of-publishers finals semi\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g1 := role(t, redis.URL(), "gateway", "--id", "g1", "--admin-token-file", admins, "--publish-tokens-file", publishers).node(t)
	ready(t, g1)
	env := append(os.Environ(), "ADMIN=http://"+g1.Admin, "RINGSIDE_TOKEN=the-token-of-publishers", "REDIS="+redis.URL(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*testcluster.Limit())
	defer cancel()
	s, err := ringside.Connect(ctx, ringside.Config{URL: "ws://" + g1.Addr, Topics: []string{"finals", "semi"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	to := &ringside.Publisher{URL: "http://" + g1.Admin, Token: "the-token-of-publishers"}
	for following := false; !following; { // the first topic by the connection itself
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, following = e.(ringside.Subscribed)
	}

	ran := 0
	for _, b := range blocks(string(text)) {
		if b.lang == "" && len(b.publishes) == 0 {
			continue
		}
		how, known := interpreters[b.lang]
		if !known || len(b.publishes) == 0 {
			t.Errorf("line %d: a block of %q that says to publish %v", b.line, b.lang, b.publishes)
			continue
		}
		if program := missing(b, how.args); program != "" {
			t.Logf("SKIPPED: line %d: %s is not here", b.line, program)
			continue
		}
		ran++
		file := filepath.Join(dir, how.file)
		if err := os.WriteFile(file, []byte(b.code), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			args := append(strings.Fields(how.args), file)
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Dir, cmd.Env = root, env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("line %d: %v: %v\n%s", b.line, args, err, out)
			}
		}
		gets(ctx, t, s, to, b)
	}
	if ran < 3 {
		t.Errorf("ran %d examples: the search is wrong, or the machine lacks nearly everything", ran)
	}
}

// missing is a program that a block needs and the machine does not have; empty when it has all.
func missing(b block, interpreter string) string {
	for _, name := range append([]string{strings.Fields(interpreter)[0]}, "curl", "redis-cli", "sha1sum") {
		if _, err := exec.LookPath(name); err != nil && (strings.HasPrefix(interpreter, name) || strings.Contains(b.code, name+" ")) {
			return name
		}
	}
	return ""
}

// asData are payloads as ringside.v1 has them: what is no JSON is a string.
func asData(payloads []string) (list []string) {
	for _, p := range payloads {
		if !json.Valid([]byte(p)) {
			p = strconv.Quote(p)
		}
		list = append(list, p)
	}
	return list
}

// gets holds that a session gets what a block publishes, and nothing else: behind it comes what this adds, to each topic.
func gets(ctx context.Context, t *testing.T, s *ringside.Session, to *ringside.Publisher, b block) {
	t.Helper()
	got, want := map[string][]string{}, map[string][]string{}
	for _, d := range b.publishes {
		want[d.topic] = append(want[d.topic], d.payload)
	}
	last := fmt.Sprintf(`{"behind":%d}`, b.line)
	for topic := range want {
		if _, err := to.Publish(ctx, topic, []byte(last), ringside.Publish{}); err != nil {
			t.Fatal(err)
		}
	}
	for ended := 0; ended < len(want); {
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("line %d: so far %q, want %q: %v", b.line, got, want, err)
		}
		m, ok := e.(ringside.Message)
		switch {
		case !ok:
			if _, gap := e.(ringside.Gap); gap {
				t.Errorf("line %d: a gap", b.line)
			}
		case string(m.Data) == last:
			ended++
		default:
			got[m.Topic] = append(got[m.Topic], string(m.Data))
		}
	}
	for topic := range want {
		if !slices.Equal(got[topic], asData(want[topic])) {
			t.Errorf("line %d: %s got %q, want %q", b.line, topic, got[topic], want[topic])
		}
	}
}
