package gateway

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const tokenSecret = "a secret of the tests, long enough for HMAC"

// clock is a guard's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// guarded makes topics that begin with "private" demand a token.
func guarded(t *testing.T, c *clock, change func(*auth.JWTConfig)) *Access {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(tokenSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := auth.JWTConfig{Algorithms: []string{"HS256"}, SecretFile: file, Identity: "sub", Topics: "topics", Param: "token"}
	if change != nil {
		change(&cfg)
	}
	g, err := auth.New(auth.Config{JWT: &cfg, Now: c.now}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return &Access{Guard: g, Demands: func(topic string) []auth.Methods {
		if strings.HasPrefix(topic, "private") {
			return []auth.Methods{auth.JWT}
		}
		return nil
	}}
}

func token(t *testing.T, sub string, expires time.Duration, topics ...string) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": sub, "exp": time.Now().Add(expires).Unix(), "topics": topics}).
		SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	r := start(t, func(c *Config) {}, func(d *Deps) { d.Access = guarded(t, &clock{}, nil) })
	f := func(topic, query string, status int, reason string) {
		t.Helper()
		_, resp, err := websocket.DefaultDialer.Dial("ws://"+r.g.Addr()+"/t/"+topic+query, nil)
		if err == nil {
			t.Fatalf("%s: got a session, want %s", topic, reason)
		}
		defer resp.Body.Close()
		var body struct{ Error, Message string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != status || body.Error != reason {
			t.Errorf("%s%s: got %d %+v (%v), want %d %s", topic, query, resp.StatusCode, body, err, status, reason)
		}
		if i := strings.Index(query, "="); i > 0 && len(query) > i+1 && strings.Contains(body.Message, query[i+1:]) {
			t.Errorf("the answer repeats the token: %s", body.Message)
		}
	}
	f("private", "", http.StatusUnauthorized, auth.TokenMissing)
	f("private", "?token=nonsense", http.StatusUnauthorized, auth.TokenMalformed)
	f("private", "?token="+token(t, "ann", time.Hour, "other"), http.StatusForbidden, auth.TokenTopic)
	f("private", "?token="+token(t, "ann", -time.Hour, "private"), http.StatusUnauthorized, auth.TokenExpired)
	c := r.dial("private?token=" + token(t, "ann", time.Hour, "private*"))
	c.want("welcome")
	c.send(`{"type":"subscribe","topic":"private-2"}`)
	c.want("subscribed")
	c.send(`{"type":"subscribe","topic":"open"}`)
	c.want("subscribed")
	open := r.dial("open")
	open.want("welcome")
	open.send(`{"type":"subscribe","topic":"private"}`)
	if m := open.want("error"); m.Reason != auth.NotAllowed || m.Topic != "private" {
		t.Errorf("subscribing without a token: got %+v", m)
	}
	open.send(`{"type":"auth","token":"x"}`)
	if m := open.want("error"); m.Reason != auth.NotAllowed {
		t.Errorf("a token on an open session: got %+v", m)
	}
}

// Sessions of open topics cost nothing.
func TestOpenSessionsHaveNoAccess(t *testing.T) {
	req := &request{topic: "open", onLeg: true}
	if a := newAccess(req); a != nil {
		t.Errorf("got %+v", a)
	}
	s := &session{}
	if n := testing.AllocsPerRun(100, func() {
		if s.grant() != nil || s.expired() || s.waits(command{Type: "subscribe"}) {
			t.Error("an open session is restricted")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A browser can't read the answer to a handshake that failed: it gets a session that ends with the reason.
func TestRefusalsThatBrowsersRead(t *testing.T) {
	r := start(t, nil, func(d *Deps) { d.Access = guarded(t, &clock{}, nil) })
	origin := http.Header{"Origin": {"https://shop.example"}}
	f := func(topic, query string, code int, reason string) {
		t.Helper()
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+r.g.Addr()+"/t/"+topic+query, origin)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		defer c.Close()
		end := (&wsClient{t, c}).closed()
		if end.Code != code || !strings.Contains(end.Text, reason) {
			t.Errorf("%s: got %v, want %d %s", topic, end, code, reason)
		}
	}
	f("private", "", codeUnauthorized, auth.TokenMissing)
	f("private", "?token="+token(t, "ann", time.Hour, "other"), codeForbidden, auth.TokenTopic)
	origin = nil // a client that asks for it
	f("private", "?refuse=close", codeUnauthorized, auth.TokenMissing)
	if _, resp, err := websocket.DefaultDialer.Dial("ws://"+r.g.Addr()+"/t/private", nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("one that does not ask: got %v, want the status", err)
	}
	testcluster.Soon(t, "no place is taken", func() bool { return r.g.Sessions() == 0 })
}

func TestExpiry(t *testing.T) {
	for _, query := range []string{"", "raw"} {
		c := &clock{}
		r := start(t, nil, func(d *Deps) {
			d.Access = guarded(t, c, nil)
		})
		var protocols []string
		if query == "raw" {
			protocols = []string{protocolRaw}
		}
		s := r.dial("private?token="+token(t, "ann", 2*time.Second, "private"), protocols...)
		if end := s.closed(); end.Code != codeUnauthorized || !strings.Contains(end.Text, auth.TokenExpired) {
			t.Errorf("got %v", end)
		}
	}
}

// A fresh token on a live session makes it last, whatever gateway it goes on at: the router gets another ticket.
func TestRenewal(t *testing.T) {
	r := start(t, nil, func(d *Deps) { d.Access = guarded(t, &clock{}, nil) })
	s := r.dial("private?token=" + token(t, "ann", 3*time.Second, "private"))
	s.want("welcome")
	refused := func(token, reason string) {
		t.Helper()
		s.send(`{"type":"auth","token":"` + token + `"}`)
		if m := s.want("error"); m.Reason != reason {
			t.Errorf("got %+v, want %s", m, reason)
		}
	}
	refused("x", auth.TokenMalformed)
	refused(token(t, "bob", time.Hour, "private"), auth.TokenIdentity)
	refused(token(t, "ann", time.Hour, "other"), auth.TokenTopic)
	s.send(`{"type":"auth","token":"` + token(t, "ann", time.Hour, "private", "private-2") + `"}`)
	s.send(`{"type":"subscribe","topic":"private-2"}`) // behind it, whatever that takes
	s.want("authenticated")
	s.want("subscribed")
	before := time.Now()
	testcluster.Soon(t, "the first token's time is over", func() bool { return time.Since(before) > 4*time.Second })
	s.send(`{"type":"ping"}`)
	s.want("pong")
}
