package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// modelClient is a client of the case, and for one on a leg the router in front of it. One goroutine per connection reads; the case
// looks at what has come.
type modelClient struct {
	name   string
	sse    bool
	onLeg  bool
	topic  string // of the connect URL
	member *member
	conn   net.Conn // nil when there is none
	parted bool     // of a leg without conn: the router looks for a gateway
	read   sync.WaitGroup
	views  map[string]*view // what the case makes of it

	ticket string
	strip  leg.Stripper
	rest   []byte            // a part of a record
	text   []byte            // for the client, and not whole yet
	nums   map[uint32]string // what this leg calls topics
	half   string            // the topic of a message that is half way
	begun  bool

	mu     sync.Mutex
	more   *sync.Cond
	holds  bool // reads no further
	cut    bool // the case closes the connection
	heard  []word
	err    error
	topics []leg.Standing // of a leg
	asks   []byte         // what the client has sent and the gateway has not acknowledged
	acked  uint64
}

func newModelClient(name, topic string, sse, onLeg bool) *modelClient {
	c := &modelClient{name: name, sse: sse, onLeg: onLeg, topic: topic, views: map[string]*view{}}
	c.more = sync.NewCond(&c.mu)
	return c
}

// dialSmall connects with buffers as small as can be, so that a client that does not read is soon seen not to.
func dialSmall(addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000)
		})
	}}
	return d.Dial("tcp", addr)
}

// handshake sends a request's head and returns the answer's.
func handshake(addr, head string) (net.Conn, *bufio.Reader, *http.Response, error) {
	conn, err := dialSmall(addr)
	if err != nil {
		return nil, nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(testcluster.Limit()))
	b := bufio.NewReader(conn)
	var resp *http.Response
	if _, err = io.WriteString(conn, head); err == nil {
		resp, err = http.ReadResponse(b, nil)
	}
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		conn.Close()
		return nil, nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, b, resp, nil
}

// open begins a session at m, behind since unless that is zero. Refusals and broken connections are errors.
func (c *modelClient) open(m *member, since position.Position) error {
	uri := "/t/" + c.topic
	if since != zeroPosition {
		uri += "?since=" + since.String()
	}
	headers := upgradeHeaders
	if c.sse {
		headers = sseHeaders
	}
	if c.onLeg {
		signed := leg.Request{Method: "GET", URI: uri, Host: "x", Client: "192.0.2.7"}
		headers = append(headers[:len(headers):len(headers)], leg.HeaderLeg+": "+leg.Version, leg.HeaderClient+": "+signed.Client,
			leg.HeaderAuth+": "+m.keys.Sign(signed, time.Now()))
	}
	conn, b, resp, err := handshake(m.g.Addr(), "GET "+uri+" HTTP/1.1\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n")
	if err != nil {
		return err
	}
	c.ticket, c.strip, c.begun = resp.Header.Get(leg.HeaderTicket), leg.Stripper{}, false
	c.text, c.topics, c.asks = nil, nil, nil
	c.start(m, conn, b)
	return nil
}

// goOn takes the session to a gateway, as a router does.
func (c *modelClient) goOn(m *member) error {
	conn, b, _, err := handshake(m.g.Addr(), m.ours(leg.MethodResume, leg.HeaderTicket+": "+c.ticket))
	if err != nil {
		return err
	}
	block := leg.Resume{Begun: c.begun, First: -1, Topics: c.topics}
	num, half := c.strip.Half()
	if half && num != 0 { // else it is that of an earlier leg
		c.half = c.nums[num]
	}
	if half {
		block.First = slices.IndexFunc(c.topics, func(s leg.Standing) bool { return s.Name == c.half })
		c.topics[block.First].Position, _ = c.strip.From()
	}
	c.strip.NextLeg()
	if _, err := conn.Write(append(leg.AppendResume(nil, block), c.asks...)); err != nil {
		conn.Close()
		return err
	}
	c.start(m, conn, b)
	return nil
}

