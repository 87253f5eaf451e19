package stream

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// setting is a value as gossip writes them: when, and the rest.
func setting(at time.Time, rest string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())<<16), rest...)
}

func TestSettings(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		now := time.Now()
		old, later := setting(now.Add(-time.Hour), "z"), setting(now, "\x00\xff a")
		f := func(what string, keep, forget map[string][]byte, wantRefused int, want ...string) {
			t.Helper()
			all, refused, err := c.Settings(t.Context(), keep, forget)
			var got []string
			for _, name := range slices.Sorted(maps.Keys(all)) {
				got = append(got, name+string(all[name]))
			}
			if err != nil || refused != wantRefused || !slices.Equal(got, want) {
				t.Errorf("%s: got %q, %d refused, %v; want %q, %d", what, got, refused, err, want, wantRefused)
			}
		}
		f("nothing", nil, nil, 0)
		f("the first", map[string][]byte{"a": old, "b": later}, nil, 0, "a"+string(old), "b"+string(later))
		f("a later and an earlier one", map[string][]byte{"a": later, "b": old}, nil, 0, "a"+string(later), "b"+string(later))
		f("a longer one of the same time", map[string][]byte{"a": append(slices.Clone(later), 0)}, nil, 0, "a"+string(later)+"\x00", "b"+string(later))
		f("one from the future", map[string][]byte{"c": setting(now.Add(time.Hour), "")}, nil, 1, "a"+string(later)+"\x00", "b"+string(later))
		f("forgotten", nil, map[string][]byte{"a": later, "b": later}, 0, "a"+string(later)+"\x00")
		many := map[string][]byte{}
		for i := range maxSettings + 9 {
			many[strings.Repeat("x", i+1)] = old
		}
		if all, refused, err := c.Settings(t.Context(), many, nil); err != nil || refused != 10 || len(all) != maxSettings {
			t.Errorf("too many: got %d, %d refused, %v", len(all), refused, err)
		}
	})
}
