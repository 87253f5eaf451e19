package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Config is how a guard is set up. What is nil is not there: a topic that demands it is refused by [Guard.Check].
type Config struct {
	JWT     *JWTConfig
	RPC     *RPCConfig
	Webhook *WebhookConfig
	Cable   *CableConfig
	Queue   int              // sessions that are over, of which the application has not been told yet
	Now     func() time.Time // the clock; nil for the system's
}

// Guard authenticates. Its methods are safe for concurrent use.
type Guard struct {
	cfg       Config
	verifier  *verifier // nil: no JWT
	jwks      *jwks     // nil: no keys behind a URL
	rpc       *caller   // nil: none
	webhook   *caller   // nil: none
	cable     *cable    // nil: no Action Cable
	farewells farewells
	metrics   *metrics
}

// New checks the settings, and reads the files that they name. Nothing is asked before Run. A guard that is never run must
// be closed with Close.
func New(cfg Config, log *zap.Logger) (*Guard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Guard{cfg: cfg, metrics: newMetrics(), farewells: farewells{queue: make(chan farewell, max(1, cfg.Queue))}}
	var err error
	if cfg.JWT != nil {
		g.verifier, err = newVerifier(*cfg.JWT, cfg.Now, func(f family) (keySource, error) { return g.openKeys(f, log) })
	}
	if err == nil && cfg.RPC != nil {
		var app *rpcApp
		if app, err = newRPC(cfg.RPC); err == nil {
			g.rpc = newCaller("rpc", app, cfg.RPC.CallConfig, log)
		}
	}
	if err == nil && cfg.Webhook != nil {
		var app *hook
		if app, err = newHook(cfg.Webhook, cfg.Now); err == nil {
			g.webhook = newCaller("webhook", app, cfg.Webhook.CallConfig, log)
		}
	}
	if err == nil && cfg.Cable != nil {
		g.cable, err = newCable(cfg.Cable, cfg.Now)
		if err == nil && cfg.Cable.Demand == RPC {
			err = g.Check([]Methods{RPC})
		}
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Guard) openKeys(f family, log *zap.Logger) (keySource, error) {
	c := g.cfg.JWT
	given := 0
	for _, s := range []string{c.SecretFile, c.KeyFile, c.JWKSFile, c.JWKSURL} {
		if s != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New("want one of jwt-secret-file, jwt-key-file, jwt-jwks-file and jwt-jwks-url")
	case (c.SecretFile != "") != (f == familyHMAC) && c.JWKSFile == "":
		return nil, fmt.Errorf("jwt-algorithms %v: HS256 and its siblings take jwt-secret-file, the others keys that everybody may know", c.Algorithms)
	case c.SecretFile != "":
		return readSecret(c.SecretFile)
	case c.KeyFile != "":
		return readPEM(c.KeyFile, f)
	case c.JWKSFile != "":
		return readSet(c.JWKSFile, f)
	}
	var err error
	g.jwks, err = newJWKS(*c, f, log)
	return g.jwks, err
}

// Close frees what New has taken, for a guard that is never run.
func (g *Guard) Close() {
	for _, c := range []*caller{g.rpc, g.webhook} {
		if c != nil {
			c.app.close()
		}
	}
}

// Run reads keys anew and tells the application of sessions that are over, until ctx ends and then for a moment more. It
// blocks and must be called once.
func (g *Guard) Run(ctx context.Context) error {
	defer g.Close()
	var wg sync.WaitGroup
	if g.jwks != nil {
		wg.Go(func() { g.jwks.run(ctx) })
	}
	if c := g.app(RPC | Webhook); c != nil {
		wg.Go(func() { g.runFarewells(ctx, c) })
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}

// app is the caller of a grant that has passed methods.
func (g *Guard) app(passed Methods) *caller {
	switch {
	case passed&RPC != 0 && g.rpc != nil:
		return g.rpc
	case passed&Webhook != 0:
		return g.webhook
	}
	return nil
}

// ParseMethods reads the names of methods, open among them, in the order in which they are asked.
func ParseMethods(names []string) ([]Methods, error) {
	var list []Methods
	var all Methods
	for _, n := range names {
		m, known := map[string]Methods{"open": 0, "jwt": JWT, "rpc": RPC, "webhook": Webhook}[strings.TrimSpace(n)]
		switch {
		case !known:
			return nil, fmt.Errorf("%.20q is no way to authenticate: want open, jwt, rpc or webhook", n)
		case m == 0 && len(names) > 1:
			return nil, errors.New("open stands alone")
		case m != 0 && all&m != 0:
			return nil, fmt.Errorf("%s is there twice", n)
		case m != 0:
			list = append(list, m)
		}
		all |= m
	}
	if all&RPC != 0 && all&Webhook != 0 {
		return nil, errors.New("rpc and webhook exclude each other: there is one application")
	}
	return list, nil
}

// Check says what is not set up of what a topic demands; nil when nothing is missing.
func (g *Guard) Check(demanded []Methods) error {
	for _, m := range demanded {
		switch {
		case m == JWT && g.verifier == nil:
			return errors.New("wants jwt, and no jwt-algorithms are set")
		case m == RPC && g.rpc == nil:
			return errors.New("wants rpc, and no rpc-host is set")
		case m == Webhook && g.webhook == nil:
			return errors.New("wants webhook, and no webhook-url is set")
		}
	}
	return nil
}

// Connect asks the methods that a topic demands, in their order. All have to agree. It returns nil and nil when there are
// none. It blocks, but not longer than the time-outs allow.
func (g *Guard) Connect(ctx context.Context, demanded []Methods, r *Request) (*Grant, *Refusal) {
	var got *Grant
	for _, m := range demanded {
		var no *Refusal
		if m == JWT {
			got, no = g.byToken(ctx, r)
		} else {
			got, no = g.byApp(ctx, m, r, got)
		}
		if no != nil {
			g.metrics.refused(no)
			return nil, no
		}
	}
	if got == nil {
		return nil, nil //nolint:nilnil // nil is the open topic's grant
	}
	if no := got.check(); no != nil {
		g.metrics.refused(no)
		return nil, no
	}
	g.metrics.granted.Add(1)
	return got, nil
}

func (g *Guard) byToken(ctx context.Context, r *Request) (*Grant, *Refusal) {
	got, no := g.verifier.grant(ctx, g.cfg.JWT.token(r))
	if no == nil && !got.covers(r.Topic) {
		no = forbidden(TokenTopic, "the token does not cover the topic")
	}
	return got, no
}

// byApp asks the application. sofar is what was found out before; nil for nothing.
func (g *Guard) byApp(ctx context.Context, m Methods, r *Request, sofar *Grant) (*Grant, *Refusal) {
	c := g.app(m)
	app := g.appOfRequest(m, c, r)
	v, no := c.do(ctx, callConnect, func(ctx context.Context) (verdict, error) { return c.app.connect(ctx, r, app) })
	if no != nil {
		return nil, no
	}
	app.Identifiers, app.State = v.identifiers, v.state
	next := Grant{}
	if sofar != nil {
		next = *sofar
	}
	next.Passed |= m
	next.App = app
	return &next, nil
}

// appOfRequest is what the application is told of a handshake.
func (g *Guard) appOfRequest(m Methods, c *caller, r *Request) *App {
	app := &App{URL: withoutParam(g.cfg.JWT.secretsOut(r.URI), "jid"), Headers: make(map[string]string)}
	if r.Host != "" {
		scheme := "http://"
		if strings.EqualFold(r.Header("X-Forwarded-Proto"), "https") { // it decides nothing: it is what the application takes its URL for
			scheme = "https://"
		}
		app.URL = scheme + r.Host + app.URL
	}
	for _, name := range c.cfg.Headers {
		if v := r.Header(name); v != "" {
			app.Headers[name] = strings.ToValidUTF8(v, "\uFFFD")
		}
	}
	if m == RPC && r.Client != "" {
		app.Headers["REMOTE_ADDR"] = r.Client // where services that are written for AnyCable look for it
	}
	return app
}

// Renew is a session's grant with a fresh token. It must be of the same client. It may wait for keys.
func (g *Guard) Renew(ctx context.Context, old *Grant, token string) (*Grant, *Refusal) {
	if old == nil || old.Passed&JWT == 0 || g.verifier == nil {
		return nil, forbidden(NotAllowed, "the session was not begun with a token")
	}
	fresh, no := g.verifier.grant(ctx, token)
	if no == nil && fresh.Identity != old.Identity {
		no = forbidden(TokenIdentity, "the token is of another client")
	}
	if no == nil {
		next := *old
		next.Topics, next.Expires = fresh.Topics, fresh.Expires
		fresh = &next
		no = fresh.check()
	}
	if no != nil {
		g.metrics.refused(no)
		return nil, no
	}
	g.metrics.renewed.Add(1)
	return fresh, nil
}

// Command asks the application about something that a client of a session has said. The grant that it returns has the
// application's newest notes. It blocks, but not longer than the time-out allows.
func (g *Guard) Command(ctx context.Context, session uint64, grant *Grant, cmd Command) (*Grant, Answer, *Refusal) {
	c := g.appOf(grant)
	if c == nil {
		return grant, Answer{}, forbidden(NotAllowed, "no application listens to this session")
	}
	v, no := c.do(ctx, callCommand, func(ctx context.Context) (verdict, error) { return c.app.command(ctx, session, grant.App, cmd) })
	if no != nil {
		return grant, v.answer, no
	}
	next := grant.withState(v.state)
	if no = next.check(); no != nil {
		return grant, v.answer, no
	}
	return next, v.answer, nil
}

func (g *Guard) appOf(grant *Grant) *caller {
	if !grant.Owes() {
		return nil
	}
	return g.app(grant.Passed)
}

// Ended tells the application in time that a session is over, which followed topics. It does not block, and does nothing for
// a session that the application does not know.
func (g *Guard) Ended(session uint64, grant *Grant, topics []string) {
	if g.appOf(grant) != nil {
		g.farewells.add(farewell{session, grant, topics, time.Now()})
	}
}

// Vanished counts a session of which nobody can tell whether it is over.
func (g *Guard) Vanished(grant *Grant) {
	if g.appOf(grant) != nil {
		g.farewells.dropped[dropUnknown].Add(1)
	}
}
