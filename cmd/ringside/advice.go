package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// unreachable is an error of whoever wanted to talk to what, at where: with the reason that a person needs, and what to do about it.
func unreachable(what, where string, err error) *failure {
	reason, advice := reachAdvice(err)
	if reason != "" {
		err = errors.New(reason)
	}
	return &failure{code: exitUnreachable, err: fmt.Errorf("cannot reach %s %s: %w", what, where, err), advice: advice}
}

// reachAdvice reads an error of a connection. An empty reason means that the error itself says it best.
func reachAdvice(err error) (reason, advice string) {
	if reason, advice := tlsAdvice(err); advice != "" {
		return reason, advice
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, canTimeout := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", "Nobody listens there. Is the node up, and is this the address that its log calls \"listen\" (for clients) or \"admin\" (for commands)?"
	case isDNS && dns.IsNotFound:
		return "there is no host " + dns.Name, "Is the name right, and does this machine's DNS know it?"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), canTimeout && timeout.Timeout():
		return "no answer in time", "The host is away, something between drops packets, or the process there is stopped."
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "", "There is no way to that host from here."
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), strings.Contains(err.Error(), "malformed HTTP"):
		return "", "What listens there does not speak HTTP: a port of gossip, say, or one that wants TLS (https://, wss://)."
	}
	return "", ""
}

func tlsAdvice(err error) (reason, advice string) {
	record, isRecord := errors.AsType[tls.RecordHeaderError](err)
	host, isHost := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isAlert := errors.AsType[tls.AlertError](err)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), isRecord && string(record.RecordHeader[:]) == "HTTP/":
		return "it speaks no TLS", "Ask it by http:// (or ws://), or find out who took its certificate away."
	case isRecord:
		return "it speaks no TLS", "Is this the right port?"
	case isUnknown:
		return "its certificate is signed by an authority that is not known here", "Name the authority's certificate: --tls-ca FILE."
	case isHost:
		return fmt.Sprintf("its certificate is not for %s", host.Host), "Ask it by a name that its certificate has, or give it a certificate with this name."
	case isInvalid && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet", "Renew it, and look at the clocks of both machines."
	case isAlert && strings.Contains(err.Error(), "certificate"):
		return "", "It wants to be shown a certificate that it believes: --tls-cert FILE --tls-key FILE."
	}
	return "", ""
}

// notRingside is an answer that no node of ours gives.
func notRingside(where, what string) error {
	return &failure{
		code: exitUnreachable, err: fmt.Errorf("%s answers, but not as an admin port of Ringside does: %s", where, look80(what)),
		advice: "Is this the address that the node's log calls \"admin\"?",
	}
}

// look80 is the beginning of what somebody has said, on a line.
func look80(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return fmt.Sprintf("%.80q", text)
}

// refusalAdvice is what to do about a refusal of an admin port.
func refusalAdvice(status int, reason string, shown bool) string {
	switch {
	case status == http.StatusUnauthorized && shown:
		return "The token that was shown is none of those that this port takes (admin-token-file, publish-tokens-file)."
	case status == http.StatusUnauthorized:
		return "Show a token: --token-file FILE or the variable RINGSIDE_TOKEN; or a certificate: --tls-cert FILE --tls-key FILE."
	case reason == "topic_missing" && status == http.StatusNotFound:
		return "This is the port for clients: name the admin port."
	}
	return ""
}
