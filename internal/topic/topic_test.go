package topic

import (
	"crypto/sha1" //nolint:gosec // see Slot
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"testing"
)

func reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestValidate(t *testing.T) {
	f := func(topic, want string) {
		t.Helper()
		if got := reason(Validate(topic)); got != want {
			t.Errorf("%q: got %q, want %q", topic, got, want)
		}
	}
	f("finals", "")
	f("final/2026: Köln – Ñandú 🏆", "")
	f(strings.Repeat("x", MaxLen), "")
	f("", "empty")
	f(strings.Repeat("x", MaxLen+1), "too_long")
	f("a\nb", "control")
	f("a\x00", "control")
	f("a\x7f", "control")
	f("a\u0085", "control")
	f("a\u2028b", "control")
	f("a\u200bb", "control")
	f("a\u202eb", "control")
	f("a\ue000", "control")      // private use
	f("a\U000e0fffb", "control") // not assigned
	f("a\u00a0b", "")
	f("a\ufffd", "")
	f("\xff", "utf8")
	f("a\xc3", "utf8")
}

func TestFromURI(t *testing.T) {
	f := func(uri, topic, want string) {
		t.Helper()
		got, err := FromURI(uri)
		if reason(err) != want || err == nil && got != topic {
			t.Errorf("%q: got %q, %v, want %q %q", uri, got, err, topic, want)
		}
	}
	f("/t/finals", "finals", "")
	f("/t/finals?since=1", "finals", "")
	f("/t/a/b/../c", "a/b/../c", "")
	f("/t/a%2Fb%20c+d", "a/b c+d", "")
	f("/t/K%C3%B6ln", "Köln", "")
	f("/?topic=finals", "finals", "")
	f("/socket?x=1&topic=a+b%2B&y", "a b+", "")
	f("/t/a?topic=a", "a", "")
	f("/?to%70ic=a", "a", "")
	f("/t/a#b?topic=c", "a", "")
	f("/?topic=a#b&topic=c", "a", "")
	f("/t/a%23b", "a#b", "")
	f("http://example.com/t/a", "", "missing") // not the origin form
	f("/%74/a", "", "missing")
	f("/", "", "missing")
	f("/t", "", "missing")
	f("/x?topics=a", "", "missing")
	f("", "", "missing")
	f("/t/", "", "empty")
	f("/?topic=", "", "empty")
	f("/?topic", "", "empty")
	f("/t/?topic=a", "", "conflict")
	f("/t/a?topic=b", "", "conflict")
	f("/?topic=a&topic=a", "", "repeated")
	f("/t/%zz", "", "escape")
	f("/t/a%", "", "escape")
	f("/?topic=%f", "", "escape")
	f("/t/%0a", "", "control")
	f("/t/%ff", "", "utf8")
	f("/t/"+strings.Repeat("x", 256), "", "too_long")
}

func TestSlot(t *testing.T) {
	f := func(topic string, want int) {
		t.Helper()
		if got := Slot(topic); got != want {
			t.Errorf("%q: got %d, want %d", topic, got, want)
		}
	}
	// printf %s finals | sha1sum | cut -c1-2
	f("finals", 0xc6)
	f("", 0xda)
	for _, topic := range []string{"a", "finals", strings.Repeat("y", MaxLen), strings.Repeat("y", MaxLen+1)} {
		sum := sha1.Sum([]byte(topic)) //nolint:gosec // see Slot
		f(topic, int(binary.BigEndian.Uint32(sum[:4])>>24))
	}
	for _, topic := range []string{"finals", strings.Repeat("y", MaxLen)} {
		if n := testing.AllocsPerRun(100, func() { Slot(topic) }); n != 0 {
			t.Errorf("Slot of %d bytes: got %v allocations, want 0", len(topic), n)
		}
	}
}

func BenchmarkSlot(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Slot("finals")
	}
}

func FuzzFromURI(f *testing.F) {
	for _, s := range []string{"/t/finals", "/?topic=a%20b", "/t/a?topic=b", "/t/%zz", "/t/\xff", "/?topic=a&topic=b",
		"/t/a/b/../c%2F%3F%23", "/x?since=1&to%70ic=K%C3%B6ln+2", "/t/%00", "/t/a#b?topic=c", "/t/%F0%9F%8F%86"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		topic, err := FromURI(uri)
		if err != nil {
			if reason(err) == "" {
				t.Errorf("%q: an error without a reason: %v", uri, err)
			}
			return
		}
		if err := Validate(topic); err != nil {
			t.Errorf("%q: accepted %q: %v", uri, topic, err)
		}
		for _, again := range []string{"/t/" + url.PathEscape(topic), "/?topic=" + url.QueryEscape(topic)} {
			if got, err := FromURI(again); err != nil || got != topic {
				t.Errorf("%q: got %q, %v, want %q", again, got, err, topic)
			}
		}
	})
}
