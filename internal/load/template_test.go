package load

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	names := Templates()
	if len(names) < 7 {
		t.Fatalf("got %v, want the templates", names)
	}
	for _, name := range names {
		got, err := FindTemplate(name)
		if err != nil || got.About == "" || got.Name != name {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if _, err := (Spec{Template: got, Targets: []string{"127.0.0.1:1"}, Topics: []string{"x"}}).prepare(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte("path: /x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FindTemplate(file); err != nil || got.Path != "/x" || got.Transport != WebSocket {
		t.Errorf("a file: got %+v, %v", got, err)
	}
	if _, err := FindTemplate("nonsense"); err == nil || !strings.Contains(err.Error(), "ringside-raw") {
		t.Errorf("got %v, want the names that there are", err)
	}
	if _, err := FindTemplate("./nonsense.yaml"); !os.IsNotExist(err) {
		t.Errorf("got %v, want that the file is not there", err)
	}
}

func TestParseTemplate(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := ParseTemplate("x", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	f("path: /", "")
	f("path: /{topic:path}?a={position:query}&b={number}", "")
	f("path: /\nframes: [{send: '{\"a\":{topic:json},\"b\":{}}'}]", "")
	f("", "EOF")
	f("path: x", "path")
	f("transport: pigeon\npath: /", "pigeon")
	f("transport: events\npath: /\nframes: [{send: x}]", "no frames")
	f("path: /{topik}", "no variable {topik}")
	f("path: /{topic:rot}", `no filter "rot"`)
	f("path: /\nframes: [{on: {is: x}}]", "sends nothing")
	f("path: /\nfrims: []", "frims")
	f("path: /\nheaders: {'a b': c}", "no name of a header")
	f("path: /\nheaders: {a: \"b\\r\\nc: d\"}", "line break")
	f("path: \"/ HTTP/1.1\\r\\nEvil: x\"", "line break")
	f("path: /\nsubprotocol: \"a\\nb\"", "line break")
	f("path: /\npublish: {http: {path: x}}", "path of publish")
	f("path: /\npublish: {redis: [XADD, '{strem}']}", "{strem}")
}

func TestText(t *testing.T) {
	v := &values{topic: `a "b"/ü`, payload: `{"x":1}`, position: "e-1-0", number: 7}
	f := func(in, want string) {
		t.Helper()
		c, err := compile(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.append(nil, v)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	f("", "")
	f("plain {} {A} { topic }", "plain {} {A} { topic }")
	f("{topic}", `a "b"/ü`)
	f(`{"t":{topic:json},"d":{payload}}`, `{"t":"a \"b\"/ü","d":{"x":1}}`)
	f("{topic:escaped:escaped}", `a \\\"b\\\"/ü`)
	f("{topic:path}?{topic:query}", "a%20%22b%22%2F%C3%BC?a+%22b%22%2F%C3%BC")
	f("{payload:json}", `"{\"x\":1}"`)
	f("{position}/{number}", "e-1-0/7")
	v.topic = "abc"
	f("{stream}", "ringside:{10}:169:stream") // SHA-1 a9993e36…
}

func TestMatch(t *testing.T) {
	f := func(m Match, text string, want bool) {
		t.Helper()
		if got := m.holds([]byte(text)); got != want {
			t.Errorf("%+v, %q: got %v, want %v", m, text, got, want)
		}
	}
	f(Match{}, "", false)
	f(Match{Is: "2"}, "2", true)
	f(Match{Is: "2"}, "22", false)
	f(Match{Begins: "40"}, `40{"sid":1}`, true)
	f(Match{Begins: "40"}, "4", false)
	f(Match{Contains: "b"}, "abc", true)
	f(Match{Begins: "a", Contains: "d"}, "abc", false)
}

func TestBetween(t *testing.T) {
	f := func(b Between, text, want string) {
		t.Helper()
		if got := string(b.find([]byte(text))); got != want {
			t.Errorf("%+v in %q: got %q, want %q", b, text, got, want)
		}
	}
	f(Between{}, "x", "")
	f(Between{`"id":"`, `"`}, `{"id":"a-1-0","data":1}`, "a-1-0")
	f(Between{`"id":"`, `"`}, `{"id":"a-1-0`, "")
	f(Between{"id: ", "\n"}, "id: a\ndata: b\n", "a")
	f(Between{After: "x"}, "abxcd", "cd")
}

// FuzzParseTemplate holds that a template that is taken can be used, whatever it says, and that a handshake made of it has one line for each header.
func FuzzParseTemplate(f *testing.F) {
	for _, name := range Templates() {
		text, err := templates.ReadFile("templates/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("path: /{topic:path:path}\nheaders: {A: '{number}'}\nframes: [{on: {is: ''}, send: '{topic'}]")
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate("fuzz", []byte(text))
		if err != nil {
			return
		}
		c, err := (Spec{Template: tpl, Targets: []string{"127.0.0.1:1"}, Topics: []string{"a\r\nb"}}).prepare()
		if err != nil {
			t.Fatalf("taken, and can't be used: %v", err)
		}
		v := &values{topic: "ab", position: "p", pass: "q"}
		target, head := c.target(v), c.head.append(nil, v)
		if strings.ContainsAny(string(target), "\r\n") || strings.Count(string(head), "\r\n") != strings.Count(string(head), "\n") {
			t.Errorf("%q: a head of %q and %q", text, target, head)
		}
		for _, r := range c.frames {
			r.send.append(nil, v)
		}
		for _, scheme := range []string{"http", "redis"} {
			e, err := newEncoder(&PressConfig{URL: scheme + "://127.0.0.1:1", Template: tpl, Topics: []string{"x"}, Batch: 1})
			if err == nil && len(e.encode(nil, "00000000", []pending{{}})) == 0 {
				t.Error("a request of nothing")
			}
		}
	})
}
