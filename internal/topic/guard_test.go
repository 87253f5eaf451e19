package topic

import "testing"

func BenchmarkFromURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if name, err := FromURI("/t/match.4711.score?since=6f1c22aa-1763900000000-0"); err != nil || name == "" {
			b.Fatal(name, err)
		}
	}
}
