package auth

import (
	"net/url"
	"strings"
)

// Request is what a handshake says, as far as authentication is concerned.
type Request struct {
	Session uint64
	Topic   string
	URI     string // request target as it came
	Host    string
	Client  string                   // the client's address, without a port
	Header  func(name string) string // all values in one, as they came; empty for none
}

// token finds the client's token: in Authorization, then in the query, then in a cookie. It is empty when there is none.
func (c *JWTConfig) token(r *Request) string {
	if kind, token, ok := strings.Cut(r.Header("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		return strings.TrimSpace(token)
	}
	if c.Param != "" {
		if _, query, ok := strings.Cut(r.URI, "?"); ok {
			for pair := range strings.SplitSeq(query, "&") {
				if name, value, _ := strings.Cut(pair, "="); name == c.Param {
					token, err := url.QueryUnescape(value)
					if err != nil {
						return value // it is malformed, and refused as that
					}
					return token
				}
			}
		}
	}
	if c.Cookie != "" {
		for pair := range strings.SplitSeq(r.Header("Cookie"), ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); name == c.Cookie {
				return strings.Trim(value, `"`)
			}
		}
	}
	return ""
}

// withoutParam is a request target without the query parameter called name.
func withoutParam(uri, name string) string {
	path, query, ok := strings.Cut(uri, "?")
	if !ok || name == "" {
		return uri
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if n, _, _ := strings.Cut(pair, "="); n != name {
			kept = append(kept, pair)
		}
	}
	if len(kept) == 0 {
		return path
	}
	return path + "?" + strings.Join(kept, "&")
}
