package docs

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	f := func(text string, want ...Block) {
		t.Helper()
		got := Parse("d.md", text)
		if len(got) != len(want) {
			t.Fatalf("%q: got %+v, want %+v", text, got, want)
		}
		for i, w := range want {
			if g := got[i]; g.Line != w.Line || g.Lang != w.Lang || strings.Join(g.Words, " ") != strings.Join(w.Words, " ") || g.NotRun != w.NotRun || g.Text != w.Text {
				t.Errorf("%q: got %+v, want %+v", text, g, w)
			}
		}
	}
	f("words\n\n    a\n\n      b\n\nwords\n", Block{Line: 3, Text: "a\n\n  b"})
	f("```sh stays\na\n```\n", Block{Line: 2, Lang: "sh", Words: []string{"stays"}, Text: "a"})
	f("1. one:\n\n   ```yaml gateway not-run: no file: yet\n   a: b\n     c\n   ```\n    d", Block{Line: 4, Lang: "yaml", Words: []string{"gateway"}, NotRun: "no file: yet", Text: "a: b\n  c"}, Block{Line: 7, Text: "d"})
	f("```\n    a\n```", Block{Line: 2, Lang: "text", Text: "    a"})
}

func TestSteps(t *testing.T) {
	f := func(text string, want ...Step) {
		t.Helper()
		got := Block{Line: 7, Lang: "console", Text: text}.Steps()
		if len(got) != len(want) {
			t.Fatalf("%q: got %+v, want %+v", text, got, want)
		}
		for i, w := range want {
			if g := got[i]; g.Line != w.Line || g.Commands != w.Commands || strings.Join(g.Want, "|") != strings.Join(w.Want, "|") {
				t.Errorf("%q: got %+v, want %+v", text, g, w)
			}
		}
	}
	f("$ a \\\n  b\nc\nd\n$ e", Step{7, "a \\\n  b", []string{"c", "d"}}, Step{11, "e", nil})
	f("a")
}

func TestMatches(t *testing.T) {
	f := func(want, printed string, ok bool) {
		t.Helper()
		if got := Matches(strings.Split(want, "|"), printed); got != ok {
			t.Errorf("%q and %q: got %v, want %v", want, printed, got, ok)
		}
	}
	f("a b", "a   b\n", true)
	f("a b", "ab\n", false)
	f("a|c", "a\nb\nc\n", false)
	f("a|…|c", "a\nb\nb\nc\n", true)
	f("a|…|c", "a\nc\n", true)
	f("a|…|c", "a\nc\nd\n", false)
	f("…|c|…", "a\nc\nd\n", true)
	f("a…c", "abbc\n", true)
	f("a…c", "ab\nc\n", false)
	f("a.c", "abc\n", false)
	f("a||b", "\na\n\nb\n\n", true)
}