func (c *modelClient) start(m *member, conn net.Conn, b *bufio.Reader) {
	c.member, c.conn, c.rest, c.acked, c.nums = m, conn, nil, 0, map[uint32]string{}
	c.cut, c.err = false, nil
	c.read.Go(func() {
		err := c.readAll(b)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
	})
}

// readAll reads until the connection ends, and returns why.
func (c *modelClient) readAll(b *bufio.Reader) error {
	buf := make([]byte, 8<<10)
	for {
		c.mu.Lock()
		for c.holds && !c.cut {
			c.more.Wait()
		}
		c.mu.Unlock()
		n, err := b.Read(buf)
		client := buf[:n]
		if c.onLeg {
			var rest []byte
			var bad error
			client, rest, bad = c.strip.Strip(append(c.rest, buf[:n]...), c)
			if bad != nil {
				return bad
			}
			c.rest = bytes.Clone(rest)
		}
		c.text = append(c.text, client...)
		if bad := c.parse(); bad != nil {
			return bad
		}
		if err != nil {
			return err
		}
	}
}

// stop closes the connection, wherever that is.
func (c *modelClient) stop() {
	if c.conn == nil {
		return
	}
	c.mu.Lock()
	c.cut = true
	c.more.Broadcast()
	c.mu.Unlock()
	c.conn.Close()
	c.read.Wait()
	c.conn = nil
}

// hold says whether to read on.
func (c *modelClient) hold(on bool) {
	c.mu.Lock()
	c.holds = on
	c.more.Broadcast()
	c.mu.Unlock()
}

// say sends a command. What can't be sent is kept, on a leg.
func (c *modelClient) say(format string, args ...any) {
	b := wsframe.AppendClientFrame(nil, wsframe.Text, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, format, args...))
	if c.onLeg {
		c.mu.Lock()
		c.asks = append(c.asks, b...)
		c.mu.Unlock()
	}
	if c.conn != nil {
		_ = c.conn.SetWriteDeadline(time.Now().Add(testcluster.Limit()))
		_, _ = c.conn.Write(b)
	}
}

// take hands over what has been heard since the last call, and why the connection has ended, if it has.
func (c *modelClient) take() (words []word, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	words, c.heard = c.heard, nil
	if c.cut {
		return words, nil
	}
	return words, c.err
}

func (c *modelClient) parse() error {
	for {
		var w word
		var n int
		var err error
		if c.sse {
			w, n, err = parseEvent(c.text)
			w.topic = c.topic
		} else {
			w, n, err = parseFrame(c.text)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		c.text = c.text[n:]
		if w.kind != "" {
			c.mu.Lock()
			c.heard = append(c.heard, w)
			c.mu.Unlock()
		}
	}
}

// LegTopic implements leg.Sink, as the others.
func (c *modelClient) LegTopic(h leg.Header, name []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Flags&leg.Off != 0 {
		c.topics = slices.DeleteFunc(c.topics, func(s leg.Standing) bool { return s.Name == c.nums[h.Topic] })
		return
	}
	c.begun, c.nums[h.Topic] = true, string(name)
	s := leg.Standing{Name: string(name), Position: h.Position, Asked: h.Flags&leg.Asked != 0}
	if i := slices.IndexFunc(c.topics, func(o leg.Standing) bool { return o.Name == s.Name }); i >= 0 {
		c.topics[i] = s
		return
	}
	c.topics = append(c.topics, s)
}

func (c *modelClient) LegPosition(topic uint32, p position.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.topics {
		if c.topics[i].Name == c.nums[topic] {
			c.topics[i].Position, c.topics[i].Asked = p, false
		}
	}
}

func (c *modelClient) LegAck(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := min(max(n, c.acked)-c.acked, uint64(len(c.asks)))
	c.asks, c.acked = c.asks[done:], c.acked+done
}

func (c *modelClient) LegMove()                      {}
func (c *modelClient) LegRenew([]byte)               {}
func (c *modelClient) LegFeed(leg.Header, leg.Offer) {}
func (c *modelClient) LegEnd()                       {}
func (c *modelClient) LegUnknown(leg.Kind)           {}
func (c *modelClient) LegTold(uint32)                {}
