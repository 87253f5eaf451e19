package safelog

import (
	"strings"
	"testing"
)

// FuzzClean holds that whatever a text is, what is left of it can be printed, is not longer than it may be, and is the same when it is cleaned once more.
func FuzzClean(f *testing.F) {
	for _, s := range hostile {
		f.Add(s[:min(len(s), 100)], 50)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = min(max(most, 0), maxText)
		got := clean(s, most)
		text, cut, _ := strings.Cut(got, "… (")
		if !printable(got) || len(text) > most && cut == "" || len(got) > most+len("… (9223372036854775807 bytes)") {
			t.Fatalf("%q at %d became %q", s, most, got)
		}
		if len(got) <= most && clean(got, most) != got {
			t.Fatalf("%q became %q, and then %q", s, got, clean(got, most))
		}
	})
}
