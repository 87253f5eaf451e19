package tally

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// What is sent between gateways are frames:
//
//	| length u32 | kind u8 | then, of a report: length u8, version of the ring by which everything has been said, or empty | entries… |
//	entry of a report: | length u8 | topic | flags u8: 1 wants to know, 2 whatever it was told before | sessions u32 |
//	entry of totals:   | length u8 | topic | sessions of others u32 |
//
// Big endian. A frame without entries is a sign of life.
const (
	kindReport = 1
	kindTotals = 2

	flagWants = 1
	flagAnew  = 2

	// maxFrame bounds a frame's length; frameFull is from where on another one is begun.
	maxFrame  = 64 << 10
	frameFull = maxFrame - 512
)

// ErrFrame means that the other gateway speaks something else.
var ErrFrame = errors.New("a frame of counts is malformed")

// appendFrames appends list as frames, one at least.
func appendFrames[T any](b []byte, head []byte, list []T, add func(b []byte, v T) []byte) []byte {
	for {
		at := len(b)
		b = append(append(b, 0, 0, 0, 0), head...)
		for len(list) > 0 && len(b)-at < frameFull {
			b = add(b, list[0])
			list = list[1:]
		}
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		if len(list) == 0 {
			return b
		}
	}
}

func appendReport(b []byte, version string, list []Entry) []byte {
	if len(list) > 0 {
		b = appendFrames(b, []byte{kindReport, 0}, list, appendEntry)
	}
	// Behind all of them.
	return appendFrames(b, append([]byte{kindReport, byte(len(version))}, version...), nil, appendEntry)
}

func appendEntry(b []byte, e Entry) []byte {
	b = append(append(b, byte(len(e.Topic))), e.Topic...)
	var flags byte
	if e.Wants {
		flags = flagWants
	}
	if e.Anew {
		flags |= flagAnew
	}
	return appendCount(append(b, flags), e.Count)
}

func appendTotals(b []byte, list []Total) []byte {
	return appendFrames(b, []byte{kindTotals}, list, func(b []byte, t Total) []byte {
		return appendCount(append(append(b, byte(len(t.Topic))), t.Topic...), t.Others)
	})
}

func appendCount(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(min(max(n, 0), math.MaxUint32)))
}

// readFrame reads a frame of a kind into *buf, which grows with it, and returns what stands behind the kind.
func readFrame(r *bufio.Reader, buf *[]byte, kind byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > maxFrame {
		return nil, fmt.Errorf("%w: its length is %d", ErrFrame, n)
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if b[0] != kind {
		return nil, fmt.Errorf("%w: its kind is %d", ErrFrame, b[0])
	}
	return b[1:], nil
}

// text takes a string of at most 255 bytes off b, with more behind it.
func text(b []byte, more int) (s string, rest []byte, err error) {
	if len(b) < 1 || len(b) < 1+int(b[0])+more {
		return "", nil, ErrFrame
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

func parseReport(b []byte) (version string, list []Entry, err error) {
	if version, b, err = text(b, 0); err != nil {
		return "", nil, err
	}
	for len(b) > 0 {
		var e Entry
		if e.Topic, b, err = text(b, 5); err != nil {
			return "", nil, err
		}
		e.Wants, e.Anew, e.Count = b[0]&flagWants != 0, b[0]&flagAnew != 0, int64(binary.BigEndian.Uint32(b[1:]))
		b = b[5:]
		list = append(list, e)
	}
	return version, list, nil
}

func parseTotals(b []byte) (list []Total, err error) {
	for len(b) > 0 {
		var t Total
		if t.Topic, b, err = text(b, 4); err != nil {
			return nil, err
		}
		t.Others = int64(binary.BigEndian.Uint32(b))
		b = b[4:]
		list = append(list, t)
	}
	return list, nil
}
