package admin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/ring"
)

const (
	adminToken = "an-admin-token-of-the-tests"
	anyToken   = "a-publisher-of-everything"
	someToken  = "a-publisher-of-matches-only"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func tokens(t *testing.T, topics bool, text string) *Tokens {
	t.Helper()
	tok, err := ReadTokens(write(t, "tokens", text), topics, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTrust(t *testing.T) {
	p := startTrusting(t, Trust{Admins: tokens(t, false, "# one\n"+adminToken+"\n"), Publishers: tokens(t, true, anyToken+"\n"+someToken+" match/* finals\n")})
	f := func(method, path string, want int, reason string, headers ...string) {
		t.Helper()
		got := p.do(t, method, path, "x", headers...)
		if got.status != want || reason != "" && got.reason() != reason {
			t.Errorf("%s %s %v: got %d %s, want %d %s", method, path, headers, got.status, got.body, want, reason)
		}
	}
	admin, all, some := "Authorization: Bearer "+adminToken, "Authorization: bearer "+anyToken, "Authorization: Bearer "+someToken
	f("GET", "/healthz", 200, "")
	f("GET", "/readyz", 200, "")
	f("GET", "/metrics", 401, "unauthorized")
	f("GET", "/ring", 401, "unauthorized")
	f("GET", "/debug/pprof/heap", 401, "unauthorized")
	f("POST", "/drain", 401, "unauthorized")
	f("POST", "/drain", 401, "unauthorized", all)
	f("POST", "/drain", 401, "unauthorized", "Authorization: Basic "+adminToken)
	f("POST", "/drain", 401, "unauthorized", "Authorization: Bearer "+adminToken+"x")
	f("POST", "/drain", 401, "unauthorized", "Authorization: Bearer ")
	f("GET", "/ring", 200, "", admin)
	f("GET", "/metrics", 200, "", admin)
	f("POST", "/publish/odds", 401, "unauthorized")
	f("POST", "/publish/odds", 200, "", admin)
	f("POST", "/publish/odds", 200, "", all)
	f("POST", "/publish/odds", 403, "topic_forbidden", some)
	f("POST", "/publish/match/1", 200, "", some)
	f("POST", "/publish/finals", 200, "", some)
	if n := p.drainer.drains.Load(); n != 0 {
		t.Errorf("it drained %d times", n)
	}
	p = startTrusting(t, Trust{Publishers: tokens(t, true, anyToken), OpenMetrics: true})
	f("POST", "/publish/odds", 401, "unauthorized")
	f("POST", "/publish/odds", 200, "", all)
	f("GET", "/ring", 200, "")
	p = startTrusting(t, Trust{Admins: tokens(t, false, adminToken), OpenMetrics: true})
	f("GET", "/metrics", 200, "")
	f("POST", "/publish/odds", 401, "unauthorized")
}

// A page that has its own name point at loopback gets nothing.
func TestHosts(t *testing.T) {
	p := startTrusting(t, Trust{Hosts: []string{"*.ringside.internal"}})
	f := func(host string, want int) {
		t.Helper()
		if got := p.as(t, host); got != want {
			t.Errorf("%q: got %d, want %d", host, got, want)
		}
	}
	f("127.0.0.1:8081", 200)
	f("127.0.0.1", 200)
	f("[::1]:8081", 200)
	f("localhost:8081", 200)
	f("LOCALHOST", 200)
	f("g1:9201", 200)
	f("g1.ringside.internal:9201", 200)
	f("evil.example:8081", http.StatusMisdirectedRequest)
	f("evil.example", http.StatusMisdirectedRequest)
	f("127.0.0.1.evil.example", http.StatusMisdirectedRequest)
	f("localhost.evil.example.", http.StatusMisdirectedRequest)
	f("ringside.internal.evil.example", http.StatusMisdirectedRequest)
}

// as asks for the ring under a name.
func (p *port) as(t *testing.T, host string) int {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.Addr()+"/ring", nil)
	req.Host = host
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A drain is handed on with the token that it came with.
func TestForwardedToken(t *testing.T) {
	trust := Trust{Admins: tokens(t, false, adminToken)}
	here, there := startTrusting(t, trust), startWith(t, Config{Listen: "127.0.0.1:0", Self: "g2", MaxPayload: testPayload, Trust: trust}, true, nil)
	here.ring.Store(ring.New([]ring.Member{gateway("g2", ring.StateActive, there.Addr())}))
	if got := here.do(t, "POST", "/drain?shard=g2", ""); got.status != http.StatusUnauthorized || there.drainer.drains.Load() != 0 {
		t.Errorf("without a token: got %d %s", got.status, got.body)
	}
	if got := here.do(t, "POST", "/drain?shard=g2", "", "Authorization: Bearer "+adminToken); got.status != http.StatusAccepted || there.drainer.drains.Load() != 1 {
		t.Errorf("with it: got %d %s", got.status, got.body)
	}
}

func TestTokenFiles(t *testing.T) {
	f := func(text, want string, topics bool) {
		t.Helper()
		_, err := ReadTokens(write(t, "tokens", text), topics, zap.NewNop())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	f("", "no token", false)
	f("# nothing\n\n", "no token", false)
	f("short\n", "line 1", false)
	f(adminToken+"\n"+adminToken+" topic\n", "line 2", false)
	f(strings.Repeat(adminToken+"\n", maxTokens+1), "more than", true)
	if _, err := ReadTokens(filepath.Join(t.TempDir(), "none"), false, zap.NewNop()); err == nil {
		t.Error("a file that is not there: no error")
	}
	// A file that changes is read anew, and one that is broken is not.
	tok := tokens(t, true, anyToken)
	again := func(text string) {
		t.Helper()
		if err := os.WriteFile(tok.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tok.looked.Store(0)
	}
	again(adminToken)
	if tok.find(anyToken) != nil || tok.find(adminToken) == nil {
		t.Error("the changed file does not count")
	}
	again("x")
	if tok.find(adminToken) == nil {
		t.Error("a broken file takes all tokens away")
	}
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	cert, _ := a.issue("ca", true)
	a.file = cert
	return a
}

func (a *authority) issue(name string, ca bool) (cert, key string) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := template, k
	if !ca {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if ca {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = k
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

// A certificate opens the port; none, or a stranger's, does not. The port's own can be renewed in place.
func TestCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	cert, key := ours.issue("port", false)
	server, err := certs.Server(certs.Files{CA: ours.file, Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	p := startTrusting(t, Trust{TLS: server})
	ask := func(files certs.Files) (int, string, error) {
		t.Helper()
		files.CA = ours.file
		c, err := certs.Client(files, "")
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.Addr()+"/ring", nil)
		resp, err := (&http.Transport{DisableKeepAlives: true, TLSClientConfig: c}).RoundTrip(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.TLS.PeerCertificates[0].SerialNumber.String(), nil
	}
	if got, _, err := ask(certs.Files{}); err != nil || got != http.StatusUnauthorized {
		t.Errorf("without a certificate: got %d, %v", got, err)
	}
	mine, myKey := ours.issue("client", false)
	got, serial, err := ask(certs.Files{Cert: mine, Key: myKey})
	if err != nil || got != http.StatusOK {
		t.Errorf("with a certificate: got %d, %v", got, err)
	}
	other, otherKey := theirs.issue("stranger", false)
	if got, _, err := ask(certs.Files{Cert: other, Key: otherKey}); err == nil && got == http.StatusOK {
		t.Error("a stranger's certificate opens the port")
	}
	ours.issue("port", false)
	if _, again, err := ask(certs.Files{}); err != nil || again == serial {
		t.Errorf("the renewed certificate is not shown: %v", err)
	}
}
