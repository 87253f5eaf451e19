package config

import (
	"strings"
	"testing"
)

func TestPrefix(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var p Prefix
		err := p.UnmarshalText([]byte(text))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "want a CIDR")):
			t.Errorf("%q: got %v, %v, want an error that says what is accepted", text, p, err)
		case want != "" && (err != nil || p.String() != want):
			t.Errorf("%q: got %v, %v, want %s", text, p, err, want)
		}
	}
	f("10.0.0.0/8", "10.0.0.0/8")
	f("10.1.2.3/8", "10.0.0.0/8")
	f("192.0.2.7", "192.0.2.7/32")
	f("fd00::1/8", "fd00::/8")
	f("::ffff:10.0.0.0/104", "10.0.0.0/8")
	f("::ffff:10.0.0.1", "10.0.0.1/32")
	f("0.0.0.0/0", "0.0.0.0/0")
	f("", "")
	f("10.0.0.0/33", "")
	f("10.0.0", "")
	f("balancer.example", "")
	f("fe80::1%eth0", "")
}

func TestClientAddrSettings(t *testing.T) {
	g, err := parse(t, "router --proxy-protocol-from 10.0.0.0/8,fd00::1", nil, "trusted-proxies: [192.0.2.0/24, 198.51.100.7]\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := Prefixes(g.Router.ProxyProtocolFrom); len(got) != 2 || got[1].String() != "fd00::1/128" {
		t.Errorf("proxy-protocol-from: got %v", got)
	}
	if got := Prefixes(g.Router.TrustedProxies); len(got) != 2 || got[0].String() != "192.0.2.0/24" {
		t.Errorf("trusted-proxies: got %v", got)
	}
	if _, err := parse(t, "router --trusted-proxies 10.0.0.0/8,nonsense", nil, ""); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want an error that names what is wrong", err)
	}
}
