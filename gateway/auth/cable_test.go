package auth

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
)

const cableSecret = "a secret of the application's"

func cableGuard(t *testing.T, demand Methods) *Guard {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(cableSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{Cable: &CableConfig{Demand: demand, StreamsSecretFile: file, TokenSecretFile: file}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// The signed names are Rails' and AnyCable's: made by ActiveSupport::MessageVerifier with SHA256 and JSON.
func TestSignedStream(t *testing.T) {
	g := cableGuard(t, 0)
	f := func(signed, want string) {
		t.Helper()
		if got, ok := g.Stream(signed); got != want || ok != (want != "") {
			t.Errorf("%.60q: got %q, %v, want %q", signed, got, ok, want)
		}
	}
	f("ImNoYXQvMjAyMyI=--fdeb46a56fe34a8c6e6ea2d6ac2ea0e3b7a9ba7fb1e42ad8e5e5ef1dc8f3a4cd", "") // of another secret
	f(signName(`"chat/2023"`), "chat/2023")
	f(signName(`{"_rails":{"message":"x"}}`), "")
	f(signName(`7`), "")
	f(signName(`"a"`)+"0", "")
	f(strings.Replace(signName(`"a"`), "--", "-", 1), "")
	f("", "")
	f("--", "")
}

func signName(json string) string {
	body := base64.StdEncoding.EncodeToString([]byte(json))
	return body + "--" + hex.EncodeToString(hmacOf([]byte(cableSecret), body))
}

func TestCableToken(t *testing.T) {
	token := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	soon := time.Now().Add(time.Hour).Unix()
	g := cableGuard(t, JWT)
	f := func(token, reason string) *Grant {
		t.Helper()
		got, no := g.ConnectCable(context.Background(), &Request{URI: "/cable?jid=" + token, Header: func(string) string { return "" }}, token)
		switch {
		case no == nil && reason != "" || no != nil && no.Reason != reason:
			t.Errorf("%.20q: got %+v, want %s", token, no, reason)
		case no != nil && strings.Contains(no.Message, token) && token != "":
			t.Errorf("the refusal repeats the token: %s", no.Message)
		}
		return got
	}
	ext := `{"user":"ann"}`
	if got := f(token(jwt.SigningMethodHS256, []byte(cableSecret), jwt.MapClaims{"ext": ext, "exp": soon}), ""); !got.Names(ext) || got.Names(`{"user":"bob"}`) || got.Expires != soon {
		t.Errorf("got %+v", got)
	}
	f("", TokenMissing)
	f("x", TokenMalformed)
	f(token(jwt.SigningMethodHS256, []byte("another secret of somebody"), jwt.MapClaims{"ext": ext, "exp": soon}), TokenSignature)
	f(token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"ext": ext, "exp": soon}), TokenSignature)
	f(token(jwt.SigningMethodHS256, []byte(cableSecret), jwt.MapClaims{"ext": ext, "exp": time.Now().Add(-time.Minute).Unix()}), TokenExpired)
	f(token(jwt.SigningMethodHS256, []byte(cableSecret), jwt.MapClaims{"ext": ext}), TokenClaims)
	f(token(jwt.SigningMethodHS256, []byte(cableSecret), jwt.MapClaims{"exp": soon}), TokenClaims)
	f(token(jwt.SigningMethodHS256, []byte(cableSecret), jwt.MapClaims{"ext": map[string]any{"user": "ann"}, "exp": soon}), TokenClaims)

	open := cableGuard(t, 0)
	if got, no := open.ConnectCable(context.Background(), &Request{}, ""); got != nil || no != nil {
		t.Errorf("nothing is demanded: got %+v, %v", got, no)
	}
	if _, no := open.ConnectCable(context.Background(), &Request{}, "x"); no == nil {
		t.Error("a token that is brought has to be good")
	}
}

func TestCableTokenPlaces(t *testing.T) {
	f := func(query, header string, protocols []string, want string) {
		t.Helper()
		got := CableToken(func(string) string { return query }, func(string) string { return header }, protocols)
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("q", "h", []string{"anycable-token.p"}, "q")
	f("", "h", []string{"anycable-token.p"}, "h")
	f("", "", []string{"actioncable-v1-json", "anycable-token.p"}, "p")
	f("", "", []string{"actioncable-v1-json"}, "")
}

func TestCableSecrets(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{short, filepath.Join(t.TempDir(), "none")} {
		if _, err := New(Config{Cable: &CableConfig{TokenSecretFile: file}}, zap.NewNop()); err == nil {
			t.Errorf("%s is taken", file)
		}
	}
	if _, err := New(Config{Cable: &CableConfig{Demand: RPC}}, zap.NewNop()); err == nil {
		t.Error("an application is demanded, and there is none")
	}
}
