//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/ringside-edge/ringside/internal/netlab"
)

// names answers questions for addresses, by what exists at that moment.
type names struct {
	find  func(name string) (addrs []string, known bool) // of a name without the dot at its end; called concurrently
	asked atomic.Int64

	servers []*dns.Server
}

// serveNames answers at the middle of the network, where containers' resolv.conf sends them.
func serveNames(find func(string) ([]string, bool)) (*names, error) {
	n := &names{find: find}
	addr := net.JoinHostPort(netlab.Middle, "53")
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot answer questions for names: %w", err)
	}
	streams, err := net.Listen("tcp", addr)
	if err != nil {
		packets.Close()
		return nil, fmt.Errorf("cannot answer questions for names: %w", err)
	}
	n.servers = []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: streams, Handler: n}}
	for _, s := range n.servers {
		go func() { _ = s.ActivateAndServe() }() // ends with close
	}
	return n, nil
}

// ServeDNS answers one question.
func (n *names) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	n.asked.Add(1)
	answer := new(dns.Msg).SetReply(question)
	answer.Authoritative = true
	for _, q := range question.Question {
		addrs, known := n.find(strings.ToLower(strings.TrimSuffix(q.Name, ".")))
		if !known {
			answer.Rcode = dns.RcodeNameError
		}
		for _, a := range addrs {
			ip, err := netip.ParseAddr(a)
			if err == nil && q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: ip.AsSlice()})
			}
		}
	}
	_ = w.WriteMsg(answer) // who asked asks again
}

func (n *names) close() {
	for _, s := range n.servers {
		_ = s.Shutdown() // it ends with the program in any case
	}
}
