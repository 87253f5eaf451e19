package gossip

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logWriter takes memberlist's log. Refusals that an operator must know of are said in our own words and counted; the
// rest goes through at its level, a few lines at a time. What memberlist calls an error is a warning here: it is the
// network's trouble, or that of whoever knocks at the port, and memberlist goes on.
type logWriter struct {
	n *Node

	mu      sync.Mutex
	begin   time.Time // guarded by mu: of the present window
	lines   int       // guarded by mu: in it
	dropped int       // guarded by mu: since a line was last logged
}

const (
	logWindow = 10 * time.Second
	logLines  = 10  // in a window
	logLength = 300 // bytes of a line
)

// What memberlist's messages contain by which a node with another secret, or of another cluster, is recognised.
//
//nolint:gochecknoglobals // constants in all but name
var rejections = []struct{ text, reason string }{
	{"decrypt", "secret"},
	{"encrypted", "secret"},
	{"unacceptable label", "cluster"},
	{"failed to receive and remove the stream label", "cluster"},
}

// Write implements io.Writer for one line.
func (w *logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(line)
	lower := strings.ToLower(text)
	for _, r := range rejections {
		if strings.Contains(lower, r.text) {
			w.n.metrics.rejected.WithLabelValues(r.reason).Inc()
			if w.n.metrics.mayWarn(r.reason, time.Now()) {
				w.n.log.Warn("refused gossip of a node with another "+r.reason, zap.String("detail", text))
			}
			return len(line), nil
		}
	}
	checked := w.n.log.Check(level, "memberlist")
	if checked == nil {
		return len(line), nil
	}
	dropped, ok := w.pass(level, time.Now())
	if !ok {
		w.n.metrics.suppressed.Add(1)
		return len(line), nil
	}
	checked.Write(zap.String("detail", text), zap.Int("suppressed", dropped))
	return len(line), nil
}

// pass reports whether a line may be logged, and how many could not since the last one. Those for debugging always may.
func (w *logWriter) pass(level zapcore.Level, now time.Time) (dropped int, ok bool) {
	if level <= zapcore.DebugLevel {
		return 0, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.begin) >= logWindow {
		w.begin, w.lines = now, 0
	}
	w.lines++
	if w.lines > logLines {
		w.dropped++
		return 0, false
	}
	dropped, w.dropped = w.dropped, 0
	return dropped, true
}

// parseLine splits "[WARN] memberlist: text".
func parseLine(line []byte) (zapcore.Level, string) {
	text := string(bytes.TrimSpace(line))
	level := zapcore.WarnLevel
	if tag, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(tag, "[") {
		text = strings.TrimPrefix(rest, "memberlist: ")
		switch tag {
		case "[DEBUG":
			level = zapcore.DebugLevel
		case "[INFO":
			level = zapcore.InfoLevel
		}
	}
	if len(text) > logLength {
		text = strings.ToValidUTF8(text[:logLength], "") + "…"
	}
	return level, text
}
