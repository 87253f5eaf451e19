package position

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// String is Redis's own form, "ms-seq".
func (a ID) String() string { return string(a.AppendText(nil)) }

// AppendText appends the form of String to b. It allocates only when b is too small.
func (a ID) AppendText(b []byte) []byte {
	b = strconv.AppendUint(b, a.Ms, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, a.Seq, 10)
}

// ParseID is the inverse of [ID.String] and accepts nothing else.
func ParseID(s string) (ID, error) {
	id, err := parseID(s)
	if err != nil {
		return ID{}, fmt.Errorf("%.64q is no entry ID: %w", s, err)
	}
	return id, nil
}

// epochDigits is the length of an epoch in a position's text.
const epochDigits = 8

// String is `<epoch>-<ms>-<seq>` with the epoch as 8 lower-case hexadecimal digits, for example
// "6f1c22aa-1763900000000-0".
func (p Position) String() string { return string(p.AppendText(nil)) }

// AppendText appends the form of String to b. It allocates only when b is too small.
func (p Position) AppendText(b []byte) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[p.Epoch>>shift&15])
	}
	b = append(b, '-')
	return p.ID.AppendText(b)
}

// Parse is the inverse of [Position.String] and accepts nothing else: every position has one text.
func Parse(s string) (Position, error) {
	p, err := parse(s)
	if err != nil {
		return Position{}, fmt.Errorf("%.64q is no position: %w", s, err)
	}
	return p, nil
}

func parse(s string) (p Position, err error) {
	if len(s) <= epochDigits || s[epochDigits] != '-' {
		return p, errors.New("want <epoch>-<ms>-<seq> with an epoch of 8 hexadecimal digits")
	}
	for _, c := range []byte(s[:epochDigits]) {
		switch {
		case c >= '0' && c <= '9':
			p.Epoch = p.Epoch<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			p.Epoch = p.Epoch<<4 | uint32(c-'a'+10)
		default:
			return p, errors.New("the epoch is not lower-case hexadecimal")
		}
	}
	p.ID, err = parseID(s[epochDigits+1:])
	return p, err
}

func parseID(s string) (id ID, err error) {
	ms, seq, ok := strings.Cut(s, "-")
	if !ok {
		return id, errors.New("want <ms>-<seq>")
	}
	if id.Ms, err = parseNumber(ms); err != nil {
		return id, fmt.Errorf("milliseconds: %w", err)
	}
	if id.Seq, err = parseNumber(seq); err != nil {
		return id, fmt.Errorf("sequence: %w", err)
	}
	return id, nil
}

// parseNumber is stricter than strconv: no sign, no leading zero.
func parseNumber(s string) (uint64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return 0, errors.New("not a plain number")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errors.New("not a number of 64 bits")
	}
	return n, nil
}
