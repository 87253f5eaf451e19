package tlscert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"
)

// Public is the configuration of a port for everybody: TLS 1.2 or later with the ciphers that Go thinks sane, HTTP/1.1. Either
// of files and auto may be nil. none is what a handshake fails with that asks for a name which there is no certificate for.
func Public(files *Files, auto *ACME, none error) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if auto != nil && auto.isChallenge(hello) {
				return auto.challenge(hello)
			}
			if files != nil {
				if c := files.For(hello); c != nil {
					return c, nil
				}
			}
			if auto != nil {
				if c := auto.lookUp(hello.ServerName); c != nil {
					return c, nil
				}
			}
			if files != nil {
				if c := files.first(); c != nil {
					return c, nil
				}
			}
			return nil, none
		},
	}
	if auto != nil {
		cfg.NextProtos = append(cfg.NextProtos, acme.ALPNProto)
	}
	return cfg
}

// LegServer is the configuration of a port that only those may use who have a certificate by the authorities. Nothing is resumed,
// so that what the files say holds for every new connection.
func LegServer(files *Files) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := files.now.Load()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{*files.first()},
				// Other gateways come too, whose certificates need only be good for servers: the library would want them to be for clients.
				ClientAuth: tls.RequireAnyClientCert, ClientCAs: now.pool,
				VerifyConnection: func(s tls.ConnectionState) error {
					return verify(s, now.pool, "certificate", x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
				},
			}, nil
		},
	}
}

// LegClient is the configuration of a connection to such a port. The server is believed by the authorities and not by a name: gateways
// are found by their addresses, which say nothing about who they are.
func LegClient(files *Files) *tls.Config {
	now := files.now.Load()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*files.first()},
		InsecureSkipVerify: true, //nolint:gosec // only the check of the name by the library; VerifyConnection does the rest
		VerifyConnection: func(s tls.ConnectionState) error {
			return verify(s, now.pool, "gateway's certificate", x509.ExtKeyUsageServerAuth)
		},
	}
}

func verify(s tls.ConnectionState, pool *x509.CertPool, what string, usages ...x509.ExtKeyUsage) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("BUG: tlscert: a peer without a certificate")
	}
	o := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: usages}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := s.PeerCertificates[0].Verify(o); err != nil {
		return fmt.Errorf("the %s is not believed: %w", what, err)
	}
	return nil
}
