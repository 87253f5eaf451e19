package httphead

import (
	"bytes"
	"net/http"
	"strings"
)

// Opening is what the head of a request says of the session that it asks for, in so far as whoever takes sessions judges it alike. Its
// fields are taken in one by one, in the order in which they came. The zero value has seen none.
type Opening struct {
	Host []byte // as it came, where it stands in the head; of several the last
	Key  []byte // Sec-WebSocket-Key, likewise

	hosts, keys, versions, upgrades int
	upgradeOdd, versionOdd          bool
	connection, events, body        bool
}

// Reasons are all that [Problem.Reason] can be.
//
//nolint:gochecknoglobals // a constant
var Reasons = []string{"http", "body", "ambiguous", "websocket", "not_a_session"}

// Problem is why a request opens no session, as an HTTP answer tells it.
type Problem struct {
	Status  int    // of the answer
	Reason  string // one of Reasons: fit for a metric's label
	Message string
}

// ErrNoSession is of a request that asks for none.
var ErrNoSession = &Problem{http.StatusUpgradeRequired, "not_a_session", "connect by WebSocket, or with Accept: text/event-stream"}

// Wanted is the kind of session that a request asks for.
type Wanted uint8

const (
	NoSession   Wanted = iota // none
	WebSocket                 // by an upgrade that is as it should be
	EventStream               // Server-Sent Events
)

// Field takes a field in. It reports whether it was one of those that matter here.
func (o *Opening) Field(f Field) bool {
	switch {
	case f.Is("host"):
		o.hosts++
		o.Host = f.Value
	case f.Is("connection"):
		o.connection = o.connection || HasElement(f.Value, "upgrade")
	case f.Is("upgrade"):
		o.upgrades++
		o.upgradeOdd = o.upgradeOdd || !FoldEqual(f.Value, "websocket")
	case f.Is("content-length"), f.Is("transfer-encoding"), f.Is("expect"), f.Is("trailer"):
		o.body = true
	case f.Is("accept"):
		o.events = o.events || AcceptsEvents(f.Value)
	case f.Is("sec-websocket-key"):
		o.keys++
		o.Key = f.Value
	case f.Is("sec-websocket-version"):
		o.versions++
		o.versionOdd = o.versionOdd || string(f.Value) != "13"
	default:
		return false
	}
	return true
}

// Target says what is wrong with where the request goes; nil when nothing is. The host is the server's, which may have it from the target.
func (o *Opening) Target(uri, host string) *Problem {
	switch {
	case !strings.HasPrefix(uri, "/") || strings.ContainsAny(uri, "#\\"):
		return badHTTP("the request target is not a path with a query")
	case !ValidHost(host):
		return badHTTP("the Host is not a host")
	case o.hosts != 1:
		return badHTTP("one Host is needed")
	}
	return nil
}

// Body says that the request has one, or begins like one that does; nil when it has none.
func (o *Opening) Body() *Problem {
	if o.body {
		return &Problem{http.StatusBadRequest, "body", "a request for a session has no body"}
	}
	return nil
}

// Asks reports whether a session is asked for at all, well or not.
func (o *Opening) Asks() bool { return o.upgrades > 0 || o.events }

// Wants says which kind of session is asked for, or what is wrong with the request for a WebSocket (RFC 6455, 4.2.1).
func (o *Opening) Wants() (Wanted, *Problem) {
	switch {
	case o.upgrades == 0 && o.events:
		return EventStream, nil
	case o.upgrades == 0:
		return NoSession, nil
	case o.events:
		return NoSession, &Problem{http.StatusBadRequest, "ambiguous", "the request asks for a WebSocket and for an event stream"}
	case o.upgrades > 1 || o.upgradeOdd:
		return NoSession, badWebSocket("the only protocol to upgrade to is websocket")
	case !o.connection:
		return NoSession, badWebSocket("Connection does not name Upgrade")
	case o.versions != 1 || o.versionOdd:
		return NoSession, &Problem{http.StatusUpgradeRequired, "websocket", "the only version of WebSocket spoken here is 13"}
	case o.keys != 1 || !ValidKey(string(o.Key)):
		return NoSession, badWebSocket("one Sec-WebSocket-Key of 16 bytes in base64 is needed")
	}
	return WebSocket, nil
}

func badHTTP(message string) *Problem { return &Problem{http.StatusBadRequest, "http", message} }

func badWebSocket(message string) *Problem {
	return &Problem{http.StatusBadRequest, "websocket", message}
}

// AcceptsEvents reports whether an Accept names event streams, by name and not excluded (RFC 9110, 12.4.2).
func AcceptsEvents(value []byte) bool {
	for e := range Elements(value) {
		kind, params, _ := bytes.Cut(e, []byte(";"))
		if !FoldEqual(bytes.TrimSpace(kind), "text/event-stream") {
			continue
		}
		q := strings.ReplaceAll(strings.ToLower(string(params)), " ", "")
		return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
	}
	return false
}
