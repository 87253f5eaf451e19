package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// benchResult is what the tests look at of the JSON of `ringside bench`.
type benchResult struct {
	Interrupted bool
	Connect     struct {
		Open, Opened, Wanted int
		Reasons              map[string]int64
	}
	Phases []struct {
		Published, Acknowledged int
		Expected, Delivered     int64
		Lost, Repeated          int64
		OutOfOrder              int64 `json:"out_of_order"`
		LostConnections         int64 `json:"lost_connections"`
		Held                    bool
		Latency                 struct{ Count int64 } `json:"latency_ms"`
		Processes, Generator    []struct {
			Name string
			CPU  float64 `json:"cpu_seconds"`
			PSS  int64   `json:"pss_bytes"`
		}
	}
	Knee   float64
	Storms []struct {
		Way                             string
		Of, Back, Attempts              int
		Delivered, Lost, Repeated, Away int64
	}
}

// bench runs `ringside bench`, and returns its result and its exit code.
func bench(t *testing.T, args ...string) (res benchResult, code int, errOut string) {
	t.Helper()
	cmd := exec.Command(testcluster.Binary(t), append(append([]string{"bench"}, args...), "--json")...)
	return finish(t, cmd, startBench(t, cmd))
}

func startBench(t *testing.T, cmd *exec.Cmd) (out *[2]bytes.Buffer) {
	t.Helper()
	out = new([2]bytes.Buffer)
	cmd.Stdout, cmd.Stderr = &out[0], &out[1]
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return out
}

