package config

import (
	"strings"
	"testing"
)

func TestTLSSettings(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		_, err := parse(t, line, nil, "")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", line, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	f("router --tls-cert a.crt,b.crt --tls-key a.key,b.key", "")
	f("router --tls-cert a.crt,b.crt --tls-key a.key", "a key for each certificate")
	f("router --tls-key a.key", "a key for each certificate")
	f("router --acme-hosts edge.example --acme-cache /var/lib/x", "")
	f("router --acme-hosts edge.example", "acme-cache")
	f("router --acme-hosts https://edge.example --acme-cache /x", "not a host name")
	f("router --acme-directory http://ca.example/dir", "not an https URL")
	f("router --takeover-linger 48h", "too large")
	const legs = " --leg-tls-cert a.crt --leg-tls-key a.key --leg-tls-ca ca.crt"
	f("router"+legs, "")
	f("gateway --id g1"+legs, "")
	f("router --leg-tls-cert a.crt --leg-tls-key a.key", "all three or none")
	f("gateway --id g1 --leg-tls-ca ca.crt", "all three or none")
}
