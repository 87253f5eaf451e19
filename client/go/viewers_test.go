package ringside

import (
	"context"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Who asks is told how many follow the topic; who does not is not.
func TestViewers(t *testing.T) {
	c := testcluster.Start(t, testcluster.NewRedis(t, false).URL(), 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit())
	defer cancel()
	connect := func(cfg Config) *Session {
		t.Helper()
		cfg.URL, cfg.Topics = c.Router(0).HTTP(), []string{"finals"}
		s, err := Connect(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	next := func(s *Session) Event {
		t.Helper()
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		return e
	}
	silent := connect(Config{})
	if _, ok := next(silent).(Connected); !ok {
		t.Fatal("no welcome")
	}
	asked := connect(Config{Viewers: true})
	for {
		if v, ok := next(asked).(Viewers); ok && v == (Viewers{Topic: "finals", Count: 2}) {
			break
		}
	}
	if _, err := (&Publisher{URL: "http://" + c.Router(0).Admin}).Publish(ctx, "finals", []byte("1"), Publish{}); err != nil {
		t.Fatal(err)
	}
	for {
		switch e := next(silent).(type) {
		case Viewers:
			t.Fatalf("who did not ask is told %+v", e)
		case Message:
			return
		}
	}
}
