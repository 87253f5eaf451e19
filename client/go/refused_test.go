package ringside

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// Who is turned away comes back when it was told, with the reservation; who is sent away likewise.
func TestComesBackAsTold(t *testing.T) {
	up := websocket.Upgrader{Subprotocols: []string{subprotocol}}
	asked := make(chan string, 10) // the pass of each attempt
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query().Get("pass")
		n++
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"queue_full","message":"too many","retry":40,"pass":"reserved"}`)
			return
		}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"welcome","session":"1","topic":"finals","position":"a-1-0","resume":"again"}`))
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseServiceRestart, `{"reconnect":30}`), time.Now().Add(time.Second))
	}))
	defer server.Close()
	s, err := Connect(t.Context(), Config{URL: server.URL, Topics: []string{"finals"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	welcome := Connected{Session: "1", Topic: "finals", Position: "a-1-0"}
	for _, want := range []any{welcome, 30 * time.Millisecond, 40 * time.Millisecond, welcome} {
		e, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := any(e)
		if d, ok := e.(Disconnected); ok {
			got = d.Again
		}
		if got != want {
			t.Errorf("got %v, want %v", e, want)
		}
	}
	for _, want := range []string{"", "again", "reserved"} {
		if got := <-asked; got != want {
			t.Errorf("pass: got %q, want %q", got, want)
		}
	}
}
