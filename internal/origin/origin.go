// Package origin decides which pages a browser may open sessions from. A browser says in Origin of which site a page is, and sends
// the user's cookies whatever site that is: where cookies authenticate, the list of sites is what keeps others out. Programs
// that are no browsers send no Origin, and are not its business.
package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// List is the origins that are allowed. The nil List allows all. It is immutable and safe for concurrent use.
type List struct {
	exact   map[string]bool
	domains []domain
}

// domain is a pattern https://*.example.com:8443.
type domain struct{ scheme, suffix string } // "https://", ".example.com:8443"

const (
	maxOrigins = 1000
	maxOrigin  = 512 // bytes
)

// Parse reads origins: https://shop.example with its port where that is not the scheme's own, https://*.shop.example for all below
// it, null for pages without one (files, sandboxes), * for all. An empty list allows all.
func Parse(list []string) (*List, error) {
	if len(list) > maxOrigins {
		return nil, fmt.Errorf("%d origins, %d are the most", len(list), maxOrigins)
	}
	l := &List{exact: make(map[string]bool)}
	all := len(list) == 0
	for _, text := range list {
		text = strings.ToLower(strings.TrimSpace(text))
		switch text {
		case "*":
			all = true
			continue
		case "null":
			l.exact[text] = true
			continue
		}
		if err := l.add(text); err != nil {
			return nil, fmt.Errorf("%.100q: %w: want https://shop.example, https://*.shop.example, null or *", text, err)
		}
	}
	if all {
		return nil, nil //nolint:nilnil // it allows all
	}
	return l, nil
}

func (l *List) add(text string) error {
	scheme, host, ok := strings.Cut(text, "://")
	if !ok || scheme == "" || host == "" {
		return errors.New("it is not an origin")
	}
	rest, wild := strings.CutPrefix(host, "*.")
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Host != rest || u.Hostname() == "" || strings.Contains(rest, "*") || len(text) > maxOrigin {
		return errors.New("it is not an origin")
	}
	if port := u.Port(); scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return errors.New("browsers leave out the port that is the scheme's own")
	}
	if wild {
		if !strings.Contains(u.Hostname(), ".") {
			return errors.New("it stands for a whole top-level domain")
		}
		l.domains = append(l.domains, domain{scheme + "://", "." + rest})
		return nil
	}
	l.exact[text] = true
	return nil
}

// All reports whether every origin is allowed.
func (l *List) All() bool { return l == nil }

// Allows reports whether a page of an origin may open a session; origin is the header's value, empty where there is none.
func (l *List) Allows(origin string) bool {
	if l == nil || origin == "" {
		return true
	}
	if len(origin) > maxOrigin {
		return false
	}
	origin = strings.ToLower(origin)
	if l.exact[origin] {
		return true
	}
	for _, d := range l.domains {
		if host, ok := strings.CutPrefix(origin, d.scheme); ok && len(host) > len(d.suffix) && strings.HasSuffix(host, d.suffix) &&
			!strings.ContainsAny(host[:len(host)-len(d.suffix)], "/:@[]?#\\") {
			return true
		}
	}
	return false
}

// Preflight is what answers a browser's question whether a page of an allowed origin may ask for an event stream with a token or a
// position in its head (Fetch, section 3.3.5, "CORS protocol and HTTP caches"); ok is false when method is another than GET, which nobody
// may.
func (l *List) Preflight(origin, method string) (headers [][2]string, ok bool) {
	if method != "GET" {
		return nil, false
	}
	return append(l.Headers(origin), [2]string{"Access-Control-Allow-Methods", "GET"},
		[2]string{"Access-Control-Allow-Headers", "Authorization, Last-Event-ID, Cache-Control"}, [2]string{"Access-Control-Max-Age", "600"}), true
}

// Headers are what an answer to a page of an allowed origin says, so that its script may read it; nil for none. Only with a list are
// cookies let in.
func (l *List) Headers(origin string) [][2]string {
	switch {
	case l == nil:
		return [][2]string{{"Access-Control-Allow-Origin", "*"}}
	case origin == "" || !l.Allows(origin):
		return [][2]string{{"Vary", "Origin"}}
	}
	return [][2]string{{"Access-Control-Allow-Origin", origin}, {"Access-Control-Allow-Credentials", "true"}, {"Vary", "Origin"}}
}
