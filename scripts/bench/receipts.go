package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// receipt is a frame that a subscriber got: the time that its payload carries, and when it came. Both are wall clock, ns:
// two processes share no other.
type receipt struct{ stamp, at int64 }

const receiptSize = 16

func (r receipt) pack(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.stamp))
	return binary.LittleEndian.AppendUint64(b, uint64(r.at))
}

func unpackReceipts(b []byte) []receipt {
	list := make([]receipt, 0, len(b)/receiptSize)
	for c := range slices.Chunk(b, receiptSize) {
		if len(c) == receiptSize {
			list = append(list, receipt{int64(binary.LittleEndian.Uint64(c)), int64(binary.LittleEndian.Uint64(c[8:]))})
		}
	}
	return list
}

// times are how long messages took, in µs, and the parts of that. total counts a message once for each of its subscribers,
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
func (b *batch) split(receipts []receipt, each int) (times, error) {
	var t times
	for _, h := range []**hdr.Histogram{&t.total, &t.late, &t.call, &t.after} {
		*h = hdr.New(1, latencyMax, latencyDigits)
	}
	start := b.start.UnixNano()
	came := make([]int, len(b.messages))
	ahead := 0
	for _, r := range receipts {
		i := (r.stamp - start) / int64(b.every)
		if i < 0 || i >= int64(len(b.messages)) || start+i*int64(b.every) != r.stamp {
			return t, fmt.Errorf("a frame carries the time %d, which no message was due at", r.stamp)
		}
		if came[i]++; came[i] > each {
			return t, fmt.Errorf("message %d came more than %d times", i, each)
		}
		m, at := &b.messages[i], time.Duration(r.at-start)
		record(t.total, at-m.due)
		record(t.after, at-m.answered)
		if at < m.answered {
			ahead++
		}
	}
	if len(receipts) == 0 {
		return t, errors.New("not one frame arrived")
	}
	for i := range b.messages {
		m := &b.messages[i]
		record(t.late, m.sent-m.due)
		record(t.call, m.answered-m.sent)
	}
	t.Missing = int64(len(b.messages)*each - len(receipts))
	t.Ahead = float64(ahead) / float64(len(receipts))
	return t, nil
}

func record(h *hdr.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 0), latencyMax)) // it is in range
}

func quantile(h *hdr.Histogram, q float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(q)) * time.Microsecond
}
