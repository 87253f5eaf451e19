package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// JWTConfig is what tokens have to be. Exactly one source of keys is set.
type JWTConfig struct {
	Algorithms []string // accepted, all of one family: HS, RS, ES or EdDSA

	SecretFile string // of HS…: the secret, without the line's end
	KeyFile    string // public keys and certificates in PEM
	JWKSFile   string
	JWKSURL    string
	AllowHTTP  bool          // JWKSURL may be http:// on other machines than this one
	Refresh    time.Duration // how often JWKSURL is read anew
	MinRefresh time.Duration // how often at most, whatever unknown keys tokens name
	Timeout    time.Duration // of one reading

	Issuer   string // empty: any
	Audience string // empty: any
	Leeway   time.Duration
	Forever  bool // a token need not have an expiry

	Identity string // claim that says who the client is
	Topics   string // claim that lists patterns of topics; empty: a token is good for every topic
	Param    string // query parameter that has the token; empty: none
	Cookie   string // cookie that has it; empty: none
}

const (
	maxToken    = 8 << 10 // bytes
	maxPatterns = 64      // of topics in a token
)

// algorithms are the ones that can be chosen, by family: "none" is none of them. A family is what keys are of, so that a
// public key can never be taken for a secret.
//
//nolint:gochecknoglobals // constants
var algorithms = map[string]family{
	"HS256": familyHMAC, "HS384": familyHMAC, "HS512": familyHMAC,
	"RS256": familyRSA, "RS384": familyRSA, "RS512": familyRSA, "PS256": familyRSA, "PS384": familyRSA, "PS512": familyRSA,
	"ES256": familyEC, "ES384": familyEC, "ES512": familyEC,
	"EdDSA": familyEd,
}

// family is a kind of keys.
type family uint8

const (
	familyNone family = iota
	familyHMAC
	familyRSA
	familyEC
	familyEd
)

// verifier checks tokens. It is safe for concurrent use.
type verifier struct {
	cfg    JWTConfig
	parser *jwt.Parser
	keys   keySource
}

func (c *JWTConfig) family() (family, error) {
	if len(c.Algorithms) == 0 {
		return familyNone, errors.New("jwt-algorithms names none: want for example RS256")
	}
	f := familyNone
	for _, a := range c.Algorithms {
		g := algorithms[a]
		switch {
		case g == familyNone:
			return familyNone, fmt.Errorf("jwt-algorithms: %.20q is not an algorithm for tokens: want HS256, RS256, PS256, ES256 or EdDSA, or their siblings", a)
		case f != familyNone && g != f:
			return familyNone, errors.New("jwt-algorithms: all must be of one kind: a key is of one")
		}
		f = g
	}
	return f, nil
}

func newVerifier(cfg JWTConfig, now func() time.Time, keys func(family) (keySource, error)) (*verifier, error) {
	f, err := cfg.family()
	if err != nil {
		return nil, err
	}
	source, err := keys(f)
	if err != nil {
		return nil, err
	}
	opts := []jwt.ParserOption{jwt.WithValidMethods(cfg.Algorithms), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(now)}
	if !cfg.Forever {
		opts = append(opts, jwt.WithExpirationRequired())
	}
	if cfg.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		opts = append(opts, jwt.WithAudience(cfg.Audience))
	}
	return &verifier{cfg: cfg, parser: jwt.NewParser(opts...), keys: source}, nil
}

// grant is what a token grants. It may wait for keys, until ctx ends.
func (v *verifier) grant(ctx context.Context, token string) (*Grant, *Refusal) {
	switch {
	case token == "":
		return nil, unauthorized(TokenMissing, "a token is needed: in Authorization: Bearer%s", v.elsewhere())
	case len(token) > maxToken:
		return nil, unauthorized(TokenMalformed, "the token has more than %d bytes", maxToken)
	}
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return v.keys.find(ctx, kid)
	})
	if err != nil {
		return nil, refuseToken(err)
	}
	return v.read(claims)
}

func (v *verifier) elsewhere() string {
	s := ""
	if v.cfg.Param != "" {
		s += ", as ?" + v.cfg.Param + "="
	}
	if v.cfg.Cookie != "" {
		s += ", in the cookie " + v.cfg.Cookie
	}
	return s
}

// read takes what we want to know from the claims.
func (v *verifier) read(claims jwt.MapClaims) (*Grant, *Refusal) {
	g := &Grant{Passed: JWT, Topics: []string{"*"}}
	if v.cfg.Identity != "" {
		id, ok := claims[v.cfg.Identity].(string)
		if !ok || id == "" {
			return nil, unauthorized(TokenClaims, "the token has no claim %q that is a string", v.cfg.Identity)
		}
		g.Identity = id
	}
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		g.Expires = exp.Add(v.cfg.Leeway).Unix()
	}
	if v.cfg.Topics == "" {
		return g, nil
	}
	list, ok := patterns(claims[v.cfg.Topics])
	switch {
	case !ok:
		return nil, unauthorized(TokenClaims, "the claim %q is neither a string nor a list of strings", v.cfg.Topics)
	case len(list) > maxPatterns:
		return nil, unauthorized(TokenClaims, "the claim %q lists more than %d topics", v.cfg.Topics, maxPatterns)
	}
	g.Topics = list
	return g, nil
}

// patterns reads a claim that lists topics. One that is missing lists none.
func patterns(claim any) ([]string, bool) {
	switch c := claim.(type) {
	case nil:
		return nil, true
	case string:
		return []string{c}, true
	case []any:
		list := make([]string, 0, min(len(c), maxPatterns))
		for _, e := range c {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// refuseToken says what is wrong with a token, without repeating any of it.
func refuseToken(err error) *Refusal {
	var no *Refusal
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, jwt.ErrTokenMalformed):
		return unauthorized(TokenMalformed, "the token is not a JWT")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return unauthorized(TokenSignature, "the token is not signed by a key, or not by an algorithm, that is known here")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return unauthorized(TokenClaims, "the token lacks a claim that it has to have: exp, iss or aud")
	case errors.Is(err, jwt.ErrTokenExpired):
		return unauthorized(TokenExpired, "the token has expired")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return unauthorized(TokenEarly, "the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return unauthorized(TokenIssuer, "the token is of another issuer")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return unauthorized(TokenAudience, "the token is for another audience")
	}
	return unauthorized(TokenClaims, "the token's claims are not valid")
}

// secretsOut is what of a request's target may be logged or passed on.
func (c *JWTConfig) secretsOut(uri string) string {
	if c == nil || !strings.Contains(uri, "?") {
		return uri
	}
	return withoutParam(uri, c.Param)
}

// hasFamily reports whether a key is of a family.
func hasFamily(key any, f family) bool { return slices.Contains(familiesOf(key), f) }
