package router

import (
	"github.com/ringside-edge/ringside/internal/httphead"
)

// field is one header field where it stands in a message's head.
type field struct {
	name, value []byte
	line        []byte // both as they came, without the end of the line
}

// errLineEnd is of a line that ends with LF alone.
var errLineEnd = httphead.ErrLineEnd

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
	if f.err != nil {
		return false
	}
	hf, rest, ok, err := httphead.Next(f.rest)
	f.rest, f.err = rest, err
	if ok {
		f.field = field{name: hf.Name, value: hf.Value, line: hf.Line}
	}
	return ok
}

// hasControl reports whether b has a control character in it, other than a tab.
func hasControl(b []byte) bool { return httphead.HasControl(b) }

// is compares a field's name, in whatever case it came, with a name in lower case.
func (f field) is(name string) bool { return foldEqual(f.name, name) }

// foldEqual reports whether b is s, which is in lower case, but for the case of ASCII letters.
func foldEqual(b []byte, s string) bool { return httphead.FoldEqual(b, s) }

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

func isToken(b []byte) bool { return httphead.IsToken(b) }
