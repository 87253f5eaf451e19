package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/ringside-edge/ringside/internal/config"
)

var update = flag.Bool("update", false, "write docs/CLI.md, docs/CLI-BENCH.md and docs/SETTINGS.md anew from the commands")

// docs/CLI.md, docs/CLI-BENCH.md and docs/SETTINGS.md are what the program says: every command, flag, field and exit code is there.
func TestReference(t *testing.T) {
	for name, want := range map[string]string{"CLI.md": reference(t), "CLI-BENCH.md": benchReference(t), "SETTINGS.md": settingsReference(t)} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the commands say (%v): run `go test ./cmd/ringside -run TestReference -update`", path, err)
		}
	}
}

// model is the command line, built.
func model(t *testing.T) *kong.Kong {
	t.Helper()
	var done bool
	k, err := parser(&grammar{}, nil, stdio{out: newOutput(), err: newOutput()}, &done)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// reference is the document.
func reference(t *testing.T) string {
	t.Helper()
	k := model(t)
	var b strings.Builder
	b.WriteString("# The command line\n\nWritten by `go test ./cmd/ringside -run TestReference -update` from the commands themselves: what `ringside COMMAND --help` and\n" +
		"`ringside man` say, in one page. The settings of `router`, `gateway` and `dev` are in [SETTINGS.md](SETTINGS.md).\n\n" + pages[""].about + "\n\n")
	for _, n := range commands(k.Model.Node) {
		page := ""
		if ofBench(n) {
			page = "CLI-BENCH.md"
		}
		fmt.Fprintf(&b, "- [%s](%s#ringside-%s): %s\n", commandName(n), page, strings.ReplaceAll(commandName(n), " ", "-"), n.Help)
	}
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "| %s | %s |\n", e.code, e.meaning)
	}
	b.WriteString("\n## Environment\n\n| variable | meaning |\n|---|---|\n| `RINGSIDE_SOME_NAME` | Is read where `--some-name` is not given. |\n")
	for _, v := range variables {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v[0], v[1])
	}
	b.WriteString("\n## JSON\n\nWith `--json` the standard output holds one document and nothing else (`subscribe`: one per line, for each event): no colours, no progress. Names of " +
		"fields stay; new ones may come. Errors stay on the error output, and the exit code is the same. `drain` and `check-config` print their document in each case, " +
		"also when they end with another code than 0.\n")
	for _, n := range commands(k.Model.Node) {
		if !ofBench(n) {
			writeCommand(&b, n)
		}
	}
	return b.String()
}

// ofBench reports whether a command has its place in a document of its own: those of bench have many flags in common.
func ofBench(n *kong.Node) bool { return strings.HasPrefix(commandName(n), "bench ") }

// benchReference is the document of the commands of bench.
func benchReference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# The command line of `ringside bench`\n\nWritten by `go test ./cmd/ringside -run TestReference -update` from the commands themselves. How to use it and how to read what it prints is in " +
		"[BENCH.md](BENCH.md), and what all commands have in common in [CLI.md](CLI.md).\n")
	for _, n := range commands(model(t).Model.Node) {
		if ofBench(n) {
			writeCommand(&b, n)
		}
	}
	return b.String()
}

// roles are the commands whose flags are settings of a node.
var roles = []string{"dev", "router", "gateway"}

func writeCommand(b *strings.Builder, n *kong.Node) {
	name, p := commandName(n), pages[commandName(n)]
	fmt.Fprintf(b, "\n## ringside %s\n\n%s\n\n`ringside %s`\n\n%s\n\n", name, n.Help, n.Summary(), p.about)
	rows := len(n.Positional)
	for _, a := range n.Positional {
		fmt.Fprintf(b, "- `%s`: %s\n", a.Summary(), a.Help)
	}
	if !slices.Contains(roles, name) {
		for _, f := range flagsOf(n) {
			fmt.Fprintf(b, "- `%s`: %s\n", flagName(f), config.Describe(f.Value))
			rows++
		}
	}
	if rows > 0 {
		b.WriteString("\n")
	}
	if len(p.json) > 0 {
		b.WriteString("JSON:")
		for i, f := range p.json {
			fmt.Fprintf(b, "%s `%s`: %s", map[bool]string{true: ";"}[i > 0], f.name, f.what)
		}
		b.WriteString(".\n\n")
	}
	for _, e := range p.examples {
		fmt.Fprintf(b, "    # %s\n    %s\n", e.why, e.line)
	}
	fmt.Fprintf(b, "\nExit codes: %s.\n", p.codes())
}

