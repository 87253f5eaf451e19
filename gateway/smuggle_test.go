package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/conformance"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestHostileRequests sends what two readers may understand differently: it begins no session, and the connection is over.
func TestHostileRequests(t *testing.T) {
	r := start(t, nil)
	neighbour := r.dial("finals")
	neighbour.want("welcome")
	for _, q := range conformance.HostileRequests() {
		if q.Lenient {
			continue // this server passes nothing on
		}
		t.Run(q.Name, func(t *testing.T) {
			count := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues(q.Reason))
			c, err := net.Dial("tcp", r.g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
			// It may refuse before it has read everything: what matters is the answer.
			_, _ = io.WriteString(c, q.Bytes)
			b := bufio.NewReader(c)
			resp, err := http.ReadResponse(b, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			defer resp.Body.Close()
			var got problem
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Message == "" {
				t.Errorf("no JSON error: %v", err)
			}
			if resp.StatusCode != q.Status || got.Error != q.Reason || !resp.Close {
				t.Errorf("got %d %s (%s), close %v, want %d %s and a close", resp.StatusCode, got.Error, got.Message, resp.Close, q.Status, q.Reason)
			}
			rest, err := io.ReadAll(b)
			if err != nil && !strings.Contains(err.Error(), "reset") || strings.Contains(string(rest), "HTTP/1.1") {
				t.Errorf("behind the answer: %q, %v, want the end", rest, err)
			}
			if n := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues(q.Reason)); n != count+1 {
				t.Errorf("refused_total{%s}: got %v, want %v", q.Reason, n, count+1)
			}
		})
	}
	if n := r.g.Sessions(); n != 1 {
		t.Errorf("sessions: got %d, want the 1 that was there", n)
	}
	r.publish("finals", "1")
	neighbour.want("message")
}

// TestBehindHandshake sends a second request behind a handshake: it is no frame, and ends the session.
func TestBehindHandshake(t *testing.T) {
	r := start(t, nil)
	c, err := net.Dial("tcp", r.g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
	if _, err := io.WriteString(c, "GET /t/finals HTTP/1.1\r\nHost: x\r\n"+conformance.Handshake+"\r\n"+conformance.Smuggled); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || strings.Count(string(got), "HTTP/1.1") != 1 || !strings.Contains(string(got), "\x88\x0f\x03\xeareserved_bits") {
		t.Errorf("got %q, %v, want one answer and a close", got, err)
	}
}
