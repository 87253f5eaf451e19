package config

import (
	"errors"
	"fmt"
)

// AdminTrust is who may use a node's admin port. Everybody may on loopback, unless something is set here. All nodes of a cluster
// are set up alike: one hands a drain on to another.
type AdminTrust struct {
	// Tokens of several clients, and an old one beside its successor; the file may change.
	AdminTokenFile string `group:"Admin port" placeholder:"FILE" example:"admin.tokens" help:"File with a token per line: who brings one as Authorization: Bearer may use the admin port."`
	// A publisher needs one of them, or one of the above. Without the file only the latter count.
	PublishTokensFile string `group:"Admin port" placeholder:"FILE" example:"publish.tokens" help:"File with a token per line, and behind it patterns of the topics that it may publish to; none for all."`
	AdminTLSCert      string `name:"admin-tls-cert" group:"Admin port" placeholder:"FILE" example:"ringside.pem" help:"Certificate of the admin port, which then speaks TLS; shown to the other nodes' as well."`
	AdminTLSKey       string `name:"admin-tls-key" group:"Admin port" placeholder:"FILE" example:"ringside-key.pem" help:"Its key."`
	// Such a certificate opens the port like a token of admin-token-file.
	AdminTLSClientCA string `name:"admin-tls-client-ca" group:"Admin port" placeholder:"FILE" example:"clients-ca.pem" help:"Authorities that clients' certificates are believed by."`
	AdminTLSCA       string `name:"admin-tls-ca" group:"Admin port" placeholder:"FILE" example:"ringside-ca.pem" help:"Authorities that other nodes' admin ports are believed by; the system's when none is given."`
	// Only where nobody else is on the network.
	AdminOpen bool `group:"Admin port" help:"Let everybody use an admin port that other machines can reach."`
	// For scrapers that can't have a token.
	AdminOpenMetrics bool `group:"Admin port" help:"Let everybody read /metrics."`
	// Any other name may be a stranger's, pointed here to lead browsers on.
	AdminHosts []string `group:"Admin port" placeholder:"NAME" example:"[ringside.internal, '*.svc.cluster.local']" help:"Names by which an open admin port may be asked, beside addresses and names without a dot."`
}

func (a *AdminTrust) validate(admin Addr) error {
	switch {
	case (a.AdminTLSCert == "") != (a.AdminTLSKey == ""):
		return errors.New("admin-tls-cert needs admin-tls-key, and the other way round")
	case a.AdminTLSClientCA != "" && a.AdminTLSCert == "":
		return errors.New("admin-tls-client-ca needs admin-tls-cert and admin-tls-key: certificates are shown over TLS only")
	case a.AdminTokenFile != "" || a.AdminTLSClientCA != "" || a.AdminOpen || admin.Loopback():
		return nil
	}
	return fmt.Errorf("admin: %s can be reached from other machines, and whoever does could publish and drain: "+
		"set admin-token-file or admin-tls-client-ca, listen on 127.0.0.1, or set admin-open where the network is trusted", admin)
}