// settingsReference is the document of the settings.
func settingsReference(t *testing.T) string {
	t.Helper()
	type setting struct {
		flag, help string
		of         []string
	}
	var list []*setting
	byHelp := map[string]*setting{}
	for _, n := range commands(model(t).Model.Node) {
		if !slices.Contains(roles, commandName(n)) {
			continue
		}
		for _, f := range n.Flags {
			key := flagName(f) + config.Describe(f.Value)
			if f.Name == "help" {
				continue
			}
			if byHelp[key] == nil {
				byHelp[key] = &setting{flag: flagName(f), help: config.Describe(f.Value)}
				list = append(list, byHelp[key])
			}
			byHelp[key].of = append(byHelp[key].of, n.Name)
		}
	}
	slices.SortStableFunc(list, func(a, b *setting) int {
		return strings.Compare(strings.Replace(a.flag, "[no-]", "", 1), strings.Replace(b.flag, "[no-]", "", 1))
	})
	var b strings.Builder
	b.WriteString("# The settings of a node\n\nWritten by `go test ./cmd/ringside -run TestReference -update` from the commands themselves. A flag `--some-name` is also the key\n" +
		"`some-name` of the file that `--config` names, and the variable `RINGSIDE_SOME_NAME`: the flag wins over the variable, the variable over the file. [configs](../configs)\n" +
		"has a file of each role with all of its settings and what there is to know of them; `ringside check-config` reads one as a node would.\n\n| flag | of | meaning |\n|---|---|---|\n")
	for _, s := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", cell(s.flag), strings.Join(s.of, ", "), cell(s.help))
	}
	return b.String()
}

// cell is text for a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`, "$", `\$`).Replace(text)
}

// Each command has a page with an example, and codes that there are; no page is left over.
func TestPages(t *testing.T) {
	k := model(t)
	seen := []string{""}
	var codes []string
	for _, e := range exits {
		codes = append(codes, e.code)
	}
	for _, n := range commands(k.Model.Node) {
		name := commandName(n)
		seen = append(seen, name)
		p := pages[name]
		if n.Help == "" || p.about == "" || len(p.examples) == 0 || p.exits == "" {
			t.Errorf("%s: its page is not complete", name)
		}
		json := slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == "json" })
		if name != "subscribe" && json != (len(p.json) > 0) {
			t.Errorf("%s: --json is %v, and %d fields are documented", name, json, len(p.json))
		}
		for c := range strings.FieldsSeq(p.exits) {
			if !slices.Contains(codes, c) {
				t.Errorf("%s: there is no exit code %s", name, c)
			}
		}
	}
	for name := range pages {
		if !slices.Contains(seen, name) {
			t.Errorf("there is no command %q", name)
		}
	}
}

// --help of every command, and the manual page, have its summary, what it is about, its examples, flags with their variables, and codes.
func TestHelp(t *testing.T) {
	k := model(t)
	_, man, _ := command(t.Context(), "", nil, "man")
	all := strings.ReplaceAll(strings.Join(strings.Fields(strings.ReplaceAll(man, `\-`, "-")), " "), " .PP ", " ")
	for _, n := range commands(k.Model.Node) {
		name, p := commandName(n), pages[commandName(n)]
		code, out, errOut := command(t.Context(), "", nil, append(strings.Fields(name), "--help")...)
		if code != exitOK || errOut != "" {
			t.Errorf("%s --help: got %d, %q", name, code, errOut)
		}
		help := strings.Join(strings.Fields(out), " ")
		want := []string{n.Help, strings.Join(strings.Fields(p.about), " ")}
		for _, e := range p.examples {
			want = append(want, e.line)
		}
		for _, f := range flagsOf(n) {
			want = append(want, "($RINGSIDE_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))+")")
			if !strings.Contains(help, "--"+f.Name) && f.Tag.Negatable == "" {
				t.Errorf("%s --help lacks --%s", name, f.Name)
			}
		}
		for _, w := range want {
			if !strings.Contains(strings.ReplaceAll(help, "- ", "-"), strings.ReplaceAll(w, "- ", "-")) {
				t.Errorf("%s --help lacks %q:\n%s", name, w, out)
			}
			if !strings.Contains(all, strings.ReplaceAll(w, `\`, `\e`)) {
				t.Errorf("the manual page lacks %q of %s", w, name)
			}
		}
		for _, text := range []string{help, all} {
			if !strings.Contains(text, p.codes()) {
				t.Errorf("%s: its exit codes are not in %.200q", name, text)
			}
		}
	}
}

// Every example is a command line that parses.
func TestExamplesParse(t *testing.T) {
	for name, p := range pages {
		for _, e := range p.examples {
			line := strings.ReplaceAll(e.line, "<position>", "6f1c22aa-1763900000000-0")
			if _, after, piped := strings.Cut(line, "| ringside "); piped {
				line = "ringside " + after
			}
			if err := parses(t, line); err != nil {
				t.Errorf("%s: %s: %v", name, e.line, err)
			}
		}
	}
}
