package config

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// FuzzFile holds that a file which is accepted is flat, says of each setting where it stands, and reads the same when it is written anew.
func FuzzFile(f *testing.F) {
	f.Add([]byte("listen: 127.0.0.1:8080\nseeds: [a, b]\n# nothing\n"))
	f.Add([]byte("a: &x 1\nb: *x\n"))
	f.Add([]byte("a: {b: c}\n"))
	f.Add([]byte("a: 1\na: 2\n"))
	f.Add([]byte("<<: {a: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseFile("x.yaml", text)
		if err != nil {
			return
		}
		flat := map[string]string{}
		for name, s := range settings {
			if !strings.HasPrefix(s.where, "x.yaml:") || !strings.HasSuffix(s.where, ": "+name) {
				t.Fatalf("%q stands at %q", name, s.where)
			}
			flat[name] = s.value
		}
		again, err := yaml.Marshal(flat)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseFile("x.yaml", again)
		if err != nil || len(got) != len(settings) {
			t.Fatalf("%q, written as %q: %v", text, again, err)
		}
		for name, s := range settings {
			if got[name].value != s.value {
				t.Fatalf("%q: got %q, want %q", name, got[name].value, s.value)
			}
		}
	})
}

// FuzzSize holds that a size is never negative and reads the same when it is written anew.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"512", "64KiB", "1 MiB", "9223372036854775807", "4611686018427387904GiB", "-1", "+1", "0B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			return
		}
		if again, err := ParseSize(n.String()); n < 0 || err != nil || again != n {
			t.Fatalf("%q is %d, then %v, %v", text, n, again, err)
		}
	})
}
