package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"github.com/hashicorp/memberlist"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// hostile are texts as attackers write them; what stands in for * makes each one new.
func hostile(n int) []string {
	var list []string
	for i, s := range []string{
		"0wn*ed", "0wn*ed\n{\"level\":\"error\",\"msg\":\"forged\"}", "0wn*ed\r\nforged: line", "\x1b[2J\x1b]0;0wn*ed\x07", "0wn*ed\x00\x01\x7f",
		"0wn*ed\u009b31m\u202edesrever\u2028", "0wn*ed\xff\xfe", "0wn*ed" + strings.Repeat("x", 8<<10), `0wn*ed"}],{"`, "0wn*ed\xc2\x9b",
	} {
		list = append(list, strings.Replace(s, "*", fmt.Sprintf("-%d-%d-", n, i), 1))
	}
	return list
}

// attack says s in every place where somebody from outside can say something.
func attack(t *testing.T, c *testcluster.Cluster, redis *testcluster.Redis, s string) {
	t.Helper()
	ctx := context.Background()
	quoted, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	escaped := urlEscape(s)
	for _, n := range c.Nodes() {
		// Answers don't matter, and connections may be cut off: what matters is what is left in the log.
		for _, head := range []string{
			"GET /t/" + escaped + " HTTP/1.1\r\nHost: x\r\n" + wsHeaders,
			"GET /t/" + s + " HTTP/1.1\r\nHost: x\r\n" + wsHeaders,
			"GET /t/vip?token=" + escaped + " HTTP/1.1\r\nHost: x\r\n" + wsHeaders,
			"GET /t/a?since=" + escaped + "&pass=" + escaped + " HTTP/1.1\r\nHost: x\r\n" + wsHeaders,
			"GET /t/a HTTP/1.1\r\nHost: " + s + "\r\n" + wsHeaders,
			"GET /t/a HTTP/1.1\r\nHost: x\r\nOrigin: " + s + "\r\n" + wsHeaders,
			"GET /t/a HTTP/1.1\r\nHost: x\r\n" + sseHeaders + "Last-Event-ID: " + s + "\r\n",
			"GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHeaders + "Sec-WebSocket-Protocol: " + s + "\r\n",
			"GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHeaders + "User-Agent: " + s + "\r\nX-Forwarded-For: " + s + "\r\nForwarded: " + s + "\r\nCookie: " + s + "\r\n",
			"GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHeaders + s + ": x\r\n",
			"GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHeaders + "Ringside-Leg: v1\r\nRingside-Auth: " + s + "\r\nRingside-Client: " + s + "\r\n",
			"RESUME / HTTP/1.1\r\nHost: x\r\nUpgrade: ringside-leg\r\nRingside-Leg: v1\r\nRingside-Auth: t=1,mac=" + s + "\r\nRingside-Ticket: " + s + "\r\n",
			s + " / HTTP/1.1\r\nHost: x\r\n",
		} {
			shout(n.Addr, head+"\r\n")
			shout(n.Admin, head+"\r\n")
		}
		shout(n.Gossip, s)
		if conn, err := net.Dial("udp", n.Gossip); err == nil {
			_, _ = io.WriteString(conn, s)
			conn.Close()
		}
		for path, body := range map[string]string{
			"/publish": `{"topic":` + string(quoted) + `,"data":` + s, "/publish/" + escaped: s, "/publish/a?id=" + escaped: s,
			"/drain": `{"shard":` + string(quoted) + `}`, "/drain?shard=" + escaped: "", "/policy": s, "/dedicated/" + escaped: "",
			"/" + escaped: s, "/ring?topic=" + escaped: "",
		} {
			_, _ = testcluster.Do(ctx, http.MethodPost, "http://"+n.Admin+path, body, nil)
		}
		pin := "http://" + n.Admin + "/pins/" + escaped
		_, _ = testcluster.Do(ctx, http.MethodPut, pin+"?shards=g1", "", nil)
		_, _ = testcluster.Do(ctx, http.MethodDelete, pin, "", nil)
		talk(n, s, string(quoted))
	}
	for _, fields := range [][]string{{"topic", s, "payload", "x"}, {"topic", "a"}, {s, s}, {"id", s, "topic", s, "payload", s}, {"epoch", s}, {"beacon", s}} {
		if _, err := redis.Do(append([]string{"XADD", testcluster.StreamKey("a"), "*"}, fields...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// urlEscape escapes every byte that is no letter or digit.
func urlEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// shout sends bytes and reads what comes for as long as it comes, up to a head.
func shout(addr, text string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testcluster.Limit()))
	_, _ = io.WriteString(conn, text)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_, _ = conn.Read(make([]byte, 4096))
}

// talk says it in the messages of a session, and as the reason of its end.
func talk(n *testcluster.Node, s, quoted string) {
	d := websocket.Dialer{HandshakeTimeout: testcluster.Limit()}
	conn, resp, err := d.Dial("ws://"+n.Addr+"/t/a", nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	for _, m := range []string{
		s, quoted, `{"type":` + quoted + `}`, `{"type":"subscribe","topic":` + quoted + `}`, `{"type":"subscribe","topic":"b","since":` + quoted + `}`,
		`{"type":"unsubscribe","topic":` + quoted + `}`, `{"type":"auth","token":` + quoted + `}`, `{"type":"command","identifier":` + quoted + `,"data":` + quoted + `}`,
		`{"type":"subscribe","topic":` + s + `}`,
	} {
		if utf8.ValidString(m) {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(m))
		}
	}
	reason := strings.ToValidUTF8(s, "?")
	for len(reason) > 120 || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, 120)]
	}
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, reason), time.Now().Add(testcluster.Limit()))
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

