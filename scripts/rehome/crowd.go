package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const microsMax = 120_000_000

// crowd are the clients, on one event loop.
type crowd struct {
	loop *eventloop.Loop
	stop context.CancelFunc
	done chan struct{}

	// Owned by the loop.
	clients []*client
	pinged  time.Time
	pongs   *hdr.Histogram // µs from the fault to the answer
	aside   *hdr.Histogram // µs from publish to receipt, of the bystanders
	all     *hdr.Histogram // and of the others
	closed  int
	wrong   int
	first   string // what went wrong first
}

// client is a session. It belongs to the loop.
type client struct {
	conn      eventloop.Conn
	crowd     *crowd
	events    bool
	bystander bool
	opened    bool
	ready     chan error
	carry     []byte
	last      int // number of the last message; 0 before the first
}

func newCrowd() (*crowd, error) {
	loop, err := eventloop.New(eventloop.Config{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{loop: loop, stop: cancel, done: make(chan struct{}), pongs: newHist(), aside: newHist(), all: newHist()}
	go func() { defer close(c.done); _ = loop.Run(ctx) }()
	return c, nil
}

func (c *crowd) end() { c.stop(); <-c.done }

func (c *crowd) on(f func()) {
	done := make(chan struct{})
	if c.loop.Post(eventloop.NoteFunc(func() { f(); close(done) })) {
		<-done
	}
}

// open opens all sessions.
func (c *crowd) open(ctx context.Context, addr string, o options, mine, others []string) error {
	type job struct {
		topic             string
		events, bystander bool
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for range 64 {
		wg.Go(func() {
			for j := range jobs {
				if err := c.openOne(ctx, addr, j.topic, j.events, j.bystander); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range o.sessions + o.events {
		jobs <- job{mine[i%len(mine)], i >= o.sessions, false}
	}
	for i := range o.bystanders {
		jobs <- job{others[i%len(others)], false, true}
	}
	close(jobs)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (c *crowd) openOne(ctx context.Context, addr, topic string, events, bystander bool) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	head := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: ringside.v1\r\n"
	if events {
		head = "Accept: text/event-stream\r\n"
	}
	_, err = fmt.Fprintf(conn, "GET /t/%s HTTP/1.1\r\nHost: x\r\n%s\r\n", topic, head)
	if err != nil {
		conn.Close()
		return err
	}
	fd, err := eventloop.Detach(conn)
	conn.Close()
	if err != nil {
		return err
	}
	cl := &client{crowd: c, events: events, bystander: bystander, ready: make(chan error, 1)}
	c.on(func() {
		if err := c.loop.Add(&cl.conn, fd, cl); err != nil {
			cl.ready <- err
			return
		}
		c.clients = append(c.clients, cl)
	})
	select {
	case err := <-cl.ready:
		return err
	case <-time.After(20 * time.Second):
		return errors.New("no answer to a handshake")
	}
}

// ping has every WebSocket client of the gateway send a ping, which whoever has the session answers.
func (c *crowd) ping(since time.Time) {
	c.on(func() {
		c.pinged = since
		j := []byte(`{"type":"ping"}`)
		frame := append([]byte{0x81, 0x80 | byte(len(j)), 0, 0, 0, 0}, j...)
		for _, cl := range c.clients {
			if !cl.events && !cl.bystander && cl.conn.Open() {
				_, _ = cl.conn.Write(frame) // a full socket shows as a pong that is missing
			}
		}
	})
}

func newHist() *hdr.Histogram { return hdr.New(1, microsMax, 3) }

// latencies returns those of the bystanders and of the others since the last call.
func (c *crowd) latencies() (bystanders, all *hdr.Histogram) {
	c.on(func() {
		bystanders, all = c.aside, c.all
		c.aside, c.all = newHist(), newHist()
	})
	return bystanders, all
}

type result struct {
	closed, wrong int
	first         string
	pongs         *hdr.Histogram
}

func (c *crowd) result() (r result) {
	c.on(func() { r = result{c.closed, c.wrong, c.first, c.pongs} })
	return r
}

// Ready implements eventloop.Handler.
func (cl *client) Ready(conn *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Readable == 0 {
		return
	}
	buf := cl.crowd.loop.Scratch()
	for conn.Open() {
		n, drained, err := conn.Read(buf)
		if errors.Is(err, eventloop.ErrAgain) {
			return
		}
		if err == nil {
			err = cl.feed(buf[:n])
		}
		if err != nil {
			conn.Close()
			if !cl.opened {
				cl.ready <- err
				return
			}
			cl.crowd.closed++
			cl.crowd.note("closed: " + err.Error())
			return
		}
		if drained {
			return
		}
	}
}

// Sweep implements eventloop.Handler.
func (cl *client) Sweep(*eventloop.Conn, int64) {}

func (c *crowd) note(what string) {
	if c.first == "" {
		c.first = what
	}
}

func (cl *client) feed(p []byte) error {
	if len(cl.carry) > 0 {
		cl.carry = append(cl.carry, p...)
		p = cl.carry
	}
	if !cl.opened {
		i := bytes.Index(p, []byte("\r\n\r\n"))
		if i < 0 {
			cl.carry = append([]byte(nil), p...)
			return nil
		}
		if !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")) && !bytes.HasPrefix(p, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("the answer is %.200q", p)
		}
		cl.opened = true
		cl.ready <- nil
		p = p[i+4:]
	}
	for {
		payload, rest, ok, err := cl.next(p)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		cl.message(payload)
		p = rest
	}
	cl.carry = append(cl.carry[:0:0], p...)
	return nil
}

// next cuts the next frame or event off p.
func (cl *client) next(p []byte) (payload, rest []byte, ok bool, err error) {
	if cl.events {
		i := bytes.Index(p, []byte("\n\n"))
		if i < 0 {
			return nil, p, false, nil
		}
		return p[:i], p[i+2:], true, nil
	}
	if len(p) < 2 {
		return nil, p, false, nil
	}
	if p[0]&0xf == 8 {
		return nil, nil, false, fmt.Errorf("a close frame: %.100q", p[2:])
	}
	body, size := 2, int(p[1]&0x7f)
	if size == 126 {
		if len(p) < 4 {
			return nil, p, false, nil
		}
		body, size = 4, int(binary.BigEndian.Uint16(p[2:]))
	}
	if len(p) < body+size {
		return nil, p, false, nil
	}
	return p[body : body+size], p[body+size:], true, nil
}

// message looks at the number and the time in a message.
func (cl *client) message(p []byte) {
	c := cl.crowd
	if bytes.Contains(p, []byte(`"pong"`)) {
		_ = c.pongs.RecordValue(max(1, time.Since(c.pinged).Microseconds())) // in range
		return
	}
	i := bytes.Index(p, []byte(`{"n":`))
	if i < 0 {
		return
	}
	p = p[i+5:]
	comma, end := bytes.IndexByte(p, ','), bytes.IndexByte(p, '}')
	n, err1 := strconv.Atoi(string(p[:max(comma, 0)]))
	at, err2 := strconv.ParseInt(string(p[comma+5:max(end, comma+5)]), 10, 64)
	if err1 != nil || err2 != nil || cl.last > 0 && n != cl.last+1 {
		c.wrong++
		c.note(fmt.Sprintf("message %d came after %d (%v, %v)", n, cl.last, err1, err2))
	}
	cl.last = n
	h := c.all
	if cl.bystander {
		h = c.aside
	}
	_ = h.RecordValue(min(max(1, (time.Now().UnixNano()-at)/1000), microsMax)) // in range
}

// publisher publishes numbered messages, evenly over time.
type publisher struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func publish(ctx context.Context, redis string, topics []string, rate float64) (*publisher, error) {
	conn, err := testcluster.DialRedis(redis)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &publisher{cancel, make(chan struct{})}
	go func() {
		defer close(p.done)
		defer conn.Close()
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate / float64(len(topics))))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				// Padded to about 200 bytes.
				msg := fmt.Sprintf(`{"n":%d,"t":%d}%150s`, i/len(topics)+1, now.UnixNano(), "")
				if _, err := conn.Add(topics[i%len(topics)], msg, ""); err != nil {
					return
				}
			}
		}
	}()
	return p, nil
}

func (p *publisher) end() { p.cancel(); <-p.done }
