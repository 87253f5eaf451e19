package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var root = filepath.Join("..", "..")

// document is one of ours, with its blocks.
type document struct {
	name   string // from the root
	text   string
	blocks []Block
}

// runs reports whether it has something to run.
func (d document) runs() bool {
	return elsewhere[d.name].lang != all && slices.ContainsFunc(d.blocks, func(b Block) bool { return b.NotRun == "" && b.IsShell() })
}

// documents are all of them, in the order of their names.
func documents(t *testing.T) []document {
	t.Helper()
	var list []document
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "node_modules", "testdata"}, d.Name()):
			return filepath.SkipDir
		case filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		list = append(list, document{name, string(text), Parse(name, string(text))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("found %d documents: the walk is wrong", len(list))
	}
	return list
}

// elsewhere are documents whose blocks of a language are run by another test.
var elsewhere = map[string]struct{ lang, test string }{
	"client/README.md":   {"js", "client/test/readme.test.js"},
	"docs/PUBLISHING.md": {all, "cmd/ringside/docs_run_test.go"},
	"docs/CLI.md":        {all, "cmd/ringside/reference_test.go"},
	"docs/CLI-BENCH.md":  {all, "cmd/ringside/reference_test.go"},
	"docs/SETTINGS.md":   {all, "cmd/ringside/reference_test.go"},
}

// all stands for all languages.
const all = "*"

// programs are what commands in documents begin with. A block with one of them at the beginning of a line has commands.
var programs = []string{
	"apt-get", "brew", "cd", "cp", "curl", "docker", "export", "git", "go", "jq", "kill", "kubectl", "make", "mkdir", "node", "npm", "npx", "openssl",
	"pgrep", "pkill", "printf", "prometheus", "promtool", "redis-cli", "redis-sentinel", "redis-server", "ringside", "ssh", "sudo", "sysctl", "systemctl", "tar",
	"ulimit", "websocat", "xdg-open",
}

// setting is a line of YAML that could be one of settings.
var setting = regexp.MustCompile(`^(- )?[a-z][a-z-]*:( |$)`)

// fault says what is missing at a block, so that nobody can take what it shows for tested when it is not.
func fault(d document, b Block) string {
	switch {
	case b.NotRun != "" || elsewhere[d.name].lang == all:
		return ""
	case b.Lang == "console" && (len(b.Steps()) == 0 || !strings.HasPrefix(b.Text, "$ ")):
		return "a transcript begins with a command behind `$ `"
	case b.IsShell():
		return ""
	case b.Lang == "" || b.Lang == "text" || b.Lang == "json" || b.Lang == "http":
		first, _, _ := strings.Cut(strings.TrimSpace(b.Text), "\n")
		if b.Lang != "text" && setting.MatchString(first) {
			return "settings: call the block ```yaml gateway, router, dev or topic-rules; what is no such file, ```text, or ```yaml not-run: why"
		}
		if b.Lang != "json" && len(commands(b)) > 0 {
			return "commands: call the block ```sh or ```console, and they are run, or ```sh not-run: why"
		}
		return ""
	case b.Lang == "yaml" && len(b.Words) == 1 && slices.Contains([]string{"gateway", "router", "dev", "topic-rules"}, b.Words[0]):
		return ""
	case b.Value("file") != "":
		_, after, _ := strings.Cut(d.text, b.Text)
		if !strings.Contains(after, b.Value("file")) {
			return "the file is not used below"
		}
		return ""
	case elsewhere[d.name].lang == b.Lang:
		return ""
	}
	return "what is it? ```sh, ```console, ```yaml gateway, ```" + b.Lang + " file=NAME, or … not-run: why"
}

// Every block of every document is run, or read as a node would read it, or says why not.
func TestEveryBlockIsMarked(t *testing.T) {
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if f := fault(d, b); f != "" {
				t.Errorf("%s:%d: %s", d.name, b.Line, f)
			}
		}
	}
	for name, by := range elsewhere {
		test, err := os.ReadFile(filepath.Join(root, by.test))
		if err != nil || !strings.Contains(string(test), path.Base(name)) {
			t.Errorf("%s runs nothing of %s: %v", by.test, name, err)
		}
	}
}

func TestFault(t *testing.T) {
	f := func(text string, faulty bool) {
		t.Helper()
		d := document{name: "d.md", text: text, blocks: Parse("d.md", text)}
		if len(d.blocks) != 1 {
			t.Fatalf("%q: got %d blocks", text, len(d.blocks))
		}
		if got := fault(d, d.blocks[0]); (got != "") != faulty {
			t.Errorf("%q: got %q, want a fault: %v", text, got, faulty)
		}
	}
	f("    ringside dev\n", true)
	f("    words\n    $ sudo sysctl -a\n", true)
	f("    A=1 make run\n", true)
	f("    auth: [jwt]\n", true)
	f("    - topics: a\n", true)
	f("    a picture ──► of something\n", false)
	f("    page  http://127.0.0.1:8081/\n", false)
	f("```\nringside dev\n```\n", true)
	f("```text\nmake run\n```\n", true)
	f("```sh\nringside dev\n```\n", false)
	f("```sh not-run: no time\nringside dev\n```\n", false)
	f("```sh not-run:\nringside dev\n```\n", false) // no reason: it is run
	f("```console\na\n```\n", true)
	f("```console\n$ a\nb\n```\n", false)
	f("```yaml\na: b\n```\n", true)
	f("```yaml gateway\na: b\n```\n", false)
	f("```js\nf()\n```\n", true)
	f("```js file=a.js\nf()\n```\n", true)
	f("```js file=a.js\nf()\n```\n`node a.js`\n", false)
	f("```js not-run: it is of others\nf()\n```\n", false)
}

// command is what is typed to a program.
type command struct {
	line  int
	words []string
}

var (
	assigned = regexp.MustCompile(`^[A-Za-z_]+=`)
	divided  = regexp.MustCompile(`&&|\|\|?|;|\$\(|\bdo\b|\bthen\b`)
)

// commands are those of a block that begin with a known program.
func commands(b Block) (list []command) {
	text := strings.ReplaceAll(b.Text, "\\\n", "  ")
	for i, line := range strings.Split(text, "\n") {
		for _, part := range divided.Split(line, -1) {
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(part), "$ "))
			for len(words) > 0 && (assigned.MatchString(words[0]) || words[0] == "sudo") {
				words = words[1:]
			}
			if c := slices.Index(words, "#"); c >= 0 {
				words = words[:c]
			}
			if len(words) > 0 && slices.Contains(programs, words[0]) {
				list = append(list, command{b.Line + i, words})
			}
		}
	}
	return list
}
