package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

var (
	stalledClients = flag.Int("stalled", 100, "clients that stop reading, in TestStalledClients")
	slowDoc        = flag.Bool("slow-doc", false, "write docs/SLOW.md")
	stalledOut     = flag.String("stalled-out", "", "file for what TestStalledClients finds: measure only, on the network as it is")
)

const (
	mostKernel = 64 << 10 // what a client that does not read may cost in the kernel, at the router and at the gateway
	// Over loopback a packet is up to 64 KiB long, and what a client's socket has no room for is dropped and kept by the sender, so that more
	// than that bound is taken whatever the buffers.
	mostLoopback = 96 << 10
)

// stalledResult is what one cluster was seen to do.
type stalledResult struct {
	Router, Gateway float64 // kernel bytes per client that does not read
	Fast            float64 // MiB/s of one client that reads messages of 512 KiB
	Replay          float64 // MiB/s of one that comes back to many small ones
}

// TestStalledClients has clients that stop reading while their topic goes on, through a router, and looks at what the sockets of the
// router and of the gateway hold; and at how fast those are that read. It does so over loopback, and in a network namespace whose packets
// are as long as those of an Ethernet; for the document, over loopback, with buffers as good as unbounded too.
func TestStalledClients(t *testing.T) {
	if *stalledOut != "" {
		b, err := json.Marshal(stalled(t, flag.Args()...))
		if err == nil {
			err = os.WriteFile(*stalledOut, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var table strings.Builder
	for _, network := range []struct {
		name     string
		measure  func(t *testing.T, flags ...string) stalledResult
		atRouter float64
	}{
		{"loopback", stalled, mostLoopback}, {"packets of 1,500 bytes", stalledPackets, mostKernel},
	} {
		t.Run(network.name, func(t *testing.T) {
			got := network.measure(t)
			t.Logf("defaults: %+v", got)
			if got.Router > network.atRouter || got.Gateway > mostKernel {
				t.Errorf("kernel memory per client that does not read: router %.0f, gateway %.0f bytes, want %.0f and %d at most",
					got.Router, got.Gateway, network.atRouter, mostKernel)
			}
			if !*slowDoc {
				return
			}
			results := []stalledResult{got}
			if network.name == "loopback" { // elsewhere it takes more than is published here to fill such buffers
				free := network.measure(t, "--unsent-bytes=16MiB", "--receive-buffer=3MiB")
				t.Logf("as good as unbounded: %+v", free)
				results = append(results, free)
			}
			for i, r := range results {
				buffers := []string{"defaults", "as good as unbounded (`unsent-bytes` 16 MiB, `receive-buffer` 3 MiB)"}[i]
				fmt.Fprintf(&table, "| %s | %s | %.1f KiB | %.1f KiB | %.0f MiB/s | %.1f MiB/s |\n", network.name, buffers, r.Router/1024, r.Gateway/1024, r.Fast, r.Replay)
			}
		})
	}
	if *slowDoc {
		text := fmt.Sprintf("# Slow clients, measured\n\nWritten by `make slow`: %d clients on one router and one gateway, all on one machine, stop reading while 32 MiB are published to their topic; "+
			"what the kernel holds for their sockets is what `ss -m` says. Then one client that reads gets messages of 512 KiB, 64 MiB in all; and one replays 20,000 messages of 200 bytes.\n\n"+
			"Over loopback packets are up to 64 KiB long, and what a client's socket has no room for is dropped there and kept by the router; a namespace without segmentation offload shows what an Ethernet does.\n\n"+
			"| network | buffers | kernel memory per stalled client, router | gateway | fast client | replay |\n|---|---|---|---|---|---|\n%s", *stalledClients, &table)
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "SLOW.md"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// stalledPackets is stalled in a network namespace of its own, whose loopback takes no packet above 1,500 bytes.
func stalledPackets(t *testing.T, flags ...string) (got stalledResult) {
	t.Helper()
	if err := exec.Command("unshare", "--net", "ip", "link", "set", "lo", "gso_max_segs", "1").Run(); err != nil {
		t.Skipf("no network namespace with a loopback of its own can be made here: %v", err)
	}
	out := filepath.Join(t.TempDir(), "result")
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--net", "sh", "-ec", `ip link set lo mtu 1500 gso_max_segs 1 gso_max_size 1500 up; exec "$0" "$@"`,
		os.Args[0], "-test.run=^TestStalledClients$", "-test.timeout=5m", "-stalled", strconv.Itoa(*stalledClients), "-stalled-out", out, "--"}, flags...)...)
	cmd.Env = append(os.Environ(), "TEST_BINARY="+testcluster.Binary(t))
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func stalled(t *testing.T, flags ...string) (got stalledResult) {
	t.Helper()
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, append(flags, "--write-timeout=10m")...)
	router, gateway := c.Router(0), c.Gateway("g1")
	var conns []net.Conn
	for range *stalledClients {
		conn, _ := upgrade(t, router.Addr, "/t/board")
		conns = append(conns, conn)
	}
	big := strings.Repeat("x", 512<<10)
	for range 64 {
		if _, err := publishBody(router, "board", big); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all of them are stalled", func() error {
		n, err := gateway.Metric(t.Context(), "ringside_gateway_sessions_blocked")
		if err == nil && int(n) != *stalledClients {
			err = fmt.Errorf("%v are", n)
		}
		return err
	})
	_, toRouter, _ := net.SplitHostPort(router.Addr)
	_, toGateway, _ := net.SplitHostPort(gateway.Addr)
	client, legs := kernelBytes(t, "sport = :"+toRouter), kernelBytes(t, "dport = :"+toGateway)
	t.Logf("router: %.0f bytes per client's socket, %.0f per leg", client/float64(*stalledClients), legs/float64(*stalledClients))
	got.Router = (client + legs) / float64(*stalledClients)
	got.Gateway = kernelBytes(t, "sport = :"+toGateway) / float64(*stalledClients)
	for _, conn := range conns {
		conn.Close()
	}
	got.Fast = rate(t, router, "fast", "", func(take func()) {
		for range 128 {
			if _, err := publishBody(router, "fast", big); err != nil {
				t.Error(err)
			}
			take()
		}
	}, 128, len(big))
	first, err := publishBody(router, "past", "first")
	if err != nil {
		t.Fatal(err)
	}
	const many, size = 20000, 200
	conn := redis.Dial(t)
	for range many / 100 {
		script := `for i = 1, 100 do redis.call("XADD", KEYS[1], "*", "topic", "past", "payload", ARGV[1]) end`
		if _, err := conn.Do("EVAL", script, "1", testcluster.StreamKey("past"), strings.Repeat("y", size)); err != nil {
			t.Fatal(err)
		}
	}
	got.Replay = rate(t, router, "past", "?since="+first.Position, nil, many, size)
	return got
}

// rate is how fast a client that reads gets n messages of size bytes, in MiB/s. publish calls take behind each: so it is never more than a
// few ahead, and the client does not fall off the log.
func rate(t *testing.T, router *testcluster.Node, topic, query string, publish func(take func()), n, size int) float64 {
	t.Helper()
	conn, r := upgrade(t, router.Addr, "/t/"+topic+query)
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(testcluster.Limit()))
	ahead := make(chan struct{}, 4)
	began := time.Now()
	if publish != nil {
		go publish(func() { ahead <- struct{}{} })
	}
	for range n {
		if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		if publish != nil {
			<-ahead
		}
	}
	return float64(n*size) / (1 << 20) / time.Since(began).Seconds()
}

// upgrade opens a WebSocket session that is read as bytes.
func upgrade(t *testing.T, addr, target string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: ringside.raw\r\n\r\n", target)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return conn, r
		}
	}
}

// skmem is what ss tells of a socket's memory: r is what waits to be read, w what waits to be sent, f what is reserved.
var skmem = regexp.MustCompile(`skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)`)

// kernelBytes is what the sockets that match hold.
func kernelBytes(t *testing.T, filter string) (sum float64) {
	t.Helper()
	out, err := exec.Command("ss", "-tmnH", "state", "established", "( "+filter+" )").Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	for _, m := range skmem.FindAllSubmatch(bytes.ReplaceAll(out, []byte("\n"), nil), -1) {
		for _, field := range m[1:] {
			v, err := strconv.ParseFloat(string(field), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
