package e2e

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

const cableSecret = "a secret of the application's"

// cableEvent is a line of testdata/app/cable.js.
type cableEvent struct {
	Event       string          `json:"event"`
	Identifier  string          `json:"identifier"`
	Message     json.RawMessage `json:"message"`
	Reconnected bool            `json:"reconnected"`
	Reason      string          `json:"reason"`
	Restored    bool            `json:"restored"`
}

// cableClient is a process with a real client of Action Cable.
type cableClient struct {
	t     *testing.T
	stdin io.Writer
	end   func()

	mu     sync.Mutex
	events []cableEvent // guarded by mu
}

// startCable starts a client: rails for @rails/actioncable, anycable for @anycable/core.
func startCable(t *testing.T, kind, url string, subscriptions []string, options string) *cableClient {
	t.Helper()
	if _, err := os.Stat("testdata/app/node_modules/@" + kind); err != nil {
		t.Fatalf("the clients' packages are missing: scripts/setup node-app (%v)", err)
	}
	cmd := exec.Command("node", "cable.js", kind, url, "["+strings.Join(subscriptions, ",")+"]", options)
	cmd.Dir = "testdata/app"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &cableClient{t: t, stdin: stdin}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e cableEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				c.mu.Lock()
				c.events = append(c.events, e)
				c.mu.Unlock()
			}
		}
	}()
	var once sync.Once
	c.end = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			<-read
			_ = cmd.Wait()
			if stderr.Len() > 0 {
				t.Logf("%s: %s", kind, stderr.String())
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

// cut breaks the client's connection, as its network would.
func (c *cableClient) cut() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, `{"cut":true}`+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// of are the events of a kind, of an identifier unless it is empty.
func (c *cableClient) of(event, identifier string) (list []cableEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Event == event && (identifier == "" || e.Identifier == identifier) {
			list = append(list, e)
		}
	}
	return list
}

func (c *cableClient) eventually(event, identifier string, n int) []cableEvent {
	c.t.Helper()
	eventually(c.t, event+" "+identifier, func() error {
		if got := len(c.of(event, identifier)); got < n {
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("%d of %d; all: %+v", got, n, c.events)
		}
		return nil
	})
	return c.of(event, identifier)
}

// wantNumbers says that the identifier has received the numbers 1 to n, each once and in order.
func (c *cableClient) wantNumbers(identifier string, n int) {
	c.t.Helper()
	for i, e := range c.eventually("received", identifier, n) {
		if want := fmt.Sprintf(`{"n":%d}`, i+1); string(e.Message) != want {
			c.t.Fatalf("%s: message %d: got %s, want %s", identifier, i+1, e.Message, want)
		}
	}
}

