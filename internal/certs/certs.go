// Package certs makes TLS configurations of files in PEM, for the clients and servers that Ringside has inside of a cluster. The
// files are checked at once, and certificates read anew for each handshake, so that they can be renewed in place. It does not
// terminate the TLS of public clients.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files name what a side shows and believes. All are optional for a client; a server needs Cert and Key.
type Files struct {
	CA   string // authorities that the other side is believed by; of a client "" for the system's, of a server "" for not asking
	Cert string
	Key  string
}

// Client is the configuration of a client. serverName is the name in the server's certificate; empty for the host that is
// dialled.
func Client(f Files, serverName string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if f.CA != "" {
		pool, err := Authorities(f.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	if f.Cert != "" {
		if _, err := f.pair(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() }
	}
	return c, nil
}

// Server is the configuration of a server. With a CA a client may show a certificate, and one that it shows must be good;
// whether one is needed is the caller's to decide, by [tls.ConnectionState.VerifiedChains].
func Server(f Files) (*tls.Config, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("a server needs a certificate and its key")
	}
	if _, err := f.pair(); err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() },
	}
	if f.CA != "" {
		pool, err := Authorities(f.CA)
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	return c, nil
}

func (f Files) pair() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	return &c, nil
}

// Authorities are the certificates in a PEM file.
func Authorities(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("authorities: %s holds no certificate in PEM", file)
	}
	return p, nil
}
