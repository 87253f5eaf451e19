package dashboard

import (
	"io/fs"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The policy forbids what is inline or elsewhere, and nothing may be written as markup: the files must do without.
func TestPolicyFits(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)\son\w+\s*=|\sstyle\s*=|<style|<script[^>]*>[^<]|javascript:|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|https?://|localStorage|document\.cookie`)
	seen := 0
	err := fs.WalkDir(static, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".svg") {
			return err
		}
		seen++
		text, err := fs.ReadFile(static, path)
		rest := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := forbidden.FindString(rest); found != "" {
			t.Errorf("%s: %q", path, found)
		}
		return err
	})
	if err != nil || seen < 5 {
		t.Fatalf("looked at %d files: %v", seen, err)
	}
}

// Every file that a page names is there.
func TestFiles(t *testing.T) {
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Header().Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
		}
		return w
	}
	named := regexp.MustCompile(`(?:href|src)="(/dashboard/[^"]+)"|from '\./([a-z]+\.js)'`)
	for _, page := range []string{Base, Base + "app.js", Base + "show.js"} {
		found := named.FindAllStringSubmatch(get(page).Body.String(), -1)
		if len(found) == 0 {
			t.Errorf("%s names no file: the search is wrong", page)
		}
		for _, m := range found {
			if m[1] != "" {
				get(m[1])
			} else {
				get(Base + m[2])
			}
		}
	}
}
