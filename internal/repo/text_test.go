package repo

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stray are words that belong to where the code was written, not into it. They are put together from halves, so that
// this file passes.
var stray = map[string]*regexp.Regexp{
	"a path of a machine": regexp.MustCompile(`(^|[\s"'=(])/(wor` + `k|roo` + `t|hom` + `e|Use` + `rs)/[A-Za-z.]`),
	"a ticket's number":   regexp.MustCompile(`(?i)\b(iss` + `ue|tick` + `et|pull req` + `uest) #?([0-9]+|[A-F]\b)`),
	"something to do":     regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`),
	"a merge conflict":    regexp.MustCompile(`(?m)^(<{7}|>{7}) `),
}

// binary are files that are not text.
var binary = map[string]bool{".png": true, ".ico": true, ".sum": true}

func TestStrayWords(t *testing.T) {
	files(t, func(name string) {
		if binary[path.Ext(name)] {
			return
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			for what, pattern := range stray {
				if found := pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %s: %q", name, i+1, what, strings.TrimSpace(found))
				}
			}
		}
	})
}

var (
	link       = regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)]*)?\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unspoken   = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	makeTarget = regexp.MustCompile("(?m)(?:^ +|`)make ([a-z0-9]+)")
	defined    = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
)

// What the documents point to is there: files, and targets of make.
func TestDocuments(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range defined.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	documents := 0
	files(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		documents++
		text := read(t, name)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := filepath.Join(root, filepath.FromSlash(path.Join(path.Dir(name), m[1])))
			if _, err := os.Stat(target); m[1] != "" && err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
				continue
			}
			page := path.Join(path.Dir(name), m[1])
			if m[1] == "" {
				page = name
			}
			if m[2] != "" && path.Ext(page) == ".md" && !slices.Contains(anchors(read(t, page)), m[2]) {
				t.Errorf("%s: there is no %s in %s", name, m[2], page)
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s: there is no `make %s`", name, m[1])
			}
		}
	})
	if documents == 0 {
		t.Error("found no document: the walk is wrong")
	}
}

// anchors are the ones of a document's headings, as GitHub makes them.
func anchors(text string) (list []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		list = append(list, "#"+strings.ReplaceAll(unspoken.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}

// Every document stands in the index.
func TestIndex(t *testing.T) {
	index := read(t, "docs/README.md")
	files(t, func(name string) {
		if rest, ok := strings.CutPrefix(name, "docs/"); ok && path.Ext(name) == ".md" && !strings.Contains(rest, "/") && rest != "README.md" {
			if !strings.Contains(index, "]("+rest+")") {
				t.Errorf("docs/README.md does not name %s", rest)
			}
		}
	})
}

// Every target of make says what it does, for `make help`, and is no file.
func TestMakeTargets(t *testing.T) {
	text := read(t, "Makefile")
	for _, m := range defined.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, "\n.PHONY: "+m[1]+"\n") {
			t.Errorf("make %s is not .PHONY", m[1])
		}
		if !regexp.MustCompile(`(?m)^` + m[1] + `:.*## .`).MatchString(text) {
			t.Errorf("make %s has no description", m[1])
		}
	}
}

// Scripts can be run as they stand.
func TestScripts(t *testing.T) {
	files(t, func(name string) {
		text := read(t, name)
		if !strings.HasPrefix(text, "#!") {
			return
		}
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s can't be executed", name)
		}
		if !strings.Contains(text, "set -eu") && strings.HasPrefix(text, "#!/bin/sh") {
			t.Errorf("%s does not stop at errors: set -eu", name)
		}
	})
}
