package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	ringside "github.com/ringside-edge/ringside/client/go"
	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/position"
)

type subscribeCmd struct {
	URL   topicURL `arg:"" name:"url" help:"Where to connect, for example ws://127.0.0.1:8080/t/finals."`
	Since string   `placeholder:"POSITION" help:"Begin after this position, with everything that followed."`
	Count int      `placeholder:"N" default:"0" min:"0" help:"End after so many messages; 0 for never."`
	Once  bool     `help:"End after one message."`
	JSON  bool     `name:"json" group:"Output" help:"Print every event as the JSON that the server sent, one per line."`

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

// Run prints messages until it has enough or is interrupted; the client reconnects in between. It fails when the first
// connection does, and when the server says that coming back is useless.
func (s *subscribeCmd) Run(ctx context.Context, std stdio) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	secure, err := s.config()
	if err != nil {
		return usage(err)
	}
	if _, err := s.token(); err != nil {
		return usage(err)
	}
	f := &follower{cmd: s, std: std}
	cfg := ringside.Config{URL: string(s.URL), Direct: true, After: s.Since, TLS: secure, Observe: f.observe}
	if s.Token != "" || s.TokenFile != "" {
		cfg.Token = func(context.Context) (string, error) { return s.token() } // the file may have a fresh one
	}
	session, err := ringside.Connect(ctx, cfg)
	if err == nil {
		defer session.Close()
		err = f.follow(ctx, session)
	}
	switch {
	case errors.Is(err, errEnough):
		return nil
	case ctx.Err() != nil:
		f.note("last position: %s", f.last)
		if err := interrupted(ctx); err != nil {
			return &failure{code: exitCode(err)}
		}
		return nil
	}
	return notFollowed(err, cfg.Token != nil)
}

// notFollowed is why a subscription has ended, with what a person can do about it. shown is whether a token was.
func notFollowed(err error, shown bool) error {
	final, ok := errors.AsType[*ringside.FinalError](err)
	if !ok {
		if reason, advice := reachAdvice(err); advice != "" {
			if reason != "" && !strings.Contains(err.Error(), reason) {
				err = fmt.Errorf("%w: %s", err, reason)
			}
			return &failure{code: exitUnreachable, err: err, advice: advice}
		}
		return err
	}
	switch {
	case final.Code == 0, final.Code == http.StatusNotFound && !strings.HasPrefix(final.Reason, "topic"):
		return &failure{code: exitUnreachable, err: err, advice: "Is this the address that a router's log calls \"listen\", and a topic's URL, as ws://host:8080/t/finals?"}
	case final.Code == http.StatusUnauthorized || final.Code == 4401:
		if shown {
			return &failure{code: exitRefused, err: err, advice: "The token that was shown does not open this topic, or not any more."}
		}
		return &failure{code: exitRefused, err: err, advice: "Show a token: --token-file FILE or the variable RINGSIDE_TOKEN."}
	case final.Code/100 == 4 || final.Code/100 == 44:
		return &failure{code: exitRefused, err: err}
	}
	return err
}

// follower prints a subscription.
type follower struct {
	cmd *subscribeCmd
	std stdio

	last     string // position up to which everything has been printed; empty before the first welcome
	printed  int
	welcomed bool  // once at least
	failed   error // of printing
}

// follow prints what the session brings until it ends, which always has a reason.
func (f *follower) follow(ctx context.Context, s *ringside.Session) error {
	for {
		e, err := s.Next(ctx)
		if err == nil {
			err = f.failed
		}
		if err == nil {
			err = f.on(e)
		}
		if err != nil {
			return err
		}
	}
}

// note tells the person something that is not a message.
func (f *follower) note(format string, args ...any) {
	style := f.std.style(f.std.err)
	fmt.Fprintf(f.std.err, "%s %s\n", style.Faint("ringside:"), look.Printable(fmt.Sprintf(format, args...)))
}

// observe prints what the server sent, where that is wanted.
func (f *follower) observe(text []byte) {
	if !f.cmd.JSON || f.failed != nil {
		return
	}
	var line bytes.Buffer
	if json.Compact(&line, text) != nil {
		return // the session ends over it
	}
	line.WriteByte('\n')
	if _, err := f.std.out.Write(line.Bytes()); err != nil {
		f.failed = fmt.Errorf("cannot print: %w", err)
	}
}

// on prints an event and keeps how far it has come.
func (f *follower) on(e ringside.Event) error {
	switch e := e.(type) {
	case ringside.Connected:
		f.last = e.Position
		if !f.welcomed {
			f.note("following %s from %s", e.Topic, e.Position)
		}
		f.welcomed = true
	case ringside.Disconnected:
		if !f.welcomed && !e.Reserved {
			return e.Err
		}
		f.note("%s; back in %v", strings.TrimPrefix(e.Err.Error(), "ringside: "), e.Again.Round(time.Millisecond))
	case ringside.Message:
		return f.message(e)
	case ringside.Freshness:
		f.last = e.Position
	case ringside.Gap:
		f.last = e.Position
		f.note("gap: what lies between %s and %s is lost (%s)", e.After, e.Position, e.Reason)
	case ringside.Skipped:
		f.note("%d messages were left out: newer ones have replaced them", e.Count)
	case ringside.Refused:
		f.note("the server says: %s (%s)", e.Message, e.Reason)
	}
	return nil
}

func (f *follower) message(m ringside.Message) error {
	f.last = m.Position
	if !f.cmd.JSON {
		line, err := lineOf(m)
		if err == nil {
			_, err = f.std.out.Write(line)
		}
		if err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
	}
	f.printed++
	if f.cmd.Once || f.cmd.Count > 0 && f.printed >= f.cmd.Count {
		return errEnough
	}
	return nil
}

// lineOf is a message as it is printed: its position, and its payload as JSON on the same line.
func lineOf(m ringside.Message) ([]byte, error) {
	var line bytes.Buffer
	line.WriteString(m.Position + " ")
	if m.Binary {
		fmt.Fprintf(&line, "%q (base64)\n", base64.StdEncoding.EncodeToString(m.Data))
		return line.Bytes(), nil
	}
	if err := json.Compact(&line, m.Data); err != nil {
		return nil, err
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}
