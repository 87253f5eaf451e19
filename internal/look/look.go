// Package look is how what the program says to people looks: whether there are colours and which they are, columns that stand below each
// other, and text of others without what a terminal would obey. Everything that is written to a person goes through it; what is written to
// programs (JSON, metrics, logs) does not.
//
// It knows no command and starts nothing. What moves on a terminal is the progress package's.
package look

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// What --color takes.
const (
	Auto   = "auto" // colours on a terminal, unless the environment says no
	Always = "always"
	Never  = "never"
)

// Env is the environment, as os.Environ gives it.
type Env []string

// Get is the value of a variable; empty when it is not set.
func (e Env) Get(name string) string {
	value := ""
	for _, v := range e {
		if n, rest, _ := strings.Cut(v, "="); n == name {
			value = rest
		}
	}
	return value
}

// Terminal reports whether a person reads w. It does not block.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Moves reports whether lines on w can be drawn anew: it is a terminal that knows how, and no log of a build.
func Moves(w io.Writer, env Env) bool {
	if !Terminal(w) || env.Get("TERM") == "dumb" || env.Get("CI") != "" {
		return false
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	return err == nil && width > 0
}

// Style gives text its colours. The zero Style has none.
type Style struct{ on bool }

// Of is the style of what is written to w: when is one of [Auto], [Always] and [Never], empty for Auto. NO_COLOR (with any value) and
// TERM=dumb are heeded where it is Auto.
func Of(when string, w io.Writer, env Env) Style {
	switch when {
	case Always:
		return Style{true}
	case Never:
		return Style{}
	}
	return Style{Terminal(w) && env.Get("NO_COLOR") == "" && env.Get("TERM") != "dumb"}
}

// The colours: what each kind of word looks like is decided here alone.
const (
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (s Style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return code + text + plain
}

// Head is for headings and names.
func (s Style) Head(text string) string { return s.paint(bold, text) }

// Faint is for what is there for completeness.
func (s Style) Faint(text string) string { return s.paint(faint, text) }

// Good is for what is as it should be.
func (s Style) Good(text string) string { return s.paint(green, text) }

// Warn is for what will pass, or deserves a look.
func (s Style) Warn(text string) string { return s.paint(yellow, text) }

// Bad is for errors, and for what has ended.
func (s Style) Bad(text string) string { return s.paint(red, text) }

// State is for the state of a member.
func (s Style) State(state string) string {
	switch state {
	case "active":
		return s.Good(state)
	case "joining", "draining":
		return s.Warn(state)
	case "left", "dead", "silent":
		return s.Bad(state)
	}
	return state
}

// Printable is text without what a terminal might obey: it may come from others.
func Printable(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}
