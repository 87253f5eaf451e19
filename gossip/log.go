package gossip

import (
	"bytes"
	"strings"
	"time"

	"go.uber.org/zap"
)

// logWriter takes memberlist's log. What it has to say that matters to an operator is said in our own words and counted;
// the rest is for debugging.
type logWriter struct{ n *Node }

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
	text := string(bytes.TrimSpace(line))
	if _, after, ok := strings.Cut(text, "] "); ok {
		text = strings.TrimPrefix(after, "memberlist: ")
	}
	for _, r := range rejections {
		if strings.Contains(strings.ToLower(text), r.text) {
			w.n.metrics.rejected.WithLabelValues(r.reason).Inc()
			if w.n.metrics.mayWarn(r.reason, time.Now()) {
				w.n.log.Warn("refused gossip of a node with another "+r.reason, zap.String("detail", text))
			}
			return len(line), nil
		}
	}
	w.n.log.Debug("memberlist", zap.String("detail", text))
	return len(line), nil
}
