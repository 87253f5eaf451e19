package main

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/internal/config"
)

// newTrust reads the files that say who may use the admin port.
func newTrust(cfg config.AdminTrust, log *zap.Logger) (t admin.Trust, err error) {
	t.OpenMetrics, t.Hosts = cfg.AdminOpenMetrics, cfg.AdminHosts
	if cfg.AdminTokenFile != "" {
		if t.Admins, err = admin.ReadTokens(cfg.AdminTokenFile, false, log); err != nil {
			return t, fmt.Errorf("admin-token-file: %w", err)
		}
	}
	if cfg.PublishTokensFile != "" {
		if t.Publishers, err = admin.ReadTokens(cfg.PublishTokensFile, true, log); err != nil {
			return t, fmt.Errorf("publish-tokens-file: %w", err)
		}
	}
	if cfg.AdminTLSCert == "" {
		return t, nil
	}
	if t.TLS, err = certs.Server(certs.Files{CA: cfg.AdminTLSClientCA, Cert: cfg.AdminTLSCert, Key: cfg.AdminTLSKey}); err != nil {
		return t, fmt.Errorf("admin-tls: %w", err)
	}
	if t.Client, err = certs.Client(certs.Files{CA: cfg.AdminTLSCA, Cert: cfg.AdminTLSCert, Key: cfg.AdminTLSKey}, ""); err != nil {
		return t, fmt.Errorf("admin-tls: %w", err)
	}
	return t, nil
}
