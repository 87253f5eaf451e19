package bridge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Outcome says how a TLS handshake went.
type Outcome uint8

// Outcomes of a handshake.
const (
	OK            Outcome = iota
	Timeout               // it did not end in time
	Aborted               // the peer closed within it
	NotTLS                // the peer speaks something else
	NoCertificate         // we have none for the name that was asked for
	BadPeer               // the peer's certificate is none that we believe, or is missing
	Rejected              // the peer has refused us: it does not believe our certificate, as a rule
	Mismatch              // there is no version, cipher or protocol that both have; anything else
	outcomes
)

func (o Outcome) String() string {
	return [outcomes]string{"ok", "timeout", "aborted", "not_tls", "no_certificate", "bad_peer", "rejected", "mismatch"}[o]
}

// ErrNoCertificate is what a [tls.Config] says that has no certificate for the name which a client asks for.
var ErrNoCertificate = errors.New("there is no certificate for that name")

// Accept takes a handshake of a client of ours over w, until deadline; on an error w is still open.
func (s *Set) Accept(side Side, w *Wire, cfg *tls.Config, deadline time.Time) (*tls.Conn, Outcome, error) {
	return s.shake(context.Background(), side, w, tls.Server(w, cfg), deadline)
}

// Connect makes a handshake with a server over w, until deadline or until ctx ends; on an error w is still open.
func (s *Set) Connect(ctx context.Context, side Side, w *Wire, cfg *tls.Config, deadline time.Time) (*tls.Conn, Outcome, error) {
	return s.shake(ctx, side, w, tls.Client(w, cfg), deadline)
}

func (s *Set) shake(ctx context.Context, side Side, w *Wire, c *tls.Conn, deadline time.Time) (*tls.Conn, Outcome, error) {
	err := w.SetDeadline(deadline)
	if err == nil {
		err = c.HandshakeContext(ctx)
	}
	outcome := OutcomeOf(err)
	s.hands[side][outcome].Add(1)
	if err != nil {
		return nil, outcome, fmt.Errorf("TLS: %w", err)
	}
	return c, OK, nil
}

// OutcomeOf tells what an error of a handshake means. In TLS 1.3 a server may refuse a client's certificate only when the client
// takes the handshake for done, so that its first read fails.
func OutcomeOf(err error) Outcome {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	switch {
	case err == nil:
		return OK
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.As(err, &record):
		return NotTLS
	case errors.Is(err, ErrNoCertificate):
		return NoCertificate
	case errors.As(err, &verify), errors.As(err, &authority), errors.As(err, &invalid), errors.As(err, &host),
		strings.Contains(err.Error(), "didn't provide a certificate"): // it has no type
		return BadPeer
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		return Rejected
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return Aborted
	}
	return Mismatch
}
