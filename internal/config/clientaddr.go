package config

import (
	"fmt"
	"net/netip"
)

// ClientAddr is how a router behind other proxies finds out who its client really is.
type ClientAddr struct {
	// From these the header of the PROXY protocol (version 1 or 2) is required: were it optional, a client behind a balancer
	// that does not add it could write its own. From everybody else it is no valid request.
	ProxyProtocolFrom []Prefix `group:"Client address" placeholder:"CIDR" example:"[10.0.0.0/8, fd00::/8]" help:"Balancers that begin every connection with a PROXY protocol header, separated by commas; none by default."`
	// The client is the right-most address of X-Forwarded-For that is not one of these, when the connection comes from one
	// of them. Nothing that stands left of it is believed.
	TrustedProxies []Prefix `group:"Client address" placeholder:"CIDR" example:"[10.0.0.0/8, fd00::/8]" help:"HTTP proxies whose X-Forwarded-For is believed, separated by commas; none by default."`
}

// Prefix is a network, or one address.
type Prefix netip.Prefix

// UnmarshalText takes a CIDR or an address.
func (p *Prefix) UnmarshalText(text []byte) error {
	got, err := netip.ParsePrefix(string(text))
	if err != nil {
		a, addrErr := netip.ParseAddr(string(text))
		if addrErr != nil || a.Zone() != "" {
			return fmt.Errorf("%q is not a network: want a CIDR or an address, for example 10.0.0.0/8, fd00::/8 or 192.0.2.7", text)
		}
		got = netip.PrefixFrom(a, a.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address in one of IPv6
	if a := got.Addr(); a.Is4In6() && got.Bits() >= mapped {
		got = netip.PrefixFrom(a.Unmap(), got.Bits()-mapped)
	}
	*p = Prefix(got.Masked())
	return nil
}

// String is the network as a CIDR.
func (p Prefix) String() string { return netip.Prefix(p).String() }

// Prefixes are the networks of a list.
func Prefixes(list []Prefix) []netip.Prefix {
	var got []netip.Prefix
	for _, p := range list {
		got = append(got, netip.Prefix(p))
	}
	return got
}
