package topicrule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds of a file: what a person writes stays far below them.
const (
	maxFile     = 256 << 10 // bytes
	maxRules    = 1000
	maxPatterns = 256 // of one rule
	maxKey      = 64  // bytes of a field's name
)

// Load reads the rules in a file. Its errors name the file and the line.
func Load(path string) (*Rules, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules of topics: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules of topics: %w", err)
	}
	rules, err := Parse(filepath.Base(path), text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules of topics: %w", err)
	}
	return rules, nil
}

// Parse reads the rules in text. Its errors begin with name and the line.
func Parse(name string, text []byte) (*Rules, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d KiB", name, maxFile>>10)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return nil, fmt.Errorf("%s:%d: a second document: want one list of rules", name, more.Line)
	}
	r := &Rules{sum: checksum(text)}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) { // only comments
		return r, nil
	}
	root := doc.Content[0]
	switch {
	case root.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("%s:%d: want a list of rules, each `- topics: PATTERN` and settings", name, root.Line)
	case len(root.Content) > maxRules:
		return nil, fmt.Errorf("%s:%d: %d rules: want %d at most", name, root.Line, len(root.Content), maxRules)
	}
	for _, item := range root.Content {
		e, line, err := parseRule(item)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		r.list = append(r.list, e)
	}
	return r, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// field is something that a rule may have: set takes its value, or says on which line it is wrong.
type field struct {
	name string
	set  func(e *entry, v *yaml.Node) (line int, err error)
}

// fields are what a rule may have, in the order in which they are named to who writes another.
//
//nolint:gochecknoglobals // a table
var fields = []field{
	{"topics", setTopics},
	{"slow", setSlow},
	{"key", setKey},
	{"auth", setAuth},
}

// parseRule reads one rule; line is where an error is.
func parseRule(n *yaml.Node) (e entry, line int, err error) {
	if n.Kind != yaml.MappingNode {
		return e, n.Line, errors.New("want a rule: `topics:` with a pattern or a list of them, and settings")
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		switch {
		case at < 0:
			return e, key.Line, fmt.Errorf("unknown setting %.64q: want one of %s", key.Value, fieldNames())
		case seen[key.Value]:
			return e, key.Line, fmt.Errorf("%s: set twice", key.Value)
		}
		seen[key.Value] = true
		if line, err := fields[at].set(&e, value); err != nil {
			return e, line, fmt.Errorf("%s: %w", key.Value, err)
		}
	}
	switch {
	case !seen["topics"]:
		return e, n.Line, errors.New("the rule has no topics")
	case len(seen) == 1:
		return e, n.Line, errors.New("the rule sets nothing")
	case e.key != nil && e.slow != nil && *e.slow != SlowLatest:
		return e, n.Line, fmt.Errorf("key: means something with slow: %s only", SlowLatest)
	}
	return e, 0, nil
}

func fieldNames() string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

func setTopics(e *entry, v *yaml.Node) (line int, err error) {
	items := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		items = v.Content
	}
	if len(items) == 0 || len(items) > maxPatterns {
		return v.Line, fmt.Errorf("%d patterns: want 1 to %d", len(items), maxPatterns)
	}
	for _, item := range items {
		text, err := scalar(item)
		if err != nil {
			return item.Line, err
		}
		p, err := parsePattern(text)
		if err != nil {
			return item.Line, fmt.Errorf("pattern %.64q %w", text, err)
		}
		e.patterns = append(e.patterns, p)
	}
	return 0, nil
}

func setSlow(e *entry, v *yaml.Node) (line int, err error) {
	text, err := scalar(v)
	if err != nil {
		return v.Line, err
	}
	for s := range slows {
		if s.String() == text {
			e.slow = &s
			return 0, nil
		}
	}
	return v.Line, fmt.Errorf("%.64q: want %s, %s or %s", text, SlowGap, SlowLatest, SlowClose)
}

func setKey(e *entry, v *yaml.Node) (line int, err error) {
	text, err := scalar(v)
	switch {
	case err != nil:
		return v.Line, err
	case len(text) > maxKey:
		return v.Line, fmt.Errorf("%d bytes: want the name of a field, %d at most", len(text), maxKey)
	}
	e.key = &text
	return 0, nil
}

// scalar is the text of a plain value.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return "", errors.New("want a plain value")
	}
	return n.Value, nil
}