// series are a node's series, without their values.
func series(t *testing.T, n *testcluster.Node) map[string]bool {
	t.Helper()
	r, err := n.Get(context.Background(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for line := range strings.Lines(r.Body) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			set[line[:i]] = true
		}
	}
	return set
}

// longestLine is what a line of the log has at most: a few texts, each at its bound.
const longestLine = 16 << 10

// checkLog holds that each line of a process is one line, of text that can be printed, and of a bounded length.
func checkLog(t *testing.T, n *testcluster.Node, format string) {
	t.Helper()
	log := n.Log()
	if i := strings.IndexByte(log, '\n'); i >= 0 {
		log = log[i+1:] // the first one may have been cut off
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(log, "\n"), "\n") {
		bad := func(why string) { t.Errorf("%s, %s: %s: %.500q", n.Name, format, why, line) }
		if len(line) > longestLine {
			bad("a line is too long")
		}
		for _, r := range line {
			if !unicode.IsPrint(r) && (r != '\t' || format == "json") {
				bad(fmt.Sprintf("%U in a line", r))
				break
			}
		}
		var v struct{ Level, TS, Msg string }
		if err := json.Unmarshal([]byte(line), &v); format == "json" && (err != nil || v.Level == "" || v.TS == "" || v.Msg == "forged") {
			bad("no line of ours")
		}
		if _, level, ok := strings.Cut(line, "\t"); format == "text" && (!ok || !strings.ContainsAny(level[:1], "DIWE")) {
			bad("no line of ours")
		}
	}
}

// knock has a node of a hostile name, with hostile metadata, join the gossip of a cluster without a secret.
func knock(t *testing.T, at *testcluster.Node, s string) {
	t.Helper()
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name, cfg.Label, cfg.BindAddr, cfg.BindPort, cfg.LogOutput = s[:min(len(s), 200)], "ringside", "127.0.0.1", 0, io.Discard
	cfg.Delegate = metadata(s[:min(len(s), 500)])
	list, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = list.Join([]string{at.Gossip}) // it may be refused
	_ = list.Shutdown()
}

// metadata is a memberlist.Delegate that tells just that.
type metadata string

func (m metadata) NodeMeta(int) []byte             { return []byte(m) }
func (metadata) NotifyMsg([]byte)                  {}
func (metadata) GetBroadcasts(int, int) [][]byte   { return nil }
func (m metadata) LocalState(bool) []byte          { return []byte(m) }
func (metadata) MergeRemoteState(b []byte, _ bool) {}

