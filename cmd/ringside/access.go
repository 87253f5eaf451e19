package main

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// newAccess makes a gateway's guard. What a topic demands say the rules, and for those of which they say nothing the settings. On an
// error nothing is left open.
func newAccess(cfg config.Auth, cable config.Cable, rules *topicrule.Rules, log *zap.Logger) (*gateway.Access, error) {
	guard, err := newGuard(cfg, cable, log)
	if err != nil {
		return nil, err
	}
	byName := map[string][]auth.Methods{}
	for _, names := range append([][]string{cfg.Auth}, rules.Demands()...) {
		demanded, err := auth.ParseMethods(names)
		if err == nil {
			err = guard.Check(demanded)
		}
		if err != nil {
			guard.Close()
			return nil, fmt.Errorf("auth: %w", err)
		}
		byName[strings.Join(names, ",")] = demanded
	}
	otherwise := byName[strings.Join(cfg.Auth, ",")]
	return &gateway.Access{Guard: guard, Demands: func(topic string) []auth.Methods {
		if names, set := rules.Auth(topic); set {
			return byName[strings.Join(names, ",")]
		}
		return otherwise
	}}, nil
}

func newGuard(cfg config.Auth, cable config.Cable, log *zap.Logger) (*auth.Guard, error) {
	c := auth.Config{Queue: cfg.App.Farewells, Cable: cableAuth(cable, cfg.JWT.Leeway)}
	if len(cfg.JWT.Algorithms) > 0 {
		j := cfg.JWT
		c.JWT = &auth.JWTConfig{
			Algorithms: j.Algorithms, SecretFile: j.SecretFile, KeyFile: j.KeyFile, JWKSFile: j.JWKSFile, JWKSURL: j.JWKSURL, AllowHTTP: cfg.AllowHTTP,
			Refresh: j.JWKSRefresh, MinRefresh: j.JWKSMinRefresh, Timeout: j.JWKSTimeout, Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway,
			Forever: j.Forever, Identity: j.IdentityClaim, Topics: j.TopicsClaim, Param: j.Param, Cookie: j.Cookie,
		}
	}
	a := cfg.App
	calls := auth.CallConfig{Timeout: a.Timeout, Concurrency: a.Concurrency, Waiting: a.Waiting, Failures: a.Failures, Pause: a.Pause}
	for _, h := range a.Headers {
		calls.Headers = append(calls.Headers, strings.ToLower(strings.TrimSpace(h)))
	}
	if len(cfg.RPC.Host) > 0 {
		c.RPC = &auth.RPCConfig{CallConfig: calls}
		for _, h := range cfg.RPC.Host {
			c.RPC.Hosts = append(c.RPC.Hosts, string(h))
		}
		if cfg.RPC.HasTLS() {
			var err error
			c.RPC.TLS, err = certs.Client(certs.Files{CA: cfg.RPC.TLSCA, Cert: cfg.RPC.TLSCert, Key: cfg.RPC.TLSKey}, cfg.RPC.TLSServerName)
			if err != nil {
				return nil, fmt.Errorf("rpc-tls: %w", err)
			}
		}
	}
	if cfg.WebhookURL != "" {
		c.Webhook = &auth.WebhookConfig{URL: cfg.WebhookURL, SecretFile: cfg.WebhookSecretFile, AllowHTTP: cfg.AllowHTTP, CallConfig: calls}
	}
	return auth.New(c, log.Named("auth"))
}
