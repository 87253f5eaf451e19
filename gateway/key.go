package gateway

import (
	"bytes"
	"encoding/json"
)

// maxKeyValue bounds the value of a key, in bytes of JSON: a message with a longer one has none.
const maxKeyValue = 256

// keyOf is the value of a payload's top-level field in JSON, as it stands there but for the escapes of a string, so that a number
// and the string of its digits are two keys. ok is false when the payload is no JSON object, has no such field at its top level,
// or when that is neither a string nor a number. Of a field that stands there twice the first counts. It takes time in proportion
// to the payload, however that is nested.
func keyOf(payload []byte, field string) (key string, ok bool) {
	if !json.Valid(payload) {
		return "", false
	}
	// What follows relies on that.
	b := space(payload)
	if b[0] != '{' {
		return "", false
	}
	for b = space(b[1:]); b[0] == '"'; b = space(b[1:]) {
		n := stringEnd(b)
		found := isString(b[:n], field)
		b = space(space(b[n:])[1:]) // the colon
		n = valueEnd(b)
		if found {
			return keyValue(b[:n])
		}
		if b = space(b[n:]); b[0] == '}' {
			break
		}
	}
	return "", false
}

// space passes over white space.
func space(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// stringEnd is where the string ends with which b begins.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd is where the value ends with which b begins.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}

// isString reports whether a string of JSON is s.
func isString(quoted []byte, s string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == s
	}
	var got string
	return json.Unmarshal(quoted, &got) == nil && got == s
}

func keyValue(b []byte) (string, bool) {
	switch {
	case len(b) > maxKeyValue:
		return "", false
	case b[0] == '-' || '0' <= b[0] && b[0] <= '9':
		return string(b), true
	case b[0] != '"':
		return "", false
	case bytes.IndexByte(b, '\\') < 0:
		return string(b[:len(b)-1]), true
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return "", false
	}
	return `"` + s, true
}
