package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inlined are commands within sentences that look at a node, or at Redis.
var inlined = regexp.MustCompile("`((?:curl|redis-cli|openssl|ss) [^`]+)`")

// notInline are those that are not run, and why.
var notInline = map[string]string{
	"redis-cli XGROUP DESTROY __anycable__ ringside":    "only docs/MIGRATE-ANYCABLE.md has that group",
	"redis-cli XGROUP DESTROY __anycable__ <its group>": "it is of another server",
	"ss -m": "a sentence about where numbers come from",
}

// inline runs all commands that stand in sentences, with what the sentences say that $node and $redis are.
func inline(t *testing.T, s *shell) {
	s.must("cd " + desk(t))
	s.must(`node=127.0.0.1:9201 redis=redis://127.0.0.1:6379; curl() { command curl -sSf "$@"; }; redis-cli() { command redis-cli -e "$@"; }`)
	var done []string
	for _, d := range documents(t) {
		for _, m := range inlined.FindAllStringSubmatch(d.text, -1) {
			if slices.Contains(done, m[1]) || notInline[m[1]] != "" {
				continue
			}
			done = append(done, m[1])
			command := strings.NewReplacer("<id> <id>", "- +", "seconds=10", "seconds=1").Replace(m[1])
			// In a subshell, so that the others are run too.
			if printed, err := s.run("set +e; ( set -e; " + command + "\n); code=$?; set -e; [ $code = 0 ] || { echo; echo \"it failed with $code\"; }"); err != nil || strings.Contains(printed, "it failed with ") {
				t.Errorf("%s: %s: %v\n%s", d.name, m[1], err, printed)
			}
		}
	}
	if len(done) < 10 {
		t.Errorf("found %d commands: the search is wrong", len(done))
	}
}
