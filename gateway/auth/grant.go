package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	topics "github.com/ringside-edge/ringside/internal/topic"
)

// Methods is a set of ways to authenticate.
type Methods uint8

// The methods. The zero Methods is the open door.
const (
	JWT     Methods = 1 << iota // a token that the client brings
	RPC                         // the application, by gRPC
	Webhook                     // the application, by HTTP
)

// MaxGrant bounds a grant that is encoded, in bytes: it travels in the session's ticket, and each session keeps it.
const MaxGrant = 3 << 10

// Grant is what authentication has found out of a session. It is immutable; nil is that of an open topic.
type Grant struct {
	Identity string   `json:"i,omitempty"` // who the client is, by its token
	Topics   []string `json:"t,omitempty"` // patterns of the topics that it may follow, by its token; see [topics.Match]
	Expires  int64    `json:"e,omitempty"` // when it ends, in seconds since 1970; 0: never
	Passed   Methods  `json:"p,omitempty"` // what it has passed
	App      *App     `json:"a,omitempty"` // what the application is told again; nil when it was not asked
}

// App is what an application has said of a session, and what it is told whenever it is asked about it.
type App struct {
	Identifiers string            `json:"i,omitempty"` // the application's name for the client
	State       map[string]string `json:"s,omitempty"` // its own notes, given back to it
	URL         string            `json:"u,omitempty"` // of the handshake, without a token
	Headers     map[string]string `json:"h,omitempty"` // those of the handshake that are passed on
}

// Encode is the grant as bytes for a ticket; empty for nil.
func (g *Grant) Encode() []byte {
	if g == nil {
		return nil
	}
	b, err := json.Marshal(g)
	if err != nil {
		panic("BUG: auth: a grant has no JSON: " + err.Error())
	}
	return b
}

// Decode is the reverse of [Grant.Encode].
func Decode(b []byte) (*Grant, error) {
	if len(b) == 0 {
		return nil, nil //nolint:nilnil // it is the open topic's
	}
	if len(b) > MaxGrant {
		return nil, errors.New("auth: the grant is too large")
	}
	g := &Grant{}
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("auth: the grant can't be read: %w", err)
	}
	return g, nil
}

// Expired reports whether the grant has ended at an instant.
func (g *Grant) Expired(now time.Time) bool {
	return g != nil && g.Expires != 0 && now.Unix() >= g.Expires
}

// Allows reports whether the grant's token covers a topic for which the methods are demanded. A method that the session has
// not passed covers nothing.
func (g *Grant) Allows(topic string, demanded Methods) bool {
	if demanded == 0 {
		return true
	}
	if g == nil || demanded&^g.Passed != 0 {
		return false
	}
	return demanded&JWT == 0 || g.covers(topic)
}

// Refuse says why the grant does not cover a topic.
func (g *Grant) Refuse(topic string, demanded Methods) *Refusal {
	if g != nil && demanded&^g.Passed == 0 {
		return forbidden(TokenTopic, "the token does not cover the topic")
	}
	return forbidden(NotAllowed, "the topic demands more than the session has been authenticated by: connect to it")
}

func (g *Grant) covers(topic string) bool {
	for _, p := range g.Topics {
		if topics.Match(p, topic) {
			return true
		}
	}
	return false
}

// Names reports whether the grant is that of the client with these identifiers, as an application of Action Cable has them.
func (g *Grant) Names(identifiers string) bool {
	return g != nil && identifiers != "" && (g.App != nil && g.App.Identifiers == identifiers || g.App == nil && g.Identity == identifiers)
}

// Owes reports whether the application wants to know when the session is over.
func (g *Grant) Owes() bool { return g != nil && g.App != nil }

// withState is the grant with notes of the application added to its own.
func (g *Grant) withState(more map[string]string) *Grant {
	if len(more) == 0 || g.App == nil {
		return g
	}
	next, app := *g, *g.App
	app.State = make(map[string]string, len(g.App.State)+len(more))
	maps.Copy(app.State, g.App.State)
	maps.Copy(app.State, more)
	next.App = &app
	return &next
}

// check refuses a grant that is too large to travel.
func (g *Grant) check() *Refusal {
	if n := len(g.Encode()); n > MaxGrant {
		return forbidden(TooLarge, "identity, topics, the application's state and the headers that it is passed have %d bytes together, %d are the most", n, MaxGrant)
	}
	return nil
}
