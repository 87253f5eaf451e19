package look

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// terminal is a terminal to write to.
func terminal(t *testing.T) *os.File {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptmx.Close(); tty.Close() })
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	return tty
}

// Colours are for terminals, unless somebody says otherwise.
func TestOf(t *testing.T) {
	tty := terminal(t)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	f := func(when string, env Env, onTerminal, elsewhere bool) {
		t.Helper()
		if got := Of(when, tty, env).on; got != onTerminal {
			t.Errorf("%s %q on a terminal: got %v, want %v", when, env, got, onTerminal)
		}
		for _, w := range []any{null, new(bytes.Buffer)} {
			if got := Of(when, w.(interface{ Write([]byte) (int, error) }), env).on; got != elsewhere {
				t.Errorf("%s %q on %T: got %v, want %v", when, env, w, got, elsewhere)
			}
		}
	}
	f("", nil, true, false)
	f(Auto, Env{"TERM=xterm"}, true, false)
	f(Auto, Env{"NO_COLOR=1"}, false, false)
	f(Auto, Env{"NO_COLOR="}, true, false) // by no-color.org an empty one says nothing
	f(Auto, Env{"TERM=dumb"}, false, false)
	f(Always, Env{"NO_COLOR=1", "TERM=dumb"}, true, true)
	f(Never, nil, false, false)
}

func TestMoves(t *testing.T) {
	tty := terminal(t)
	f := func(env Env, want bool) {
		t.Helper()
		if got := Moves(tty, env); got != want {
			t.Errorf("%q: got %v, want %v", env, got, want)
		}
	}
	f(Env{"TERM=xterm"}, true)
	f(Env{"NO_COLOR=1"}, true)
	f(Env{"TERM=dumb"}, false)
	f(Env{"CI=true"}, false)
	if Moves(new(bytes.Buffer), nil) {
		t.Error("a buffer is drawn anew")
	}
	if err := pty.Setsize(tty, &pty.Winsize{}); err != nil {
		t.Fatal(err)
	}
	if Moves(tty, nil) {
		t.Error("a terminal without columns is drawn on")
	}
}

// Colours move nothing, what others say moves nothing, and a table without colours has none.
func TestTable(t *testing.T) {
	f := func(s Style) string {
		table := NewTable(s, "ID", "STATE", "ZONE")
		table.Row("g1", Cell{"active", s.State}, "")
		table.Row("gateway-2\x1b[2J", Cell{"draining", s.State}, "Zürich")
		table.Row("é", Cell{"left", s.State}, "b")
		return table.String()
	}
	want := "ID             STATE     ZONE\n" +
		"g1             active    -\n" +
		"gateway-2\ufffd[2J  draining  Zürich\n" +
		"é              left      b\n"
	if got := f(Style{}); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	painted := f(Style{true})
	for _, code := range []string{bold, green, yellow, red} {
		if !strings.Contains(painted, code) {
			t.Errorf("%q is not in %q", code, painted)
		}
		painted = strings.ReplaceAll(painted, code, "")
	}
	if got := strings.ReplaceAll(painted, plain, ""); got != want {
		t.Errorf("without its colours: got\n%s, want\n%s", got, want)
	}
}
