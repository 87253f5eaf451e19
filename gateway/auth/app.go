package auth

import (
	"context"
	"time"
)

// CallConfig bounds what an application is asked.
type CallConfig struct {
	Headers     []string      // of a handshake that are passed on, lower case
	Timeout     time.Duration // of one call, the wait for a place included
	Concurrency int           // calls under way
	Waiting     int           // calls that wait for a place
	Failures    int           // in a row, after which nobody asks for a while
	Pause       time.Duration // that while
}

// Command is what a client has said to the application.
type Command struct {
	Name       string // message, subscribe, unsubscribe
	Identifier string // what about; empty for nothing in particular
	Data       string
	State      map[string]string // what it has noted of that; Action Cable's
}

// Answer is what an application has said to a command, in the words of AnyCable: a stream is a topic.
type Answer struct {
	Transmissions []string // for this client alone
	Streams       []string // topics that it is to follow
	Stopped       []string // topics that it no longer follows
	StopAll       bool     // it no longer follows any topic but that of its connect URL
	Disconnect    bool
	State         map[string]string // to be noted of what the command was about; Action Cable's
}

// verdict is what an application has said, whatever it was asked.
type verdict struct {
	status      status
	message     string
	identifiers string
	state       map[string]string
	answer      Answer
}

type status uint8

const (
	statusError status = iota
	statusYes
	statusNo
)

// application is one way to ask an application. A call that fails is an error, what it answers is a verdict. Safe for
// concurrent use.
type application interface {
	connect(ctx context.Context, r *Request, app *App) (verdict, error)
	command(ctx context.Context, session uint64, app *App, c Command) (verdict, error)
	disconnect(ctx context.Context, session uint64, app *App, topics []string) (verdict, error)
	close()
}

// call is what an application is asked; it is a label.
type call uint8

const (
	callConnect call = iota
	callCommand
	callDisconnect
	calls
)

func (c call) String() string { return [calls]string{"connect", "command", "disconnect"}[c] }

// result is how a call went; it is a label.
type result uint8

const (
	resultYes      result = iota
	resultNo              // the application says no
	resultError           // it failed, or its answer is none
	resultTimeout         // it did not answer in time
	resultDown            // it can't be reached
	resultBusy            // all places were taken for too long, or too many waited
	resultOpen            // nobody asks at present: too many calls have failed
	resultCanceled        // whoever wanted to know is gone
	results
)

func (r result) String() string {
	return [results]string{"yes", "no", "error", "timeout", "down", "busy", "breaker", "canceled"}[r]
}