// signedStream is the name of a stream as an application signs it.
func signedStream(name, secret string) string {
	j, _ := json.Marshal(name)
	body := base64.StdEncoding.EncodeToString(j)
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return body + "--" + hex.EncodeToString(m.Sum(nil))
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// cableRouter are a router's flags.
func cableRouter(feeds bool) []string {
	if feeds {
		return []string{"--cable", "--feed-min", "1", "--park-after", "100ms"}
	}
	return []string{"--cable", "--no-shared-feeds"}
}

// cableCluster is a router and two gateways that speak Action Cable.
func cableCluster(t *testing.T, feeds bool, flags ...string) (c *testcluster.Cluster, router *testcluster.Node, more []string) {
	t.Helper()
	c = testcluster.New(t, testcluster.NewRedis(t, false).URL())
	router = c.AddRouter(cableRouter(feeds)...)
	more = append([]string{"--cable", "--cable-public-streams", "--cable-secret-file", secretFile(t, cableSecret), "--drain-window", "500ms"}, flags...)
	for _, id := range []string{"g1", "g2"} {
		c.AddGateway(id, more...)
	}
	c.WaitReady()
	c.WaitConverged()
	return c, router, more
}

// numbers publishes the next numbers to topics.
type numbers struct {
	t    *testing.T
	node *testcluster.Node
	n    int
}

func (p *numbers) publish(n int, topics ...string) {
	p.t.Helper()
	for range n {
		p.n++
		for _, topic := range topics {
			eventually(p.t, "publish", func() error {
				_, err := publish(p.node, topic, fmt.Sprintf(`{"n":%d}`, p.n), fmt.Sprint(p.n))
				return err
			})
		}
	}
}

// The clients that npm has, unmodified, hear every message once and in order, across a kill -9 and a drain of their gateways, and
// notice nothing of either: on legs of their own, and from feeds.
func TestCableClients(t *testing.T) {
	for name, feeds := range map[string]bool{"legs": false, "feeds": true} {
		t.Run(name, func(t *testing.T) { testCableClients(t, feeds) })
	}
}

func testCableClients(t *testing.T, feeds bool) {
	c, router, flags := cableCluster(t, feeds, "--loops", "1") // a loop offers a feed to those who have company there
	bare := `{"channel":"$pubsub","stream_name":"finals"}`
	signed := `{"channel":"$pubsub","signed_stream_name":"` + signedStream("semi", cableSecret) + `"}`
	forged := `{"channel":"$pubsub","signed_stream_name":"` + signedStream("semi", "another secret of somebody") + `"}`
	alias := `{"channel":"$pubsub","signed_stream_name":"` + signedStream("finals", cableSecret) + `"}`
	url := "ws://" + router.Addr + "/cable?topic=finals"
	clients := []*cableClient{
		startCable(t, "rails", url, []string{bare, signed, forged, alias}, "{}"),
		startCable(t, "anycable", url, []string{bare, signed, forged, alias}, "{}"),
		startCable(t, "rails", "ws://"+router.Addr+"/cable", []string{signed}, "{}"),
	}
	if feeds { // who are not alone with their subscriptions
		clients = append(clients,
			startCable(t, "rails", url, []string{bare, signed, forged, alias}, "{}"),
			startCable(t, "anycable", url, []string{bare, signed, forged, alias}, `{"protocolOptions":{"pongs":true}}`),
			startCable(t, "rails", "ws://"+router.Addr+"/cable", []string{signed}, "{}"),
		)
	}
	parked := func() {
		t.Helper()
		if !feeds {
			return
		}
		eventually(t, "everybody is parked", func() error {
			if n, err := router.Metric(t.Context(), "ringside_router_sessions_parked"); err != nil || n != float64(len(clients)) {
				return fmt.Errorf("%v of %d are, %w", n, len(clients), err)
			}
			return nil
		})
	}
	for i, cl := range clients {
		cl.eventually("connected", signed, 1)
		if i%3 < 2 {
			cl.eventually("connected", bare, 1)
			cl.eventually("connected", alias, 1)
			cl.eventually("rejected", forged, 1)
		}
	}
	p := &numbers{t: t, node: router}
	heard := func(n int) {
		t.Helper()
		p.publish(n, "finals", "semi")
		for i, cl := range clients {
			cl.wantNumbers(signed, p.n)
			if i%3 < 2 {
				cl.wantNumbers(bare, p.n)
				cl.wantNumbers(alias, p.n)
			}
		}
	}
	parked()
	heard(5)
	place, err := router.Place(t.Context(), "finals")
	if err != nil {
		t.Fatal(err)
	}
	c.Gateway(place.Owner).Kill()
	heard(5)
	parked()
	c.AddGateway("g3", flags...)
	c.WaitReady()
	c.WaitConverged()
	for _, left := range c.Running(testcluster.Gateway) {
		if left.ID != "g3" {
			c.Terminate(left)
			if code, err := left.Wait(testcluster.Limit()); err != nil || code != 0 {
				t.Fatalf("the drained gateway ended with %d, %v", code, err)
			}
		}
	}
	heard(5)
	parked()
	heard(5)
	for i, cl := range clients {
		if lost := append(cl.of("disconnected", ""), cl.of("disconnect", "")...); len(lost) > 0 {
			t.Errorf("client %d noticed: %+v", i, lost)
		}
		for _, id := range []string{bare, signed, alias} {
			if n := len(cl.of("connected", id)); n > 1 {
				t.Errorf("client %d was told %d times that it follows %s", i, n, id)
			}
		}
		if lost := cl.of("history_not_found", ""); len(lost) > 1 { // the alias comes when the topic is followed already
			t.Errorf("client %d: %+v", i, lost)
		}
	}

	// A client whose network breaks is known when it comes back.
	clients[1].cut()
	if ev := clients[1].eventually("connect", "", 2); !ev[1].Restored {
		t.Errorf("not restored: %+v", ev)
	}
	clients[1].eventually("history_received", signed, 1)
	heard(5)
	parked()

	// A client that does lose its connection, because the router dies, gets what it has missed where its protocol has a way to ask.
	router.Kill()
	p.node = c.Gateway("g3")
	p.publish(5, "finals", "semi")
	p.node = c.Add(testcluster.NodeSpec{Role: testcluster.Router, Flags: cableRouter(feeds), Reuse: router})
	clients[1].wantNumbers(signed, p.n)
	clients[1].eventually("history_received", signed, 2)
	for i, cl := range clients {
		if i%3 == 1 {
			cl.wantNumbers(signed, p.n) // it has asked for what it missed
		} else {
			cl.eventually("connected", signed, 2)
		}
	}
	p.publish(1, "finals", "semi")
	clients[1].wantNumbers(signed, p.n)
	if ev := clients[1].of("connect", ""); !feeds && !ev[len(ev)-1].Restored { // no gateway hears of the end of a router's feeds
		t.Errorf("not restored: %+v", ev)
	}
	if lost := clients[1].of("history_not_found", signed); len(lost) > 0 {
		t.Errorf("not found: %+v", lost)
	}
	for _, cl := range clients {
		cl.hears(signed, fmt.Sprintf(`{"n":%d}`, p.n))
	}
}
