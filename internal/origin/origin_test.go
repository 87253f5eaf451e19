package origin

import (
	"strings"
	"testing"
)

func TestAllows(t *testing.T) {
	l, err := Parse([]string{"https://shop.example", "https://*.Shop.example", "http://localhost:3000", "https://*.dev.example:8443", "null"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(origin string, want bool) {
		t.Helper()
		if got := l.Allows(origin); got != want {
			t.Errorf("%q: got %v", origin, got)
		}
	}
	f("", true)
	f("https://shop.example", true)
	f("HTTPS://SHOP.example", true)
	f("http://shop.example", false)
	f("https://shop.example:8443", false)
	f("https://shop.example.evil.example", false)
	f("https://evilshop.example", false)
	f("https://a.shop.example", true)
	f("https://a.b.shop.example", true)
	f("https://.shop.example", false)
	f("https://evil.example/.shop.example", false)
	f("https://evil.example?.shop.example", false)
	f("https://evil.example:1.shop.example", false)
	f("https://user@a.shop.example", false)
	f("http://localhost:3000", true)
	f("http://localhost", false)
	f("https://x.dev.example:8443", true)
	f("https://x.dev.example", false)
	f("null", true)
	f("https://"+strings.Repeat("a", 1000)+".shop.example", false)
	f("nonsense", false)
	if all, err := Parse([]string{"https://a.example", "*"}); err != nil || !all.Allows("https://b.example") || !all.All() {
		t.Errorf("*: %v", err)
	}
	if none, err := Parse(nil); err != nil || !none.Allows("null") {
		t.Errorf("no list: %v", err)
	}
	if few, _ := Parse([]string{"https://a.example"}); few.Allows("null") || few.All() {
		t.Error("null is allowed")
	}
}

func TestRefused(t *testing.T) {
	for _, s := range []string{
		"", "shop.example", "https://", "https://shop.example/", "https://shop.example/path", "https://*", "https://*.example", "https://a.*.example",
		"https://user@shop.example", "https://shop.example:443", "http://shop.example:80", "https://shop example", "*.shop.example",
	} {
		if _, err := Parse([]string{s}); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
	if _, err := Parse(make([]string, maxOrigins+1)); err == nil {
		t.Error("too many: no error")
	}
}

func TestHeaders(t *testing.T) {
	l, _ := Parse([]string{"https://shop.example"})
	f := func(l *List, origin, want string) {
		t.Helper()
		var got []string
		for _, h := range l.Headers(origin) {
			got = append(got, h[0]+"="+h[1])
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: got %q, want %q", origin, s, want)
		}
	}
	f(nil, "https://shop.example", "Access-Control-Allow-Origin=*")
	f(nil, "", "Access-Control-Allow-Origin=*")
	f(l, "", "Vary=Origin")
	f(l, "https://evil.example", "Vary=Origin")
	f(l, "https://shop.example", "Access-Control-Allow-Origin=https://shop.example Access-Control-Allow-Credentials=true Vary=Origin")
}
