package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/openapi/conform"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// asker asks nodes and holds that their answers are as the API's description says.
type asker struct {
	t    *testing.T
	seen map[string]bool // "POST /publish 200"
}

// ask sends a request, "POST http://…/publish", and wants an answer with a status. Headers are "Name: value". What is answered with a success, or
// refused for what it would do, is itself a request as the description says; others are wrong on purpose.
func (a *asker) ask(want int, request, body string, headers ...string) string {
	a.t.Helper()
	method, target, _ := strings.Cut(request, " ")
	ctx, cancel := context.WithTimeout(a.t.Context(), testcluster.Limit())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	if want == http.StatusRequestEntityTooLarge { // whoever still writes to a server that has refused may never read why
		req.Header.Set("Expect", "100-continue")
		tr.ExpectContinueTimeout = testcluster.Limit()
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		a.t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(resp.Body)
		a.t.Errorf("%s %.60q: got %d %.300s, want %d", request, body, resp.StatusCode, text, want)
		return string(text)
	}
	var text []byte
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"): // which does not end
		var line string
		line, err = bufio.NewReader(resp.Body).ReadString('\n')
		text = []byte(line)
	default:
		text, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		a.t.Errorf("%s: %v", request, err)
	}
	if err := conform.Answer(req, resp.StatusCode, resp.Header, text); err != nil {
		a.t.Error(err)
	}
	if want/100 == 2 && want != http.StatusMultiStatus {
		if err := conform.Request(req, []byte(body)); err != nil {
			a.t.Errorf("%s %.100q is taken, and not as the description says: %v", request, body, err)
		}
	}
	doc, err := conform.Description()
	if err != nil {
		a.t.Fatal(err)
	}
	a.seen[method+" "+conform.Find(doc, req.URL.EscapedPath())] = true
	return string(text)
}

// Real nodes answer as the description of the API says, and each operation of it was asked.
func TestAnswersAsDescribed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	redis := testcluster.NewRedis(t, true)
	c := testcluster.Start(t, redis.URL(), 1, 2, drainWindow)
	guarded := c.AddRouter("--admin-token-file", file("admin", "the-token-of-admins\n"), "--publish-tokens-file", file("publish", "the-token-of-scores score.*\n"),
		"--per-ip-rate", "0.01", "--per-ip-burst", "1", "--per-ip-allow", "192.0.2.0/24")
	c.WaitReady()
	a := &asker{t, map[string]bool{}}
	router, gateway, public := "http://"+c.Router(0).Admin, "http://"+c.Gateway("g1").Admin, c.Router(0).HTTP()

	for _, base := range []string{router, gateway} {
		a.asksAll(base)
	}
	a.asksPublishing(router)
	a.asksSessions(public)
	a.ask(400, "POST "+router+"/drain", "")
	a.ask(404, "POST "+router+"/drain?shard=nobody", "")
	a.ask(400, "POST "+router+"/drain", `{"shard":`)
	a.ask(202, "POST "+router+"/drain", `{"shard":"g2"}`)

	closed := "http://" + guarded.Admin
	const admin, scores = "Authorization: Bearer the-token-of-admins", "Authorization: Bearer the-token-of-scores"
	for _, path := range []string{"/ring", "/cluster", "/node", "/metrics", "/policy", "/pins", "/pins/x", "/", "/debug/pprof/"} {
		a.ask(401, "GET "+closed+path, "")
		a.ask(401, "GET "+closed+path, "", scores)
	}
	a.ask(200, "GET "+closed+"/ring", "", admin)
	a.ask(401, "POST "+closed+"/publish", `{"topic":"score.1","data":1}`)
	a.ask(200, "POST "+closed+"/publish", `{"topic":"score.1","data":1}`, scores)
	a.ask(403, "POST "+closed+"/publish", `{"topic":"finals","data":1}`, scores)
	a.ask(403, "POST "+closed+"/publish/finals", `1`, scores)
	a.ask(207, "POST "+closed+"/publish", `[{"topic":"score.1","data":1},{"topic":"finals","data":1}]`, scores)
	a.ask(403, "POST "+closed+"/publish", `[{"topic":"finals","data":1}]`, scores)

	a.ask(101, "GET "+guarded.HTTP()+"/t/finals", "", handshake()...)
	a.ask(429, "GET "+guarded.HTTP()+"/t/finals", "", handshake()...)

	redis.Kill()
	eventually(t, "the router is not ready", func() error { return asNotReady(c.Router(0).Ready(t.Context())) })
	a.ask(503, "GET "+router+"/readyz", "")
	a.ask(503, "POST "+router+"/publish", `{"topic":"finals","data":1}`)
	a.ask(503, "POST "+router+"/publish/finals", `1`)
	a.ask(503, "POST "+router+"/publish", `[{"topic":"finals","data":1},{"topic":"","data":1}]`)
	a.ask(200, "GET "+router+"/ring?topic=finals", "")
	a.asked()
}

