package anycable

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		p := Parse([]byte(text))
		got := ""
		for _, b := range p.Broadcasts {
			got += fmt.Sprintf("%s=%s ", b.Stream, b.Data)
		}
		for _, d := range p.Disconnects {
			got += fmt.Sprintf("disconnect %s %v ", d.Identifiers, d.Reconnect)
		}
		for _, err := range p.Bad {
			for name, known := range map[string]error{"json": ErrJSON, "command": ErrCommand, "stream": ErrStream, "data": ErrData, "parts": ErrParts} {
				if errors.Is(err, known) {
					got += "bad " + name + " "
				}
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%.100s: got %q, want %q", text, got, want)
		}
	}
	f(`{"stream":"a","data":"{\"n\":1}"}`, `a={"n":1}`)
	f(`{"stream":"a","data":"text","meta":{"exclude_socket":"x","transient":true}}`, `a=text`)
	f(`{"stream":"a","data":{"n":1}}`, `a={"n":1}`)
	f(`{"stream":"a","data":"\"quoted\""}`, `a="quoted"`)
	f(` [{"stream":"a","data":"1"},{"stream":"b","data":"2"}]`, `a=1 b=2`)
	f(`[{"stream":"a","data":"1"},{"stream":"b"},7,{"stream":"c","data":"3"}]`, `a=1 c=3 bad data bad json`)
	f(`[]`, ``)
	f(`{"command":"disconnect","payload":{"identifier":"{\"user\":1}","reconnect":true}}`, `disconnect {"user":1} true`)
	f(`{"command":"disconnect","payload":{}}`, `bad command`)
	f(`{"command":"fly"}`, `bad command`)
	f(`{"data":"1"}`, `bad stream`)
	f(`{"stream":"","data":"1"}`, `bad stream`)
	f(`{"stream":"a"`, `bad json`)
	f(`[1`, `bad json`)
	f(``, `bad json`)
	f(`"text"`, `bad json`)
	f("["+strings.Repeat(`1,`, MaxParts)+"1]", `bad parts`)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"stream":"a","data":"1"},{"command":"disconnect","payload":{"identifier":"x"}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Parse(b)
		for _, m := range p.Broadcasts {
			if m.Stream == "" {
				t.Error("a broadcast without a stream")
			}
		}
		if len(p.Broadcasts)+len(p.Disconnects)+len(p.Bad) > MaxParts {
			t.Error("too many parts")
		}
	})
}

// The key of AnyCable's documentation of its derivation: HMAC-SHA256 of the word under the secret, in hexadecimal.
func TestBroadcastKey(t *testing.T) {
	if got, want := BroadcastKey([]byte("qwerty")), "42923a28b760e667fc92f7c6123bb07a282822b329dd2ef48e7aee7830d98485"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
