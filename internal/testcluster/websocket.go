package testcluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
)

// frame is any message of ringside.v1, in either direction.
type frame struct {
	Type      string `json:"type"`
	Session   string `json:"session,omitempty"`
	Topic     string `json:"topic,omitempty"`
	ID        string `json:"id,omitempty"`
	Position  string `json:"position,omitempty"`
	Since     string `json:"since,omitempty"`
	Encoding  string `json:"encoding,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	Heartbeat int    `json:"heartbeat,omitempty"`
	Freshness
	Data json.RawMessage `json:"data,omitempty"`
}

// runWebSocket makes one connection and reads it to its end. The delay is what the server asked for before
// the next one, or negative.
func (s *Subscriber) runWebSocket(ctx context.Context) (time.Duration, error) {
	sub := "ringside." + s.cfg.Protocol.String()
	d := websocket.Dialer{Subprotocols: []string{sub}, HandshakeTimeout: 10 * time.Second, TLSClientConfig: s.cfg.TLS, NetDialContext: s.cfg.Dial}
	c, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(s.target(), "http"), nil)
	if err != nil {
		if resp != nil {
			return -1, fmt.Errorf("%w: %s", err, resp.Status)
		}
		return -1, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.UnderlyingConn().Close() })()
	if got := c.Subprotocol(); got != sub {
		return -1, fmt.Errorf("%w: subprotocol %q, not %q", ErrBroken, got, sub)
	}
	conn := s.answered()
	if s.cfg.Protocol == Raw {
		s.setOpen()
	}
	missing := len(s.cfg.More) // topics that are not confirmed
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			return s.webSocketEnd(err)
		}
		if s.cfg.Protocol == Raw {
			if err := s.saw(conn, s.cfg.Topic, "", string(b)); err != nil {
				return -1, err
			}
			continue
		}
		var f frame
		if err := json.Unmarshal(b, &f); err != nil {
			return -1, fmt.Errorf("%w: %q: %w", ErrBroken, b, err)
		}
		if err := s.onFrame(c, conn, f, &missing); err != nil {
			return -1, fmt.Errorf("%w (in %.200q)", err, b)
		}
	}
}

func (s *Subscriber) onFrame(c *websocket.Conn, conn int, f frame, missing *int) error {
	switch f.Type {
	case "welcome":
		return s.onWelcome(c, f, *missing)
	case "subscribed":
		if *missing--; *missing == 0 {
			s.setOpen()
		}
		return s.moved(f.Topic, f.Position, false)
	case "message":
		data, err := plain(f)
		if err != nil {
			return err
		}
		return s.saw(conn, f.Topic, f.ID, data)
	case "heartbeat":
		s.setFreshness(f.Freshness)
		return s.moved(f.Topic, f.Position, false)
	case "gap":
		return s.gap(f.Topic, f.Reason, f.Position)
	case "pong":
		return nil
	}
	return fmt.Errorf("%w: an unexpected %q", ErrBroken, f.Type)
}

func (s *Subscriber) onWelcome(c *websocket.Conn, f frame, missing int) error {
	if f.Topic != s.cfg.Topic || f.Session == "" || f.Heartbeat <= 0 {
		return fmt.Errorf("%w: a bad welcome", ErrBroken)
	}
	s.mu.Lock()
	s.session = f.Session
	s.mu.Unlock()
	if err := s.moved(f.Topic, f.Position, false); err != nil {
		return err
	}
	for _, topic := range s.cfg.More {
		req := frame{Type: "subscribe", Topic: topic}
		if tr := s.Track(topic); len(tr.Seen) > 0 || tr.Last.Epoch != 0 {
			req.Since = tr.Last.String()
		}
		if err := c.WriteJSON(req); err != nil {
			return err
		}
	}
	if missing == 0 {
		s.setOpen()
	}
	return nil
}

// webSocketEnd turns what a read failed with into a [Close].
func (s *Subscriber) webSocketEnd(err error) (time.Duration, error) {
	var ce *websocket.CloseError
	if !errors.As(err, &ce) || ce.Code == websocket.CloseAbnormalClosure {
		s.closed(Close{Code: websocket.CloseAbnormalClosure, Reconnect: -1})
		return -1, err
	}
	c := Close{Code: ce.Code, Reason: ce.Text, Reconnect: reconnectDelay(ce.Text)}
	s.closed(c)
	return c.Reconnect, errClosed
}

// plain is the payload that a message carries, as it was published: data is JSON as it stands, or a JSON
// string of something else. Publishers of the tests publish no JSON strings, so that the two don't meet.
func plain(f frame) (string, error) {
	if len(f.Data) == 0 || f.Data[0] != '"' {
		return string(f.Data), nil
	}
	var text string
	if err := json.Unmarshal(f.Data, &text); err != nil {
		return "", fmt.Errorf("%w: data: %w", ErrBroken, err)
	}
	if f.Encoding != "base64" {
		return text, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("%w: data: %w", ErrBroken, err)
	}
	return string(b), nil
}
