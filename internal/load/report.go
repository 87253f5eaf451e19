package load

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Step is what the outcome of an order is counted in, and mostSlices how many of them are counted apart.
const (
	Step       = 250 * time.Millisecond
	mostSlices = 4 * 3600
)

// Slice is what happened to attempts in one step.
type Slice struct {
	Attempts  int `json:"a,omitempty"`
	Opened    int `json:"o,omitempty"`
	Refused   int `json:"r,omitempty"`
	Abandoned int `json:"x,omitempty"` // they failed, or took too long
}

func (s *Slice) add(o Slice) {
	s.Attempts += o.Attempts
	s.Opened += o.Opened
	s.Refused += o.Refused
	s.Abandoned += o.Abandoned
}

// Report is the line that answers an order.
type Report struct {
	Error    string           `json:"error,omitempty"`
	Sessions int              `json:"sessions"`
	Open     int              `json:"open"`
	Settled  int              `json:"settled"` // they have been open, or have given up
	Last     time.Duration    `json:"last"`    // from the last order to open or to cut until the last of them was, or had
	Lost     int64            `json:"lost"`    // connections that the server ended, or that broke
	Reasons  map[string]int64 `json:"reasons,omitempty"`
	Slices   []Slice          `json:"slices,omitempty"` // since the last order to open or to cut

	Frames     int64 `json:"frames"` // of all sessions: messages of the run, repeated ones not counted
	Least      int64 `json:"least"`  // of the session that got the fewest
	Most       int64 `json:"most"`   // and of the one that got the most
	Missing    int64 `json:"missing"`
	Away       int64 `json:"away"`
	Repeated   int64 `json:"repeated"`
	Disordered int64 `json:"disordered"`
	Bytes      int64 `json:"bytes"` // of messages, with what the protocol puts around payloads

	Latency  *hdr.Snapshot `json:"latency,omitempty"`  // from when a message was due to its receipt
	Interval *hdr.Snapshot `json:"interval,omitempty"` // the same since the last report with one
	Connect  *hdr.Snapshot `json:"connect,omitempty"`  // from when an attempt should have begun until the session was open
	Back     *hdr.Snapshot `json:"back,omitempty"`     // from the last order to open or to cut until each session was open
	Echoes   *hdr.Snapshot `json:"echoes,omitempty"`   // from the last order to send to the answer
	Receipts []byte        `json:"receipts,omitempty"`
	Topics   []int         `json:"topics,omitempty"` // open sessions of each topic
}

func (w *worker) report(o order) Report {
	r := Report{Sessions: len(w.sessions), Open: w.open, Settled: w.settled, Last: w.last, Lost: w.lost, Reasons: maps.Clone(w.reasons), Bytes: w.bytes, Least: math.MaxInt64}
	for _, s := range w.sessions {
		t := &s.track
		r.Frames += int64(t.got)
		r.Least, r.Most = min(r.Least, int64(t.got)), max(r.Most, int64(t.got))
		r.Missing += int64(t.missing)
		r.Away += int64(t.away)
		r.Repeated += int64(t.repeated)
		r.Disordered += int64(t.disordered)
		if topic := s.topic(); s.state == open && topic < len(o.Ends) && o.Ends[topic] > t.last && !t.fresh {
			r.Missing += int64(o.Ends[topic] - t.last)
		}
	}
	if len(w.sessions) == 0 {
		r.Least = 0
	}
	if o.Hists {
		r.Latency, r.Connect, r.Back, r.Echoes = w.latency.Export(), w.connect.Export(), w.back.Export(), w.echoes.Export()
		r.Slices = slices.Clone(w.slices)
	}
	if o.Topics {
		r.Topics = w.topics()
	}
	if o.Interval {
		r.Interval = w.interval.Export()
		w.interval = intervalHist()
	}
	if o.Cmd == cmdReceipts {
		r.Receipts = w.receipts
	}
	return r
}

// topics is how many open sessions each topic has.
func (w *worker) topics() []int {
	var list []int
	for _, s := range w.sessions {
		if n := len(s.crowd.Topics); len(list) < n {
			list = append(list, make([]int, n-len(list))...)
		}
		if s.state == open {
			list[s.topic()]++
		}
	}
	return list
}

// Totals are the reports of all processes together. Histograms are nil where they were not asked for.
type Totals struct {
	Sessions, Open, Settled                                        int
	Lost, Frames, Least, Most, Missing, Away, Repeated, Disordered int64
	Bytes                                                          int64
	Reasons                                                        map[string]int64
	Slices                                                         []Slice
	Latency, Interval, Connect, Back, Echoes                       *hdr.Histogram
	Last                                                           time.Duration
	Receipts                                                       []Receipt
	Topics                                                         []int // open sessions of each topic
}

func total(reports []Report) (t Totals) {
	t.Reasons = map[string]int64{}
	for i := range reports {
		r := &reports[i]
		if i == 0 || r.Least < t.Least && r.Sessions > 0 {
			t.Least = r.Least
		}
		t.Sessions, t.Open, t.Settled = t.Sessions+r.Sessions, t.Open+r.Open, t.Settled+r.Settled
		t.Last = max(t.Last, r.Last)
		t.Lost, t.Frames, t.Most, t.Bytes = t.Lost+r.Lost, t.Frames+r.Frames, max(t.Most, r.Most), t.Bytes+r.Bytes
		t.Missing, t.Away, t.Repeated, t.Disordered = t.Missing+r.Missing, t.Away+r.Away, t.Repeated+r.Repeated, t.Disordered+r.Disordered
		for reason, n := range r.Reasons {
			t.Reasons[reason] += n
		}
		for i, s := range r.Slices {
			if len(t.Slices) <= i {
				t.Slices = append(t.Slices, Slice{})
			}
			t.Slices[i].add(s)
		}
		merge(&t.Latency, r.Latency)
		merge(&t.Interval, r.Interval)
		merge(&t.Connect, r.Connect)
		merge(&t.Back, r.Back)
		merge(&t.Echoes, r.Echoes)
		for i, n := range r.Topics {
			if len(t.Topics) <= i {
				t.Topics = append(t.Topics, 0)
			}
			t.Topics[i] += n
		}
		t.Receipts = append(t.Receipts, unpackReceipts(r.Receipts)...)
	}
	return t
}

// Attempts is the sum of all slices.
func (t *Totals) Attempts() (sum Slice) {
	for _, s := range t.Slices {
		sum.add(s)
	}
	return sum
}

// Receipt is a message that a subscriber got: when it was due, and when it came. Both are wall clock, ns: two processes share no other.
type Receipt struct{ Due, At int64 }

const receiptSize = 16

// receiptRoom is laid out for receipts at once, in bytes, so that the loop is not held up while they are copied: a million.
const receiptRoom = 16 << 20

func (r Receipt) pack(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Due))
	return binary.LittleEndian.AppendUint64(b, uint64(r.At))
}

func unpackReceipts(b []byte) []Receipt {
	if len(b) == 0 {
		return nil
	}
	list := make([]Receipt, 0, len(b)/receiptSize)
	for c := range slices.Chunk(b, receiptSize) {
		if len(c) == receiptSize {
			list = append(list, Receipt{int64(binary.LittleEndian.Uint64(c)), int64(binary.LittleEndian.Uint64(c[8:]))})
		}
	}
	return list
}

// Busiest is how many sessions were opened in the second in which most were.
func Busiest(list []Slice) int {
	most, sum := 0, 0
	for i, s := range list {
		sum += s.Opened
		if n := int(time.Second / Step); i >= n {
			sum -= list[i-n].Opened
		}
		most = max(most, sum)
	}
	return most
}
