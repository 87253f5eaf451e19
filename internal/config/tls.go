package config

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// PublicTLS is TLS on a router's public port.
type PublicTLS struct {
	// They go together in order; the first pair is also for clients that name no host, or another one. Files that change are
	// read anew; what is not good leaves the old ones in place.
	TLSCert []string `name:"tls-cert" group:"TLS" placeholder:"FILE" example:"[edge.example.crt]" help:"Certificates for clients, with their chains, PEM; separated by commas. With any, or with acme-hosts, the public port speaks TLS only."`
	TLSKey  []string `name:"tls-key" group:"TLS" placeholder:"FILE" example:"[edge.example.key]" help:"Their keys, in the same order."`
	// The server proves them by TLS-ALPN-01, on port 443 of each: clients must reach a router there.
	ACMEHosts []string `name:"acme-hosts" group:"TLS" placeholder:"NAME" example:"[edge.example]" help:"Host names whose certificates are fetched from an ACME server, and no others; that agrees to its terms of service."`
	ACMEEmail string   `name:"acme-email" group:"TLS" placeholder:"ADDRESS" example:"ops@edge.example" help:"Whom the ACME server may write to."`
	// Routers behind one name need one folder: any of them may be asked for the proof that another one has prepared.
	ACMECache     string `name:"acme-cache" group:"TLS" placeholder:"FOLDER" example:"/var/lib/ringside/acme" help:"Where account, keys and certificates are kept, shared by all routers."`
	ACMEDirectory string `name:"acme-directory" group:"TLS" default:"https://acme-v02.api.letsencrypt.org/directory" help:"URL of the ACME server's directory."`
	ACMECA        string `name:"acme-ca" group:"TLS" placeholder:"FILE" example:"acme-ca.pem" help:"Authorities that the ACME server is believed by; the system's when none is given."`
	// Their TLS can't move to the successor: the old process goes on as a bridge. Clients that are still there at the end are
	// sent away, with a delay for their return, spread over the drain window.
	TakeoverLinger time.Duration `group:"Takeover" default:"1h" min:"1s" max:"24h" help:"How long a process that was succeeded carries on for its TLS clients."`
}

// Enabled reports whether the public port speaks TLS.
func (t *PublicTLS) Enabled() bool { return len(t.TLSCert) > 0 || len(t.ACMEHosts) > 0 }

func (t *PublicTLS) validate() error {
	if len(t.TLSCert) != len(t.TLSKey) {
		return fmt.Errorf("tls-cert names %d files and tls-key %d: want a key for each certificate", len(t.TLSCert), len(t.TLSKey))
	}
	if len(t.ACMEHosts) > 0 && t.ACMECache == "" {
		return errors.New("acme-hosts needs acme-cache: a folder, shared by all routers")
	}
	for _, h := range t.ACMEHosts {
		if new(Host).UnmarshalText([]byte(h)) != nil {
			return fmt.Errorf("acme-hosts: %q is not a host name", h)
		}
	}
	if u, err := url.Parse(t.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("acme-directory: %q is not an https URL", t.ACMEDirectory)
	}
	return nil
}

// LegTLS is TLS between routers and gateways, both of which show a certificate. All three files or none, and on every router
// and gateway alike: without TLS nobody talks to a node that has it.
type LegTLS struct {
	LegTLSCert string `name:"leg-tls-cert" group:"TLS of legs" placeholder:"FILE" example:"node.crt" help:"Certificate that this node shows on legs, PEM. With it legs speak TLS only."`
	LegTLSKey  string `name:"leg-tls-key" group:"TLS of legs" placeholder:"FILE" example:"node.key" help:"Its key."`
	// Whoever has a certificate by one of them is of the cluster: take an authority of its own.
	LegTLSCA string `name:"leg-tls-ca" group:"TLS of legs" placeholder:"FILE" example:"cluster-ca.crt" help:"Authorities by which the other side is believed."`
}

// Enabled reports whether legs speak TLS.
func (t *LegTLS) Enabled() bool { return t.LegTLSCert != "" }

func (t *LegTLS) validate() error {
	if (t.LegTLSCert == "") != (t.LegTLSKey == "") || (t.LegTLSCert == "") != (t.LegTLSCA == "") {
		return errors.New("leg-tls-cert, leg-tls-key and leg-tls-ca go together: want all three or none")
	}
	return nil
}
