package progress

import (
	"bytes"
	"io"
	"os"

	"github.com/vbauerster/cupwriter"
)

// console is the terminal that a bar is drawn on. It differs from mpb's own in two ways: what is drawn anew begins in the first column, also
// when somebody has typed (the ^C of an interrupt, say), and the last column stays free, so that no terminal wraps.
type console struct{ *cupwriter.Writer }

// newConsole is the console of a terminal.
func newConsole(w io.Writer) console {
	c := console{cupwriter.New(fromTheLeft{w}, false)}
	if f, ok := w.(*os.File); ok {
		c.SetTermFd(int(f.Fd()))
	}
	return c
}

// GetTermSize is the size of what may be drawn on.
func (c console) GetTermSize() (width, height int, err error) {
	width, height, err = c.Writer.GetTermSize()
	return max(width-1, 0), height, err
}

// fromTheLeft returns the carriage before a cursor goes up.
type fromTheLeft struct{ io.Writer }

// Write implements [io.Writer].
func (f fromTheLeft) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("\x1b[")) {
		return f.Writer.Write(p)
	}
	n, err := f.Writer.Write(append([]byte{'\r'}, p...))
	return max(n-1, 0), err
}
