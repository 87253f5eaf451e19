package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

const tokenSecret = "a secret of the tests, long enough for HMAC"

// appCall is a line of the application's.
type appCall struct {
	Call          string            `json:"call"`
	Port          int               `json:"port"`
	SID           string            `json:"sid"`
	URL           string            `json:"url"`
	Headers       map[string]string `json:"headers"`
	Command       string            `json:"command"`
	Identifier    string            `json:"identifier"`
	Identifiers   string            `json:"identifiers"`
	Data          string            `json:"data"`
	Cstate        map[string]string `json:"cstate"`
	Subscriptions []string          `json:"subscriptions"`
}

// app is a real application on Node: testdata/app/app.js.
type app struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string

	mu    sync.Mutex
	calls []appCall // guarded by mu
}

// startApp starts it on an address, 127.0.0.1:0 for any. Without Node and its packages the test fails: nothing would be tested.
func startApp(t *testing.T, address string) *app {
	t.Helper()
	if _, err := os.Stat("testdata/app/node_modules/@grpc/grpc-js"); err != nil {
		t.Fatalf("the application's packages are missing: scripts/setup node-app (%v)", err)
	}
	a := &app{t: t, cmd: exec.Command("node", "app.js", "../../../../gateway/auth/apprpc/rpc.proto", address)}
	a.cmd.Dir = "testdata/app"
	var stderr bytes.Buffer
	a.cmd.Stderr = &stderr
	out, err := a.cmd.StdoutPipe()
	if err == nil {
		err = a.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the application does not start: %s", stderr.String())
	}
	var first appCall
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil || first.Port == 0 {
		t.Fatalf("%q: %v", lines.Text(), err)
	}
	a.addr = fmt.Sprintf("127.0.0.1:%d", first.Port)
	go func() {
		for lines.Scan() {
			var c appCall
			if json.Unmarshal(lines.Bytes(), &c) == nil {
				a.mu.Lock()
				a.calls = append(a.calls, c)
				a.mu.Unlock()
			}
		}
	}()
	t.Cleanup(a.kill)
	return a
}

func (a *app) kill() {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	}
}

// of are the calls of a kind so far.
func (a *app) of(kind string) (list []appCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if c.Call == kind {
			list = append(list, c)
		}
	}
	return list
}

func (a *app) want(kind string, n int) []appCall {
	a.t.Helper()
	if got := a.of(kind); len(got) != n {
		a.t.Fatalf("%s: got %d calls, want %d: %+v", kind, len(got), n, got)
	}
	return a.of(kind)
}

func (a *app) eventually(kind string, n int) []appCall {
	a.t.Helper()
	eventually(a.t, kind, func() error {
		if got := len(a.of(kind)); got < n {
			return fmt.Errorf("%d calls, want %d", got, n)
		}
		return nil
	})
	return a.want(kind, n)
}

func authToken(t *testing.T, sub string, expires time.Duration) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": sub, "exp": time.Now().Add(expires).Unix(), "topics": []string{"*"}}).
		SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client is a session of ringside.v1.
type client struct {
	t *testing.T
	c *websocket.Conn
}

func dial(t *testing.T, base, target, user string) (*client, *http.Response, error) {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: 20 * time.Second}
	h := http.Header{}
	if user != "" {
		h.Set("Cookie", "user="+user)
	}
	c, resp, err := d.Dial("ws://"+base+target, h)
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c}, resp, nil
}