func finish(t *testing.T, cmd *exec.Cmd, out *[2]bytes.Buffer) (res benchResult, code int, errOut string) {
	t.Helper()
	err := cmd.Wait()
	if out[0].Len() > 0 {
		if err := json.Unmarshal(out[0].Bytes(), &res); err != nil {
			t.Fatalf("%v: %v in %s", cmd.Args, err, out[0].String())
		}
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it is what Wait returns
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return res, code, out[1].String()
}

// patient are flags of a measurement whose outcome is not its speed.
func patient(args ...string) []string {
	return append(args, "--settle=2m", "--open-limit=2m", "--patience=1m", "--warmup=100ms")
}

// whole fails the test unless everything arrived, and something did.
func (r *benchResult) whole(t *testing.T, name string, code int, errOut string, published int) {
	t.Helper()
	if code != 0 || len(r.Phases) != 1 {
		t.Fatalf("%s: exit code %d, %d phases\n%s", name, code, len(r.Phases), errOut)
	}
	p := r.Phases[0]
	if p.Published != published || p.Acknowledged != published || p.Delivered != p.Expected || p.Delivered < int64(published) ||
		p.Lost+p.Repeated+p.OutOfOrder+p.LostConnections != 0 || p.Latency.Count != p.Delivered || r.Connect.Open != r.Connect.Wanted {
		t.Errorf("%s: got %+v, %+v", name, p, r.Connect)
	}
}

// Every format of ours, in two processes, published both ways.
func TestBench(t *testing.T) {
	t.Parallel()
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	router := c.AddRouter("--cable")
	gateway := c.AddGateway("g1", "--cable", "--cable-public-streams")
	c.WaitReady()
	c.WaitConverged()
	dir := t.TempDir()
	for i, template := range []string{"ringside", "ringside-raw", "ringside-events", "ringside-cable"} {
		publish, batch := "http://"+router.Admin, "1"
		switch i {
		case 1, 3:
			publish = redis.URL()
		case 2:
			batch = "8"
		}
		html, csv := filepath.Join(dir, template+".html"), filepath.Join(dir, template+".csv")
		res, code, errOut := bench(t, patient("ws://"+router.Addr, "--template="+template, "--publish="+publish, "--subscribers=41", "--processes=2", "--topics=3",
			"--hot=0.5", "--rate=100", "--count=120", "--batch="+batch, "--pid=gateway="+strconv.Itoa(gateway.PID()), "--html="+html, "--csv="+csv)...)
		res.whole(t, template, code, errOut, 120)
		p := res.Phases[0]
		if len(p.Processes) != 1 || p.Processes[0].PSS < 1<<20 || len(p.Generator) != 3 {
			t.Errorf("%s: processes %+v, generator %+v", template, p.Processes, p.Generator)
		}
		page, err := os.ReadFile(html)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(page, []byte("<svg")); n < 3 || regexp.MustCompile(`(?i)<script|<link|src=|url\(`).Match(page) {
			t.Errorf("%s: a page with %d pictures, or with something from elsewhere", template, n)
		}
		if lines, err := os.ReadFile(csv); err != nil || bytes.Count(lines, []byte("\n")) < 2 {
			t.Errorf("%s: a table of %q, %v", template, lines, err)
		}
	}
}

func TestBenchModes(t *testing.T) {
	t.Parallel()
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	router := c.Router(0)
	url, publish := "ws://"+router.Addr, "--publish="+redis.URL()
	res, code, errOut := bench(t, patient("ramp", url, publish, "--subscribers=20", "--rate=20", "--max-rate=40", "--step=1s", "--limit=1h")...)
	if code != 0 || res.Knee != 40 || len(res.Phases) != 2 || !res.Phases[0].Held || !res.Phases[1].Held {
		t.Errorf("ramp: exit code %d, got %+v\n%s", code, res, errOut)
	}
	res, code, errOut = bench(t, patient("ramp", url, publish, "--subscribers=20", "--rate=20", "--step=1s", "--limit=1us", "--refine=0")...)
	if code != 1 || res.Knee != 0 || len(res.Phases) != 1 || res.Phases[0].Held || !strings.Contains(errOut, "not even the first rate held") {
		t.Errorf("ramp that breaks: exit code %d, got %+v\n%s", code, res, errOut)
	}
	res, code, errOut = bench(t, patient("storm", url, publish, "--subscribers=60", "--topics=4", "--rate=50", "--spread=200ms", "--retry=100ms", "--window=2m")...)
	if code != 0 || len(res.Storms) != 2 {
		t.Fatalf("storm: exit code %d, got %+v\n%s", code, res, errOut)
	}
	for i, way := range []string{"naive", "obedient"} {
		if s := res.Storms[i]; s.Way != way || s.Of != 60 || s.Back != 60 || s.Attempts < 60 || s.Lost+s.Repeated+s.Away != 0 {
			t.Errorf("storm: got %+v", s)
		}
	}
	res, code, errOut = bench(t, "handshakes", url, "--subscribers=50", "--connect-rate=200", "--open-limit=2m", "--patience=1m")
	if code != 0 || res.Connect.Open != 50 {
		t.Errorf("handshakes: exit code %d, got %+v\n%s", code, res.Connect, errOut)
	}
	res, code, errOut = bench(t, "handshakes", url, "--subscribers=50", "--leave", "--open-limit=2m", "--patience=1m")
	if code != 0 || res.Connect.Open != 0 || res.Connect.Opened != 50 {
		t.Errorf("handshakes that end at once: exit code %d, got %+v\n%s", code, res.Connect, errOut)
	}
}

func TestBenchFails(t *testing.T) {
	t.Parallel()
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	router := c.Router(0)
	url, publish := "ws://"+router.Addr, "--publish="+redis.URL()
	f := func(want string, args ...string) {
		t.Helper()
		want, isUsage := strings.CutPrefix(want, "usage: ")
		wantCode := 1
		if isUsage {
			wantCode = 2
		}
		if _, code, errOut := bench(t, args...); code != wantCode || !strings.Contains(errOut, want) {
			t.Errorf("%q: exit code %d, %q, want %q", args, code, errOut, want)
		}
	}
	f("above 1µs", patient(url, publish, "--rate=20", "--count=10", "--subscribers=3", "--fail-p99=1us")...)
	f("usage: wss://", "wss://127.0.0.1:1", publish)
	f("usage: template", url, "--template=nonsense")
	f("usage: where to publish", "ws://127.0.0.1:1", "--template=centrifugo")
	f("refused", "ws://127.0.0.1:1", publish, "--subscribers=1", "--open-limit=1s")
	f("usage: take --processes", url, publish, "--subscribers=4000000", "--processes=1")
	f("status 405", "ws://"+router.Addr, "--publish=http://"+router.Addr, "--subscribers=1", "--warmup=1s", "--template=ringside-raw")
}

// One that is interrupted tells what there is; one whose server dies says so.
func TestBenchIsInterrupted(t *testing.T) {
	t.Parallel()
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	router := c.Router(0)
	begin := func() (*exec.Cmd, *[2]bytes.Buffer) {
		cmd := exec.Command(testcluster.Binary(t), append([]string{"bench", "steady", "ws://" + router.Addr, "--publish=" + redis.URL(), "--subscribers=20", "--topic=long",
			"--rate=50", "--duration=1h", "--json", "--settle=5s"}, "--open-limit=2m", "--back=never")...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out := startBench(t, cmd)
		con := redis.Dial(t)
		before, _ := con.Do("XLEN", testcluster.StreamKey("long"))
		eventually(t, "it publishes", func() error {
			n, err := con.Do("XLEN", testcluster.StreamKey("long"))
			if err == nil && n.(int64) < before.(int64)+150 { // beyond what is not measured
				err = context.DeadlineExceeded
			}
			return err
		})
		return cmd, out
	}
	cmd, out := begin()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // as a terminal does: to its processes too
	res, code, errOut := finish(t, cmd, out)
	if code != 130 || !res.Interrupted || len(res.Phases) != 1 || res.Phases[0].Published == 0 || res.Phases[0].Delivered != int64(20*res.Phases[0].Published) {
		t.Errorf("exit code %d, got %+v\n%s", code, res, errOut)
	}
	cmd, out = begin()
	router.Kill()
	eventually(t, "it publishes on", func() error {
		n, err := redis.Dial(t).Do("XLEN", testcluster.StreamKey("long"))
		if err == nil && n.(int64) < 400 {
			err = context.DeadlineExceeded
		}
		return err
	})
	_ = cmd.Process.Signal(os.Interrupt)
	res, code, errOut = finish(t, cmd, out)
	if code != 1 || len(res.Phases) != 1 || res.Phases[0].LostConnections != 20 || !strings.Contains(errOut, "20 connections were lost") {
		t.Errorf("exit code %d, got %+v\n%s", code, res, errOut)
	}
}

// Servers of others, by the templates that come with the program.
func TestBenchForeign(t *testing.T) {
	t.Parallel()
	redis := testcluster.NewRedis(t, false)
	f := func(template, publish string, peer func(addr string) *testcluster.Process, args ...string) {
		t.Helper()
		addr, err := testcluster.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		p := peer(addr)
		t.Cleanup(p.Kill)
		if publish == "" {
			publish = "http://" + addr
		}
		args = patient(append([]string{"ws://" + addr, "--template=" + template, "--publish=" + publish, "--subscribers=20", "--topics=4", "--rate=100", "--count=100",
			"--pid=peer=" + strconv.Itoa(p.PID())}, args...)...)
		testcluster.Soon(t, template+" takes clients", func() bool {
			if p.Exited() {
				t.Fatalf("%s has ended: %s", template, p.LogTail(10))
			}
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				return false
			}
			conn.Close()
			return true
		})
		res, code, errOut := bench(t, args...)
		res.whole(t, template, code, errOut, 100)
	}
	f("centrifugo", "", func(addr string) *testcluster.Process { return startCentrifuge(t, addr) }, "--batch=10")
	f("socketio", redis.URL(), func(addr string) *testcluster.Process { return startSocketIO(t, addr, redis.URL()) })
}

func startCentrifuge(t *testing.T, addr string) *testcluster.Process {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "centrifuge")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..", "scripts", "peers", "centrifuge")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the server on centrifuge: %v\n%s", err, out)
	}
	p, err := testcluster.StartProcess("centrifuge", binary, "-listen", addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startSocketIO(t *testing.T, addr, redis string) *testcluster.Process {
	t.Helper()
	if _, err := os.Stat("testdata/iopeer/node_modules/socket.io"); err != nil {
		t.Fatalf("the server's packages are missing: scripts/setup node-iopeer (%v)", err)
	}
	p, err := testcluster.StartProcessIn("testdata/iopeer", "socketio", "node", "server.js", addr, redis)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
