package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// A gateway that is killed says nothing: its sessions just break off, and nobody is let in any more.
func TestKill(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("final", "ringside.v1")
		c.want("welcome")
		r.g.Kill()
		r.g.Kill()
		_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
		_, _, err := c.c.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
			t.Errorf("got the close %d %q, want none", closed.Code, closed.Text)
		case closed == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // the library returns it bare
				t.Errorf("the session goes on: %v", err)
			}
		}
		if conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.g.Addr()); err == nil {
			conn.Close()
			t.Error("the listener still takes connections")
		}
		r.stop()
	})
}
