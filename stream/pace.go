package stream

import (
	"context"
	"time"
)

// pace bounds how often a reader is woken. A blocked read costs Redis for each of its keys at every wake, and who asks again at once
// is woken for each entry where they come one by one. So a reader that has been woken more often than once per `most`, but for
// freeBurst wakes, lingers before it asks again, for `most` at the longest, and the next answer brings what has come meanwhile.
type pace struct {
	most time.Duration // 0: no bound
	paid time.Time     // each wake so far has had its time by then
}

// freeBurst is how many wakes may come at once without lingering.
const freeBurst = 20

// woken counts a wake, at now, and returns how long to linger after it.
func (p *pace) woken(now time.Time) time.Duration {
	if p.most <= 0 {
		return 0
	}
	if least := now.Add(-freeBurst * p.most); p.paid.Before(least) {
		p.paid = least
	}
	if p.paid = p.paid.Add(p.most); p.paid.After(now.Add(p.most)) {
		p.paid = now.Add(p.most)
	}
	return max(0, p.paid.Sub(now))
}

// linger waits before the next read where wakes come fast. Whatever else there is to do ends it.
func (r *reader) linger(ctx context.Context) {
	began := time.Now()
	d := r.pace.woken(began)
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-r.changed:
	case <-timer.C:
	}
	r.t.c.metrics.lingers.Add(1)
	r.t.c.metrics.lingered.Add(uint64(time.Since(began)))
}
