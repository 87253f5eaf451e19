package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

type subscribeCmd struct {
	URL   topicURL `arg:"" name:"url" help:"Where to connect, for example ws://127.0.0.1:8080/t/finals."`
	Since string   `placeholder:"POSITION" help:"Begin after this position, with everything that followed."`
	Count int      `placeholder:"N" default:"0" min:"0" help:"End after so many messages; 0 for never."`
	Once  bool     `help:"End after one message."`
	JSON  bool     `name:"json" help:"Print every event as the JSON that the server sent."`

	bearer
	trustCA
}

// topicURL is where a topic is followed.
type topicURL string

// UnmarshalText takes a ws, wss, http or https URL.
func (t *topicURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err == nil && u.Host != "" {
		switch u.Scheme {
		case "http":
			u.Scheme = "ws"
		case "https":
			u.Scheme = "wss"
		}
	}
	if err != nil || u.Host == "" || (u.Scheme != "ws" && u.Scheme != "wss") {
		return fmt.Errorf("%q is not the URL of a topic: want for example ws://127.0.0.1:8080/t/finals", text)
	}
	u.Fragment = ""
	*t = topicURL(u.String())
	return nil
}

// errEnough ends a subscription that has what it wanted.
var errEnough = errors.New("enough messages")

// Validate checks the position before anything is dialed.
func (s *subscribeCmd) Validate() error {
	if s.Since == "" {
		return nil
	}
	if _, err := position.Parse(s.Since); err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	return nil
}

// Run prints messages until it has enough or is interrupted, and reconnects in between. It fails when the first
// connection does, and when the server says that coming back is useless.
func (s *subscribeCmd) Run(ctx context.Context, std stdio) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	secure, err := s.config()
	if err != nil {
		return err
	}
	f := &follower{cmd: s, secure: secure, std: std, last: s.Since, backoff: backoff.Default()}
	for {
		err := f.connection(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			f.note("last position: %s", f.last)
			return nil
		case isFinal(err) || !f.welcomed && f.pass == "":
			return err
		}
		wait := f.wait
		if wait < 0 {
			wait = f.backoff.Delay(f.failures)
			f.failures++
		}
		f.note("%v; back in %v", err, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// follower is one subscription over all of its connections.
type follower struct {
	cmd    *subscribeCmd
	std    stdio
	secure *tls.Config // nil for the defaults

	last     string // position up to which everything has been printed; empty before the first welcome
	printed  int
	welcomed bool // once at least
	backoff  backoff.Policy
	failures int           // connections in a row that did not last
	wait     time.Duration // what the server asked for at the last close; negative when it did not
	resume   string        // the token of the last welcome
	pass     string        // the reservation of the last refusal; empty for none
}

// note tells the person something that is not a message.
func (f *follower) note(format string, args ...any) {
	fmt.Fprintf(f.std.err, "ringside: %s\n", printable(fmt.Sprintf(format, args...)))
}

// printable is s without what a terminal might obey: it may come from a server.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if isUnprintable(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

func isUnprintable(c rune) bool { return !unicode.IsPrint(c) }

// event is what a server of ringside.v1 sends.
type event struct {
	Type      string          `json:"type"`
	Topic     string          `json:"topic"`
	ID        string          `json:"id"`
	Position  string          `json:"position"`
	After     string          `json:"after"`
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`
	Encoding  string          `json:"encoding"`
	Heartbeat int64           `json:"heartbeat"` // ms
	Backoff   *backoff.Policy `json:"backoff"`
	Resume    string          `json:"resume"`
	Data      json.RawMessage `json:"data"`
}

// on prints an event and moves the position on.
func (f *follower) on(text []byte, e event) error {
	if f.cmd.JSON {
		var line bytes.Buffer
		if err := json.Compact(&line, text); err != nil {
			return err
		}
		line.WriteByte('\n')
		if _, err := f.std.out.Write(line.Bytes()); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
	}
	switch e.Type {
	case "welcome":
		return f.welcome(e)
	case "policy":
		f.obey(e)
	case "message":
		return f.message(e)
	case "heartbeat":
		return f.moveTo(e.Position)
	case "gap":
		if err := f.moveTo(e.Position); err != nil {
			return err
		}
		f.note("gap: what lies between %s and %s is lost (%s)", e.After, e.Position, e.Reason)
	case "error":
		f.note("the server says: %s (%s)", e.Message, e.Reason)
	}
	return nil
}

// moveTo is where to go on from after the next connection. Positions are opaque, but fit for a line and a URL.
func (f *follower) moveTo(at string) error {
	if !isPosition(at) {
		return fmt.Errorf("the server sent a position that is none: %.80q", at)
	}
	f.last = at
	return nil
}

func isPosition(at string) bool {
	return len(at) <= 255 && !strings.ContainsFunc(at, func(c rune) bool { return c <= ' ' || c > '~' })
}

func (f *follower) welcome(e event) error {
	if err := f.moveTo(e.Position); err != nil {
		return err
	}
	if !f.welcomed {
		f.note("following %s from %s", e.Topic, e.Position)
	}
	f.welcomed = true
	f.resume, f.pass = e.Resume, ""
	f.obey(e)
	return nil
}

// obey takes in the backoff policy of an event, as long as it can be followed.
func (f *follower) obey(e event) {
	if e.Backoff != nil && e.Backoff.Validate() == nil {
		f.backoff = *e.Backoff
	}
}

func (f *follower) message(e event) error {
	if err := f.moveTo(e.ID); err != nil {
		return err
	}
	if !f.cmd.JSON {
		var data bytes.Buffer
		if err := json.Compact(&data, e.Data); err != nil {
			return fmt.Errorf("a message without data: %w", err)
		}
		if e.Encoding != "" {
			data.WriteString(" (" + printable(e.Encoding) + ")")
		}
		if _, err := fmt.Fprintf(f.std.out, "%s %s\n", e.ID, data.Bytes()); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
	}
	f.printed++
	if f.cmd.Once || f.cmd.Count > 0 && f.printed >= f.cmd.Count {
		return errEnough
	}
	return nil
}

// target is the URL of the next connection: with the position that the last one ended at, and the pass that was given for it.
func (f *follower) target() string {
	pass := cmp.Or(f.pass, f.resume)
	if f.last == "" && pass == "" {
		return string(f.cmd.URL)
	}
	base, query, _ := strings.Cut(string(f.cmd.URL), "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return string(f.cmd.URL) // the server says what is wrong with it
	}
	if f.last != "" {
		values.Set("since", f.last)
	}
	if pass != "" {
		values.Set(leg.PassParam, pass)
	}
	return base + "?" + values.Encode()
}
