// Package openapi holds the description of the nodes' HTTP API, in OpenAPI 3.1: openapi.yaml, and its end, components.yaml. Every admin port
// serves it.
//
// Tests hold it true (see conform): it names all routes with their methods, and what nodes answer is as it says.
package openapi

import (
	_ "embed" // for the description
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var paths string

//go:embed components.yaml
var components string

// YAML is the description as it was written.
func YAML() []byte { return []byte(paths + components) }

// JSON is the same in JSON.
func JSON() ([]byte, error) {
	var v map[string]any
	if err := yaml.Unmarshal(YAML(), &v); err != nil {
		return nil, fmt.Errorf("the description of the API: %w", err)
	}
	return json.Marshal(v)
}
