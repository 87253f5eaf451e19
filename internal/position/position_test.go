package position

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	f := func(want string, p Position) {
		t.Helper()
		if got := p.String(); got != want {
			t.Errorf("String: got %s, want %s", got, want)
		}
		if got, err := Parse(want); err != nil || got != p {
			t.Errorf("Parse %s: got %+v, %v", want, got, err)
		}
	}
	f("00000000-0-0", Position{})
	f("6f1c22aa-1763900000000-0", Position{0x6f1c22aa, ID{1763900000000, 0}})
	f("ffffffff-18446744073709551615-18446744073709551615", Position{math.MaxUint32, ID{math.MaxUint64, math.MaxUint64}})
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "-", "1-0", "6f1c22aa", "6f1c22aa-", "6f1c22aa-1", "6f1c22aa-1-", "6f1c22aa--1", "6f1c22aa-1-0-0",
		"6F1C22AA-1-0", "6f1c22a-1-0", "6f1c22aab-1-0", "6f1c22ag-1-0", "6f1c22aa-01-0", "6f1c22aa-1-00", "6f1c22aa-+1-0",
		"6f1c22aa-1- 0", " 6f1c22aa-1-0", "6f1c22aa-1-0\n", "6f1c22aa-18446744073709551616-0", "6f1c22aa-1e3-0", "6f1c22aa-0x1-0",
	} {
		if p, err := Parse(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, p)
		}
	}
	for _, s := range []string{"", "1", "1-", "-1", "1-0-0", "01-0"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, id)
		}
	}
}

func genID(t *rapid.T) ID {
	g := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, math.MaxUint64}))
	return ID{g.Draw(t, "ms"), g.Draw(t, "seq")}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genID(t), genID(t)
		if a.Less(b) != (a.Compare(b) < 0) || a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("order of %v and %v", a, b)
		}
		if n := a.Next(); n != a && (!a.Less(n) || n.Prev() != a) {
			t.Fatalf("next of %v is %v", a, n)
		}
		if a.Less(b) && b.Less(a.Next()) {
			t.Fatalf("%v lies between %v and its next", b, a)
		}
		p := Position{rapid.Uint32().Draw(t, "epoch"), a}
		if got, err := Parse(p.String()); err != nil || got != p {
			t.Fatalf("%v: got %v, %v", p, got, err)
		}
		if got, err := ParseID(a.String()); err != nil || got != a {
			t.Fatalf("%v: got %v, %v", a, got, err)
		}
	})
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 64)
	p := Position{1, ID{2, 3}}
	if n := testing.AllocsPerRun(100, func() { b = p.AppendText(b[:0]) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkAppendText(b *testing.B) {
	buf := make([]byte, 0, 64)
	p := Position{0x6f1c22aa, ID{1763900000000, 12}}
	b.ReportAllocs()
	for b.Loop() {
		buf = p.AppendText(buf[:0])
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse("6f1c22aa-1763900000000-12")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("6f1c22aa-1763900000000-0")
	f.Add("00000000-0-0")
	f.Add("6f1c22aa-18446744073709551616-0")
	f.Add("ffffffff-18446744073709551615-18446744073709551615")
	f.Add("6F1C22AA-01-+1")
	f.Add("1763900000000-0")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := Parse(s); err == nil && p.String() != s {
			t.Errorf("%q was taken for %v", s, p)
		}
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q was taken for %v", s, id)
		}
	})
}
