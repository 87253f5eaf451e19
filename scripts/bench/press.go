package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// press publishes by a schedule, whatever becomes of the messages before: one that is held up counts from when it was due
// (no coordinated omission). It is for one publish at a time.
type press struct {
	topics []string
	size   int
	every  time.Duration
	encode func(topic, payload string) []byte
	lanes  []*lane
	free   chan *lane // once for each message that a lane may take
	failed chan error // room for an error of each lane and one of pace
	wg     sync.WaitGroup
}

// lane is a connection of the press. The press writes to it, and a goroutine of its own reads the answers.
type lane struct {
	conn   net.Conn
	in     *bufio.Reader
	flight chan *message // sent, in order, the answer is awaited
	answer func(in *bufio.Reader) error
}

// batch is what one call of publish has published. The time when a message was due stands in its payload, and tells which
// one it is.
type batch struct {
	start    time.Time
	every    time.Duration
	messages []message
	left     atomic.Int64  // answers that are still to come
	done     chan struct{} // closed with the last
}

// message are the times of a message, counted from the start of its batch.
type message struct {
	due, sent, answered time.Duration
	batch               *batch
}

// xaddFlight is how many messages may be under way on the connection to Redis.
const xaddFlight = 1 << 14

// newPress connects to the admin port or the Redis server at addr; the caller closes.
func newPress(o latencyOptions, via, addr string, topics []string) (*press, error) {
	p := &press{topics: topics, size: o.size, every: time.Duration(float64(time.Second) / o.rate)}
	lanes, flight, answer := 1, xaddFlight, xaddAnswer
	p.encode = encodeXADD
	if via == viaPost {
		lanes, flight, answer = o.connections, 1, postAnswer
		p.encode = func(topic, payload string) []byte { return encodePost(addr, topic, payload) }
	}
	p.free, p.failed = make(chan *lane, lanes*flight), make(chan error, lanes+1)
	for range lanes {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			p.close()
			return nil, err
		}
		l := &lane{conn: c, in: bufio.NewReader(c), flight: make(chan *message, flight), answer: answer}
		p.lanes = append(p.lanes, l)
		p.wg.Go(func() { p.read(l) })
	}
	for range flight { // the lanes take turns
		for _, l := range p.lanes {
			p.free <- l
		}
	}
	return p, nil
}

// close ends the connections and waits for who reads them.
func (p *press) close() {
	p.hangUp()
	for _, l := range p.lanes {
		close(l.flight)
	}
	p.wg.Wait()
}

func (p *press) hangUp() {
	for _, l := range p.lanes {
		l.conn.Close()
	}
}

// read takes the answers of a lane until its connection ends.
func (p *press) read(l *lane) {
	for {
		if err := l.answer(l.in); err != nil {
			p.failed <- fmt.Errorf("cannot publish: %w", err)
			return
		}
		m, ok := <-l.flight
		if !ok { // an answer to nothing, and the press was closed
			return
		}
		m.answered = time.Since(m.batch.start)
		if m.batch.left.Add(-1) == 0 {
			close(m.batch.done)
		}
		p.free <- l
	}
}

// publish publishes for so long and waits for all answers. After an error the press is of no more use.
func (p *press) publish(ctx context.Context, d time.Duration) (*batch, error) {
	b := &batch{start: time.Now(), every: p.every, messages: make([]message, max(1, d/p.every)), done: make(chan struct{})}
	b.left.Store(int64(len(b.messages)))
	ctx, cancel := context.WithCancel(ctx)
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		if err := p.pace(ctx, b); err != nil {
			p.failed <- err
		}
	}()
	late := time.NewTimer(d + deliveryLimit)
	defer late.Stop()
	var err error
	select {
	case <-b.done:
	case err = <-p.failed:
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = fmt.Errorf("%d publishes were not answered within %v", b.left.Load(), deliveryLimit)
	}
	cancel()
	if err != nil {
		p.hangUp() // so that no write is held up
	}
	<-paced
	return b, err
}

// pace sends each message when it is due, or as soon as it can from then on.
func (p *press) pace(ctx context.Context, b *batch) error {
	// The thread must not end with the goroutine: child processes end with the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer precise()()
	for i := range b.messages {
		m := &b.messages[i]
		m.batch, m.due = b, time.Duration(i)*b.every
		due := b.start.Add(m.due)
		request := p.encode(p.topics[i%len(p.topics)], payload(p.size, due))
		pause(due)
		select {
		case l := <-p.free:
			m.sent = time.Since(b.start)
			l.flight <- m
			if _, err := l.conn.Write(request); err != nil {
				return fmt.Errorf("cannot publish: %w", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// clockWasSet tells when the wall clock, by which two processes measure together, has not gone steadily.
func (b *batch) clockWasSet() error {
	now := time.Now()
	if d := now.Round(0).Sub(b.start.Round(0)) - now.Sub(b.start); max(d, -d) > time.Millisecond {
		return fmt.Errorf("the clock was set by %v meanwhile: measure again", d)
	}
	return nil
}

// encodePost is a POST /publish with a payload that is JSON.
func encodePost(host, topic, payload string) []byte {
	name, err := json.Marshal(topic)
	if err != nil {
		panic("BUG: bench: a topic is no string: " + err.Error())
	}
	size := len(`{"topic":,"data":}`) + len(name) + len(payload)
	return fmt.Appendf(nil, "POST /publish HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"+
		`{"topic":%s,"data":%s}`, host, size, name, payload)
}

func postAnswer(in *bufio.Reader) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return err
}

// encodeXADD is what a good publisher sends with any Redis client: it trims what is older than ten minutes.
func encodeXADD(topic, payload string) []byte {
	window := strconv.FormatInt(time.Now().Add(-10*time.Minute).UnixMilli(), 10)
	args := []string{"XADD", testcluster.StreamKey(topic), "MINID", "~", window, "*", "topic", topic, "payload", payload}
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

func xaddAnswer(in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "$") {
		return errors.New(strings.TrimSpace(line))
	}
	_, err = in.ReadString('\n') // the entry's ID
	return err
}
