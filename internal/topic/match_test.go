package topic

import "testing"

func TestMatch(t *testing.T) {
	f := func(pattern, name string, want bool) {
		t.Helper()
		if got := Match(pattern, name); got != want {
			t.Errorf("%q, %q: got %v", pattern, name, got)
		}
	}
	f("finals", "finals", true)
	f("finals", "finals2", false)
	f("finals", "Finals", false)
	f("*", "finals", true)
	f("*", "", true)
	f("", "", true)
	f("", "x", false)
	f("match/*", "match/", true)
	f("match/*", "match/1/score", true)
	f("match/*", "match", false)
	f("*/score", "match/1/score", true)
	f("*/score", "match/1/scores", false)
	f("a*b*c", "abc", true)
	f("a*b*c", "a-b-b-c", true)
	f("a*b*c", "a-c-b", false)
	f("a*ab", "aab", true)
	f("a*ab", "ab", false)
	f("*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)
}
