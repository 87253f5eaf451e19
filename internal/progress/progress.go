// Package progress shows how far long work is: on a terminal as one line that is drawn anew, with a bar, and everywhere else (a pipe, a file,
// the log of a build, TERM=dumb) as plain lines at a decent pace, without a control character.
//
//	bar := progress.New(progress.Config{Out: os.Stderr, Env: os.Environ(), Unit: "sessions"})
//	defer bar.End()
//	bar.Set("g1 drains", done, total, "1240 sessions left")
//
// A bar belongs on the error output: the other one may be data. Lines that are written while it is drawn go through [Bar.Over] or [Bar.Say],
// so that they stand above it. [Steps] is for the programs under scripts, which work step by step.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/ringside-edge/ringside/internal/look"
)

// Config is how a [Bar] is shown. Out is required.
type Config struct {
	Out   io.Writer
	Env   look.Env
	Style look.Style
	Unit  string        // of what is done, for the rate; empty for no rate
	Pace  time.Duration // between plain lines that tell of the same step; 5 s when 0
}

const (
	defaultPace = 5 * time.Second
	scale       = 10_000 // of the bar
	redraw      = 100 * time.Millisecond
)

// Bar is work under way. Its methods may be called by many goroutines, and don't block for longer than a write. Nothing is shown before the
// first Set.
type Bar struct {
	cfg   Config
	now   func() time.Time
	state atomic.Pointer[state] // what is drawn is read by the drawing goroutine, which must not wait for mu

	mu     sync.Mutex
	told   state // at the last plain line; guarded by mu, and so is all below
	toldAt time.Time
	drawn  *mpb.Progress // nil when nothing is drawn
	bar    *mpb.Bar
	ended  bool
}

// state is how far the work is.
type state struct {
	title, detail string
	done, total   float64
	began         time.Time // the first Set
	from          float64   // what had been done then
}

// New makes a bar; it starts nothing before the first Set.
func New(c Config) *Bar {
	if c.Pace == 0 {
		c.Pace = defaultPace
	}
	return &Bar{cfg: c, now: time.Now}
}

// Set says how far the work is: so much of total is done. detail is what else there is to say.
func (b *Bar) Set(title string, done, total float64, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	s := state{title: title, detail: detail, done: min(done, total), total: total}
	if was := b.state.Load(); was != nil {
		s.began, s.from = was.began, was.from
	} else {
		s.began, s.from = b.now(), s.done
	}
	b.state.Store(&s)
	if look.Moves(b.cfg.Out, b.cfg.Env) {
		b.draw(&s)
		return
	}
	if now := b.now(); s.title != b.told.title || now.Sub(b.toldAt) >= b.cfg.Pace && s != b.told {
		b.tell(s, now)
	}
}

// tell writes a plain line; with mu held.
func (b *Bar) tell(s state, now time.Time) {
	b.told, b.toldAt = s, now
	fmt.Fprintf(b.cfg.Out, "%s: %s\n", look.Printable(s.title), look.Printable(b.about(&s)))
}

// draw has the bar show the state; with mu held.
func (b *Bar) draw(s *state) {
	if b.drawn == nil {
		b.drawn = mpb.New(mpb.WithConsoleWriter(newConsole(b.cfg.Out)), mpb.WithRefreshRate(redraw))
		text := func(f func(*state) string) decor.Decorator {
			return decor.Any(func(decor.Statistics) string { return look.Printable(f(b.state.Load())) })
		}
		b.bar = b.drawn.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding("-").Rbound("]").FillerMeta(b.cfg.Style.Good),
			mpb.PrependDecorators(decor.Meta(text(func(s *state) string { return s.title + " " }), b.cfg.Style.Head)),
			mpb.AppendDecorators(text(func(s *state) string { return " " + b.about(s) })), mpb.BarWidth(32), mpb.BarFillerTrim())
		b.bar.SetTotal(scale, false)
	}
	b.bar.SetCurrent(int64(s.share() * scale))
}

// share is how much of the work is done, from 0 to 1.
func (s *state) share() float64 {
	if s.total <= 0 {
		return 0
	}
	return max(s.done, 0) / s.total
}

// about is what stands behind the bar.
func (b *Bar) about(s *state) string {
	parts := []string{fmt.Sprintf("%.0f %%", 100*s.share())}
	if s.detail != "" {
		parts = append(parts, s.detail)
	}
	elapsed := b.now().Sub(s.began)
	if rate := (s.done - s.from) / elapsed.Seconds(); elapsed >= time.Second && rate > 0 && s.done < s.total {
		if b.cfg.Unit != "" {
			parts = append(parts, fmt.Sprintf("%.3g %s/s", rate, b.cfg.Unit))
		}
		parts = append(parts, "about "+span((s.total-s.done)/rate)+" to go")
	} else if elapsed >= time.Second {
		word := "for "
		if s.done >= s.total {
			word = "in "
		}
		parts = append(parts, word+span(elapsed.Seconds()))
	}
	return strings.Join(parts, ", ")
}

// span is a time as people say it.
func span(seconds float64) string {
	d := time.Duration(min(seconds, 1e6) * float64(time.Second)).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%d s", max(1, int(d.Seconds())))
	}
	if d < time.Hour {
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// Say writes a line to the bar's output, above the bar.
func (b *Bar) Say(format string, args ...any) {
	fmt.Fprintf(b.Over(b.cfg.Out), format+"\n", args...)
}

// Over is w for whole lines that are written while the bar is drawn: they stand above it when both are on a terminal.
func (b *Bar) Over(w io.Writer) io.Writer { return over{b, w} }

type over struct {
	bar *Bar
	to  io.Writer
}

// Write implements [io.Writer].
func (o over) Write(p []byte) (int, error) {
	o.bar.mu.Lock()
	drawn := o.bar.drawn
	o.bar.mu.Unlock()
	if drawn != nil && look.Terminal(o.to) {
		if n, err := drawn.Write(p); err == nil {
			return n, nil
		}
	}
	return o.to.Write(p) // the bar is gone, or somewhere else
}

// End draws the last state and leaves the terminal as it was, with the cursor on a new line. What is set later is passed over; to end a bar
// twice does nothing.
func (b *Bar) End() {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return
	}
	b.ended = true
	drawn, bar := b.drawn, b.bar
	if s := b.state.Load(); drawn == nil && s != nil && *s != b.told {
		b.tell(*s, b.now())
	}
	b.mu.Unlock()
	if drawn == nil {
		return
	}
	if b.state.Load().share() == 1 {
		bar.SetTotal(scale, true)
	} else {
		bar.Abort(false) // it stays as it is
	}
	drawn.Wait()
}
