package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecret = 32   // bytes of a secret of HS256
	minRSA    = 2048 // bits
	maxKeys   = 64   // of a set
	maxSet    = 256 << 10
)

// keySource has keys for tokens. find returns the key that is called kid, or all there are for a token that names none; it
// may wait until ctx ends. Its error is a [Refusal], or says that there is no such key.
type keySource interface {
	find(ctx context.Context, kid string) (any, error)
}

var errNoKey = errors.New("no such key") //nolint:gochecknoglobals // an error is a constant

// keySet is a set of keys of one family.
type keySet struct {
	named map[string]any
	all   []jwt.VerificationKey
}

func (s *keySet) find(_ context.Context, kid string) (any, error) {
	if key, ok := s.named[kid]; ok && kid != "" {
		return key, nil
	}
	// A key that has no name can be anybody's, and a token that names none may be by any.
	var keys []jwt.VerificationKey
	if kid == "" {
		keys = s.all
	} else if len(s.named) == 0 {
		keys = s.all
	}
	if len(keys) == 0 {
		return nil, errNoKey
	}
	return jwt.VerificationKeySet{Keys: keys}, nil
}

func (s *keySet) add(kid string, key any) {
	if kid != "" {
		if s.named == nil {
			s.named = make(map[string]any)
		}
		s.named[kid] = key
	}
	s.all = append(s.all, key)
}

// familiesOf is the family of a public key or a secret.
func familiesOf(key any) []family {
	switch k := key.(type) {
	case []byte:
		return []family{familyHMAC}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return []family{familyRSA}
		}
	case *ecdsa.PublicKey:
		return []family{familyEC}
	case ed25519.PublicKey:
		return []family{familyEd}
	}
	return nil
}

// readSecret reads the secret of HMAC.
func readSecret(file string) (*keySet, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("jwt-secret-file: %w", err)
	}
	b = bytes.TrimRight(b, "\r\n")
	switch {
	case len(b) < minSecret:
		return nil, fmt.Errorf("jwt-secret-file: %s: a secret of %d bytes is too short: want %d or more", file, len(b), minSecret)
	case bytes.HasPrefix(b, []byte("-----BEGIN")):
		return nil, fmt.Errorf("jwt-secret-file: %s holds a key in PEM: a public key is no secret", file)
	}
	s := &keySet{}
	s.add("", b)
	return s, nil
}

// readPEM reads public keys and certificates.
func readPEM(file string, f family) (*keySet, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("jwt-key-file: %w", err)
	}
	s := &keySet{}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		key, err := parsePublic(block)
		if err == nil && !hasFamily(key, f) {
			err = errors.New("the key is of another kind than jwt-algorithms, or too short")
		}
		if err != nil {
			return nil, fmt.Errorf("jwt-key-file: %s: %w", file, err)
		}
		s.add("", key)
	}
	if len(s.all) == 0 {
		return nil, fmt.Errorf("jwt-key-file: %s holds no key in PEM", file)
	}
	return s, nil
}

func parsePublic(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf("%.40q: want a PUBLIC KEY or a CERTIFICATE; a private key does not belong here", block.Type)
}

// parseSet reads a JWKS. Keys of another family, or for other purposes, are passed over.
func parseSet(b []byte, f family) (*keySet, error) {
	var raw struct {
		Keys []jwkset.JWKMarshal `json:"keys"`
	}
	if err := unmarshalStrictly(b, &raw); err != nil {
		return nil, fmt.Errorf("it is not a JWKS: %w", err)
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, %d are the most", len(raw.Keys), maxKeys)
	}
	s := &keySet{}
	for _, m := range raw.Keys {
		if m.USE != "" && m.USE != jwkset.UseSig || m.ALG != "" && algorithms[string(m.ALG)] != f {
			continue
		}
		k, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: f == familyHMAC}, jwkset.JWKValidateOptions{SkipX5UScheme: true, SkipAll: true})
		if err != nil || !hasFamily(k.Key(), f) {
			continue
		}
		s.add(m.KID, k.Key())
	}
	if len(s.all) == 0 {
		return nil, errors.New("it has no key for jwt-algorithms")
	}
	return s, nil
}
