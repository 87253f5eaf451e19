package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// keyServer serves a JWKS.
type keyServer struct {
	*httptest.Server
	reads atomic.Int64
	mu    sync.Mutex
	keys  []jwkset.JWKMarshal // guarded by mu
	down  bool                // guarded by mu
	body  string              // guarded by mu: in place of the keys
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.reads.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.down:
			w.WriteHeader(http.StatusInternalServerError)
		case s.body != "":
			_, _ = w.Write([]byte(s.body))
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": s.keys})
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) set(down bool, body string, keys ...jwkset.JWKMarshal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.body, s.keys = down, body, keys
}

func jwksGuard(t *testing.T, s *keyServer, minRefresh time.Duration) (*Guard, func(want string, token string)) {
	t.Helper()
	cfg := base()
	cfg.Algorithms, cfg.JWKSURL, cfg.MinRefresh = []string{"RS256"}, s.URL, minRefresh
	g := guard(t, Config{JWT: &cfg})
	return g, func(want, token string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, no := g.Connect(ctx, []Methods{JWT}, request("/?token="+token)); reason(no) != want {
			t.Errorf("got %v, want %q", no, want)
		}
	}
}

func TestJWKS(t *testing.T) {
	one, two := newKeys(t), newKeys(t)
	s := newKeyServer(t)
	// Keys of other kinds and for other purposes are passed over: they make nothing valid, and the set not unreadable.
	enc := jwk(t, "enc", &two.rsa.PublicKey)
	enc.USE = jwkset.UseEnc
	s.set(false, "", jwk(t, "one", &one.rsa.PublicKey), jwk(t, "ec", &one.ec.PublicKey), enc, jwkset.JWKMarshal{KTY: "strange", KID: "x"})
	g, f := jwksGuard(t, s, time.Millisecond)
	f("", signed(t, "RS256", one.rsa, "one", good()))
	f("", signed(t, "RS256", one.rsa, "", good())) // without a name: whichever fits
	f(TokenSignature, signed(t, "RS256", two.rsa, "one", good()))
	f(TokenSignature, signed(t, "RS256", two.rsa, "enc", good()))
	f(TokenSignature, signed(t, "ES256", one.ec, "ec", good()))
	// A new key is found when a token names it, and one that is gone is forgotten.
	s.set(false, "", jwk(t, "two", &two.rsa.PublicKey))
	testcluster.Soon(t, "a reading may be asked for", func() bool {
		_, no := g.Connect(t.Context(), []Methods{JWT}, request("/?token="+signed(t, "RS256", two.rsa, "two", good())))
		return no == nil
	})
	f(TokenSignature, signed(t, "RS256", one.rsa, "one", good()))
	// What can't be read leaves what is known.
	for _, body := range []string{"nonsense", `{"keys":[]}`, strings.Repeat(" ", maxSet+1)} {
		s.set(false, body)
		before := g.jwks.failed.Load()
		testcluster.Soon(t, "a reading fails", func() bool {
			_, _ = g.Connect(t.Context(), []Methods{JWT}, request("/?token="+signed(t, "RS256", one.rsa, "unknown", good())))
			return g.jwks.failed.Load() > before
		})
		f("", signed(t, "RS256", two.rsa, "two", good()))
	}
	s.set(true, "")
	f("", signed(t, "RS256", two.rsa, "two", good()))
}

// Whoever invents names of keys makes nobody read them.
func TestInventedKeys(t *testing.T) {
	k := newKeys(t)
	s := newKeyServer(t)
	s.set(false, "", jwk(t, "one", &k.rsa.PublicKey))
	g, f := jwksGuard(t, s, time.Hour)
	f("", signed(t, "RS256", k.rsa, "one", good()))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				_, _ = g.Connect(t.Context(), []Methods{JWT}, request("/?token="+signed(t, "RS256", k.rsa, "invented", good())))
			}
		})
	}
	wg.Wait()
	if n := s.reads.Load(); n > 2 {
		t.Errorf("the keys were read %d times", n)
	}
}

// Before the keys could be read at all nobody is told that a token is bad.
func TestKeysMissing(t *testing.T) {
	k := newKeys(t)
	s := newKeyServer(t)
	s.set(true, "")
	g, f := jwksGuard(t, s, 10*time.Millisecond)
	f(KeysMissing, signed(t, "RS256", k.rsa, "one", good()))
	s.set(false, "", jwk(t, "one", &k.rsa.PublicKey))
	testcluster.Soon(t, "the keys are there", func() bool {
		_, no := g.Connect(t.Context(), []Methods{JWT}, request("/?token="+signed(t, "RS256", k.rsa, "one", good())))
		return no == nil
	})
}

func TestJWKSFile(t *testing.T) {
	k := newKeys(t)
	b, _ := json.Marshal(map[string]any{"keys": []jwkset.JWKMarshal{jwk(t, "one", &k.ec.PublicKey)}})
	cfg := base()
	cfg.Algorithms, cfg.JWKSFile = []string{"ES256"}, file(t, "jwks.json", string(b))
	g := guard(t, Config{JWT: &cfg})
	if _, no := g.Connect(t.Context(), []Methods{JWT}, request("/?token="+signed(t, "ES256", k.ec, "one", good()))); no != nil {
		t.Error(no)
	}
}
