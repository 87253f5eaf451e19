package load

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/topic"
)

// Variables are what a text may hold, as {name} or {name:filter:filter}.
//
//nolint:gochecknoglobals // a constant in all but name
var Variables = map[string]string{
	"topic":    "the topic",
	"payload":  "the payload, which is JSON",
	"position": "where a subscriber that comes back has been",
	"pass":     "what a refusal has given it",
	"number":   "the subscriber's number, or the message's",
	"stream":   "the key of the stream of Redis that Ringside reads the topic from",
	"window":   "the millisecond ten minutes ago",
}

// Filters are what can be made of a variable.
//
//nolint:gochecknoglobals // a constant in all but name
var Filters = map[string]func(string) string{
	"json":    quote,
	"escaped": func(s string) string { q := quote(s); return q[1 : len(q)-1] }, // for the inside of a JSON string
	"path":    url.PathEscape,
	"query":   url.QueryEscape,
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: load: a string is no JSON: " + err.Error())
	}
	return string(b)
}

// retention is how far back {window} is.
const retention = 10 * time.Minute

// values are what the variables stand for.
type values struct {
	topic, payload, position, pass string
	number                         int
}

func (v *values) of(name string) string {
	switch name {
	case "topic":
		return v.topic
	case "payload":
		return v.payload
	case "position":
		return v.position
	case "pass":
		return v.pass
	case "number":
		return strconv.Itoa(v.number)
	case "stream":
		slot := topic.Slot(v.topic)
		return fmt.Sprintf("ringside:{%d}:%d:stream", slot/16, slot)
	case "window":
		return strconv.FormatInt(time.Now().Add(-retention).UnixMilli(), 10)
	}
	panic("BUG: load: no variable " + name)
}

// part is a piece of a text: words as they are, then a variable through filters.
type part struct {
	words   string
	name    string // empty for none
	filters []func(string) string
}

// text is a compiled text.
type text []part

var variable = regexp.MustCompile(`\{([a-z]+)((?::[a-z]+)*)\}`)

// compile finds the variables. Braces around anything but a lower-case word are as they are: JSON has many.
func compile(s string) (text, error) {
	var t text
	at := 0
	for _, m := range variable.FindAllStringSubmatchIndex(s, -1) {
		p := part{words: s[at:m[0]], name: s[m[2]:m[3]]}
		if _, ok := Variables[p.name]; !ok {
			return nil, fmt.Errorf("%q: there is no variable {%s}", s, p.name)
		}
		for _, f := range strings.Split(s[m[4]:m[5]], ":")[1:] {
			if Filters[f] == nil {
				return nil, fmt.Errorf("%q: there is no filter %q", s, f)
			}
			p.filters = append(p.filters, Filters[f])
		}
		t, at = append(t, p), m[1]
	}
	return append(t, part{words: s[at:]}), nil
}

// mustCompile is for texts of a template that was validated.
func mustCompile(s string) text {
	t, err := compile(s)
	if err != nil {
		panic("BUG: load: " + err.Error())
	}
	return t
}

// append appends the text with its variables filled in.
func (t text) append(b []byte, v *values) []byte {
	for _, p := range t {
		b = append(b, p.words...)
		if p.name == "" {
			continue
		}
		s := v.of(p.name)
		for _, f := range p.filters {
			s = f(s)
		}
		b = append(b, s...)
	}
	return b
}
