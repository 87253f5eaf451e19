package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// foreigner is a WebSocket client that somebody else has written, as it comes.
type foreigner interface {
	// name names it and its version.
	name() string
	// open connects. What happens goes to events, in words: "open", "text", "binary", "ping", "pong", "close", "refused" or "error", and
	// what there is to say of it.
	open(url string, opts dialOptions, events func(what, payload string)) foreignSession
}

// dialOptions are how a client opens a session.
type dialOptions struct {
	protocols []string
	deflate   bool   // offer permessage-deflate
	origin    string // empty for none
}

// foreignSession is one connection of such a client. What it can't be made to do is an error of type unable.
type foreignSession interface {
	send(binary bool, parts ...string) error // a message, in as many fragments as it has parts
	interrupt(first, rest string) error      // a text in two fragments, and a ping between them
	ping(payload string) error
	pong(payload string) error
	close(code int, reason string) error // 1005: without a status
	terminate() error                    // without a word
}

// unable is the error of what a client's interface has no way for.
type unable string

func (e unable) Error() string { return string(e) }

// event is what a client has been told.
type event struct{ what, payload string }

func (e event) String() string { return strings.TrimSpace(e.what + " " + e.payload) }

// peer is a session of a foreign client in a test.
type peer struct {
	topic string // of its own; of cases that publish
	foreignSession
	events chan event
}

// errGivenUp says that what was waited for did not come.
var errGivenUp = errors.New("nothing came")

// connect opens a session, and returns the first thing that its client is told.
func connect(f foreigner, url string, opts dialOptions) (*peer, event, error) {
	p := &peer{events: make(chan event, 10_000)}
	p.foreignSession = f.open(url, opts, func(what, payload string) { p.events <- event{what, payload} })
	first, err := p.next()
	return p, first, err
}

// session opens one in a subprotocol, behind its welcome where there is one.
func session(f foreigner, url, protocol string) (*peer, error) {
	p, first, err := connect(f, url, dialOptions{protocols: []string{protocol}})
	if err != nil {
		return nil, err
	}
	if want := "open " + protocol; first.String() != want {
		return nil, fmt.Errorf("got %q, want %q", first, want)
	}
	if protocol == "ringside.v1" {
		return p, p.begins(`text {"type":"welcome"`)
	}
	return p, nil
}

// next is the next event.
func (p *peer) next() (event, error) {
	timer := time.NewTimer(testcluster.Limit())
	defer timer.Stop()
	select {
	case e := <-p.events:
		return e, nil
	case <-timer.C:
		return event{}, errGivenUp
	}
}

// word is the next event that the test is about: no heartbeat of the server.
func (p *peer) word() (event, error) {
	for {
		e, err := p.next()
		if err != nil || e.what != "ping" && !strings.HasPrefix(e.payload, `{"type":"heartbeat"`) {
			return e, err
		}
	}
}

// begins wants the next event to begin so.
func (p *peer) begins(want string) error {
	e, err := p.word()
	if err != nil {
		return fmt.Errorf("%w, want %q", err, want)
	}
	if !strings.HasPrefix(e.String(), want) {
		return fmt.Errorf("got %.200q, want %.200q", e, want)
	}
	return nil
}

// ends wants a close and nothing behind it.
func (p *peer) ends(code int, reason string) error {
	return p.endsLike(fmt.Sprintf("^close %d ?%s$", code, regexp.QuoteMeta(reason)))
}

func (p *peer) endsLike(pattern string) error {
	e, err := p.word()
	if err != nil {
		return fmt.Errorf("%w, want %s", err, pattern)
	}
	if !regexp.MustCompile(pattern).MatchString(e.String()) {
		return fmt.Errorf("got %.200q, want %s", e, pattern)
	}
	return nil
}

// alive asks for a sign of life, and wants it to be the next thing that comes.
func (p *peer) alive() error {
	if err := p.send(false, `{"type":"ping"}`); err != nil {
		return err
	}
	return p.begins(`text {"type":"pong"}`)
}

// leave ends the session as a client should.
func (p *peer) leave() error {
	if err := p.close(1000, "bye"); err != nil {
		return err
	}
	return p.endsLike("^close 1000")
}

// moduleVersion is the version of a module that the tests are built with.
func moduleVersion(t *testing.T, module string) string {
	t.Helper()
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(module) + ` (\S+)`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("go.mod does not name %s", module)
	}
	return string(m[1])
}
