package topiclog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
)

type item struct {
	id   uint64
	size int
}

func (i item) ID() position.ID { return position.ID{Ms: i.id} }
func (i item) Size() int       { return i.size }

// TestLog holds a log against a slice of all that was ever appended.
func TestLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Log[item]
		all := map[uint64]item{} // by index
		base, last := uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "n") {
					last += uint64(rapid.IntRange(0, 2).Draw(t, "step"))
					e := item{last, rapid.IntRange(0, 9).Draw(t, "size")}
					all[l.Next()] = e
					l.Append(e)
				}
			},
			"drop": func(t *rapid.T) {
				for n := rapid.IntRange(0, 100).Draw(t, "n"); n > 0 && l.Len() > 0; n-- {
					want := all[l.First]
					if got := l.DropFirst(); got != want {
						t.Fatalf("dropped %v, want %v", got, want)
					}
					base = want.id
				}
			},
			"restart": func(t *rapid.T) {
				next, were := l.Next(), slices.Clone(l.Since(l.First, l.Len()))
				base, last = 1000, 1000
				if got := l.Restart(position.ID{Ms: base}); !slices.Equal(got, were) {
					t.Fatalf("it gives back %v, want %v", got, were)
				}
				if l.First <= next || l.Len() != 0 {
					t.Fatalf("a cursor at %d does not find itself before %d", next, l.First)
				}
			},
			"new epoch": func(*rapid.T) {
				base, last = 0, 0
				l.NewEpoch(position.ID{})
			},
			"": func(t *rapid.T) {
				bytes := 0
				for i := l.First; i < l.Next(); i++ {
					bytes += all[i].size
					if got := l.Since(i, 1); len(got) != 1 || got[0] != all[i] {
						t.Fatalf("at %d: got %v, want %v", i, got, all[i])
					}
				}
				if l.Bytes != bytes {
					t.Fatalf("it has %d bytes, want %d", l.Bytes, bytes)
				}
				for id := uint64(0); id <= last; id++ {
					want := l.Next()
					for i := max(l.First, l.EpochAt); i < l.Next(); i++ {
						if all[i].id > id {
							want = i
							break
						}
					}
					if got, ok := l.Seek(position.ID{Ms: id}); ok != (id >= base) || ok && got != want {
						t.Fatalf("behind %d: got %d, %v, want %d; base %d", id, got, ok, want, base)
					}
				}
			},
		})
	})
}
