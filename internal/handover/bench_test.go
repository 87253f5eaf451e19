package handover

import (
	"slices"
	"testing"
)

// BenchmarkGive hands 4,000 items of 2 descriptors and 200 bytes over, in batches of 126, to a goroutine.
func BenchmarkGive(b *testing.B) {
	giver, successor := connect(b)
	items := pairs(b, 4000)
	ctx := within(b)
	done := make(chan error, 1)
	go func() {
		for {
			m, err := successor.Receive(ctx)
			if err == nil && m.Items == nil {
				done <- nil
				return
			}
			if err == nil {
				err = successor.Ack(ctx)
			}
			if err != nil {
				done <- err
				return
			}
			for _, it := range m.Items {
				closeFDs(it.FDs)
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		for batch := range slices.Chunk(items, 126) {
			if err := giver.Give(ctx, 1, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(items)), "ns/item")
	if err := giver.Send(ctx, 2, nil); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
