package admin

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/internal/topic"
)

// Trust says who may use an admin port. The zero Trust lets everybody who reaches it: that is for loopback, where only the names
// under which it is asked are looked at, so that no page of another site can be led here by its own name.
type Trust struct {
	Admins      *Tokens     // may do everything; nil: none
	Publishers  *Tokens     // may publish; nil: those who may do everything, alone
	Broadcast   string      // may publish as applications for AnyCable do, beside the others; empty: nobody does
	TLS         *tls.Config // of the port; nil: none. Who shows a certificate that it verifies may do everything
	Client      *tls.Config // for the ports of other members
	OpenMetrics bool        // /metrics is for everybody
	Hosts       []string    // names, or patterns of names, by which the port may be asked beside addresses
}

// need is what a route asks of its client.
type need uint8

const (
	needsNothing need = iota
	needsMetrics
	needsPublish
	needsBroadcast // as needsPublish, or with the application's key
	needsAdmin
)

// demands reports whether a client has to show something.
func (t *Trust) demands() bool { return t.Admins != nil || t.TLS != nil && t.TLS.ClientCAs != nil }

// topicsKey is where a request's context has the patterns of topics that its token may publish to.
type topicsKey struct{}

// check decides whether a request may go on. The request that it returns has what the token is restricted to.
func (t *Trust) check(r *http.Request, n need) (*http.Request, *refusal) {
	if n != needsNothing && !t.demands() && !t.knows(r.Host) {
		return r, refuse(http.StatusMisdirectedRequest, "host", "the admin port is not known by this name: ask it by its address, or name it in admin-hosts")
	}
	if n == needsNothing || n == needsMetrics && t.OpenMetrics || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r, nil
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		token = ""
	}
	token = strings.TrimSpace(token)
	if n == needsBroadcast {
		if t.Broadcast != "" && subtle.ConstantTimeCompare([]byte(token), []byte(t.Broadcast)) == 1 {
			return r, nil
		}
		n = needsPublish
	}
	switch {
	case t.Admins != nil && token != "" && t.Admins.find(token) != nil:
		return r, nil
	case n == needsPublish && t.Publishers != nil:
		if found := t.Publishers.find(token); found != nil && token != "" {
			if found.topics != nil {
				r = r.WithContext(context.WithValue(r.Context(), topicsKey{}, found.topics))
			}
			return r, nil
		}
		return r, refuse(http.StatusUnauthorized, "unauthorized", "publishing takes a token of publish-tokens-file: Authorization: Bearer")
	case t.demands():
		return r, refuse(http.StatusUnauthorized, "unauthorized", "the admin port takes a token in Authorization: Bearer, or a client's certificate")
	}
	return r, nil
}

// knows reports whether a Host is none that a stranger can have pointed at us: an address, localhost, a name without a dot, which
// no registry gives away, or one of those that are set.
func (t *Trust) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" || name != "" && !strings.Contains(name, ".") {
		return true
	}
	return slices.ContainsFunc(t.Hosts, func(p string) bool { return topic.Match(strings.ToLower(p), name) })
}

// mayPublish reports whether a request's token covers a topic.
func mayPublish(r *http.Request, name string) bool {
	patterns, restricted := r.Context().Value(topicsKey{}).([]string)
	return !restricted || slices.ContainsFunc(patterns, func(p string) bool { return topic.Match(p, name) })
}
