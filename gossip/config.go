package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"

	"github.com/ringside-edge/ringside/ring"
)

// Config is how a node takes part.
type Config struct {
	Bind      string             // host:port to listen on, UDP and TCP; port 0 lets the system choose, no host means all
	Advertise string             // host:port that others reach this node by; derived from Bind when empty
	Join      []string           // host:port of seeds; names are resolved at every try
	Cluster   string             // nodes of differently named clusters don't mix; "ringside"
	Secret    string             // encrypts gossip; empty: it is in the clear
	Accept    []string           // further secrets whose gossip is understood, while the secret is rotated; not without Secret
	Self      ring.Member        // this node; Gossip and Load are filled in
	Static    []ring.Member      // shards outside of gossip
	Wishes    func() ring.Wishes // what the settings ask of the placement; nil: nothing. Called after each of their changes
	Settings  *Settings          // that the node spreads; nil: its own, which nobody sets

	transport memberlist.Transport                                                  // of tests
	resolve   func(ctx context.Context, network, host string) ([]netip.Addr, error) // of tests
}

// checked is the configuration with defaults, or what is wrong with it.
func (c Config) checked() (Config, error) {
	if c.Cluster == "" {
		c.Cluster = "ringside"
	}
	if c.resolve == nil {
		c.resolve = net.DefaultResolver.LookupNetIP
	}
	c.Self.Load, c.Self.Static, c.Self.Weight = 0, false, max(c.Self.Weight, 1)
	if err := c.checkSelf(); err != nil {
		return c, err
	}
	if len(c.Cluster) > memberlist.LabelMaxSize {
		return c, fmt.Errorf("the cluster's name has %d bytes; %d are possible", len(c.Cluster), memberlist.LabelMaxSize)
	}
	if c.Secret == "" && len(c.Accept) > 0 {
		return c, errors.New("secrets to accept are set without one to encrypt with")
	}
	for _, addr := range c.Join {
		if _, _, err := split(addr); err != nil {
			return c, fmt.Errorf("seed: %w", err)
		}
	}
	return c, nil
}

func (c Config) checkSelf() error {
	m := c.Self
	switch {
	case m.ID == "":
		return errors.New("a node needs an ID")
	case m.Role.String() == "invalid":
		return fmt.Errorf("node %q needs a role", m.ID)
	case !known(m.State):
		return fmt.Errorf("node %q needs a state", m.ID)
	case m.Weight > maxWeight:
		return fmt.Errorf("node %q: a weight of %d is above %d", m.ID, m.Weight, maxWeight)
	}
	for _, s := range []string{m.ID, m.Addr, m.Admin, m.Zone} {
		if !printable(s) {
			return fmt.Errorf("node %q: %q holds what can't be printed", m.ID, s)
		}
	}
	for _, s := range c.Static {
		if s.Role == m.Role && s.ID == m.ID {
			return fmt.Errorf("%q is the ID of this node and of a static shard", m.ID)
		}
	}
	return nil
}

func known(s ring.State) bool { return s.String() != "invalid" }

// printable is asked of every text that comes from other nodes, because it gets into logs and answers.
func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// maxNodeName bounds names on the wire.
const maxNodeName = 128

// nodeName is the name of one boot of a node, for memberlist. No two boots have the same.
func nodeName(m ring.Member, boot uint64) string {
	id := m.ID
	if len(id) > 64 { // an ID of 255 bytes is legal, a name is in every message
		id = id[:64]
		for !utf8.ValidString(id) {
			id = id[:len(id)-1]
		}
	}
	return fmt.Sprintf("%s-%s-%016x", m.Role, id, boot)
}

// memberlistConfig is tuned for a local network: a drain flag is everywhere within 0.2 s, and a crash is known within
// 2–3 s.
func (n *Node) memberlistConfig() (*memberlist.Config, error) {
	mc := memberlist.DefaultLANConfig()
	mc.Name, mc.Label = n.name, n.cfg.Cluster
	mc.GossipInterval, mc.GossipNodes = 100*time.Millisecond, 4
	mc.ProbeInterval, mc.ProbeTimeout = 500*time.Millisecond, 200*time.Millisecond
	mc.SuspicionMult = 3
	mc.PushPullInterval = 10 * time.Second
	mc.TCPTimeout = 2 * time.Second
	mc.EnableCompression = false // it takes 64 KiB of new memory for each message, however short
	mc.Delegate, mc.Events, mc.Alive = delegate{n}, delegate{n}, delegate{n}
	mc.Logger = log.New(&logWriter{n: n}, "", 0)
	mc.Transport = n.cfg.transport
	if n.cfg.Secret != "" {
		var err error
		if mc.Keyring, err = keyring(n.cfg.Secret, n.cfg.Accept); err != nil {
			return nil, fmt.Errorf("cannot make the keys of gossip: %w", err)
		}
	}
	return mc, n.cfg.addresses(mc)
}

// keyring encrypts with the key of secret and decrypts with any.
func keyring(secret string, accept []string) (*memberlist.Keyring, error) {
	key := func(secret string) []byte { // AES-256; the prefix keeps it apart from other keys of the same secret
		sum := sha256.Sum256([]byte("ringside gossip v1\x00" + secret))
		return sum[:]
	}
	keys := make([][]byte, len(accept))
	for i, s := range accept {
		keys[i] = key(s)
	}
	return memberlist.NewKeyring(keys, key(secret))
}

// addresses sets where to listen and what to advertise. memberlist takes numbers only: a name that it can't parse it
// would silently bind to all interfaces.
func (c Config) addresses(mc *memberlist.Config) error {
	bind, err := numeric(c.Bind)
	if err != nil {
		return err
	}
	mc.BindAddr, mc.BindPort = bind.Addr().String(), int(bind.Port())
	advertise := bind
	switch {
	case c.Advertise != "":
		if advertise, err = numeric(c.Advertise); err != nil {
			return err
		}
		if advertise.Addr().IsUnspecified() {
			return fmt.Errorf("gossip address %q can't be advertised: want one that others can reach", c.Advertise)
		}
	case bind.Addr().IsUnspecified():
		ifs, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("cannot list the addresses of this machine: %w", err)
		}
		ip, ok := reachable(ifs)
		if !ok {
			return fmt.Errorf("cannot tell by which address others reach %q: set the address to advertise", c.Bind)
		}
		advertise = netip.AddrPortFrom(ip, bind.Port())
	}
	mc.AdvertiseAddr, mc.AdvertisePort = advertise.Addr().String(), int(advertise.Port())
	if mc.AdvertisePort == 0 {
		mc.AdvertisePort = mc.BindPort // if that is 0 too, the port that the system chooses
	}
	return nil
}

// numeric is addr with its host as a number; no host is all of them. It may ask DNS.
func numeric(addr string) (netip.AddrPort, error) {
	host, port, err := split(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("gossip %w", err)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("gossip address %q: %w", addr, err)
	}
	a, _ := netip.AddrFromSlice(ip.IP)
	return netip.AddrPortFrom(a.Unmap(), port), nil
}

// split is for addresses whose port must be a number.
func split(addr string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: want host:port", addr)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: the port is not a number up to 65535", addr)
	}
	return host, uint16(n), nil
}

// reachable is the address of this machine that others most likely reach it by: private IPv4, else any IPv4, else
// IPv6.
func reachable(ifs []net.Addr) (best netip.Addr, ok bool) {
	rank := 0
	for _, a := range ifs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip, r := prefix.Addr().Unmap(), 0
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

// jittered is between d and twice d.
func jittered(d time.Duration) time.Duration { return d + rand.N(d) }
