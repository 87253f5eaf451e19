package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/template"
)

// ownSections are the sections of docs/BENCHMARKS.md that are written by themselves, by the line that each begins with, in
// the order in which they stand behind the others.
func ownSections() []string { return append([]string{handshakesBegin, peersBegin}, redisSections()...) }

// cutSection takes the section that begins with a line out of a document: it goes to the next one of its level, or the end.
func cutSection(text, begin string) (rest, section string) {
	i := strings.Index("\n"+text, "\n"+begin+"\n")
	if i < 0 {
		return text, ""
	}
	section = text[i:]
	if j := strings.Index(section[len(begin):], "\n## "); j >= 0 {
		section = section[:len(begin)+j+1]
	}
	return text[:i] + text[i+len(section):], section
}

// withSections puts sections behind what a document has besides, in their order; those that the old document has and that are not
// written anew stay.
func withSections(text, old string, anew map[string]string) string {
	for _, begin := range ownSections() {
		var own string
		text, own = cutSection(text, begin)
		if _, kept := cutSection(old, begin); own == "" {
			own = kept
		}
		if s := anew[begin]; s != "" {
			own = s
		}
		if own = strings.TrimSpace(own); own != "" {
			text = strings.TrimRight(text, "\n") + "\n\n" + own + "\n"
		}
	}
	return text
}

// writeSection writes one section of a file anew, and leaves the rest as it is; "-" is the standard output.
func writeSection(out, begin, text string) error {
	if !slices.Contains(ownSections(), begin) {
		panic("BUG: bench: no such section: " + begin)
	}
	text = strings.TrimRight(text, "\n") + "\n"
	if out == "-" {
		fmt.Print(text)
		return nil
	}
	old, err := readOld(out)
	if err != nil {
		return err
	}
	say("writing %s", out)
	return os.WriteFile(out, []byte(withSections(old, old, map[string]string{begin: text})), 0o644)
}

// readOld is a file's text; empty when there is none.
func readOld(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(text), err
}

// render fills a template.
func render(text string, data any) (string, error) {
	funcs := template.FuncMap{"us": micros, "ms": millis, "mb": mb, "num": num, "nums": nums, "span": span}
	t, err := template.New("report").Funcs(funcs).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("cannot write the report: %w", err)
	}
	return b.String(), nil
}
