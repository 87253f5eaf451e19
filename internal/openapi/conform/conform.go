// Package conform holds requests and answers against the description of the HTTP API, for tests.
package conform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/ringside-edge/ringside/internal/openapi"
)

// load reads the description once; it is not changed afterwards.
//
//nolint:gochecknoglobals // a constant in all but name
var load = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.YAML())
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

// Description is the description. The error says why it is none.
func Description() (*openapi3.T, error) { return load() }

// Find is the path of the description that a request belongs to; empty when there is none. A parameter at the end takes what is left of the
// path, slashes included.
func Find(doc *openapi3.T, path string) string {
	if doc.Paths.Value(path) != nil {
		return path
	}
	for _, p := range doc.Paths.InMatchingOrder() {
		if head, _, ok := strings.Cut(p, "{"); ok && strings.HasPrefix(path, head) {
			return p
		}
	}
	return ""
}

// Answer says what is wrong with an answer: it has a status, a header or a body that the description does not have. Nothing is wrong with the
// answer to a request for a path that the description does not have, or by a method that the path does not take.
func Answer(req *http.Request, status int, header http.Header, body []byte) error {
	input, err := inputOf(req, nil)
	if input == nil || err != nil {
		return err
	}
	if req.Method == http.MethodHead {
		body = nil
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, ExcludeResponseBody: len(body) == 0},
	})
	if err != nil {
		return fmt.Errorf("%s %s: %d %.300q is not as the description says: %s", req.Method, req.URL.Path, status, body, brief(err))
	}
	return nil
}

// brief leaves out of an error the schemas and values that the library repeats in it.
func brief(err error) string {
	var said []string
	for line := range strings.Lines(err.Error()) {
		if line[0] != ' ' && !strings.HasPrefix(line, "Schema:") && !strings.HasPrefix(line, "Value:") && strings.TrimSpace(line) != "" {
			said = append(said, strings.TrimSpace(line))
		}
	}
	return strings.Join(said, "; ")
}

// Request says what is wrong with a request.
func Request(req *http.Request, body []byte) error {
	input, err := inputOf(req, body)
	if err != nil {
		return err
	}
	if input == nil {
		return fmt.Errorf("the description has no %s %s", req.Method, req.URL.Path)
	}
	return openapi3filter.ValidateRequest(context.Background(), input)
}

// inputOf is a request as the library wants it; nil when the description has none of its kind.
func inputOf(req *http.Request, body []byte) (*openapi3filter.RequestValidationInput, error) {
	doc, err := Description()
	if err != nil {
		return nil, err
	}
	path := Find(doc, req.URL.EscapedPath())
	if path == "" {
		return nil, nil
	}
	item := doc.Paths.Value(path)
	method := req.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op := item.GetOperation(method)
	if op == nil {
		return nil, nil
	}
	params := map[string]string{}
	if head, name, ok := strings.Cut(path, "{"); ok {
		params[strings.TrimSuffix(name, "}")] = strings.TrimPrefix(req.URL.Path, head)
	}
	copied := req.Clone(context.Background())
	copied.Body = io.NopCloser(bytes.NewReader(body))
	return &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: params,
		Route:   &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}, nil
}