// Whatever is said from outside, and wherever: each line of the log is one line, can be printed, and is of bounded length; and no metric has
// a series more.
func TestHostileTexts(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"rules.yaml": "- topics: \"vip*\"\n  auth: [jwt]\n", "jwt.secret": tokenSecret}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			server := testcluster.NewRedis(t, false)
			redis := server.Dial(t)
			c := testcluster.New(t, server.URL())
			flags := []string{"--log-level", "debug", "--log-format", format, "--secret-file", ""} // without a secret everybody can gossip
			c.AddRouter(flags...)
			c.AddGateway("g1", append(flags, "--topic-rules", filepath.Join(dir, "rules.yaml"),
				"--jwt-algorithms", "HS256", "--jwt-secret-file", filepath.Join(dir, "jwt.secret"))...)
			c.WaitReady()
			c.WaitConverged()

			round := func(n int) {
				for i, s := range hostile(n) {
					attack(t, c, redis, s)
					shout(c.Gateway("g1").Addr, "GET /t/vip?token="+authToken(t, s, time.Hour)+" HTTP/1.1\r\nHost: x\r\n"+wsHeaders+"\r\n")
					if format == "json" || i == 0 {
						for _, node := range c.Nodes() {
							knock(t, node, s)
						}
					}
				}
			}
			testcluster.Eventually(t, "the gateway has looked at all of its streams", func() error {
				for _, name := range []string{"lag_entries", "lag_seconds", "pending_entries", "window_entries", "window_seconds", "watermark_age_seconds"} {
					n := 0
					for s := range series(t, c.Gateway("g1")) {
						if strings.HasPrefix(s, "ringside_stream_"+name+"{") {
							n++
						}
					}
					if n != 256 { // slots, all of them its own
						return fmt.Errorf("%d series of %s", n, name)
					}
				}
				return nil
			})
			round(0) // so that every series is there that may be
			before := map[*testcluster.Node]map[string]bool{}
			for range 2 { // that of a scrape, too
				for _, n := range c.Nodes() {
					before[n] = series(t, n)
				}
			}
			round(1)
			for _, n := range c.Nodes() {
				for s := range series(t, n) {
					if !before[n][s] || strings.Contains(s, "0wn") {
						t.Errorf("%s has a series more: %s", n.Name, s)
					}
				}
				checkLog(t, n, format)
				if !strings.Contains(n.Log(), "0wn-1-") {
					t.Errorf("%s: nothing of what was said is in the log: the test is wrong", n.Name)
				}
			}
			if t.Failed() {
				return
			}
			floodLog(t, c.Gateway("g1"))
		})
	}
}

// floodLog has a node log one message again and again: most of it must be suppressed, and all of that counted.
func floodLog(t *testing.T, n *testcluster.Node) {
	t.Helper()
	const sent, message = 400, "refused a leg"
	suppressed := func() float64 {
		v, err := n.Metric(context.Background(), "ringside_safelog_suppressed_total", `level="warn"`)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	lines, count := strings.Count(n.Log(), message), suppressed()
	for range sent {
		shout(n.Addr, "GET /t/a HTTP/1.1\r\nHost: x\r\n"+wsHeaders+"Ringside-Leg: v1\r\nRingside-Auth: x\r\n\r\n")
	}
	lines, count = strings.Count(n.Log(), message)-lines, suppressed()-count
	if lines+int(count) != sent || count == 0 {
		t.Errorf("%d requests: got %d lines and %v suppressed", sent, lines, count)
	}
}

// A client that sends too fast is told so and closed, at a router as at a gateway, and nobody else notices.
func TestClientRate(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	var many []string
	for i := range 63 {
		many = append(many, fmt.Sprintf("topic-%d", i))
	}
	all := testcluster.Subscribe(t, testcluster.SubscriberConfig{Name: "all", Base: c.Router(0).HTTP, Topic: "calm", More: many})
	testcluster.Eventually(t, "it follows as many topics as it may", all.Open)
	for i, n := range c.Nodes() {
		conn := dialWebSocket(t, n, "/t/calm", "ringside.v1")
		_, _ = io.WriteString(conn.NetConn(), strings.Repeat("\x89\x80\x00\x00\x00\x00", 10_000)) // it may be closed half way
		code, err := closeCode(conn)
		if code != websocket.ClosePolicyViolation || err != nil {
			t.Errorf("%s: got %d, %v, want 1008", n.Name, code, err)
		}
		conn.Close()
		testcluster.Eventually(t, "it is counted", func() error {
			got, err := c.Gateway("g1").Metric(context.Background(), "ringside_gateway_closed_total", `reason="rate"`)
			if err == nil && int(got) != i+1 {
				err = fmt.Errorf("got %v, want %d", got, i+1)
			}
			return err
		})
	}
	if all.Connections() != 1 {
		t.Errorf("%v noticed: %v", all, all.Closes())
	}
}
