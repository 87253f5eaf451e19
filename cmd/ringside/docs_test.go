package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every `ringside …` line in the documents is a command line that parses.
func TestDocumentedCommands(t *testing.T) {
	root := filepath.Join("..", "..")
	found := 0
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
		for n, line := range documented(string(text)) {
			found++
			if err := parses(t, line); err != nil {
				t.Errorf("%s:%d: %s: %v", path, n+1, line, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 5 {
		t.Errorf("found %d commands: the search is wrong", found)
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
	k, err := parser(&g, nil, stdio{nil, newOutput(), newOutput()}, &done)
	if err != nil {
		t.Fatal(err)
	}
	args := words(line)[1:]
	for i := range args {
		if args[i] == "--config" && !strings.HasPrefix(args[i+1], "..") {
			args[i+1] = filepath.Join("..", "..", args[i+1])
		}
	}
	_, err = k.Parse(args)
	if done {
		return nil
	}
	return err
}

// documented are the command lines in the code blocks of a document, by line.
func documented(text string) map[int]string {
	lines := map[int]string{}
	fenced := false
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
		}
		if (fenced || strings.HasPrefix(line, "    ")) && strings.HasPrefix(trimmed, "ringside ") {
			lines[n] = strings.ReplaceAll(trimmed, "<position>", "6f1c22aa-1763900000000-0")
		}
	}
	return lines
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
