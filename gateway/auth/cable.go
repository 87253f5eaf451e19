package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// CableConfig is how clients of Action Cable are authenticated, with what an application that is set up for AnyCable signs.
type CableConfig struct {
	Demand            Methods // JWT or RPC; 0: nothing, but a token that is brought has to be good
	StreamsSecretFile string  // of the names of streams; empty: none is good
	TokenSecretFile   string  // of tokens; empty: none is good
	Leeway            time.Duration
}

// cable is what is needed for it.
type cable struct {
	cfg     CableConfig
	streams []byte
	tokens  []byte
	parser  *jwt.Parser
}

func newCable(cfg *CableConfig, now func() time.Time) (*cable, error) {
	c := &cable{cfg: *cfg}
	var err error
	if c.streams, err = readCableSecret(cfg.StreamsSecretFile); err == nil {
		c.tokens, err = readCableSecret(cfg.TokenSecretFile)
	}
	if err != nil {
		return nil, err
	}
	c.parser = jwt.NewParser(jwt.WithValidMethods([]string{"HS256", "HS384", "HS512"}), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(now), jwt.WithExpirationRequired())
	return c, nil
}

// Stream is the name in a signed one: the base64 of its JSON, "--", and the HMAC-SHA256 of that in hexadecimal. ok is false when it
// is not signed with our secret. Safe for concurrent use.
func (g *Guard) Stream(signed string) (stream string, ok bool) {
	body, sum, found := strings.Cut(signed, "--")
	if g.cable == nil || len(g.cable.streams) == 0 || !found {
		return "", false
	}
	got, err := hex.DecodeString(sum)
	if err != nil || !hmac.Equal(got, hmacOf(g.cable.streams, body)) {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil || json.Unmarshal(b, &stream) != nil {
		return "", false
	}
	return stream, true
}

func hmacOf(secret []byte, text string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// ConnectCable decides about a client of Action Cable, which has brought a token, or none. Whoever brings one is not asked about. It
// blocks, but not longer than the time-outs allow. The grant is nil where nothing is demanded and nothing known.
func (g *Guard) ConnectCable(ctx context.Context, r *Request, token string) (*Grant, *Refusal) {
	got, no := g.connectCable(ctx, r, token)
	if no == nil && got != nil {
		no = got.check()
	}
	switch {
	case no != nil:
		g.metrics.refused(no)
		return nil, no
	case got != nil:
		g.metrics.granted.Add(1)
	}
	return got, nil
}

func (g *Guard) connectCable(ctx context.Context, r *Request, token string) (*Grant, *Refusal) {
	c := g.cable
	switch {
	case c == nil:
		return nil, nil //nolint:nilnil // nothing is demanded
	case token != "" && len(c.tokens) > 0:
		return g.byCableToken(r, token)
	case c.cfg.Demand == JWT:
		return nil, unauthorized(TokenMissing, "a token is needed: as ?jid=, in X-JID, or as the subprotocol anycable-token.…")
	case c.cfg.Demand == RPC:
		return g.byApp(ctx, RPC, r, nil)
	}
	return nil, nil //nolint:nilnil // nothing is demanded
}

// byCableToken takes what an application says in a token: its name for the client.
func (g *Guard) byCableToken(r *Request, token string) (*Grant, *Refusal) {
	if len(token) > maxToken {
		return nil, unauthorized(TokenMalformed, "the token has more than %d bytes", maxToken)
	}
	claims := jwt.MapClaims{}
	if _, err := g.cable.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return g.cable.tokens, nil }); err != nil {
		return nil, refuseToken(err)
	}
	ext, ok := claims["ext"].(string)
	if !ok || !json.Valid([]byte(ext)) {
		return nil, unauthorized(TokenClaims, `the token has no claim "ext" with identifiers as a string of JSON`)
	}
	got := &Grant{Passed: JWT, Identity: ext}
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		got.Expires = exp.Add(g.cable.cfg.Leeway).Unix()
	}
	if g.rpc != nil { // it is asked about channels
		got.Passed |= RPC
		got.App = g.appOfRequest(RPC, g.rpc, r)
		got.App.Identifiers = ext
	}
	return got, nil
}

// CableToken finds a client's token; empty when there is none.
func CableToken(query func(name string) string, header func(name string) string, protocols []string) string {
	if t := query("jid"); t != "" {
		return t
	}
	if t := header("X-JID"); t != "" {
		return t
	}
	for _, p := range protocols {
		if t, ok := strings.CutPrefix(p, "anycable-token."); ok {
			return t
		}
	}
	return ""
}

// readCableSecret reads a secret as applications have it; no file, no secret.
func readCableSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cable: %w", err)
	}
	secret = bytes.TrimRight(secret, "\r\n")
	if len(secret) < minCableSecret {
		return nil, fmt.Errorf("cable: %s: a secret of %d bytes is too short: want %d or more", file, len(secret), minCableSecret)
	}
	return secret, nil
}

// minCableSecret is in bytes. The application chooses it, not we.
const minCableSecret = 16
