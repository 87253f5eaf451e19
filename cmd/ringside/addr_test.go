package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/config"
)

func TestAdvertised(t *testing.T) {
	f := func(bound string, host config.Host, want string) {
		t.Helper()
		if got, err := advertised(bound, host); err != nil || got != want {
			t.Errorf("%s as %q: got %q, %v, want %q", bound, host, got, err, want)
		}
	}
	f("127.0.0.1:80", "", "127.0.0.1:80")
	f("[::1]:80", "", "[::1]:80")
	f("[::]:80", "10.0.0.7", "10.0.0.7:80")
	f("127.0.0.1:80", "edge.example", "edge.example:80")
	f("0.0.0.0:80", "fd00::7", "[fd00::7]:80")
	if _, err := advertised("nonsense", ""); err == nil {
		t.Error("nonsense: want an error")
	}
}

func TestNumeric(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got, err := numeric(addr); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", addr, got, err, want)
		}
	}
	f("10.0.0.7:80", "10.0.0.7:80")
	f("[::1]:80", "[::1]:80")
	f(":80", ":80")
	if got, err := numeric("localhost:80"); err != nil || got != "127.0.0.1:80" && got != "[::1]:80" {
		t.Errorf("localhost: got %q, %v", got, err)
	}
	if _, err := numeric("no-such-host.invalid:80"); err == nil {
		t.Error("a name that is not known: want an error")
	}
}

func TestPreferred(t *testing.T) {
	f := func(want string, addrs ...string) {
		t.Helper()
		var list []net.Addr
		for _, a := range addrs {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			n.IP = ip
			list = append(list, n)
		}
		got := ""
		if ip, ok := preferred(list); ok {
			got = ip.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", addrs, got, want)
		}
	}
	f("10.0.0.7", "127.0.0.1/8", "fd00::1/64", "203.0.113.1/24", "10.0.0.7/8", "192.168.0.1/16")
	f("203.0.113.1", "::1/128", "fe80::1/64", "203.0.113.1/24", "2001:db8::1/64")
	f("2001:db8::1", "fe80::1/64", "2001:db8::1/64")
	f("", "127.0.0.1/8", "169.254.1.1/16", "fe80::1/64")
}

func TestNotBound(t *testing.T) {
	f := func(err error, want ...string) {
		t.Helper()
		got := notBound("listen", "127.0.0.1:80", err).Error()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%v: got %q, want %q in it", err, got, w)
			}
		}
	}
	f(fmt.Errorf("listen: %w", syscall.EADDRINUSE), "--listen 127.0.0.1:80: address already in use", "RINGSIDE_LISTEN")
	f(errors.New("Failed to start TCP listener: bind: address already in use"), "address already in use")
	f(fmt.Errorf("listen: %w", syscall.EADDRNOTAVAIL), "no such address")
	f(fmt.Errorf("listen: %w", syscall.EACCES), "privileges")
	f(errors.New("something else"), "something else")
}
