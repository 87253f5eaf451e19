package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write configs/*.yaml anew from the structs")

// examples are the files in configs, and the lines in them that are not commented out.
var examples = map[string]struct {
	command string
	intro   string
	live    map[string]string
}{
	"router.yaml": {"router", "A router: the public port. Start as many as you like.", map[string]string{
		"listen": "127.0.0.1:8080", "admin": "127.0.0.1:8081", "gossip": "127.0.0.1:7946", "redis": "redis://127.0.0.1:6379",
	}},
	"gateway.yaml": {"gateway", "A gateway: one shard of the ring. Each needs an ID and addresses of its own.", map[string]string{
		"id": "g1", "listen": "127.0.0.1:9101", "admin": "127.0.0.1:9201", "gossip": "127.0.0.1:7947",
		"join": "[127.0.0.1:7946]", "redis": "redis://127.0.0.1:6379",
	}},
	"dev.yaml": {"dev", "A whole cluster in one process, to look at and to develop against.", map[string]string{
		"listen": "127.0.0.1:8080", "admin": "127.0.0.1:8081", "gateways": "3",
	}},
}

// The files in configs are what the structs say, and nothing else is there.
func TestExamples(t *testing.T) {
	dir := filepath.Join("..", "..", "configs")
	for name, e := range examples {
		want := example(t, name, e.command, e.intro, e.live)
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the structs say (%v): run `go test ./internal/config -update`", path, err)
		}
	}
}

// Every line of an example parses, also when nothing is commented out.
func TestExamplesParse(t *testing.T) {
	for name, e := range examples {
		text, err := os.ReadFile(filepath.Join("..", "..", "configs", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t, e.command, nil, string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(string(text), "$1")
		all = strings.Replace(all, "\nsecret:", "\n#secret:", 1) // it and secret-file exclude each other
		if _, err := parse(t, e.command, nil, all); err != nil {
			t.Errorf("%s with every line: %v", name, err)
		}
	}
}

// example writes the file of a command: each setting with its help, bounds and default.
func example(t *testing.T, name, command, intro string, live map[string]string) []byte {
	t.Helper()
	k, err := kong.New(&grammar{}, Options(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n#\n#   ringside %s --config configs/%s\n#\n", intro, command, name)
	b.WriteString("# A line that is commented out shows the default, or an example where it says so. The key some-name is also\n" +
		"# the flag --some-name and the variable RINGSIDE_SOME_NAME: the flag wins over the variable, the variable\n" +
		"# over this file.\n")
	group := ""
	for _, node := range k.Model.Children {
		if node.Name != command {
			continue
		}
		for _, f := range node.Flags {
			if f.Name == "help" || f.Name == configFlag {
				continue
			}
			if f.Group != nil && f.Group.Title != group {
				group = f.Group.Title
				fmt.Fprintf(&b, "\n\n# ---- %s ----\n", group)
			}
			writeSetting(&b, f, live[f.Name])
		}
	}
	return b.Bytes()
}

func writeSetting(b *bytes.Buffer, f *kong.Flag, live string) {
	help := describe(f.Value)
	if f.Tag.Get("example") != "" && live == "" {
		help += " Example:"
	}
	fmt.Fprintf(b, "\n%s", wrap("# ", help))
	switch {
	case live != "":
		fmt.Fprintf(b, "%s: %s\n", f.Name, live)
	case f.Default != "":
		fmt.Fprintf(b, "#%s: %s\n", f.Name, f.Default)
	case f.IsBool():
		fmt.Fprintf(b, "#%s: false\n", f.Name)
	default:
		fmt.Fprintf(b, "#%s: %s\n", f.Name, f.Tag.Get("example"))
	}
}

// wrap breaks text into lines of at most 110 bytes that begin with prefix.
func wrap(prefix, text string) string {
	var b strings.Builder
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > 110 {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}
