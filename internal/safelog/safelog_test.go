package safelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestClean(t *testing.T) {
	f := func(s string, most int, want string) {
		t.Helper()
		if got := clean(s, most); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
	f("", 10, "")
	f("plain, Köln ⚽", 100, "plain, Köln ⚽")
	f(`a "quoted" \ one`, 100, `a "quoted" \ one`)
	f("a\nb\r\t\x00\x1b[31m\x7f", 100, `a\nb\r\t\x00\x1b[31m\x7f`)
	f("\u009b31m\u2028\u2029\u202e\ufeff\u00a0", 100, `\u009b31m\u2028\u2029\u202e\ufeff\u00a0`)
	f("\xff\xc3", 100, `\xff\xc3`)
	f("\ufffd", 100, "\ufffd")
	f("\U000e0001", 100, `\U000e0001`)
	f("0123456789", 10, "0123456789")
	f("01234567890", 10, "0123456789… (11 bytes)")
	f("012345678ö", 10, "012345678… (11 bytes)")
	f("012345678\n", 10, "012345678… (10 bytes)")
	f(strings.Repeat("\n", 5), 8, `\n\n\n\n… (5 bytes)`)
}

// hostile are texts as attackers write them.
var hostile = []string{
	"\x1b[2J\x1b]0;owned\x07", "line\nbreak\r\n{\"level\":\"error\",\"msg\":\"forged\"}", "\x00\x01\x7f\u0085\u009b31m", "\u202edesrever\u2028\u2029",
	"\xff\xfe\xc0", strings.Repeat("x", 8<<10), strings.Repeat("\x1b", 8<<10), `"}` + "\n" + `{"`,
}

// teller says something on its own, in whatever way.
type teller string

func (s teller) String() string { return string(s) }
func (s teller) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("text", string(s))
	e.AddByteString("bytes", []byte(s))
	return e.AddReflected("reflected", map[string]any{string(s): string(s)})
}

type verbose struct{ error }

func (v verbose) Format(s fmt.State, _ rune) {
	fmt.Fprint(s, v.error, "\n", strings.Repeat("v", 100<<10))
}

// fields are s in every kind of field that there is.
func fields(s string) []zap.Field {
	var many []string
	for range 1000 {
		many = append(many, s)
	}
	return []zap.Field{
		zap.String("string", s), zap.ByteString("bytes", []byte(s)), zap.Binary("binary", []byte(s)), zap.Strings("strings", many),
		zap.Error(errors.New(s)), zap.NamedError("verbose", verbose{errors.New(s)}), zap.Errors("errors", []error{errors.New(s), errors.New(s)}),
		zap.Stringer("stringer", teller(s)), zap.Object("object", teller(s)), zap.Inline(teller(s)), zap.Any("any", map[string]any{s: []any{s, 1, nil}}),
		zap.Reflect("reflect", struct{ A string }{s}), zap.Namespace("n"), zap.Any(s, s), zap.Int("int", 1), zap.Duration("d", time.Second),
		zap.Error(nil), zap.Stringp("nil", nil),
	}
}

// maxLine is what a line of the test may have: each of its fields is at its bound.
const maxLine = 64 << 10

// checkLine holds that b is one line without a character that can't be printed.
func checkLine(t *testing.T, b []byte) {
	t.Helper()
	line, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok || !utf8.Valid(line) || len(line) > maxLine {
		t.Fatalf("a bad line of %d bytes: %.300q", len(b), b)
	}
	for _, r := range string(line) {
		if !unicode.IsPrint(r) && r != '\t' { // which separates the columns of lines for people
			t.Fatalf("%U in a line: %.300q", r, line)
		}
	}
}

// Whatever comes from outside, in whatever kind of field, a line stays one line.
func TestHostile(t *testing.T) {
	for name, enc := range map[string]zapcore.Encoder{
		"json": zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), "text": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := zap.New(New(enc, zapcore.AddSync(&out), zapcore.DebugLevel))
			for _, s := range hostile {
				for _, write := range []func(){
					func() { log.Warn("constant", fields(s)...) },
					func() { log.With(fields(s)...).Info("constant") },
					func() { log.Named(s).Error(s) },
					func() { log.Debug(s, zap.String(s, s)) },
				} {
					out.Reset()
					write()
					checkLine(t, out.Bytes())
					var v map[string]any
					if err := json.Unmarshal(out.Bytes(), &v); name == "json" && err != nil {
						t.Fatalf("%v: %.300q", err, out.Bytes())
					}
				}
			}
		})
	}
}

// What is harmless is written as it is.
func TestHarmless(t *testing.T) {
	var out bytes.Buffer
	log := zap.New(New(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(&out), zapcore.InfoLevel))
	log.With(zap.Int("a", 1)).Info("constant", zap.Error(fmt.Errorf("cannot: %w", errors.New("no"))), zap.Strings("join", []string{"x:1", "y:2"}))
	log.Debug("not at this level")
	if got, want := out.String(), `{"msg":"constant","a":1,"error":"cannot: no","join":["x:1","y:2"]}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Of one message only so many lines are written, and the next one says how many were not.
func TestPace(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1e9, 0)
	log := zap.New(newCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(&out), zapcore.DebugLevel, func() time.Time { return now }))
	f := func(write func(), n, want int) {
		t.Helper()
		out.Reset()
		for range n {
			write()
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%d calls: got %d lines, want %d", n, got, want)
		}
	}
	warn := func() { log.Named("x").With(zap.Int("a", 1)).Warn("refused") }
	f(warn, 1000, maxLines)
	f(warn, 1000, 0)
	f(func() { log.Warn("another") }, 1, 1)
	f(func() { log.Error("refused") }, 1, 1)
	f(func() { log.Debug("for debugging") }, 1000, 1000)
	now = now.Add(window)
	f(warn, 1, 1)
	if want := `"suppressed":1900`; !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	f(warn, 1, 1)
	if strings.Contains(out.String(), "suppressed") {
		t.Errorf("got %s, want nothing suppressed", out.String())
	}
	want := "# HELP ringside_safelog_suppressed_total Lines that were not logged because there were too many of the same message, by level.\n" +
		"# TYPE ringside_safelog_suppressed_total counter\n"
	for _, level := range []string{"error", "info", "warn"} {
		n := 0
		if level == "warn" {
			n = 1900
		}
		want += fmt.Sprintf("ringside_safelog_suppressed_total{level=%q} %d\n", level, n)
	}
	if err := testutil.CollectAndCompare(Collector(log), strings.NewReader(want), "ringside_safelog_suppressed_total"); err != nil {
		t.Error(err)
	}
	if Collector(zap.NewNop()) != nil {
		t.Error("another logger has a collector")
	}
}
