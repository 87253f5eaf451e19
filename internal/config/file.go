package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile bounds what is read of a configuration file.
const maxFile = 1 << 20

// readFile reads a flat YAML mapping of names to scalars or lists of scalars.
func readFile(path string) (map[string]setting, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		err = errors.New("larger than 1 MiB: not a configuration file")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	settings, err := parseFile(filepath.Base(path), text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return settings, nil
}

func parseFile(name string, text []byte) (map[string]setting, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	settings := map[string]setting{}
	if len(doc.Content) == 0 { // only comments
		return settings, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines of `name: value`", name, root.Line)
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("%s:%d: %s", name, key.Line, key.Value)
		if _, twice := settings[key.Value]; twice {
			return nil, fmt.Errorf("%s: set twice", where)
		}
		value, err := scalars(node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		settings[key.Value] = setting{value: value, where: where}
	}
	return settings, nil
}

// scalars is the value of a node as it would stand on the command line: a list with commas between its items.
func scalars(node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", errors.New("has no value: give one, or remove the line")
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind != yaml.SequenceNode:
		return "", errors.New("want a value or a list of values")
	}
	var items []string
	for _, item := range node.Content {
		switch {
		case item.Kind != yaml.ScalarNode || item.Tag == "!!null":
			return "", fmt.Errorf("line %d: an item of a list must be a plain value", item.Line)
		case strings.Contains(item.Value, ","):
			return "", fmt.Errorf("line %d: an item of a list has no comma in it", item.Line)
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ","), nil
}
