package tally

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// Dialer reaches the ports of gateways.
type Dialer struct {
	Keys *leg.Keyring
	TLS  func() *tls.Config // as legs are dialed; nil without TLS
}

// The parameters of a request for counts.
const (
	ParamTopic = "topic" // to be told once
	ParamShard = "shard" // who reports on this connection
)

// ErrElsewhere means that the gateway which was asked is not the one that adds up, as it sees the ring.
var ErrElsewhere = errors.New("another gateway adds up the topic's sessions")

const (
	// maxAnswer bounds an answer to [Dialer.Ask].
	maxAnswer = 256 << 10
	// dialTimeout is for a connection to stand and the request to be answered.
	dialTimeout = 2 * time.Second
)

// request connects to m and sends a request, whose answer is returned with the connection behind it.
func (d Dialer) request(ctx context.Context, m *ring.Member, param, value, headers string) (c net.Conn, r *bufio.Reader, answer *http.Response, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Addr)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			raw.Close()
			c, r, answer = nil, nil, nil
		}
	}()
	c = raw
	if d.TLS != nil {
		secured := tls.Client(raw, d.TLS())
		if err = secured.HandshakeContext(ctx); err != nil {
			return nil, nil, nil, err
		}
		c = secured
	}
	target := leg.Target + "?" + url.Values{param: {value}}.Encode()
	_, err = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s: %s\r\n%s: %s\r\n\r\n", leg.MethodCount, target, m.Addr, headers, leg.HeaderLeg, leg.Version,
		leg.HeaderAuth, d.Keys.Sign(leg.Request{Method: leg.MethodCount, URI: target, Host: m.Addr}, time.Now()))
	if err != nil {
		return nil, nil, nil, err
	}
	r = bufio.NewReader(c)
	answer, err = http.ReadResponse(r, nil) //nolint:bodyclose // the connection is closed instead
	return c, r, answer, err
}

// Ask asks the gateway m for the count of a topic. It takes a few seconds at most.
func (d Dialer) Ask(ctx context.Context, m *ring.Member, topic string) (Count, error) {
	c, _, answer, err := d.request(ctx, m, ParamTopic, topic, "") //nolint:bodyclose // the connection is closed instead
	if err != nil {
		return Count{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialTimeout)) // an open connection takes it
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	var n Count
	switch {
	case err != nil:
		return Count{}, err
	case answer.StatusCode == http.StatusMisdirectedRequest:
		return Count{}, ErrElsewhere
	case answer.StatusCode != http.StatusOK:
		return Count{}, fmt.Errorf("%s answers with status %d", m.ID, answer.StatusCode)
	case json.Unmarshal(body, &n) != nil || n.Topic != topic:
		return Count{}, fmt.Errorf("the answer of %s is not understood", m.ID)
	}
	return n, nil
}

// Open connects to the gateway m, to tell it what the shard has.
func (d Dialer) Open(ctx context.Context, m *ring.Member, shard string) (*Conn, error) {
	c, r, answer, err := d.request(ctx, m, ParamShard, shard, "Connection: Upgrade\r\nUpgrade: "+leg.Upgrade+"\r\n") //nolint:bodyclose // likewise
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get(leg.HeaderShard) != m.ID {
		c.Close()
		return nil, fmt.Errorf("%s answers with status %d", m.ID, answer.StatusCode)
	}
	_ = c.SetDeadline(time.Time{})
	return newConn(c, r), nil
}

// Conn is a connection between two gateways. One goroutine may read and one may write.
type Conn struct {
	c   net.Conn
	r   *bufio.Reader
	in  []byte
	out []byte
}

// Accepted is the far end of [Dialer.Open]: c after the answer.
func Accepted(c net.Conn) *Conn { return newConn(c, bufio.NewReader(c)) }

func newConn(c net.Conn, r *bufio.Reader) *Conn { return &Conn{c: c, r: r} }

// Close closes it; reads and writes that wait end.
func (c *Conn) Close() error { return c.c.Close() }

// Report tells a counter what has changed, by whoever goes by that version of the ring.
func (c *Conn) Report(version string, list []Entry, within time.Duration) error {
	c.out = appendReport(c.out[:0], version, list)
	return c.write(within)
}

// Tell tells a reporter what others have.
func (c *Conn) Tell(list []Total, within time.Duration) error {
	c.out = appendTotals(c.out[:0], list)
	return c.write(within)
}

func (c *Conn) write(within time.Duration) error {
	_ = c.c.SetWriteDeadline(time.Now().Add(within))
	_, err := c.c.Write(c.out)
	if cap(c.out) > maxFrame*2 {
		c.out = nil
	}
	return err
}

// Reported waits for a report.
func (c *Conn) Reported(within time.Duration) (version string, list []Entry, err error) {
	_ = c.c.SetReadDeadline(time.Now().Add(within))
	b, err := readFrame(c.r, &c.in, kindReport)
	if err != nil {
		return "", nil, err
	}
	return parseReport(b)
}

// Told waits for totals.
func (c *Conn) Told(within time.Duration) ([]Total, error) {
	_ = c.c.SetReadDeadline(time.Now().Add(within))
	b, err := readFrame(c.r, &c.in, kindTotals)
	if err != nil {
		return nil, err
	}
	return parseTotals(b)
}
