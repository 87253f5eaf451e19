package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/docs"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// allBlocks are the blocks of code in all documents.
func allBlocks(t *testing.T) (list []docs.Block) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list = append(list, docs.Parse(path, string(text))...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Every `ringside …` line in the documents is a command line that parses, also where it is not run (internal/docs runs the others).
func TestDocumentedCommands(t *testing.T) {
	found := 0
	for _, b := range allBlocks(t) {
		if !b.IsShell() {
			continue
		}
		for _, s := range b.Steps() {
			for n, line := range strings.Split(strings.ReplaceAll(s.Commands, "\\\n", "  "), "\n") {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "ringside ") {
					continue
				}
				found++
				// What a document has made before.
				line = strings.NewReplacer("<position>", "6f1c22aa-1763900000000-0", `"$ADMIN"`, "http://127.0.0.1:8081", "$position", "6f1c22aa-1763900000000-0", "--config gateway.yaml --id", "--id", "--config gateway.yaml", "--id g1").Replace(line)
				if err := parses(t, line); err != nil {
					t.Errorf("%s:%d: %s: %v", b.Doc, s.Line+n, line, err)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d commands: the search is wrong", found)
	}
}

// Every block of settings in the documents is what a node of that role takes.
func TestDocumentedSettings(t *testing.T) {
	found := 0
	for _, b := range allBlocks(t) {
		if b.Lang != "yaml" || b.NotRun != "" || len(b.Words) == 0 {
			continue
		}
		found++
		file := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(file, []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		switch role := b.Words[0]; role {
		case "topic-rules":
			_, err = topicrule.Load(file)
		case "gateway":
			err = parses(t, "ringside gateway --id g1 --config "+file)
		default:
			err = parses(t, "ringside "+role+" --config "+file)
		}
		if err != nil {
			t.Errorf("%s:%d: %v", b.Doc, b.Line, err)
		}
	}
	if found < 5 {
		t.Errorf("found %d blocks of settings: the search is wrong", found)
	}
}

// The configuration files are accepted as they stand.
func TestConfigFiles(t *testing.T) {
	for _, role := range []string{"router", "gateway", "dev"} {
		if err := parses(t, "ringside "+role+" --config "+filepath.Join("..", "..", "configs", role+".yaml")); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// parses parses a command line as the program does, without running it. Files that a document names are not looked for.
func parses(t *testing.T, line string) error {
	t.Helper()
	var g grammar
	var done bool
	k, err := parser(&g, nil, stdio{out: newOutput(), err: newOutput()}, &done)
	if err != nil {
		t.Fatal(err)
	}
	args := words(line)[1:]
	for i := range args {
		if args[i] == "--config" && !filepath.IsAbs(args[i+1]) && !strings.HasPrefix(args[i+1], "..") {
			args[i+1] = filepath.Join("..", "..", args[i+1])
		}
	}
	_, err = k.Parse(args)
	if done {
		return nil
	}
	return err
}

// block is a block of code in a document: a fenced one, or a line that is indented.
type block struct {
	line      int    // of its first line, counted from 0
	lang      string // what stands behind the fence
	code      string
	publishes []delivery // what is said above it, for those who read the source of the document
}

// delivery is a message that a subscriber gets.
type delivery struct{ topic, payload string }

// saysPublishes is how a document says what a block publishes.
var saysPublishes = regexp.MustCompile(`^<!-- publishes (\S+): (.*) -->$`)

// blocks are the blocks of code of a document.
func blocks(text string) (list []block) {
	var publishes []delivery
	var open *block
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		said := saysPublishes.FindStringSubmatch(trimmed)
		switch {
		case strings.HasPrefix(trimmed, "```") && open == nil:
			open = &block{line: n + 1, lang: strings.TrimPrefix(trimmed, "```"), publishes: publishes}
			publishes = nil
		case strings.HasPrefix(trimmed, "```"):
			list = append(list, *open)
			open = nil
		case open != nil:
			open.code += line + "\n"
		case strings.HasPrefix(line, "    "):
			list = append(list, block{line: n, code: line + "\n"})
		case said != nil:
			publishes = append(publishes, delivery{said[1], said[2]})
		}
	}
	return list
}

// words splits a line as a shell does, as far as documents go: quotes, and a comment at the end.
func words(line string) []string {
	var list []string
	var word strings.Builder
	quote, inWord := rune(0), false
	flush := func() {
		if inWord {
			list = append(list, word.String())
			word.Reset()
			inWord = false
		}
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ':
			flush()
		case r == '#' && !inWord, (r == '&' || r == '|' || r == '>') && !inWord:
			return list
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	flush()
	return list
}

func TestWords(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		if got := words(line); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	f("a  b", "a", "b")
	f(`publish finals '{"score":"2:1"}' # a comment`, "publish", "finals", `{"score":"2:1"}`)
	f(`a "b c"d '' & e`, "a", "b cd", "")
}
