// Package safelog is the end of every log line: a core for zap that lets nothing from outside do harm there. Whatever is logged, a URL, a
// header, an error that quotes its input, the name of another node:
//
//   - each line is one line, and no text in it has a character that can't be printed: those are written as in Go source, \n or \x1b;
//   - each text is cut at 1 KiB, lists at 32 elements;
//   - of one message there are at most 100 lines in 10 s at each level above debug; the next one says how many were suppressed.
//
// It does not look for secrets: who logs leaves them out.
package safelog

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	window   = 10 * time.Second
	maxLines = 100 // of one message and level in a window
	buckets  = 512 // messages are told apart by a hash: two that share one share its lines
)

// core cleans what another one writes.
type core struct {
	zapcore.Core
	pace *pace
}

// pace bounds the lines of each message. Safe for concurrent use.
type pace struct {
	seed       maphash.Seed
	now        func() time.Time
	messages   [buckets]message
	suppressed [zapcore.FatalLevel + 1]atomic.Uint64 // by level
}

// message is what was logged of one lately.
type message struct {
	mu      sync.Mutex
	begin   time.Time // guarded by mu: of the window
	lines   int       // guarded by mu: in it
	dropped int       // guarded by mu: since the last line
}

// New makes a core that writes what enc encodes to w, from a level on.
func New(enc zapcore.Encoder, w zapcore.WriteSyncer, level zapcore.LevelEnabler) zapcore.Core {
	return newCore(enc, w, level, time.Now)
}

func newCore(enc zapcore.Encoder, w zapcore.WriteSyncer, level zapcore.LevelEnabler, now func() time.Time) zapcore.Core {
	return &core{zapcore.NewCore(enc, w, level), &pace{seed: maphash.MakeSeed(), now: now}}
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.Core.With(cleanFields(fields)), c.pace}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	dropped, ok := c.pace.pass(e)
	if !ok {
		return nil
	}
	e.Message, e.LoggerName = clean(e.Message, maxText), clean(e.LoggerName, maxText)
	fields = cleanFields(fields)
	if dropped > 0 {
		fields = append(fields, zap.Int("suppressed", dropped))
	}
	return c.Core.Write(e, fields)
}

// pass reports whether a line may be logged, and how many of its message could not since the last one. Those for debugging always may,
// and the last one of a process.
func (p *pace) pass(e zapcore.Entry) (dropped int, ok bool) {
	if e.Level <= zapcore.DebugLevel || e.Level > zapcore.ErrorLevel {
		return 0, true
	}
	hash := maphash.String(p.seed, e.Message) + uint64(e.Level)
	m, now := &p.messages[hash%buckets], p.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.begin) >= window {
		m.begin, m.lines = now, 0
	}
	if m.lines++; m.lines > maxLines {
		m.dropped++
		p.suppressed[e.Level].Add(1)
		return 0, false
	}
	dropped, m.dropped = m.dropped, 0
	return dropped, true
}

// Collector counts the lines that a logger has suppressed; nil for a logger whose core is none of this package's.
func Collector(log *zap.Logger) prometheus.Collector {
	if c, ok := log.Core().(*core); ok {
		return c.pace
	}
	return nil
}
