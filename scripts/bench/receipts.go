package main

import (
	"errors"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

// times are how long messages took, and the parts of that. total counts a message once for each of its subscribers,
// and so does after; late and call, which are the publisher's, once.
type times struct {
	total *hdr.Histogram // from when the message was due to the subscriber's socket
	late  *hdr.Histogram // from when it was due until it was sent
	call  *hdr.Histogram // from there to the answer
	after *hdr.Histogram // from there to the socket; nothing when the frame came first

	Missing int64   // frames that did not come
	Ahead   float64 // share of the frames that came before the answer
}

// split tells the parts of a batch of which each message should have come so many times. More than that is an error.
func split(b *load.Batch, receipts []load.Receipt, each int) (times, error) {
	t := times{total: load.NewHist(), late: b.Late, call: b.Call, after: load.NewHist()}
	start := b.Start.UnixNano()
	came := make([]int, len(b.Messages))
	ahead := 0
	for _, r := range receipts {
		i := (r.Due - start) / int64(b.Every)
		if i < 0 || i >= int64(len(b.Messages)) || start+i*int64(b.Every) != r.Due {
			return t, fmt.Errorf("a frame carries the time %d, which no message was due at", r.Due)
		}
		if came[i]++; came[i] > each {
			return t, fmt.Errorf("message %d came more than %d times", i, each)
		}
		m, at := &b.Messages[i], time.Duration(r.At-start)
		load.Record(t.total, at-m.Due)
		load.Record(t.after, at-m.Answered)
		if at < m.Answered {
			ahead++
		}
	}
	if len(receipts) == 0 {
		return t, errors.New("not one frame arrived")
	}
	t.Missing = int64(len(b.Messages)*each - len(receipts))
	t.Ahead = float64(ahead) / float64(len(receipts))
	return t, nil
}
