package repo

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says which packages of ours a package may import; "internal/..." is every internal one. A package that
// is not here has no rule yet, and the test asks for one.
var mayImport = map[string][]string{
	"ring":   {"internal/topic"},
	"leg":    {"internal/position"},
	"stream": {"internal/anycable", "internal/fault", "internal/position", "internal/topic"},
	"gossip": {"ring"},
	// They import neither each other nor gossip: they are handed func() *ring.Ring.
	"router":  {"ring", "leg", "internal/..."},
	"gateway": {"ring", "leg", "stream", "gateway/auth", "internal/..."},
	// It knows no sessions.
	"gateway/auth":        {"gateway/auth/apprpc", "internal/topic"},
	"gateway/auth/apprpc": {},

	"internal/admission":       {},
	"internal/anteroom":        {"internal/eventloop"},
	"internal/anycable":        {},
	"internal/topic":           {},
	"internal/backoff":         {},
	"internal/topiclog":        {"internal/position"},
	"internal/topicrule":       {"internal/topic"},
	"internal/tally":           {"leg", "ring"},
	"internal/fault":           {},
	"internal/position":        {},
	"internal/wsframe":         {},
	"internal/eventloop":       {},
	"internal/config":          {},
	"internal/handover":        {},
	"internal/load":            {"internal/backoff", "internal/eventloop", "internal/topic", "internal/wsframe"},
	"internal/load/bench":      {"internal/load"},
	"internal/bridge":          {"internal/eventloop"},
	"internal/certs":           {},
	"internal/metrics":         {},
	"internal/safelog":         {},
	"internal/tlscert":         {"internal/certs"},
	"internal/origin":          {},
	"internal/admin/page":      {"internal/webfiles"},
	"internal/admin/dashboard": {"internal/webfiles"},
	"internal/webfiles":        {},
	"internal/look":            {},
	"internal/progress":        {"internal/look"},
	"internal/admin":           {"ring", "internal/admin/dashboard", "internal/anycable", "internal/backoff", "internal/certs", "internal/look", "internal/metrics", "internal/openapi", "internal/position", "internal/tally", "internal/topic"},
	"internal/openapi":         {},
	"internal/openapi/conform": {"internal/openapi"},
	"internal/httphead":        {},
	"internal/conformance":     {},

	"internal/netlab":      {},
	"internal/docs":        {"internal/testcluster"},
	"internal/repo":        {"internal/config"},
	"internal/testcluster": {"internal/position"},
	"internal/e2e":         {"internal/position", "internal/testcluster"},
	"internal/observe":     {},

	"cmd/ringside":             {"client/go", "ring", "leg", "stream", "gossip", "router", "gateway", "gateway/auth", "internal/..."},
	"scripts/bench":            {"internal/...", "stream"},
	"scripts/guard":            {"internal/look"},
	"scripts/peers/anycable":   {}, // a module of its own
	"scripts/peers/centrifuge": {}, // a module of its own
	"scripts/page":             {"internal/docs", "internal/testcluster"},
	"scripts/rehome":           {"internal/..."},
	"scripts/storm":            {"internal/..."},
	"client/go":                {"internal/backoff"},
	// A module of its own.
	"deploy/manifests": {},
	"deploy/check":     {"deploy/manifests"},
	"deploy/topology":  {"deploy/manifests", "internal/netlab", "internal/testcluster"},
	"scripts/scale":    {"internal/...", "gossip", "ring"},
	"scripts/chaos":    {"internal/..."},
}

// onlyIn says which packages may import a library outside of tests; a name that ends with a slash stands for all below
// it.
var onlyIn = map[string][]string{
	"github.com/hashicorp/memberlist":         {"gossip"},
	"github.com/redis/rueidis":                {"stream"},
	"github.com/fasthttp/websocket":           {"client/go", "gateway", "cmd/ringside", "internal/testcluster", "internal/e2e", "scripts/"},
	"github.com/pires/go-proxyproto":          {"router"},
	"golang.org/x/crypto":                     {"internal/tlscert"},
	"github.com/alicebob/miniredis/v2":        {"cmd/ringside"},
	"github.com/alecthomas/kong":              {"internal/config", "cmd/ringside"},
	"github.com/golang-jwt/jwt/v5":            {"gateway/auth"},
	"github.com/MicahParks/jwkset":            {"gateway/auth"},
	"github.com/sony/gobreaker/v2":            {"gateway/auth"},
	"google.golang.org/grpc":                  {"gateway/auth", "gateway/auth/apprpc"},
	"gopkg.in/yaml.v3":                        {"internal/config", "internal/load", "internal/openapi", "internal/topicrule"},
	"github.com/getkin/kin-openapi":           {"internal/openapi/conform"},
	"github.com/HdrHistogram/hdrhistogram-go": {"internal/load", "internal/load/bench", "scripts/"},
	"github.com/jotaen/kong-completion":       {"cmd/ringside"},
	"github.com/vbauerster/mpb/v8":            {"internal/progress"},
	"github.com/vbauerster/cupwriter":         {"internal/progress"},
	"golang.org/x/term":                       {"internal/look"},
	"gonum.org/v1/plot":                       {"scripts/"},
	"golang.org/x/sys":                        {"internal/eventloop"}, // and files called *_linux.go
}

// testHelpers are packages that any test may import.
var testHelpers = []string{"internal/testcluster", "internal/redistest", "internal/conformance", "internal/docs", "internal/openapi/conform"}

func TestImports(t *testing.T) {
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		rule, known := mayImport[f.pkg]
		used[f.pkg] = true
		if !known {
			t.Errorf("%s: %s has no import rule: add one to mayImport", f.name, f.pkg)
			continue
		}
		for _, spec := range f.ast.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, isOurs := strings.CutPrefix(target, module+"/")
			switch {
			case isOurs && !allowed(f, rule, ours):
				t.Errorf("%s: %s may not import %s; it may import %q", f.name, f.pkg, ours, rule)
			case !isOurs && !f.test:
				checkLibrary(t, f, target)
			}
		}
	}
	for pkg := range mayImport {
		if !used[pkg] {
			t.Errorf("mayImport has a rule for %s, which is not there", pkg)
		}
	}
}

func allowed(f goFile, rule []string, target string) bool {
	if slices.Contains(rule, target) || target == f.pkg {
		return true
	}
	if f.test && slices.Contains(testHelpers, target) {
		return true
	}
	return slices.Contains(rule, "internal/...") && strings.HasPrefix(target, "internal/")
}

func checkLibrary(t *testing.T, f goFile, target string) {
	t.Helper()
	for library, pkgs := range onlyIn {
		if target != library && !strings.HasPrefix(target, library+"/") {
			continue
		}
		if library == "golang.org/x/sys" && strings.HasSuffix(f.name, "_linux.go") {
			continue
		}
		if !slices.ContainsFunc(pkgs, func(p string) bool { return f.pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(f.pkg, p) }) {
			t.Errorf("%s: only %q may import %s", f.name, pkgs, library)
		}
	}
}