// until reads up to a message whose text has all of words.
func (c *client) until(words ...string) string {
	c.t.Helper()
	_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	for {
		_, b, err := c.c.ReadMessage()
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", words, err)
		}
		all := true
		for _, w := range words {
			all = all && strings.Contains(string(b), w)
		}
		if all {
			return string(b)
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if err := c.c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// end reads to the close frame.
func (c *client) end() *websocket.CloseError {
	c.t.Helper()
	_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	for {
		if _, _, err := c.c.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if !errors.As(err, &ce) {
				c.t.Fatalf("got %v, want a close frame", err)
			}
			return ce
		}
	}
}

// The application is asked once for each session, however often its gateway changes, and told once of its end; a token's
// expiry, and its renewal, go along.
func TestAuthenticationAcrossGateways(t *testing.T) {
	a := startApp(t, "127.0.0.1:0")
	secret := filepath.Join(t.TempDir(), "jwt.secret")
	if err := os.WriteFile(secret, []byte(tokenSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcluster.New(t, testcluster.NewRedis(t, false).URL())
	router := c.AddRouter()
	flags := []string{
		"--auth", "jwt,rpc", "--jwt-algorithms", "HS256", "--jwt-secret-file", secret, "--jwt-leeway", "0s", "--rpc-host", a.addr,
		"--drain-window", "500ms", "--app-pause", "300ms", "--app-timeout", "2s",
		"--allowed-origins", "https://shop.example",
	}
	for _, id := range []string{"g1", "g2"} {
		c.AddGateway(id, flags...)
	}
	c.WaitReady()
	c.WaitConverged()

	target := func(expires time.Duration) string { return "/t/finals?token=" + authToken(t, "ann", expires) }
	refused := func(target, user string, status int, reason string) *http.Response {
		t.Helper()
		_, resp, err := dial(t, router.Addr, target, user)
		if err == nil || resp == nil {
			t.Fatalf("%s: got a session, or no answer (%v)", reason, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status || !strings.Contains(string(body), `"`+reason+`"`) {
			t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, reason)
		}
		return resp
	}
	refused("/t/finals", "ann", http.StatusUnauthorized, "token_missing")
	a.want("connect", 0)
	refused(target(time.Hour), "", http.StatusUnauthorized, "denied")
	a.want("connect", 1)

	const n = 12
	var sessions []*client
	for i := range n {
		expires := time.Hour
		if i == 0 { // it is renewed
			expires = 20 * time.Second
		}
		s, _, err := dial(t, router.Addr, target(expires), "ann")
		if err != nil {
			t.Fatal(err)
		}
		s.until(`"welcome"`, `"expires":`)
		sessions = append(sessions, s)
	}
	expiring, _, err := dial(t, router.Addr, target(20*time.Second), "ann")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sessions[0].send(`{"type":"auth","token":"` + authToken(t, "ann", 2*time.Hour) + `"}`)
	sessions[0].until("authenticated")
	for _, call := range a.want("connect", n+2) {
		if strings.Contains(call.URL, "token") || !strings.HasSuffix(call.URL, "/t/finals") || call.SID == "" {
			t.Errorf("the application was told %+v", call)
		}
	}
	hears := func(word string) {
		t.Helper()
		eventually(t, "publish", func() error {
			_, err := publish(router, "finals", `"`+word+`"`, word)
			return err
		})
		for _, s := range sessions {
			s.until(`"message"`, word)
		}
	}
	hears("one")
	place, err := router.Place(t.Context(), "finals")
	if err != nil {
		t.Fatal(err)
	}
	c.Gateway(place.Owner).Kill()
	hears("two")

	sessions[1].send(`{"type":"command","identifier":"chat","data":"hello","id":7}`)
	sessions[1].until(`"reply"`, `"said":"hello"`)
	sessions[1].until(`"done"`, `7`)
	sessions[1].send(`{"type":"command","data":"follow"}`)
	sessions[1].until(`"subscribed"`, `app-stream`)
	sessions[1].send(`{"type":"subscribe","topic":"secret"}`)
	sessions[1].until(`"error"`, `"denied"`)
	if got := a.of("command"); len(got) != 3 || got[0].Cstate["seen"] != "1" || got[1].Cstate["seen"] != "2" ||
		got[0].Identifiers != `{"user":"ann"}` || got[2].Command != "subscribe" {
		t.Errorf("commands: %+v", got)
	}

	c.AddGateway("g3", flags...)
	c.WaitReady()
	c.WaitConverged()
	left := c.Running(testcluster.Gateway)[0]
	c.Terminate(left)
	if code, err := left.Wait(testcluster.Limit()); err != nil || code != 0 {
		t.Fatalf("the drained gateway ended with %d, %v", code, err)
	}
	hears("three")
	sessions[1].send(`{"type":"command","data":"x"}`)
	sessions[1].until(`"reply"`)
	if got := a.of("command"); got[len(got)-1].Cstate["seen"] != "3" {
		t.Errorf("what the application had noted did not go along: %+v", got[len(got)-1])
	}
	a.want("connect", n+2)
	a.want("disconnect", 0)

	if end := expiring.end(); end.Code != 4401 || !strings.Contains(end.Text, "token_expired") {
		t.Errorf("the end of a token: got %v", end)
	}
	if took := time.Since(began); took < 15*time.Second {
		t.Errorf("the token ended after %v", took)
	}
	hears("behind the end of the first token")

	// The application is down: who is there notices nothing, who comes is told when to return.
	for _, s := range sessions[:n/2] {
		_ = s.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		s.end()
	}
	for _, s := range sessions[n/2 : n-1] {
		s.c.Close()
	}
	seen := map[string]int{}
	for _, call := range a.eventually("disconnect", n) {
		seen[call.SID]++
		if call.Identifiers != `{"user":"ann"}` || len(call.Subscriptions) == 0 {
			t.Errorf("the end of a session: %+v", call)
		}
	}
	if len(seen) != n {
		t.Errorf("%d sessions ended, the application was told of %d", n, len(seen))
	}
	sessions = sessions[n-1:]
	a.kill()
	if resp := refused(target(time.Hour), "ann", http.StatusServiceUnavailable, "app_down"); resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for range 6 {
		refused(target(time.Hour), "ann", http.StatusServiceUnavailable, "app_down")
	}
	gw := c.Running(testcluster.Gateway)[0]
	if v, err := gw.Metric(t.Context(), "ringside_auth_breaker_state", `via="rpc"`); err != nil || v == 0 {
		t.Errorf("the breaker's state is %v, %v", v, err)
	}
	hears("four")
	b := startApp(t, a.addr)
	eventually(t, "the application is asked again", func() error {
		s, _, err := dial(t, router.Addr, target(time.Hour), "ann")
		if err == nil {
			s.until(`"welcome"`)
		}
		return err
	})
	sessions[0].c.Close()
	b.eventually("disconnect", 1)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
