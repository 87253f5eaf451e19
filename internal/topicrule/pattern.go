package topicrule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ringside-edge/ringside/internal/topic"
)

// pattern is what topics are compared with, byte by byte and case-sensitively: a topic's name, in which each `*` stands
// for any run of bytes, dots and slashes included, also for none. A `*` in a topic's name is matched by `*` alone.
//
// It is kept as the pieces between the stars. The first must begin the topic and the last end it; those between are
// looked for from left to right, and taking the leftmost place never rules out a match. So a topic is gone through once.
type pattern struct {
	first  string
	middle []string
	last   string
	exact  bool // no star: first is the whole topic
}

// maxStars bounds the pieces of a pattern.
const maxStars = 16

func parsePattern(text string) (pattern, error) {
	pieces := strings.Split(text, "*")
	stars := len(pieces) - 1
	if stars > maxStars {
		return pattern{}, fmt.Errorf("has %d stars: want %d at most", stars, maxStars)
	}
	// What is no topic with a letter in place of each star matches nothing, so it is a mistake.
	if err := topic.Validate(strings.ReplaceAll(text, "*", "x")); err != nil {
		return pattern{}, fmt.Errorf("can match no topic: %w", err)
	}
	if stars == 0 {
		return pattern{first: text, exact: true}, nil
	}
	if strings.Contains(text, "**") {
		return pattern{}, errors.New("has two stars in a row: one stands for any run of bytes")
	}
	return pattern{first: pieces[0], middle: pieces[1:stars], last: pieces[stars]}, nil
}

func (p *pattern) match(t string) bool {
	if p.exact {
		return t == p.first
	}
	if len(t) < len(p.first)+len(p.last) || !strings.HasPrefix(t, p.first) || !strings.HasSuffix(t, p.last) {
		return false
	}
	t = t[len(p.first) : len(t)-len(p.last)]
	for _, m := range p.middle {
		_, rest, found := strings.Cut(t, m)
		if !found {
			return false
		}
		t = rest
	}
	return true
}
