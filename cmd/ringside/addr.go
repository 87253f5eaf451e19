package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/config"
)

// advertised is the address by which others reach a bound one. host is what the settings say, empty when they say
// nothing: then a wildcard stands for the machine's first private address.
func advertised(bound string, host config.Host) (string, error) {
	name, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", bound, err)
	}
	if host != "" {
		return net.JoinHostPort(string(host), port), nil
	}
	if ip, err := netip.ParseAddr(name); err == nil && !ip.IsUnspecified() {
		return bound, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("cannot list the addresses of this machine: %w", err)
	}
	ip, ok := preferred(addrs)
	if !ok {
		return "", fmt.Errorf("cannot tell by which address others reach %s: set --advertise", bound)
	}
	return net.JoinHostPort(ip.String(), port), nil
}

// preferred is the address that other machines most likely reach this one by: private IPv4, else any IPv4, else
// IPv6.
func preferred(addrs []net.Addr) (best netip.Addr, ok bool) {
	rank := 0
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip, r := prefix.Addr(), 0
		switch {
		case !ip.IsGlobalUnicast():
		case ip.Is4() && ip.IsPrivate():
			r = 3
		case ip.Is4():
			r = 2
		default:
			r = 1
		}
		if r > rank {
			best, rank = ip, r
		}
	}
	return best, rank > 0
}

// resolveTimeout is what DNS has to find an address of gossip, which must be numeric.
const resolveTimeout = 5 * time.Second

// numeric turns the host of an address into an IP address; an empty one, which stands for all, it leaves. It may ask
// DNS.
func numeric(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", addr, err)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return addr, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ips[0].Unmap().String(), port), nil
}

// notBound explains why the address of a setting could not be bound; an error about something else it returns as it is.
func notBound(flag string, addr config.Addr, err error) error {
	env := "RINGSIDE_" + strings.ToUpper(flag)
	// Not every library passes the system's error on: the text has to do.
	switch text := err.Error(); {
	case errors.Is(err, syscall.EADDRINUSE) || strings.Contains(text, "address already in use"):
		return fmt.Errorf("--%s %s: address already in use: something else listens there; stop it, or set --%s (%s) to another address", flag, addr, flag, env)
	case errors.Is(err, syscall.EADDRNOTAVAIL) || strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("--%s %s: this machine has no such address; set --%s (%s) to one that it has", flag, addr, flag, env)
	case errors.Is(err, syscall.EACCES) || strings.Contains(text, "permission denied"):
		return fmt.Errorf("--%s %s: not permitted: ports below 1024 need privileges; set --%s (%s) to a higher one", flag, addr, flag, env)
	}
	return err
}
