// Package httphead cuts the head of an HTTP message into its header fields, and is strict about it: what one reader takes for the
// end of a line, or for a name, another may not, and whatever is not beyond doubt is refused. Of the fields it knows what both sides of a leg
// need alike: lists, what a request says of the session that it asks for, and the answer that opens a WebSocket. It is pure.
package httphead

import (
	"bytes"
	"errors"
)

// Why a header block is not understood.
var (
	ErrLineEnd = errors.New("a line of the head does not end with CRLF")
	ErrFolded  = errors.New("a header field is continued on the next line")
	ErrName    = errors.New("the name of a header field is not a token")
	ErrValue   = errors.New("a header field has a control character in it")
)

// Field is one header field where it stands in a message's head.
type Field struct {
	Name, Value []byte
	Line        []byte // both as they came, without the end of the line
}

// Next cuts the first field off a header block, which ends with a blank line. ok is false at that line, at the end of the block and
// together with an error.
func Next(block []byte) (f Field, rest []byte, ok bool, err error) {
	if len(block) == 0 {
		return Field{}, nil, false, nil
	}
	i := bytes.IndexByte(block, '\n')
	if i < 1 || block[i-1] != '\r' {
		return Field{}, nil, false, ErrLineEnd
	}
	line, rest := block[:i-1], block[i+1:]
	if len(line) == 0 {
		return Field{}, rest, false, nil
	}
	if f, err = parse(line); err != nil {
		return Field{}, nil, false, err
	}
	return f, rest, true, nil
}

// Fields cuts a header block, up to the blank line that ends it, into its fields. Use:
//
//	for fs := (httphead.Fields{Rest: block}); fs.Next(); { … fs.Field … }
//
// and look at Err behind it.
type Fields struct {
	Rest  []byte // what has not been cut yet
	Field Field  // where Next has come to; it lies in the block
	Err   error
}

// Next goes to the next field. It reports whether there is one.
func (f *Fields) Next() (ok bool) {
	if f.Err == nil {
		f.Field, f.Rest, ok, f.Err = Next(f.Rest)
	}
	return ok
}

// Is compares a field's name, in whatever case it came, with a name in lower case.
func (f Field) Is(name string) bool { return FoldEqual(f.Name, name) }

func parse(line []byte) (Field, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, ErrFolded
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !IsToken(line[:colon]) {
		return Field{}, ErrName
	}
	value := bytes.Trim(line[colon+1:], " \t")
	if HasControl(value) {
		return Field{}, ErrValue
	}
	return Field{Name: line[:colon], Value: value, Line: line}, nil
}

// HasControl reports whether b has a control character in it, other than a tab.
func HasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// IsToken reports whether b is a token (RFC 9110, 5.6.2).
func IsToken(b []byte) bool {
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0:
		default:
			return false
		}
	}
	return len(b) > 0
}

// FoldEqual reports whether b is s, which is in lower case, but for the case of ASCII letters.
func FoldEqual(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != s[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// ValidHost reports whether a Host may be one: a name or an address, and a port.
func ValidHost[T string | []byte](host T) bool {
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case bytes.IndexByte([]byte("-._~:[]%!$&'()*+;="), c) >= 0:
		default:
			return false
		}
	}
	return len(host) > 0
}
