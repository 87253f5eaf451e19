package load

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A payload carries a mark that every encoding leaves alone, JSON in JSON included:
//
//	~ <run, 8 hexadecimal digits> . <number, 8> . <when it was due, ns since 1970, 16> ~
const (
	runDigits = 8
	markSize  = 1 + runDigits + 1 + 8 + 1 + 16 + 1

	openObject, midObject, closeObject = `{"bench":"`, `","pad":"`, `"}`

	// LeastSize is the size of the smallest payload, in bytes: a JSON string with nothing but the mark.
	LeastSize = markSize + 2
)

// payload is JSON of size bytes that carries the mark: an object, where there is room for one.
func payload(run string, number uint32, due time.Time, size int) string {
	mark := fmt.Sprintf("~%s.%08x.%016x~", run, number, uint64(due.UnixNano()))
	pad := size - len(openObject) - markSize - len(midObject) - len(closeObject)
	if pad < 0 {
		return `"` + mark + strings.Repeat("x", max(0, size-LeastSize)) + `"`
	}
	return openObject + mark + midObject + strings.Repeat("x", pad) + closeObject
}

// mark is what a payload carries.
type mark struct {
	number uint32
	due    int64 // ns since 1970
}

// nextMark finds the first mark of a run, whose prefix is ~ and the run and a dot, and returns what follows it.
func nextMark(p, prefix []byte) (m mark, rest []byte, ok bool) {
	for {
		i := bytes.Index(p, prefix)
		if i < 0 || len(p) < i+markSize {
			return m, nil, false
		}
		at := p[i : i+markSize]
		p = p[i+len(prefix):]
		number, err1 := strconv.ParseUint(string(at[runDigits+2:runDigits+10]), 16, 32)
		due, err2 := strconv.ParseUint(string(at[runDigits+11:markSize-1]), 16, 63)
		if err1 == nil && err2 == nil && at[runDigits+10] == '.' && at[markSize-1] == '~' {
			return mark{uint32(number), int64(due)}, p[markSize-len(prefix):], true
		}
	}
}

func markPrefix(run string) []byte { return []byte("~" + run + ".") }

// track is what a subscriber has had of its topic. Numbers count from 1 in each run.
type track struct {
	last       uint32
	window     uint64 // bit i: it has had last - i
	got        uint32
	missing    uint32 // between those that it has had
	away       uint32 // of those that it asked nobody for, because it was away
	repeated   uint32
	disordered uint32
	fresh      bool // what comes next is the first: what was before it is not missing
}

// note counts a message.
func (t *track) note(number uint32) {
	switch d := int64(number) - int64(t.last); {
	case d > 0:
		if d > 1 && t.fresh && t.got > 0 {
			t.away += uint32(d - 1)
		}
		if !t.fresh {
			t.missing += uint32(d - 1)
		}
		if t.window = t.window<<d | 1; t.fresh {
			t.window = ^uint64(0)
		}
		t.last, t.fresh = number, false
		t.got++
	case d > -64 && t.window>>(-d)&1 == 1:
		t.repeated++
	default:
		if d > -64 {
			t.window |= 1 << (-d)
		}
		t.disordered++
		t.got++
		t.missing -= min(t.missing, 1)
	}
}
