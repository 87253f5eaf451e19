package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const topic = "standing"

// standing are sessions that were there before the storm.
type standing struct {
	conns  []net.Conn
	wg     sync.WaitGroup
	ended  atomic.Bool
	closed atomic.Int64 // by anybody but us

	mu   sync.Mutex
	hist *hdr.Histogram // guarded by mu; µs from publish to receipt
}

func newHist() *hdr.Histogram { return hdr.New(1, 120_000_000, 3) }

// stand opens the sessions one by one.
func stand(ctx context.Context, routers []string, n int) (*standing, error) {
	s := &standing{hist: newHist()}
	for i := range n {
		d := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 200, byte(i>>8), byte(i))}}
		conn, err := d.DialContext(ctx, "tcp", routers[i%len(routers)])
		if err != nil {
			s.end()
			return nil, err
		}
		s.conns = append(s.conns, conn)
		r := bufio.NewReaderSize(conn, 2<<10)
		fmt.Fprintf(conn, "GET /t/"+topic+" HTTP/1.1\r\nHost: storm\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			s.end()
			return nil, fmt.Errorf("session %d: %v, %w", i, resp, err)
		}
		s.wg.Go(func() { s.read(r) })
	}
	return s, nil
}

var stamp = regexp.MustCompile(`"t":(\d{19})`) //nolint:gochecknoglobals // a constant in all but name

// read reads a session's frames, all of them short, up to its end.
func (s *standing) read(r *bufio.Reader) {
	defer func() {
		if !s.ended.Load() {
			s.closed.Add(1)
		}
	}()
	var buf [64 << 10]byte
	for {
		if _, err := io.ReadFull(r, buf[:2]); err != nil {
			return
		}
		op, n := buf[0]&0xf, int(buf[1])
		if n == 126 {
			if _, err := io.ReadFull(r, buf[:2]); err != nil {
				return
			}
			n = int(binary.BigEndian.Uint16(buf[:2]))
		}
		if n > len(buf) || op == 8 {
			return
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return
		}
		if m := stamp.FindSubmatch(buf[:n]); m != nil {
			t, err := strconv.ParseInt(string(m[1]), 10, 64)
			if err == nil {
				s.note(time.Since(time.Unix(0, t)))
			}
		}
	}
}

func (s *standing) note(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.hist.RecordValue(max(1, d.Microseconds())) // two minutes are the most
}

// taken are latencies.
type taken struct{ p99, worst string }

// take returns the latencies since the last call.
func (s *standing) take() taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hist
	s.hist = newHist()
	if h.TotalCount() == 0 {
		return taken{"–", "–"}
	}
	ms := func(q float64) string {
		return fmt.Sprintf("%.1f ms", float64(h.ValueAtQuantile(q))/1000)
	}
	return taken{ms(99), ms(100)}
}

func (s *standing) end() {
	s.ended.Store(true)
	for _, c := range s.conns {
		c.Close()
	}
	s.wg.Wait()
}

// publisher publishes at a steady pace.
type publisher struct {
	stop   context.CancelFunc
	done   chan struct{}
	failed atomic.Int64
}

func publish(ctx context.Context, admin string, rate float64) *publisher {
	ctx, cancel := context.WithCancel(ctx)
	p := &publisher{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := post(ctx, admin); err != nil && ctx.Err() == nil {
				p.failed.Add(1)
			}
		}
	}()
	return p
}

func (p *publisher) end() { p.stop(); <-p.done }

func post(ctx context.Context, admin string) error {
	body := strings.NewReader(fmt.Sprintf(`{"t":%d}`, time.Now().UnixNano()))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin+"/publish/"+topic, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("publish: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
