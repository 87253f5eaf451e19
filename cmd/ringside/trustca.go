package main

import (
	"crypto/tls"
	"fmt"

	"github.com/ringside-edge/ringside/internal/certs"
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
	c, err := certs.Client(certs.Files{CA: t.TLSCA}, "")
	if err != nil {
		return nil, fmt.Errorf("tls-ca: %w", err)
	}
	return c, nil
}
