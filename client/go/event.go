package ringside

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// Event is what [Session.Next] returns: a [Message], [Gap], [Skipped], [Freshness], [Viewers], [Connected], [Disconnected], [Subscribed],
// [Unsubscribed], [Reply] or [Refused].
type Event interface{ event() }

// Message is a message of a topic.
type Message struct {
	Topic    string
	Position string // where the session stands with it: to go on behind it, in another process say
	Data     []byte // the payload where it is JSON; a JSON string of it where it is other text
	Binary   bool   // Data is bytes that are no text, as they were published
}

// Gap says that the messages between two positions can't be had any more.
type Gap struct {
	Topic, Reason   string // trimmed, epoch or slow
	After, Position string
}

// Skipped says that messages were left out because newer ones have replaced them, in a topic whose rule is `slow: latest`.
type Skipped struct {
	Topic string
	Count int
}

// Freshness is a heartbeat: everything up to AsOf has come.
type Freshness struct {
	Topic    string
	Position string
	AsOf     time.Time
	Lag      time.Duration
	Stale    bool // what is known of the topic may be out of date
}

// Viewers says how many follow a topic, in the whole cluster: where [Config.Viewers] asks for it, at once and then when it has changed, every few
// seconds at most.
type Viewers struct {
	Topic string
	Count int
}

// Connected says that a connection stands; the messages that were missed meanwhile follow. Topic is the one that it was opened with, and
// Position where the server begins in it.
type Connected struct{ Session, Topic, Position string }

// Disconnected says why the connection has ended, and when the next is tried.
type Disconnected struct {
	Err      error
	Again    time.Duration
	Reserved bool // the cluster keeps a place until then
}

// Subscribed says that a topic is followed from a position on. After a change of gateways it may come once more.
type Subscribed struct{ Topic, Position string }

// Unsubscribed says that a topic is not followed any more.
type Unsubscribed struct{ Topic string }

// Reply is what the application has to say to a command.
type Reply struct{ Data json.RawMessage }

// Refused says that something was not carried out; a topic that it names is not followed.
type Refused struct{ Topic, Reason, Message string }

func (Message) event()      {}
func (Gap) event()          {}
func (Skipped) event()      {}
func (Freshness) event()    {}
func (Viewers) event()      {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Subscribed) event()   {}
func (Unsubscribed) event() {}
func (Reply) event()        {}
func (Refused) event()      {}

// wire is what a server of ringside.v1 sends, all kinds in one.
type wire struct {
	Type      string          `json:"type"`
	Topic     string          `json:"topic"`
	Session   string          `json:"session"`
	ID        string          `json:"id"`
	Position  string          `json:"position"`
	After     string          `json:"after"`
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`
	Encoding  string          `json:"encoding"`
	Heartbeat int64           `json:"heartbeat"` // ms
	Expires   int64           `json:"expires"`   // ms since 1970
	AsOf      int64           `json:"asOf"`      // ms since 1970
	Lag       int64           `json:"lag"`       // ms
	Stale     bool            `json:"stale"`
	Count     int             `json:"count"`
	Backoff   *backoff.Policy `json:"backoff"`
	Resume    string          `json:"resume"`
	Data      json.RawMessage `json:"data"`
}

// message is w as a Message.
func (w *wire) message() (Message, error) {
	m := Message{Topic: w.Topic, Position: w.ID, Data: w.Data}
	switch {
	case len(w.Data) == 0:
		return m, errors.New("a message without data")
	case w.Encoding == "":
		return m, nil
	}
	var text string
	err := json.Unmarshal(w.Data, &text)
	if err == nil && w.Encoding != "base64" {
		err = fmt.Errorf("its encoding is %.20q", w.Encoding)
	}
	if err == nil {
		m.Data, err = base64.StdEncoding.DecodeString(text)
	}
	m.Binary = true
	if err != nil {
		return m, fmt.Errorf("a message that can't be read: %w", err)
	}
	return m, nil
}
