package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/tlscert"
)

// security is a node's TLS: what it shows and believes, and the bridges that carry its connections.
type security struct {
	public, legs *tlscert.Files // nil where there is no TLS, or none with files
	acme         *tlscert.ACME
	bridges      *bridge.Set
}

// newSecurity reads the certificates. public is nil on a gateway.
func newSecurity(public *config.PublicTLS, legs config.LegTLS, carry bridge.Config, log *zap.Logger) (*security, error) {
	s := &security{bridges: bridge.NewSet(carry)}
	log = log.Named("tls")
	var err error
	if legs.Enabled() {
		s.legs, err = tlscert.Open(tlscert.Config{
			Use: "leg", Pairs: []tlscert.Pair{{Cert: legs.LegTLSCert, Key: legs.LegTLSKey}}, CA: legs.LegTLSCA, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("leg-tls: %w", err)
		}
	}
	if public == nil {
		return s, nil
	}
	if len(public.TLSCert) > 0 {
		c := tlscert.Config{Use: "public", Log: log}
		for i, cert := range public.TLSCert {
			c.Pairs = append(c.Pairs, tlscert.Pair{Cert: cert, Key: public.TLSKey[i]})
		}
		if s.public, err = tlscert.Open(c); err != nil {
			return nil, fmt.Errorf("tls-cert: %w", err)
		}
	}
	if len(public.ACMEHosts) > 0 {
		s.acme, err = tlscert.NewACME(tlscert.ACMEConfig{
			Hosts: public.ACMEHosts, Email: public.ACMEEmail, Cache: public.ACMECache, Directory: public.ACMEDirectory, CA: public.ACMECA, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
	}
	return s, nil
}

// publicConfig is what clients are served with; nil without TLS.
func (s *security) publicConfig() *tls.Config {
	if s.public == nil && s.acme == nil {
		return nil
	}
	return tlscert.Public(s.public, s.acme, bridge.ErrNoCertificate)
}

// legServer is what routers are served with, and legClient what gateways are dialed with; nil without TLS.
func (s *security) legServer() *tls.Config {
	if s.legs == nil {
		return nil
	}
	return tlscert.LegServer(s.legs)
}

func (s *security) legClient() func() *tls.Config {
	if s.legs == nil {
		return nil
	}
	return func() *tls.Config { return tlscert.LegClient(s.legs) }
}

// collectors are the metrics of it all.
func (s *security) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.bridges, tlscert.Metrics{Files: map[string]*tlscert.Files{"public": s.public, "leg": s.legs}, ACME: s.acme}}
}

// around runs node, and beside it what looks after certificates; the bridges go on until after has returned too, which is called
// when node has ended.
func (s *security) around(ctx context.Context, node func(context.Context) error, after func()) error {
	carry, stop := context.WithCancel(context.Background())
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		_ = s.bridges.Run(carry) // never fails
	}()
	defer func() {
		stop()
		<-carried
	}()
	parts := []part{{"", node}}
	for _, f := range []*tlscert.Files{s.public, s.legs} {
		if f != nil {
			parts = append(parts, part{"certificates", f.Run})
		}
	}
	if s.acme != nil {
		parts = append(parts, part{"acme", s.acme.Run})
	}
	err := runAll(ctx, parts...)
	after()
	return err
}

// lingerWhenSucceeded makes the node linger after it was succeeded. Signals are caught from now on, until the returned function is called.
func (n *routerNode) lingerWhenSucceeded(ctx context.Context, most time.Duration) (end func()) {
	term := make(chan os.Signal, 2)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	n.after = func() {
		if n.succeeded.Load() {
			n.linger(ctx, term, most)
		}
	}
	return func() { signal.Stop(term) }
}

// lingerTick is how often a process that only carries connections looks whether there are any.
const lingerTick = 50 * time.Millisecond

// linger carries TLS connections on for a successor, which has their sessions: until there are none, for most, or, once the process
// is told to end, for as long as a drain takes. A second signal ends it at once.
func (n *routerNode) linger(ctx context.Context, signals <-chan os.Signal, most time.Duration) {
	b := n.secure.bridges
	held := func() int { return b.Len(bridge.Client) + b.Len(bridge.Leg) }
	if held() == 0 {
		return
	}
	const slack = 5 * time.Second // for last words on their way
	n.log.Info("carries TLS connections on for its successor", zap.Int("clients", b.Len(bridge.Client)), zap.Duration("at_most", most))
	over := time.After(most + slack)
	tick := time.NewTicker(lingerTick)
	defer tick.Stop()
	for told := false; held() > 0; {
		select {
		case <-ctx.Done():
			return
		case <-over:
			n.log.Info("the successor's TLS clients have had their time", zap.Int("left", b.Len(bridge.Client)))
			return
		case <-signals:
			if told {
				return
			}
			told, over = true, time.After(n.set.drain+slack)
		case <-tick.C:
		}
	}
	n.log.Info("carries nothing any more")
}
