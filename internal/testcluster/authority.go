package testcluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority of a test: nobody else trusts it.
type Authority struct {
	CAFile string // its certificate, PEM

	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	client tls.Certificate
	serial int64
}

// NewAuthority makes an authority, whose files go with the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{dir: tempDir(t, "ringside-ca-"), key: key}
	a.cert = a.template("ringside tests")
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a.CAFile = filepath.Join(a.dir, "ca.crt")
	if err := writePEM(a.CAFile, "CERTIFICATE", der); err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Issue(t, "server", net.IPv4(127, 0, 0, 1))
	if a.client, err = tls.LoadX509KeyPair(a.Issue(t, "client")); err != nil {
		t.Fatal(err)
	}
	return a
}

// Issue makes a certificate for servers at the given addresses, or for a client, and returns the names of its files,
// PEM.
func (a *Authority) Issue(t testing.TB, name string, ips ...net.IP) (certFile, keyFile string) {
	t.Helper()
	return a.IssueFor(t, name, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, ips...)
}

// IssueFor is [Authority.Issue] for some usages only.
func (a *Authority) IssueFor(t testing.TB, name string, usages []x509.ExtKeyUsage, ips ...net.IP) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := a.template(name)
	c.IPAddresses = ips
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = usages
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = a.files(name)
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		t.Fatal(err)
	}
	if err := writePEM(keyFile, "PRIVATE KEY", secret); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// ClientConfig trusts the authority alone, and has a certificate of it to show.
func (a *Authority) ClientConfig() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{a.client}}
}

// ClientFiles are the certificate and the key that [Authority.ClientConfig] shows.
func (a *Authority) ClientFiles() (certFile, keyFile string) { return a.files("client") }

func (a *Authority) serverFiles() (certFile, keyFile string) { return a.files("server") }

func (a *Authority) files(name string) (certFile, keyFile string) {
	return filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
}

func (a *Authority) template(name string) *x509.Certificate {
	a.serial++
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
