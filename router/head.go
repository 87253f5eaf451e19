package router

import (
	"bytes"
	"errors"
	"iter"
)

// field is one header field where it stands in a message's head.
type field struct {
	name, value []byte
	line        []byte // both as they came, without the end of the line
}

// Why a header block is not understood. What one reader takes for the end of a line, or for a name, another may not:
// whatever is not beyond doubt is refused rather than passed on.
var (
	errLineEnd = errors.New("a line of the head does not end with CRLF")
	errFolded  = errors.New("a header field is continued on the next line")
	errName    = errors.New("the name of a header field is not a token")
	errValue   = errors.New("a header field has a control character in it")
)

// fields cuts a header block, up to the blank line that ends it, into its fields. The slices lie in the block. Use:
//
//	for fs := (fields{rest: block}); fs.next(); { … fs.field … }
//
// and look at err behind it.
type fields struct {
	rest  []byte
	field field
	err   error
}

func (f *fields) next() bool {
	i := bytes.IndexByte(f.rest, '\n')
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	if i < 1 || f.rest[i-1] != '\r' {
		f.err = errLineEnd
		return false
	}
	line := f.rest[:i-1]
	f.rest = f.rest[i+1:]
	if len(line) == 0 {
		return false
	}
	f.field, f.err = parseField(line)
	return f.err == nil
}

func parseField(line []byte) (field, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return field{}, errFolded
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !isToken(line[:colon]) {
		return field{}, errName
	}
	value := bytes.Trim(line[colon+1:], " \t")
	if hasControl(value) {
		return field{}, errValue
	}
	return field{name: line[:colon], value: value, line: line}, nil
}

// hasControl reports whether b has a control character in it, other than a tab.
func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// is compares a field's name, in whatever case it came, with a name in lower case.
func (f field) is(name string) bool { return foldEqual(f.name, name) }

// foldEqual reports whether b is s, which is in lower case, but for the case of ASCII letters.
func foldEqual(b []byte, s string) bool {
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

// isOurs reports whether a field belongs to us: its name begins with "Ringside-", in whatever case, or with what some
// servers take for that.
func (f field) isOurs() bool {
	const prefix = "ringside"
	return len(f.name) > len(prefix) && foldEqual(f.name[:len(prefix)], prefix) &&
		(f.name[len(prefix)] == '-' || f.name[len(prefix)] == '_')
}

// isHopByHop reports whether a field concerns one connection only and is never passed on as it is.
func (f field) isHopByHop() bool {
	switch len(f.name) {
	case len("te"):
		return f.is("te")
	case len("trailer"): // and "upgrade"
		return f.is("trailer") || f.is("upgrade")
	case len("connection"): // and "keep-alive"
		return f.is("connection") || f.is("keep-alive")
	case len("http2-settings"):
		return f.is("http2-settings")
	case len("proxy-connection"):
		return f.is("proxy-connection")
	case len("transfer-encoding"):
		return f.is("transfer-encoding")
	case len("proxy-authenticate"):
		return f.is("proxy-authenticate")
	case len("proxy-authorization"):
		return f.is("proxy-authorization")
	}
	return false
}

func isToken(b []byte) bool {
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

// elements are the elements of a comma-separated list, without the space around them and without empty ones.
func elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(value) > 0 {
			var e []byte
			e, value, _ = bytes.Cut(value, []byte(","))
			if e = bytes.Trim(e, " \t"); len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}

// hasElement reports whether a list has an element, which is given in lower case.
func hasElement(value []byte, element string) bool {
	for e := range elements(value) {
		if foldEqual(e, element) {
			return true
		}
	}
	return false
}
