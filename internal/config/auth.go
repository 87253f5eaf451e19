package config

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Auth is who may have a session at a gateway.
type Auth struct {
	// All of them have to agree, in this order. open lets everybody in.
	Auth []string `group:"Authentication" default:"open" placeholder:"METHOD" help:"What a client needs for a session: open, or of jwt, rpc and webhook those that have to agree, in their order."`

	JWT JWT `embed:"" prefix:"jwt-"`
	App App `embed:"" prefix:"app-"`
	RPC RPC `embed:"" prefix:"rpc-"`

	WebhookURL        string `name:"webhook-url" group:"Authentication" placeholder:"URL" example:"https://app.internal/ringside" help:"Where the application is asked by POST; https, or http on this machine."`
	WebhookSecretFile string `name:"webhook-secret-file" group:"Authentication" placeholder:"FILE" example:"webhook.secret" help:"Secret that signs these requests, 32 bytes or more."`
	// Credentials travel in clear text then.
	AllowHTTP bool `name:"auth-allow-http" group:"Authentication" help:"Let jwt-jwks-url and webhook-url be http:// on other machines too."`
}

// JWT is what a client's token has to be.
type JWT struct {
	// Of one kind: a key is of one. The token does not choose.
	Algorithms []string `group:"Authentication" placeholder:"ALG" example:"[RS256]" help:"Algorithms by which tokens may be signed: HS256, RS256, PS256, ES256, EdDSA and their siblings."`
	SecretFile string   `group:"Authentication" placeholder:"FILE" example:"jwt.secret" help:"Secret of HS256, 32 bytes or more."`
	KeyFile    string   `group:"Authentication" placeholder:"FILE" example:"jwt.pem" help:"Public keys or certificates in PEM."`
	JWKSFile   string   `name:"jwks-file" group:"Authentication" placeholder:"FILE" example:"jwks.json" help:"Keys as a JWKS."`
	// The last keys that could be read stay good while it does not answer.
	JWKSURL     string        `name:"jwks-url" group:"Authentication" placeholder:"URL" example:"https://login.example/.well-known/jwks.json" help:"Keys as a JWKS behind a URL; https, or http on this machine."`
	JWKSRefresh time.Duration `name:"jwks-refresh" group:"Authentication" default:"15m" min:"1s" max:"24h" help:"How often they are read anew."`
	// Whoever invents names of keys must not make us a load.
	JWKSMinRefresh time.Duration `name:"jwks-min-refresh" group:"Authentication" default:"10s" min:"10ms" max:"1h" help:"How often at most, when tokens name keys that are not known."`
	JWKSTimeout    time.Duration `name:"jwks-timeout" group:"Authentication" default:"2s" min:"10ms" max:"1m" help:"How long one reading may take."`
	Issuer         string        `group:"Authentication" placeholder:"NAME" example:"https://login.example" help:"Issuer that tokens must be of."`
	Audience       string        `group:"Authentication" placeholder:"NAME" example:"ringside" help:"Audience that tokens must be for."`
	// Clocks are never quite in step.
	Leeway time.Duration `group:"Authentication" default:"10s" min:"0s" max:"5m" help:"By how much a token may be early or late."`
	// Nothing ends such a session but its client, or the application.
	Forever bool `group:"Authentication" help:"Take tokens without an expiry."`
	// Only the same client can renew a session's token.
	IdentityClaim string `group:"Authentication" default:"sub" help:"Claim that says who the client is."`
	// A token that has none is good for nothing. Set to an empty string, every token is good for every topic.
	TopicsClaim string `group:"Authentication" default:"topics" help:"Claim that lists the topics, where * stands for any characters."`
	// For browsers, which can't set headers. Never logged.
	Param  string `group:"Authentication" default:"token" help:"Query parameter that may have the token, beside Authorization: Bearer."`
	Cookie string `group:"Authentication" placeholder:"NAME" example:"session" help:"Cookie that may have it; needs allowed-origins."`
}

// App bounds what the application is asked, by whatever way.
type App struct {
	Headers []string `group:"Authentication" default:"cookie,authorization" placeholder:"NAME" help:"Headers of a handshake that the application is told."`
	// Less than half of handshake-timeout: a router takes a gateway that answers later for dead.
	Timeout time.Duration `group:"Authentication" default:"2s" min:"10ms" max:"1m" help:"How long the application may take to answer, the wait for a place included."`
	// Of this gateway; the others ask as well.
	Concurrency int `group:"Authentication" default:"28" min:"1" max:"4096" help:"Calls of the application under way."`
	// More are refused at once, with 503.
	Waiting int `group:"Authentication" default:"1000" min:"0" max:"100000" help:"Calls that may wait for a place."`
	// Calls that time out, or find nobody. That the application says no, or fails, is an answer.
	Failures int `group:"Authentication" default:"5" min:"1" max:"10000" help:"Failed calls in a row, after which nobody asks for a while."`
	// Then two calls try.
	Pause time.Duration `group:"Authentication" default:"5s" min:"10ms" max:"10m" help:"How long that while is."`
	// Beyond that, the application is not told of sessions that are over.
	Farewells int `group:"Authentication" default:"4096" min:"1" max:"1000000" help:"Sessions that are over, of which the application has not been told yet."`
}

// RPC is where an application answers by gRPC.
type RPC struct {
	// A name with several addresses counts as all of them.
	Host []Peer `group:"Authentication" placeholder:"HOST:PORT" example:"[app.internal:50051]" help:"Where the application answers by gRPC, in AnyCable's format; several are asked in turn."`
	// With it, or with any file below.
	TLS           bool   `name:"tls" group:"Authentication" help:"Ask by TLS."`
	TLSCA         string `name:"tls-ca" group:"Authentication" placeholder:"FILE" example:"app-ca.pem" help:"Authorities that the application is believed by; the system's when none is given."`
	TLSCert       string `name:"tls-cert" group:"Authentication" placeholder:"FILE" example:"ringside.pem" help:"Certificate that is shown to it."`
	TLSKey        string `name:"tls-key" group:"Authentication" placeholder:"FILE" example:"ringside-key.pem" help:"Its key."`
	TLSServerName string `name:"tls-server-name" group:"Authentication" placeholder:"NAME" example:"app.internal" help:"Name in the application's certificate, where it is not its host."`
}

// HasTLS reports whether any setting asks for TLS.
func (r *RPC) HasTLS() bool {
	return r.TLS || r.TLSCA != "" || r.TLSCert != "" || r.TLSKey != "" || r.TLSServerName != ""
}

// leastHeader is what the head of a router's request with a large ticket needs.
const leastHeader = 8 << 10

func (a *Auth) validate(handshake time.Duration, maxHeader Size) error {
	open := len(a.Auth) == 0 || slices.Contains(a.Auth, "open")
	asks := slices.Contains(a.Auth, "rpc") || slices.Contains(a.Auth, "webhook") || len(a.RPC.Host) > 0 || a.WebhookURL != ""
	switch {
	case (a.WebhookURL == "") != (a.WebhookSecretFile == ""):
		return errors.New("webhook-url needs webhook-secret-file, and the other way round")
	case asks && 2*a.App.Timeout >= handshake:
		return fmt.Errorf("app-timeout (%v) must be less than half of handshake-timeout (%v)", a.App.Timeout, handshake)
	case !open && maxHeader < leastHeader:
		return fmt.Errorf("max-header (%v) must be %v or more where clients are authenticated", maxHeader, Size(leastHeader))
	}
	return nil
}
