package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/ringside-edge/ringside/internal/openapi/conform"
	"github.com/ringside-edge/ringside/internal/topic"
)

// The description of the API has all routes with the methods that they take, and no others.
func TestRoutesAreDescribed(t *testing.T) {
	doc, err := conform.Description()
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, rt := range start(t, "r1", false, nil).routes() {
		want := slices.Clone(rt.methods)
		if want == nil {
			want = []string{http.MethodGet, http.MethodHead}
		}
		found := false
		for path, item := range doc.Paths.Map() {
			if path != rt.path && (rt.path == "/" || !strings.HasSuffix(rt.path, "/") || !strings.HasPrefix(path, rt.path+"{")) {
				continue
			}
			found, described[path] = true, true
			if got := methodsOf(item); !slices.Equal(got, slices.DeleteFunc(slices.Sorted(slices.Values(want)), func(m string) bool { return m == http.MethodHead })) {
				t.Errorf("%s is described with %v, and takes %v", path, got, want)
			}
		}
		if !found {
			t.Errorf("%s is not described", rt.path)
		}
	}
	for path, item := range doc.Paths.Map() {
		if len(item.Servers) == 0 && !described[path] { // with servers of its own it is of the public port
			t.Errorf("%s is described, and nothing serves it", path)
		}
	}
}

// methodsOf are the methods of a path. HEAD, which is where GET is, the description names once for all.
func methodsOf(item *openapi3.PathItem) (list []string) {
	for m := range item.Operations() {
		list = append(list, m)
	}
	slices.Sort(list)
	return list
}

// It has all reasons of refusals.
func TestReasonsAreDescribed(t *testing.T) {
	doc, err := conform.Description()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(refusalReasons)
	for _, r := range topic.Reasons {
		want = append(want, "topic_"+r)
	}
	var got []string
	for _, v := range doc.Components.Schemas["Reason"].Value.Enum {
		got = append(got, v.(string))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want, in this order, %v", got, want)
	}
}

// Every admin port has the description, for everybody.
func TestDescriptionIsServed(t *testing.T) {
	p := startTrusting(t, Trust{Admins: tokens(t, false, adminToken)})
	a := p.do(t, "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 200 || doc.OpenAPI != "3.1.0" || doc.Paths["/publish"] == nil {
		t.Errorf("got %d %.100s, %v", a.status, a.body, err)
	}
	if a := p.do(t, "GET", "/openapi.yaml", ""); a.status != 200 || !strings.HasPrefix(a.body, "openapi: 3.1.0\n") {
		t.Errorf("got %d %.100s", a.status, a.body)
	}
	if a := p.do(t, "GET", "/openapi.json?x=1", ""); a.status != 400 {
		t.Errorf("with a query: got %d", a.status)
	}
}

// What conform holds can fail: each of these is not as the description says.
func TestConformFindsOut(t *testing.T) {
	f := func(method, path string, status int, kind, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conform.Answer(req, status, http.Header{"Content-Type": {kind}}, []byte(body)); err == nil {
			t.Errorf("%s %s: %d %s passes", method, path, status, body)
		}
	}
	const kind = "application/json"
	f("POST", "/publish", 200, kind, `{"topic":"x","slot":1}`)
	f("POST", "/publish", 200, kind, `{"topic":"x","slot":1,"position":"6f1c22aa-1-0","more":1}`)
	f("POST", "/publish", 204, kind, ``)
	f("POST", "/publish/a/b", 418, kind, `{"error":"json","message":"x"}`)
	f("POST", "/publish/a", 400, kind, `{"error":"something","message":"x"}`)
	f("GET", "/healthz", 200, "text/plain", `ok`)
	f("GET", "/ring", 200, kind, `{"node":"r1","version":"1","slots":256,"members":[{"id":"g1"}]}`)
	f("GET", "/cluster", 200, kind, `{"self":"a"}`)
}
