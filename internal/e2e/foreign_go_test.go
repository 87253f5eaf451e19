package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// coderClient is github.com/coder/websocket.
type coderClient struct{ version string }

func (c coderClient) name() string { return "coder/websocket " + c.version }

func (coderClient) open(url string, opts dialOptions, events func(what, payload string)) foreignSession {
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit())
	defer cancel()
	o := &coder.DialOptions{
		Subprotocols:   opts.protocols,
		HTTPHeader:     http.Header{},
		OnPingReceived: func(_ context.Context, p []byte) bool { events("ping", string(p)); return true },
		OnPongReceived: func(_ context.Context, p []byte) { events("pong", string(p)) },
	}
	if opts.deflate {
		o.CompressionMode = coder.CompressionContextTakeover
	}
	if opts.origin != "" {
		o.HTTPHeader.Set("Origin", opts.origin)
	}
	conn, resp, err := coder.Dial(ctx, url, o)
	if err != nil {
		events(refusedOr(resp, err))
		return coderSession{}
	}
	events("open", strings.TrimSpace(conn.Subprotocol()+" "+resp.Header.Get("Sec-WebSocket-Extensions")))
	conn.SetReadLimit(16 << 20)
	s := coderSession{conn, &coderEnd{events: events}}
	go func() {
		for {
			kind, b, err := conn.Read(context.Background())
			var ce coder.CloseError
			switch {
			case errors.As(err, &ce):
				s.end.tell(int(ce.Code), ce.Reason)
				return
			case err != nil && s.end.asked.Load(): // nothing is read behind a close: what it returns is the end
				return
			case err != nil:
				s.end.tell(1006, "")
				return
			case kind == coder.MessageText:
				events("text", string(b))
			default:
				events("binary", string(b))
			}
		}
	}()
	return s
}

// refusedOr is the event of a handshake that failed.
func refusedOr(resp *http.Response, err error) (what, payload string) {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return "refused", strconv.Itoa(resp.StatusCode)
	}
	return "error", err.Error()
}

type coderSession struct {
	*coder.Conn
	end *coderEnd
}

// coderEnd is how a session ended, which is told once.
type coderEnd struct {
	asked  atomic.Bool // by the client
	once   sync.Once
	events func(what, payload string)
}

func (e *coderEnd) tell(code int, reason string) {
	e.once.Do(func() { e.events("close", fmt.Sprintf("%d %s", code, reason)) })
}

func (s coderSession) send(binary bool, list ...string) error {
	kind := coder.MessageText
	if binary {
		kind = coder.MessageBinary
	}
	if len(list) == 1 {
		return s.Write(context.Background(), kind, []byte(list[0]))
	}
	w, err := s.Writer(context.Background(), kind)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, err := w.Write([]byte(p)); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s coderSession) interrupt(first, rest string) error {
	w, err := s.Writer(context.Background(), coder.MessageText)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(first)); err != nil {
		return err
	}
	if err := s.ping(""); err != nil {
		return err
	}
	if _, err := w.Write([]byte(rest)); err != nil {
		return err
	}
	return w.Close()
}

// ping waits for the pong; its payload is a number of the library's own.
func (s coderSession) ping(payload string) error {
	if payload != "" {
		return unable("chooses the payload of a ping itself")
	}
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit())
	defer cancel()
	return s.Ping(ctx)
}

func (coderSession) pong(string) error { return unable("sends a pong only as an answer") }

func (s coderSession) close(code int, reason string) error {
	s.end.asked.Store(true)
	go func() { // it waits for the answer, and returns nil when that has the same code
		err := s.Close(coder.StatusCode(code), reason)
		var crossing coder.CloseError
		switch {
		case err == nil:
			s.end.tell(code, "")
		case errors.As(err, &crossing): // the server's own close came in place of the answer
			s.end.tell(int(crossing.Code), crossing.Reason)
		case errors.Is(err, net.ErrClosed): // the same, and the reader has it
		default:
			s.end.tell(1006, "")
		}
	}()
	return nil
}

func (s coderSession) terminate() error { return s.CloseNow() }

// gorillaClient is github.com/gorilla/websocket.
type gorillaClient struct{ version string }

func (g gorillaClient) name() string { return "gorilla/websocket " + g.version }

// gorillaBuffer is how much is sent in one frame: what is longer goes in fragments.
const gorillaBuffer = 4 << 10

func (gorillaClient) open(url string, opts dialOptions, events func(what, payload string)) foreignSession {
	d := gorilla.Dialer{
		Subprotocols: opts.protocols, EnableCompression: opts.deflate, HandshakeTimeout: testcluster.Limit(), WriteBufferSize: gorillaBuffer,
	}
	h := http.Header{}
	if opts.origin != "" {
		h.Set("Origin", opts.origin)
	}
	conn, resp, err := d.Dial(url, h)
	if err != nil {
		events(refusedOr(resp, err))
		return gorillaSession{}
	}
	events("open", strings.TrimSpace(conn.Subprotocol()+" "+resp.Header.Get("Sec-WebSocket-Extensions")))
	answer := conn.PingHandler()
	conn.SetPingHandler(func(p string) error { events("ping", p); return answer(p) })
	conn.SetPongHandler(func(p string) error { events("pong", p); return nil })
	go func() {
		defer conn.Close()
		for {
			kind, b, err := conn.ReadMessage()
			var ce *gorilla.CloseError
			switch {
			case errors.As(err, &ce):
				events("close", fmt.Sprintf("%d %s", ce.Code, ce.Text))
				return
			case err != nil:
				events("close", "1006 ")
				return
			case kind == gorilla.TextMessage:
				events("text", string(b))
			default:
				events("binary", string(b))
			}
		}
	}()
	return gorillaSession{conn}
}

type gorillaSession struct{ *gorilla.Conn }

func (s gorillaSession) send(binary bool, list ...string) error {
	kind := gorilla.TextMessage
	if binary {
		kind = gorilla.BinaryMessage
	}
	if len(list) == 1 {
		return s.WriteMessage(kind, []byte(list[0]))
	}
	w, err := s.NextWriter(kind)
	if err != nil {
		return err
	}
	for i, p := range list {
		if i < len(list)-1 { // it sends what its buffer does not hold
			p += strings.Repeat(" ", gorillaBuffer)
		}
		if _, err := io.WriteString(w, p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s gorillaSession) interrupt(first, rest string) error {
	w, err := s.NextWriter(gorilla.TextMessage)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, first+strings.Repeat(" ", gorillaBuffer)); err != nil {
		return err
	}
	if err := s.ping("between"); err != nil {
		return err
	}
	if _, err := io.WriteString(w, rest); err != nil {
		return err
	}
	return w.Close()
}

func (s gorillaSession) control(kind int, payload []byte) error {
	return s.WriteControl(kind, payload, time.Now().Add(testcluster.Limit()))
}

func (s gorillaSession) ping(payload string) error {
	return s.control(gorilla.PingMessage, []byte(payload))
}

func (s gorillaSession) pong(payload string) error {
	return s.control(gorilla.PongMessage, []byte(payload))
}

func (s gorillaSession) close(code int, reason string) error {
	err := s.control(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, reason))
	if errors.Is(err, gorilla.ErrCloseSent) { // it has answered a close of the server's
		err = nil
	}
	return err
}

func (s gorillaSession) terminate() error { return s.NetConn().Close() }
