package auth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
)

func TestAlgorithms(t *testing.T) {
	k := newKeys(t)
	secret := file(t, "secret", testSecret+"\n")
	hs, rs, es, ed := base(), base(), base(), base()
	hs.Algorithms, hs.SecretFile = []string{"HS256"}, secret
	rs.Algorithms, rs.KeyFile = []string{"RS256", "PS256"}, file(t, "rsa.pem", publicPEM(t, &k.rsa.PublicKey))
	es.Algorithms, es.KeyFile = []string{"ES256"}, file(t, "ec.pem", publicPEM(t, &k.ec.PublicKey))
	ed.Algorithms, ed.KeyFile = []string{"EdDSA"}, file(t, "ed.pem", publicPEM(t, k.ed.Public()))
	tokens := map[string]string{
		"HS256": signed(t, "HS256", []byte(testSecret), "", good()),
		"RS256": signed(t, "RS256", k.rsa, "", good()),
		"PS256": signed(t, "PS256", k.rsa, "", good()),
		"ES256": signed(t, "ES256", k.ec, "", good()),
		"EdDSA": signed(t, "EdDSA", k.ed, "", good()),
		"HS512": signed(t, "HS512", []byte(testSecret), "", good()), // not pinned
		"none":  signed(t, "none", jwt.UnsafeAllowNoneSignatureType, "", good()),
		// A public key taken for a secret.
		"confused": signed(t, "HS256", []byte(publicPEM(t, &k.rsa.PublicKey)), "", good()),
		"stranger": signed(t, "RS256", newKeys(t).rsa, "", good()),
	}
	for name, cfg := range map[string]JWTConfig{"HS256": hs, "RS256": rs, "ES256": es, "EdDSA": ed} {
		g := guard(t, Config{JWT: &cfg})
		for alg, token := range tokens {
			want := TokenSignature
			if alg == name || name == "RS256" && alg == "PS256" {
				want = ""
			}
			grant, no := g.Connect(t.Context(), []Methods{JWT}, request("/t/finals?token="+token))
			if got := reason(no); got != want {
				t.Errorf("%s, a token of %s: got %q, want %q", name, alg, got, want)
			}
			if want == "" && (grant.Identity != "ann" || grant.Passed != JWT || grant.Expires == 0) {
				t.Errorf("%s: got %+v", name, grant)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	cfg := base()
	cfg.Algorithms, cfg.SecretFile = []string{"HS256"}, file(t, "secret", testSecret)
	cfg.Issuer, cfg.Audience, cfg.Leeway = "login", "ringside", 10*time.Second
	g := guard(t, Config{JWT: &cfg})
	ok := func() jwt.MapClaims { return with(with(good(), "iss", "login"), "aud", []string{"other", "ringside"}) }
	f := func(want string, claims jwt.MapClaims) {
		t.Helper()
		_, no := g.Connect(t.Context(), []Methods{JWT}, request("/", "Authorization: Bearer "+signed(t, "HS256", []byte(testSecret), "", claims)))
		if got := reason(no); got != want {
			t.Errorf("%v: got %q, want %q", claims, got, want)
		}
	}
	now := time.Now().Unix()
	f("", ok())
	f("", with(ok(), "topics", "finals"))
	f("", with(ok(), "topics", "*"))
	f("", with(ok(), "exp", now-5)) // within the leeway
	f(TokenExpired, with(ok(), "exp", now-20))
	f(TokenClaims, with(ok(), "exp", nil))
	f(TokenClaims, with(ok(), "exp", "tomorrow"))
	f("", with(ok(), "nbf", now+5))
	f(TokenEarly, with(ok(), "nbf", now+20))
	f(TokenIssuer, with(ok(), "iss", "elsewhere"))
	f(TokenClaims, with(ok(), "iss", nil))
	f(TokenAudience, with(ok(), "aud", "other"))
	f(TokenClaims, with(ok(), "aud", nil))
	f(TokenClaims, with(ok(), "sub", nil))
	f(TokenClaims, with(ok(), "sub", 7))
	f(TokenTopic, with(ok(), "topics", nil)) // a token that lists nothing is good for nothing
	f(TokenTopic, with(ok(), "topics", []string{"semi", "final"}))
	f(TokenClaims, with(ok(), "topics", map[string]any{"a": 1}))
	f(TokenClaims, with(ok(), "topics", []any{"finals", 1}))
	f(TokenClaims, with(ok(), "topics", strings.Split(strings.Repeat("finals ", maxPatterns+1), " ")))
	f(TooLarge, with(ok(), "sub", strings.Repeat("x", MaxGrant)))
	f(TokenMalformed, with(ok(), "sub", strings.Repeat("x", maxToken)))
}

func TestWhereTokensStand(t *testing.T) {
	cfg := base()
	cfg.Algorithms, cfg.SecretFile = []string{"HS256"}, file(t, "secret", testSecret)
	g := guard(t, Config{JWT: &cfg})
	yes, other := signed(t, "HS256", []byte(testSecret), "", good()), signed(t, "HS256", []byte(testSecret), "", with(good(), "exp", 1))
	f := func(want string, r *Request) {
		t.Helper()
		if _, no := g.Connect(t.Context(), []Methods{JWT}, r); reason(no) != want {
			t.Errorf("%s: got %q, want %q", r.URI, reason(no), want)
		}
	}
	f(TokenMissing, request("/t/finals"))
	f(TokenMissing, request("/t/finals?Token="+yes))
	f(TokenMissing, request("/t/finals", "Authorization: Basic "+yes))
	f("", request("/t/finals", "Authorization: bearer "+yes))
	f("", request("/t/finals?since=1&token="+yes))
	f("", request("/t/finals?token="+strings.ReplaceAll(yes, ".", "%2E")))
	f(TokenMalformed, request("/t/finals?token=%zz"))
	f("", request("/t/finals", "Cookie: a=b; session="+yes+"; c=d"))
	f("", request("/t/finals?token="+other, "Authorization: Bearer "+yes, "Cookie: session="+other)) // the header wins
	f(TokenExpired, request("/t/finals?token="+other, "Cookie: session="+yes))
	if got := withoutParam("/t/a?x=1&token=secret&y=2", "token"); got != "/t/a?x=1&y=2" {
		t.Errorf("without the token: %q", got)
	}
	if got := withoutParam("/t/a?token=secret", "token"); got != "/t/a" {
		t.Errorf("without the token: %q", got)
	}
}

// What is wrong with a token is said without any part of it.
func TestRefusalsTellNothing(t *testing.T) {
	cfg := base()
	cfg.Algorithms, cfg.SecretFile = []string{"HS256"}, file(t, "secret", testSecret)
	g := guard(t, Config{JWT: &cfg})
	for _, token := range []string{"secret-looking-thing", "abcdef.bcdefg.cdefgh", signed(t, "HS256", []byte(strings.Repeat("x", 40)), "", good())} {
		_, no := g.Connect(t.Context(), []Methods{JWT}, request("/?token="+token))
		if no == nil || strings.Contains(no.Error(), token[:6]) {
			t.Errorf("%s: %v", token, no)
		}
	}
}

func TestRenew(t *testing.T) {
	cfg := base()
	cfg.Algorithms, cfg.SecretFile = []string{"HS256"}, file(t, "secret", testSecret)
	g := guard(t, Config{JWT: &cfg})
	old := &Grant{Identity: "ann", Passed: JWT | RPC, Topics: []string{"finals"}, Expires: 1, App: &App{Identifiers: "app's"}}
	f := func(want string, old *Grant, claims jwt.MapClaims) *Grant {
		t.Helper()
		got, no := g.Renew(t.Context(), old, signed(t, "HS256", []byte(testSecret), "", claims))
		if reason(no) != want {
			t.Errorf("%v: got %q, want %q", claims, reason(no), want)
		}
		return got
	}
	f(TokenIdentity, old, with(good(), "sub", "bob"))
	f(TokenExpired, old, with(good(), "exp", 5))
	f(NotAllowed, nil, good())
	f(NotAllowed, &Grant{Passed: RPC, App: &App{}}, good())
	got := f("", old, good())
	if got == nil || got.Expires < time.Now().Unix() || len(got.Topics) != 2 || got.App.Identifiers != "app's" || got.Passed != JWT|RPC || old.Expires != 1 {
		t.Errorf("got %+v from %+v", got, old)
	}
}

func TestKeysRefused(t *testing.T) {
	k := newKeys(t)
	small := file(t, "small", strings.Repeat("x", minSecret-1))
	rsaPEM := file(t, "rsa.pem", publicPEM(t, &k.rsa.PublicKey))
	f := func(want string, change func(*JWTConfig)) {
		t.Helper()
		cfg := base()
		change(&cfg)
		if _, err := New(Config{JWT: &cfg}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("names none", func(*JWTConfig) {})
	f("not an algorithm", func(c *JWTConfig) { c.Algorithms = []string{"none"} })
	f("one kind", func(c *JWTConfig) { c.Algorithms = []string{"HS256", "RS256"} })
	f("want one of", func(c *JWTConfig) { c.Algorithms = []string{"HS256"} })
	f("too short", func(c *JWTConfig) { c.Algorithms, c.SecretFile = []string{"HS256"}, small })
	f("public key is no secret", func(c *JWTConfig) { c.Algorithms, c.SecretFile = []string{"HS256"}, rsaPEM })
	f("everybody may know", func(c *JWTConfig) { c.Algorithms, c.KeyFile = []string{"HS256"}, rsaPEM })
	f("another kind", func(c *JWTConfig) { c.Algorithms, c.KeyFile = []string{"ES256"}, rsaPEM })
	f("no key in PEM", func(c *JWTConfig) { c.Algorithms, c.KeyFile = []string{"ES256"}, small })
	f("no such file", func(c *JWTConfig) { c.Algorithms, c.KeyFile = []string{"ES256"}, "/nowhere" })
	f("not a JWKS", func(c *JWTConfig) { c.Algorithms, c.JWKSFile = []string{"ES256"}, small })
	f("want https", func(c *JWTConfig) { c.Algorithms, c.JWKSURL = []string{"ES256"}, "http://login.example/" })
	f("want a URL", func(c *JWTConfig) { c.Algorithms, c.JWKSURL = []string{"ES256"}, "file:///etc/passwd" })
	f("want a URL", func(c *JWTConfig) { c.Algorithms, c.JWKSURL = []string{"ES256"}, "https://user:pw@login.example/" })
}

// A grant says the same when it has travelled, and one that is not ours is refused.
func TestGrantTravels(t *testing.T) {
	want := &Grant{Identity: "ann", Topics: []string{"*"}, Expires: 5, Passed: JWT | RPC, App: &App{Identifiers: "x", State: map[string]string{"a": "b"}, URL: "u", Headers: map[string]string{"h": "v"}}}
	got, err := Decode(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got)
	if string(a) != string(b) {
		t.Errorf("got %s, want %s", b, a)
	}
	if got, err := Decode(nil); got != nil || err != nil || (*Grant)(nil).Encode() != nil {
		t.Error("the open topic's grant is not nothing")
	}
	for _, bad := range []string{"x", "[]", strings.Repeat(" ", MaxGrant+1)} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%.10q: no error", bad)
		}
	}
	if want.Allows("x", Webhook) || !want.Allows("x", JWT) || !want.Allows("x", 0) || (*Grant)(nil).Allows("x", JWT) || !(*Grant)(nil).Allows("x", 0) {
		t.Error("Allows")
	}
	if (*Grant)(nil).Expired(time.Now()) || !want.Expired(time.Unix(5, 0)) || want.Expired(time.Unix(4, 0)) {
		t.Error("Expired")
	}
}

func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30.")
	cfg := base()
	cfg.Algorithms = []string{"HS256"}
	set := &keySet{}
	set.add("", []byte(testSecret))
	v, err := newVerifier(cfg, time.Now, func(family) (keySource, error) { return set, nil })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if g, no := v.grant(t.Context(), token); no == nil {
			t.Errorf("%q is taken: %+v", token, g)
		}
	})
}
