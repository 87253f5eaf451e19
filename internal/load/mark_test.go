package load

import (
	"encoding/json"
	"testing"
	"time"
)

func TestPayloadCarriesItsMark(t *testing.T) {
	due := time.Unix(1763900000, 123456789)
	f := func(size, want int) {
		t.Helper()
		p := payload("0000beef", 77, due, size)
		if len(p) != want || !json.Valid([]byte(p)) {
			t.Errorf("size %d: got %d bytes, want %d of JSON: %s", size, len(p), want, p)
		}
		quoted, err := json.Marshal("before " + p) // as servers do that put JSON in a string
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{p, string(quoted)} {
			m, rest, ok := nextMark([]byte(text), markPrefix("0000beef"))
			if !ok || m.number != 77 || m.due != due.UnixNano() {
				t.Errorf("size %d: got %+v, %v", size, m, ok)
			}
			if _, _, again := nextMark(rest, markPrefix("0000beef")); again {
				t.Errorf("size %d: the mark was found twice", size)
			}
		}
		if _, _, ok := nextMark([]byte(p), markPrefix("0000beee")); ok {
			t.Error("the mark of another run was found")
		}
	}
	f(0, LeastSize)
	f(LeastSize, LeastSize)
	f(55, 55)
	f(200, 200)
	f(5000, 5000)
}

func TestNextMark(t *testing.T) {
	good := payload("0000beef", 1, time.Unix(0, 1), 0)
	f := func(text string, want int) {
		t.Helper()
		got := 0
		for rest := []byte(text); ; got++ {
			_, more, ok := nextMark(rest, markPrefix("0000beef"))
			if !ok {
				break
			}
			rest = more
		}
		if got != want {
			t.Errorf("%q: got %d marks, want %d", text, got, want)
		}
	}
	f("", 0)
	f(good, 1)
	f(good+good, 2)
	f("~0000beef."+good, 1)
	f("~0000beef.zzzzzzzz.0000000000000001~"+good, 1)
	f("~0000beef.00000001.000000000000000z~", 0)
	f("~0000beef.00000001.0000000000000001", 0)
	f("~0000beef.00000001-0000000000000001~", 0)
}

func TestTrack(t *testing.T) {
	f := func(fresh bool, numbers []uint32, want track) {
		t.Helper()
		got := track{fresh: fresh}
		for _, n := range numbers {
			if n == 0 { // it was away
				got.fresh = true
				continue
			}
			got.note(n)
		}
		got.window = 0
		if got != want {
			t.Errorf("%v: got %+v, want %+v", numbers, got, want)
		}
	}
	f(false, []uint32{1, 2, 3}, track{last: 3, got: 3})
	f(false, []uint32{3}, track{last: 3, got: 1, missing: 2})
	f(true, []uint32{3, 4}, track{last: 4, got: 2})
	f(false, []uint32{1, 1}, track{last: 1, got: 1, repeated: 1})
	f(false, []uint32{1, 3, 2}, track{last: 3, got: 3, disordered: 1})
	f(false, []uint32{1, 3, 2, 2, 3}, track{last: 3, got: 3, disordered: 1, repeated: 2})
	f(false, []uint32{1, 100, 2}, track{last: 100, got: 3, missing: 97, disordered: 1})
	f(false, []uint32{1, 0, 5}, track{last: 5, got: 2, away: 3})
	f(false, []uint32{1, 2, 5, 0, 9}, track{last: 9, got: 4, missing: 2, away: 3})
}

func BenchmarkNextMark(b *testing.B) {
	p := []byte(`{"type":"message","topic":"finals","id":"6f1c22aa-1763900000000-0","data":` + payload("0000beef", 77, time.Now(), 200) + "}")
	prefix := markPrefix("0000beef")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := nextMark(p, prefix); !ok {
			b.Fatal("not found")
		}
	}
}