func asNotReady(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return nil
}

// asksAll asks a node for all that it shows, and sets what can be set.
func (a *asker) asksAll(base string) {
	a.t.Helper()
	for _, path := range []string{
		"/healthz", "/readyz", "/ring", "/ring?format=text", "/ring?topic=finals", "/ring?topic=finals&format=text", "/cluster", "/node", "/metrics", "/topics/finals",
		"/dashboard/", "/dashboard/app.js", "/openapi.yaml", "/openapi.json", "/policy", "/pins", "/debug/pprof/", "/debug/pprof/goroutine", "/",
	} {
		a.ask(200, "GET "+base+path, "")
		a.ask(200, "HEAD "+base+path, "")
	}
	a.ask(303, "GET "+base+"/", "", "Accept: text/html")
	a.ask(404, "GET "+base+"/dashboard/nothing.js", "")
	for _, path := range []string{"/healthz?x=1", "/readyz?x=1", "/ring?format=xml", "/ring?topic=", "/cluster?x=1", "/node?x=1", "/policy?x=1", "/pins?x=1", "/openapi.json?x=1", "/debug/pprof/profile?seconds=1000"} {
		a.ask(400, "GET "+base+path, "")
	}
	a.ask(421, "GET "+base+"/ring", "", "Host: stranger.example")
}

