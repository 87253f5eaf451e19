package main

import (
	"crypto/tls"
	"fmt"

	"github.com/ringside-edge/ringside/internal/tlscert"
)

// trustCA is what a command believes a public port by.
type trustCA struct {
	TLSCA string `name:"tls-ca" placeholder:"FILE" help:"Authorities that the server is believed by, PEM; by default the system's."`
}

// config is what TLS is spoken with; nil for the defaults.
func (t trustCA) config() (*tls.Config, error) {
	if t.TLSCA == "" {
		return nil, nil //nolint:nilnil // that is what the libraries take for their defaults
	}
	pool, err := tlscert.Authorities(t.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("tls-ca: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}
