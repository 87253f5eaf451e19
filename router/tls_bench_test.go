package router

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/leg"
)

// tlsOverhead is what TLS 1.3 adds to a message that is one record, in bytes.
const tlsOverhead = 5 + 1 + 16

// BenchmarkTLS sends 200 bytes down each of 1,000 sessions, without and with TLS. cpu-µs/msg is user and system time of the whole
// process, both ends included; the clients read what comes as it is and decrypt nothing, so that the difference is the router's. What an
// idle session costs is counted before.
func BenchmarkTLS(b *testing.B) {
	body := strings.Repeat("m", 200)
	f := func(name string, secure bool) {
		b.Run(name, func(b *testing.B) {
			s := newSecured(b, bridge.Config{WriteTimeout: patience})
			u := newUpstream(b, "g1", false, replyLeg)
			r := start(b, false, func(c *Config, d *Deps) {
				c.Loops = 1
				if secure {
					s.on(c, d)
				}
			}, u)
			was := usageNow(b)
			var clients, ups []net.Conn
			for range benchSessions {
				c, up := benchSession(r, s, u, secure)
				clients, ups = append(clients, c), append(ups, up)
			}
			is := usageNow(b)
			size := len(body)
			if secure {
				size += tlsOverhead
			}
			down, got := []byte(record(leg.Data, body)), make([]byte, size)
			before, n := cpuMicros(), 0
			for b.Loop() {
				for _, f := range ups {
					_, _ = f.Write(down)
				}
				for _, c := range clients {
					if _, err := io.ReadFull(c, got); err != nil {
						b.Fatal(err)
					}
				}
				n += benchSessions
			}
			b.ReportMetric((cpuMicros()-before)/float64(n), "cpu-µs/msg")
			b.ReportMetric(float64(is.bytes-was.bytes)/benchSessions, "user-B/session")
			b.ReportMetric(float64(is.goroutines-was.goroutines)/benchSessions, "goroutines/session")
			b.ReportMetric(float64(is.descriptors-was.descriptors)/benchSessions, "descriptors/session")
			b.ReportMetric(0, "ns/op")
		})
	}
	f("plain", false)
	f("TLS", true)
}

// benchSession opens a session and keeps nothing of the client's TLS.
func benchSession(r *rig, s *secured, u *upstreamServer, secure bool) (client, up net.Conn) {
	if !secure {
		return r.open("a", wsHead, "").conn, u.session().conn
	}
	c, _ := s.open(r, "a", wsHead, "")
	return c.conn, u.session().conn
}

// usage is what a process holds, its clients and upstreams included: they are the same with and without TLS.
type usage struct{ bytes, goroutines, descriptors int }

func usageNow(b *testing.B) usage {
	b.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Skip("needs /proc")
	}
	return usage{int(m.HeapInuse + m.StackInuse), runtime.NumGoroutine(), len(fds)}
}