// asksPublishing publishes what can be published, and what can't.
func (a *asker) asksPublishing(base string) {
	a.t.Helper()
	const ndjson = "Content-Type: application/x-ndjson"
	a.ask(200, "POST "+base+"/publish", `{"topic":"finals","data":{"score":"2:1"},"id":"goal-17","min_replicas":0}`)
	a.ask(200, "POST "+base+"/publish", `{"topic":"finals","data":{"score":"2:1"},"id":"goal-17"}`)
	a.ask(200, "POST "+base+"/publish", `{"topic":"finals","data":"R29hbA==","encoding":"base64"}`, "Idempotency-Key: k")
	a.ask(200, "POST "+base+"/publish", `[{"topic":"finals","data":1},{"topic":"semi","data":null,"id":"1"},{"topic":"semi","data":null,"id":"1"}]`)
	a.ask(200, "POST "+base+"/publish", `{"topic":"finals","data":1}`+"\n", ndjson)
	a.ask(207, "POST "+base+"/publish", `[{"topic":"finals","data":1},{"topic":"a\n","data":1},{"topic":"finals"},7]`)
	a.ask(200, "POST "+base+"/publish/finals/of/2026?id=k", "Goal!", "Content-Type: text/plain")
	for _, body := range []string{``, `{`, `[`, `[]`, `{"topic":"finals"}`, `{"data":1}`, `{"topic":"","data":1}`, `[{"topic":"","data":1}]`, `[1]`, `{"topic":"x","data":1,"min_replicas":17}`} {
		a.ask(400, "POST "+base+"/publish", body)
	}
	a.ask(400, "POST "+base+"/publish", `{"topic":"finals","data":1}`+"\n{", ndjson)
	a.ask(400, "POST "+base+"/publish/finals?x=1", "1")
	large := strings.Repeat("x", 1<<20+1)
	a.ask(413, "POST "+base+"/publish", `{"topic":"finals","data":"`+large+`"}`)
	a.ask(413, "POST "+base+"/publish", `[{"topic":"finals","data":"`+large+`"}]`)
	a.ask(413, "POST "+base+"/publish", `[`+strings.Repeat(`{"topic":"finals","data":1},`, 1000)+`{"topic":"finals","data":1}]`)
	a.ask(413, "POST "+base+"/publish/finals", large)
	a.ask(415, "POST "+base+"/publish", `{}`, "Content-Encoding: gzip")
	a.ask(415, "POST "+base+"/publish", `{}`, "Content-Type: application/xml")
	a.ask(415, "POST "+base+"/publish/finals", `{}`, "Content-Encoding: gzip")
	a.ask(403, "POST "+base+"/publish", `{"topic":"finals","data":1}`, "Sec-Fetch-Site: cross-site")
	a.ask(201, "POST "+base+"/_broadcast", `{"stream":"finals","data":"1"}`)
	a.ask(201, "POST "+base+"/_broadcast", `[{"stream":"finals","data":"1"},{"stream":"semi","data":"1"}]`)
	a.ask(400, "POST "+base+"/_broadcast", `{"stream":"finals"}`)

	a.ask(200, "PUT "+base+"/policy", `{"min":300}`)
	a.ask(200, "POST "+base+"/policy", `{"min":200}`)
	a.ask(400, "PUT "+base+"/policy", `{"min":-1}`)
	a.ask(200, "PUT "+base+"/pins/a/b?shards=g1,g9", "")
	a.ask(200, "POST "+base+"/pins/a/b?shards=g1", "")
	a.ask(200, "GET "+base+"/pins/a/b", "")
	a.ask(200, "DELETE "+base+"/pins/a/b", "")
	a.ask(404, "GET "+base+"/pins/a/b", "")
	a.ask(400, "PUT "+base+"/pins/a/b", "")
	a.ask(200, "PUT "+base+"/dedicated/g9", "")
	a.ask(200, "POST "+base+"/dedicated/g9", "")
	a.ask(200, "DELETE "+base+"/dedicated/g9", "")
	a.ask(400, "PUT "+base+"/dedicated/", "")
	a.ask(200, "POST "+base+"/debug/pprof/", "")
	a.ask(200, "POST "+base+"/debug/pprof/symbol", "0x1", "Content-Type: text/plain")
}

// handshake has the headers of a WebSocket handshake.
func handshake() []string {
	key := base64.StdEncoding.EncodeToString([]byte("sixteen bytes of"))
	return []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key}
}

// asksSessions opens sessions, and fails to.
func (a *asker) asksSessions(base string) {
	a.t.Helper()
	const events = "Accept: text/event-stream"
	a.ask(200, "GET "+base+"/t/finals", "", events)
	a.ask(101, "GET "+base+"/t/finals", "", handshake()...)
	a.ask(101, "GET "+base+"/t/a/b", "", handshake()...)
	a.ask(400, "GET "+base+"/t/%0a", "", events)
	a.ask(400, "GET "+base+"/t/finals?since=x", "", events)
	a.ask(400, "GET "+base+"/t/finals", "", append(handshake(), events)...)
	a.ask(426, "GET "+base+"/t/finals", "")
	a.ask(414, "GET "+base+"/t/"+strings.Repeat("x", 4000), "", events)
	a.ask(431, "GET "+base+"/t/finals", "", events, "X-Long: "+strings.Repeat("x", 10_000))
	a.ask(204, "OPTIONS "+base+"/t/finals", "", "Origin: https://shop.example", "Access-Control-Request-Method: GET")
	a.ask(405, "OPTIONS "+base+"/t/finals", "")
	a.ask(404, "GET "+base+"/cable", "")
}

// asked holds that nothing of the description was left out.
func (a *asker) asked() {
	a.t.Helper()
	doc, err := conform.Description()
	if err != nil {
		a.t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !a.seen[method+" "+path] {
				a.t.Errorf("nobody asked %s %s", method, path)
			}
		}
	}
}
