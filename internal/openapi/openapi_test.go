package openapi_test

import (
	"encoding/json"
	"testing"

	"github.com/ringside-edge/ringside/internal/openapi"
	"github.com/ringside-edge/ringside/internal/openapi/conform"
)

// The description is one: it follows OpenAPI 3.1, references and examples included.
func TestDescription(t *testing.T) {
	doc, err := conform.Description()
	if err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths.Map()) < 15 {
		t.Errorf("got OpenAPI %s with %d paths", doc.OpenAPI, len(doc.Paths.Map()))
	}
}

// The JSON has all that the YAML has.
func TestJSON(t *testing.T) {
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Paths, Components map[string]map[string]any }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	doc, err := conform.Description()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if m := map[string]string{"GET": "get", "PUT": "put", "POST": "post", "DELETE": "delete", "OPTIONS": "options"}[method]; got.Paths[path][m] == nil {
				t.Errorf("it has no %s of %s", method, path)
			}
		}
	}
	if len(got.Components["schemas"]) != len(doc.Components.Schemas) {
		t.Errorf("it has %d schemas, want %d", len(got.Components["schemas"]), len(doc.Components.Schemas))
	}
}
