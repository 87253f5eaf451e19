package progress

import (
	"fmt"
	"io"
	"os"

	"github.com/ringside-edge/ringside/internal/look"
)

// Steps is work of which the number of steps is known, of a program that runs by itself: its bar is on the error output.
type Steps struct {
	bar   *Bar
	total int
	next  int
	name  string
}

// NewSteps makes the bar. How many steps there are says [Steps.Of], before the first.
func NewSteps() *Steps {
	env := look.Env(os.Environ())
	return &Steps{bar: New(Config{Out: os.Stderr, Env: env, Style: look.Of(look.Auto, os.Stderr, env)})}
}

// Of says how many steps there will be.
func (s *Steps) Of(total int) { s.total = total }

// Next says that a step begins, and that the one before is done. It is for one goroutine.
func (s *Steps) Next(format string, args ...any) {
	s.next++
	s.name = fmt.Sprintf(format, args...)
	s.bar.Set(fmt.Sprintf("step %d of %d", s.next, max(s.next, s.total)), float64(s.next-1), float64(max(s.next, s.total)), s.name)
}

// Say writes a line above the bar.
func (s *Steps) Say(format string, args ...any) { s.bar.Say(format, args...) }

// Over is [Bar.Over].
func (s *Steps) Over(w io.Writer) io.Writer { return s.bar.Over(w) }

// End ends the bar: at 100 % when all has been done, else where it is.
func (s *Steps) End(err error) {
	if err == nil && s.next > 0 {
		s.bar.Set("done", float64(s.next), float64(s.next), fmt.Sprintf("%d steps", s.next))
	}
	s.bar.End()
}
