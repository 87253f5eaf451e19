package testcluster

import (
	"bytes"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// Terminal is what somebody sees of a program that has a terminal. It is safe for concurrent use.
type Terminal struct {
	TTY      *os.File // the program's
	Keyboard *os.File // what is written to it is typed

	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// NewTerminal opens a terminal of so many columns, and closes it with the test.
func NewTerminal(t testing.TB, columns uint16) *Terminal {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &Terminal{TTY: tty, Keyboard: ptmx}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(s, ptmx) // up to its end
	}()
	t.Cleanup(func() {
		tty.Close()
		ptmx.Close()
		<-read
	})
	s.Resize(t, columns)
	return s
}

// Resize makes it as wide as that.
func (s *Terminal) Resize(t testing.TB, columns uint16) {
	t.Helper()
	if err := pty.Setsize(s.Keyboard, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
}

// Write implements io.Writer: the program has written p.
func (s *Terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String is all that the program has written.
func (s *Terminal) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
