package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// PressConfig is how a [Press] publishes.
type PressConfig struct {
	URL         string // of an HTTP API, or of a Redis server: redis://user:password@host:port/0
	Template    Template
	Topics      []string // which messages go to in turn
	Stride      int      // from one to the next; 0 for one. Without a common divisor with their number it comes to all of them
	Size        int      // bytes of a payload
	Connections int      // a topic has one of them, so that its messages stay in order
	Batch       int      // messages in a request at most, where the template has items; they are put together only while an answer is awaited
	Token       string   // shown as Authorization: Bearer
}

// Press publishes by a schedule, whatever becomes of the messages before: one that is held up counts from when it was due
// (no coordinated omission). It is for one publish at a time.
type Press struct {
	Run string // that its messages carry

	cfg    PressConfig
	lanes  []*lane
	turn   int
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	ends   []uint32 // guarded by mu, as all below: number of the last message of each topic
	failed []uint32 // messages of each topic that were not taken
	batch  *Batch
}

// Batch is what one call of Publish has published.
type Batch struct {
	Start     time.Time
	Every     time.Duration
	Took      time.Duration
	Published int // that were due before it ended
	Answered  int // and taken
	Failed    map[string]int64
	Late      *hdr.Histogram // from when a message was due until it was sent
	Call      *hdr.Histogram // from there to the answer

	Messages []Message // nil unless they are kept

	left int           // answers that are still to come
	done chan struct{} // gets a value when there are none left
}

// Message are the times of a message, counted from the start of its batch.
type Message struct{ Due, Sent, Answered time.Duration }

// pending is a message on its way.
type pending struct {
	topic  int
	number uint32
	due    time.Time
	sent   time.Time
	at     int // in the batch
}

const (
	redisFlight = 1 << 14 // messages under way on a connection to Redis
	answerLimit = 15 * time.Second
)

// NewPress connects; the caller closes.
func NewPress(cfg PressConfig) (*Press, error) {
	p := &Press{Run: fmt.Sprintf("%08x", rand.Uint32()), cfg: cfg, ends: make([]uint32, len(cfg.Topics)), failed: make([]uint32, len(cfg.Topics))}
	if len(cfg.Topics) == 0 || cfg.Size < LeastSize {
		return nil, fmt.Errorf("cannot publish: want a topic, and payloads of %d bytes at least, for the time", LeastSize)
	}
	encode, err := newEncoder(&p.cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot publish: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for range min(max(1, cfg.Connections), len(cfg.Topics)) {
		l := &lane{press: p, encoder: encode}
		if err := l.connect(ctx); err != nil {
			p.Close()
			return nil, fmt.Errorf("cannot publish: %w", err)
		}
		p.lanes = append(p.lanes, l)
		p.wg.Go(func() { l.run(ctx) })
	}
	return p, nil
}

// Close ends the connections and waits for who reads them.
func (p *Press) Close() {
	p.cancel()
	for _, l := range p.lanes {
		l.hangUp()
	}
	p.wg.Wait()
}

// Ends are the numbers of the last message of each topic, and how many were not taken.
func (p *Press) Ends() (ends, failed []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ends), slices.Clone(p.failed)
}

// Publish publishes so many messages per second for so long, or until ctx ends, and waits for the answers. keep keeps the times of each.
// What is not taken is told in the batch.
func (p *Press) Publish(ctx context.Context, rate float64, d time.Duration, keep bool) (*Batch, error) {
	b := &Batch{Start: time.Now(), Every: time.Duration(float64(time.Second) / rate), Failed: map[string]int64{}, Late: newHist(), Call: newHist(), done: make(chan struct{}, 1)}
	if b.Every <= 0 {
		return nil, fmt.Errorf("cannot publish %v messages per second", rate)
	}
	if keep {
		b.Messages = make([]Message, 0, max(1, d/b.Every))
	}
	p.mu.Lock()
	p.batch = b
	p.mu.Unlock()
	p.pace(ctx, b, d)
	p.mu.Lock()
	b.Took = time.Since(b.Start)
	left := b.left
	p.mu.Unlock()
	for limit := time.After(answerLimit); left > 0; {
		select {
		case <-b.done:
		case <-limit:
			for _, l := range p.lanes {
				l.giveUp()
			}
		}
		p.mu.Lock()
		left = b.left
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch = nil
	now := time.Now()
	if off := now.Round(0).Sub(b.Start.Round(0)) - now.Sub(b.Start); max(off, -off) > time.Millisecond {
		return b, fmt.Errorf("the clock was set by %v meanwhile: measure again", off)
	}
	return b, nil
}

// Err is an error when something was not taken.
func (b *Batch) Err() error {
	if len(b.Failed) == 0 {
		return nil
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(b.Failed)) {
		list = append(list, fmt.Sprintf("%s (%d)", k, b.Failed[k]))
	}
	return errors.New("cannot publish: " + strings.Join(list, ", "))
}

// pace hands each message out when it is due, or as soon as it can from then on.
func (p *Press) pace(ctx context.Context, b *Batch, d time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread must not end with the goroutine: child processes end with the thread that started them.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer precise()()
		for i := 0; i == 0 || time.Duration(i)*b.Every < d; i++ {
			due := b.Start.Add(time.Duration(i) * b.Every)
			for left := time.Until(due); left > 0; left = time.Until(due) { // in pieces, for ctx
				pause(time.Now().Add(min(left, 50*time.Millisecond)))
				if ctx.Err() != nil {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			topic := p.turn % len(p.cfg.Topics)
			p.turn += max(1, p.cfg.Stride)
			p.mu.Lock()
			p.ends[topic]++
			m := pending{topic: topic, number: p.ends[topic], due: due, at: b.Published}
			b.Published++
			b.left++
			if b.Messages != nil {
				b.Messages = append(b.Messages, Message{Due: due.Sub(b.Start)})
			}
			p.mu.Unlock()
			p.lanes[topic%len(p.lanes)].put(m)
		}
	}()
	<-done
}

// settled notes the answers to messages; reason is empty when they were taken.
func (p *Press) settled(list []pending, reason string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.batch
	for _, m := range list {
		if reason != "" {
			p.failed[m.topic]++
		}
		if b == nil {
			continue
		}
		b.left--
		if reason != "" {
			b.Failed[reason]++
			continue
		}
		b.Answered++
		record(b.Late, m.sent.Sub(m.due))
		record(b.Call, now.Sub(m.sent))
		if b.Messages != nil {
			b.Messages[m.at].Sent, b.Messages[m.at].Answered = m.sent.Sub(b.Start), now.Sub(b.Start)
		}
	}
	if b != nil && b.left == 0 {
		select {
		case b.done <- struct{}{}:
		default:
		}
	}
}
