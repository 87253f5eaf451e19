package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// frame is any message of ringside.v1, in either direction.
type frame struct {
	Type     string          `json:"type"`
	Topic    string          `json:"topic,omitempty"`
	ID       string          `json:"id,omitempty"`
	Position string          `json:"position,omitempty"`
	After    string          `json:"after,omitempty"`
	Since    string          `json:"since,omitempty"`
	Encoding string          `json:"encoding,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Message  string          `json:"message,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`

	freshness
}

// freshness is what a heartbeat says of its topic.
type freshness struct {
	AsOf  *int64 `json:"asOf,omitempty"`
	Lag   *int64 `json:"lag,omitempty"`
	Stale bool   `json:"stale,omitempty"`
}

// check says what a heartbeat lacks.
func (f freshness) check() error {
	if f.AsOf == nil || f.Lag == nil || *f.Lag < 0 {
		return fmt.Errorf("%w: a heartbeat without asOf and lag", errBroken)
	}
	return nil
}

// wsConn is one WebSocket connection of a client.
type wsConn struct {
	c       *client
	conn    *websocket.Conn
	missing int       // topics that are not confirmed
	toggle  time.Time // when a toggling client takes a subscription back; zero while it waits for an answer
	turn    int       // which topic that is
}

// runWebSocket makes one connection and reads it to its end.
func (c *client) runWebSocket(ctx context.Context, i *instance) (time.Duration, error) {
	sub := "ringside." + c.protocol.String()
	d := websocket.Dialer{Subprotocols: []string{sub}, HandshakeTimeout: handshake, NetDialContext: c.dial}
	conn, resp, err := d.DialContext(ctx, "ws://"+i.Addr+c.target(), nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return -1, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.UnderlyingConn().Close() })()
	if got := conn.Subprotocol(); got != sub {
		return -1, fmt.Errorf("%w: subprotocol %q, not %q", errBroken, got, sub)
	}
	c.answered()
	if c.protocol == testcluster.Raw {
		c.setOpen()
		conn.SetPingHandler(func(said string) error { return c.pinged(conn, said) })
	}
	w := &wsConn{c: c, conn: conn, missing: len(c.topics) - 1, toggle: time.Now().Add(togglesEvery)}
	for {
		c.pause(ctx)
		_, b, err := conn.ReadMessage()
		if err != nil {
			return w.ended(ctx, err)
		}
		if c.protocol == testcluster.Raw {
			err = c.saw(c.topics[0], "", b)
		} else {
			err = w.read(b)
		}
		if err != nil {
			return -1, fmt.Errorf("%w (in %.200q)", err, b)
		}
	}
}

// pinged takes a heartbeat of ringside.raw, which is a ping; one that says nothing only keeps the connection.
func (c *client) pinged(conn *websocket.Conn, said string) error {
	err := conn.WriteControl(websocket.PongMessage, []byte(said), time.Now().Add(handshake))
	if err != nil || said == "" {
		return nil //nolint:nilerr // the next read tells it
	}
	var f freshness
	if err := json.Unmarshal([]byte(said), &f); err != nil {
		return fmt.Errorf("%w: ping %q: %w", errBroken, said, err)
	}
	if err := f.check(); err != nil {
		return err
	}
	return c.fresh(c.topics[0], f.Stale)
}

// ended says how the connection ended, and when the server wants the client back.
func (w *wsConn) ended(ctx context.Context, err error) (time.Duration, error) {
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	var ce *websocket.CloseError
	if !errors.As(err, &ce) {
		return -1, err
	}
	var v struct {
		Reconnect *int64 `json:"reconnect"`
	}
	if json.Unmarshal([]byte(ce.Text), &v) != nil || v.Reconnect == nil {
		return -1, err
	}
	return time.Duration(*v.Reconnect) * time.Millisecond, err
}

// read takes one message of ringside.v1.
func (w *wsConn) read(b []byte) error {
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	var err error
	switch f.Type {
	case "welcome":
		err = w.welcome(f)
	case "subscribed":
		err = w.c.moved(f.Topic, f.Position)
		w.missing--
		w.confirmed()
	case "unsubscribed":
		err = w.subscribe(f.Topic)
	case "message":
		var data []byte
		if data, err = plain(f); err == nil {
			err = w.c.saw(f.Topic, f.ID, data)
		}
	case "heartbeat":
		if err = errors.Join(f.check(), w.c.moved(f.Topic, f.Position)); err == nil {
			err = w.c.fresh(f.Topic, f.Stale)
		}
	case "gap":
		err = w.c.gap(f.Topic, f.Reason, f.After, f.Position)
	default:
		err = fmt.Errorf("%w: an unexpected %q", errBroken, f.Type)
	}
	if err == nil && w.c.trait == toggling {
		err = w.toggles()
	}
	return err
}

func (w *wsConn) welcome(f frame) error {
	if f.Topic != w.c.topics[0] {
		return fmt.Errorf("%w: a welcome to another topic", errBroken)
	}
	if err := w.c.moved(f.Topic, f.Position); err != nil {
		return err
	}
	for _, topic := range w.c.topics[1:] {
		if err := w.subscribe(topic); err != nil {
			return err
		}
	}
	w.confirmed()
	return nil
}

func (w *wsConn) subscribe(topic string) error {
	return w.conn.WriteJSON(frame{Type: "subscribe", Topic: topic, Since: w.c.last(topic)})
}

// confirmed notes that the client has all its topics, when it has.
func (w *wsConn) confirmed() {
	if w.missing == 0 {
		w.c.setOpen()
		w.toggle = time.Now().Add(togglesEvery)
	}
}

// toggles takes the next subscription back when it is time; the answer to that renews it.
func (w *wsConn) toggles() error {
	if w.missing > 0 || time.Now().Before(w.toggle) || w.c.a.hurry.Load() {
		return nil
	}
	w.turn++
	w.missing++
	topic := w.c.topics[1+w.turn%(len(w.c.topics)-1)]
	return w.conn.WriteJSON(frame{Type: "unsubscribe", Topic: topic})
}

// plain is the payload as it was published: JSON as it stands, or a JSON string of something else. The publishers
// publish no JSON strings, so that the two don't meet.
func plain(f frame) ([]byte, error) {
	if len(f.Data) == 0 || f.Data[0] != '"' {
		return f.Data, nil
	}
	var text string
	if err := json.Unmarshal(f.Data, &text); err != nil {
		return nil, fmt.Errorf("%w: data: %w", errBroken, err)
	}
	if f.Encoding != "base64" {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: data: %w", errBroken, err)
	}
	return b, nil
}
