// Package anycable reads what applications publish that are set up for AnyCable: broadcasts, several in one, and commands. It is pure,
// and knows nothing of how they come.
package anycable

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Broadcast is a message for a stream, which is a topic.
type Broadcast struct {
	Stream string
	Data   []byte // as its clients get it
}

// Disconnect is the command to end all sessions of a client.
type Disconnect struct {
	Identifiers string // the application's name for the client
	Reconnect   bool   // it may come back by itself
}

// Publication is what was published in one go. What is wrong with a part of it concerns no other.
type Publication struct {
	Broadcasts  []Broadcast
	Disconnects []Disconnect
	Bad         []error // one for each part that is none of these
}

// MaxParts bounds the parts of a publication.
const MaxParts = 1000

// What makes a part none.
var (
	ErrJSON    = errors.New("it is not the JSON of a broadcast or a command")
	ErrCommand = errors.New("it is a command that is not known")
	ErrStream  = errors.New("it names no stream")
	ErrData    = errors.New("it has no data")
	ErrParts   = fmt.Errorf("it has more than %d parts", MaxParts)
)

// part is a broadcast or a command.
type part struct {
	Stream  *string         `json:"stream"`
	Data    json.RawMessage `json:"data"`
	Command string          `json:"command"`
	Payload struct {
		Identifier string `json:"identifier"`
		Reconnect  bool   `json:"reconnect"`
	} `json:"payload"`
}

// Parse reads a publication: an object, or a list of them.
func Parse(b []byte) Publication {
	var p Publication
	list := []json.RawMessage{b}
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		list = nil
		if err := json.Unmarshal(b, &list); err != nil {
			return Publication{Bad: []error{ErrJSON}}
		}
	}
	if len(list) > MaxParts {
		return Publication{Bad: []error{ErrParts}}
	}
	for _, raw := range list {
		if err := p.take(raw); err != nil {
			p.Bad = append(p.Bad, err)
		}
	}
	return p
}

func (p *Publication) take(raw []byte) error {
	var m part
	if err := json.Unmarshal(raw, &m); err != nil {
		return ErrJSON
	}
	switch {
	case m.Command == "disconnect" && m.Payload.Identifier != "":
		p.Disconnects = append(p.Disconnects, Disconnect{m.Payload.Identifier, m.Payload.Reconnect})
		return nil
	case m.Command != "":
		return ErrCommand
	case m.Stream == nil || *m.Stream == "":
		return ErrStream
	case len(m.Data) == 0:
		return ErrData
	}
	var text string
	if json.Unmarshal(m.Data, &text) == nil && m.Data[0] == '"' { // JSON within a string, as a rule
		m.Data = []byte(text)
	}
	p.Broadcasts = append(p.Broadcasts, Broadcast{*m.Stream, m.Data})
	return nil
}

// BroadcastKey is what an application shows that has the secret, and no key of its own for broadcasts by HTTP.
func BroadcastKey(secret []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("broadcast-cable"))
	return hex.EncodeToString(m.Sum(nil))
}
