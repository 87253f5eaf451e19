package router

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilenceIsNoticedInTime has a gateway fall silent at every moment between two heartbeats: it is noticed within the
// configured time, and not much sooner.
func TestSilenceIsNoticedInTime(t *testing.T) {
	const detect = time.Second
	for after := 3 * detect; after < 4*detect; after += 37 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			began := time.Now()
			var silent atomic.Bool
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				buf := make([]byte, 64)
				for {
					n, err := far.Read(buf)
					if err != nil {
						return
					}
					if !silent.Load() {
						_, _ = far.Write(buf[:n]) // fails when the other side has given up, which a read tells
					}
				}
			}()
			time.AfterFunc(after, func() { silent.Store(true) })
			err := beatOn(near, beatEvery(detect))
			if took := time.Since(began) - after; !errors.Is(err, errSilent) || took > detect || took < detect/2 {
				t.Errorf("silent after %v: noticed %v later: %v", after, took, err)
			}
			<-gone
		})
	}
}

// TestASlowAnswerIsNoSilence has a gateway whose answers come late, but by fewer heartbeats than count as lost.
func TestASlowAnswerIsNoSilence(t *testing.T) {
	const detect = time.Second
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var answers sync.WaitGroup
		answers.Go(func() {
			defer far.Close()
			buf := make([]byte, 1)
			for range 20 {
				if _, err := far.Read(buf); err != nil {
					return
				}
				answers.Go(func() {
					<-time.After((beatsLost - 2) * beatEvery(detect))
					_, _ = far.Write([]byte{0}) // fails at the end
				})
			}
		})
		if err := beatOn(near, beatEvery(detect)); errors.Is(err, errSilent) {
			t.Errorf("a gateway that answers late was taken for silent: %v", err)
		}
		answers.Wait()
	})
}
