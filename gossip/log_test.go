package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestParseLine(t *testing.T) {
	f := func(line string, level zapcore.Level, want string) {
		t.Helper()
		if l, got := parseLine([]byte(line)); l != level || got != want {
			t.Errorf("%.40q: got %v, %q, want %v, %q", line, l, got, level, want)
		}
	}
	f("[DEBUG] memberlist: Stream connection\n", zapcore.DebugLevel, "Stream connection")
	f("[INFO] memberlist: Suspect x has failed\n", zapcore.InfoLevel, "Suspect x has failed")
	f("[WARN] memberlist: Refuting\n", zapcore.WarnLevel, "Refuting")
	f("[ERR] memberlist: failed to receive: EOF\n", zapcore.WarnLevel, "failed to receive: EOF")
	f("[ERROR] memberlist: x\n", zapcore.WarnLevel, "x")
	f("Err: Could not set the deadline: x [y] z\n", zapcore.WarnLevel, "Err: Could not set the deadline: x [y] z")
	f("[WARN] memberlist: "+strings.Repeat("é", 200), zapcore.WarnLevel, strings.Repeat("é", 150)+"…")
}

func TestLogIsBounded(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	w := &logWriter{n: &Node{log: zap.New(core), metrics: newMetrics()}}
	write := func(line string) {
		t.Helper()
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("%q: got %d, %v", line, n, err)
		}
	}
	for range 1000 {
		write("[ERR] memberlist: failed to receive: EOF\n")
		write("[DEBUG] memberlist: chatter\n")
	}
	if n := logs.Len(); n != logLines {
		t.Errorf("of 1000 warnings %d were logged, want %d", n, logLines)
	}
	if n := w.n.metrics.suppressed.Load(); n != 1000-logLines {
		t.Errorf("suppressed: got %d", n)
	}
	now := w.begin.Add(logWindow)
	if dropped, ok := w.pass(zapcore.WarnLevel, now); !ok || dropped != 1000-logLines {
		t.Errorf("in the next window: got %v, %d dropped before it", ok, dropped)
	}
	if dropped, ok := w.pass(zapcore.WarnLevel, now.Add(time.Second)); !ok || dropped != 0 {
		t.Errorf("the line after that: got %v, %d dropped before it", ok, dropped)
	}
}

func TestRefusalsAreCountedAndSaidOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	w := &logWriter{n: &Node{log: zap.New(core), metrics: newMetrics()}}
	for range 100 {
		_, _ = w.Write([]byte("[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=10.0.0.9:7946\n"))
	}
	if n := testutil.ToFloat64(w.n.metrics.rejected.WithLabelValues("secret")); n != 100 {
		t.Errorf("counted: got %v, want 100", n)
	}
	if n := logs.FilterMessageSnippet("another secret").Len(); n != 1 || logs.Len() != 1 {
		t.Errorf("said: got %d of %d lines, want 1", n, logs.Len())
	}
}
