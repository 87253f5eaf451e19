// Package topic says what a topic is, where it stands in a request, and which slot it hashes into.
//
// It is pure, and the same code serves routers, gateways and publishers, so that they never disagree.
package topic

import (
	"crypto/sha1" //nolint:gosec // a placement hash that every standard library has, not a signature
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen is the length of the longest topic, in bytes.
const MaxLen = 255

// Slots is the number of slots that topics hash into.
const Slots = 256

// Reasons are all that [Error.Reason] can be.
//
//nolint:gochecknoglobals // a constant
var Reasons = []string{"empty", "too_long", "control", "utf8", "escape", "missing", "repeated", "conflict"}

// Error says why something is no topic.
type Error struct {
	Reason  string // one of Reasons: fit for a metric's label
	message string
}

// Error is a sentence for whoever sent the topic. It never repeats the topic.
func (e *Error) Error() string { return e.message }

// Validate returns nil for a topic, else an [*Error]: a topic has 1 to [MaxLen] bytes of UTF-8, all of them letters,
// marks, numbers, punctuation, symbols and spaces ([unicode.IsGraphic]). So there are no control characters (Cc), no
// line and paragraph separators, no invisible format characters (Cf), which would make two topics look alike in a log,
// and nothing of private use or that Unicode has not assigned. U+FFFD is a symbol and allowed. Nothing is normalised:
// topics are equal when their bytes are.
func Validate(t string) error {
	switch {
	case t == "":
		return &Error{"empty", "the topic is empty"}
	case len(t) > MaxLen:
		return &Error{"too_long", fmt.Sprintf("the topic has %d bytes; %d is the most", len(t), MaxLen)}
	case !utf8.ValidString(t):
		return &Error{"utf8", "the topic is not valid UTF-8"}
	}
	for _, r := range t {
		if !unicode.IsGraphic(r) {
			return &Error{"control", fmt.Sprintf("the topic contains %U, which is not printable", r)}
		}
	}
	return nil
}

// Slot is the slot that t hashes into, 0 to [Slots]-1: the top bits of the first four bytes of its SHA-1,
// big-endian. A topic's slot never changes. For a topic it does not allocate.
func Slot(t string) int {
	if len(t) > MaxLen { // no topic, but whoever asks gets what Redis clients compute
		return int(sha1.Sum([]byte(t))[0]) //nolint:gosec // see above
	}
	var buf [MaxLen]byte
	sum := sha1.Sum(buf[:copy(buf[:], t)]) //nolint:gosec // see above
	return int(sum[0])
}

// FromURI finds the topic in a request target (origin form) as it came, not normalised: behind "/t/", up to the query
// and percent-decoded, slashes included; or as the parameter "topic" on any path. Where both stand they must be the
// same. A fragment, which no client should send, is not looked at. Errors are of type [*Error].
func FromURI(uri string) (string, error) {
	uri, _, _ = strings.Cut(uri, "#")
	path, query, _ := strings.Cut(uri, "?")
	inPath, hasPath := strings.CutPrefix(path, "/t/")
	if hasPath {
		var err error
		if inPath, err = url.PathUnescape(inPath); err != nil {
			return "", &Error{"escape", "the topic in the path has a broken percent-escape"}
		}
	}
	inQuery, hasQuery, err := fromQuery(query)
	switch {
	case err != nil:
		return "", err
	case !hasPath && !hasQuery:
		return "", &Error{"missing", "the URL names no topic: connect to /t/{topic} or add ?topic="}
	case hasPath && hasQuery && inPath != inQuery:
		return "", &Error{"conflict", "the path and the query name different topics"}
	case hasQuery:
		return inQuery, Validate(inQuery)
	}
	return inPath, Validate(inPath)
}

func fromQuery(query string) (t string, ok bool, err error) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != "topic" {
			continue
		}
		if ok {
			return "", false, &Error{"repeated", "the query names a topic more than once"}
		}
		if t, err = url.QueryUnescape(value); err != nil {
			return "", false, &Error{"escape", "the topic in the query has a broken percent-escape"}
		}
		ok = true
	}
	return t, ok, nil
}
