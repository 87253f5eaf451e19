package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admin/page"
	"github.com/ringside-edge/ringside/internal/config"
)

type devCmd struct{ config.Dev }

// Run runs a whole cluster until it is interrupted.
//
//	dev ── Redis in this process (unless --redis names one)
//	 ├──── router  ── admin port with the page
//	 ├──── match ───► streams;  crowd ───► router
//	 ├──── g1 ─┐
//	 ├──── g2 ─┼─ ports that are free, gossip with the router on loopback; each comes back when it was drained or killed
//	 └──── g3 ─┘
func (c *devCmd) Run(ctx context.Context, std stdio) error {
	log, err := newLogger(c.Logging, std.err)
	if err != nil {
		return err
	}
	redis := c.Redis
	parts := []part{}
	if redis == "" {
		embedded := miniredis.NewMiniRedis()
		if err := embedded.StartAddr("127.0.0.1:0"); err != nil {
			return fmt.Errorf("cannot start the embedded Redis: %w", err)
		}
		defer embedded.Close()
		redis = config.RedisURL("redis://" + embedded.Addr())
		parts = append(parts, part{"", func(ctx context.Context) error { return pass(ctx, embedded) }})
	}
	stop := newTrigger()
	secret := config.Secret(rand.Text()) // nobody else is to join
	gateways, viewers := stage{}, &crowd{viewers: c.Viewers}
	router, err := c.router(redis, secret, log, page.Stage{Topic: c.topic(), Kill: gateways.kill, Crowd: viewers.counts})
	if err != nil {
		return err
	}
	viewers.router, viewers.policy = router.server.Addr(), router.settings.Policy
	parts = append(parts, signals(stop), part{"", func(ctx context.Context) error { return until(ctx, stop) }}, part{"router", router.run})
	for i := range c.Gateways {
		g := config.DefaultGateway(config.ID(fmt.Sprintf("g%d", i+1)))
		g.Listen, g.Admin, g.Gossip = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		g.Join, g.Secret = []config.Peer{config.Peer(router.gossip().Addr())}, secret
		g.Redis, g.DrainWindow, g.DrainMin, g.TopicRules = redis, devDrain, 1, c.TopicRules
		g.ViewersEvery = time.Second // somebody looks
		d := &devGateway{cfg: g, log: log.Named(string(g.ID))}
		gateways[string(g.ID)] = d
		parts = append(parts, part{string(g.ID), d.run})
	}
	if c.Match {
		m := newMatch(publisher{router.stream, &router.published}, log.Named("match"))
		parts = append(parts, part{"match", m.run}, part{"", viewers.run})
	}
	c.say(std, router, redis)
	return runAll(ctx, parts...)
}

// topic is the one of the match; empty without one.
func (c *devCmd) topic() string {
	if c.Match {
		return matchTopic
	}
	return ""
}

// router is the cluster's router, with the page.
func (c *devCmd) router(redis config.RedisURL, secret config.Secret, log *zap.Logger, stage page.Stage) (*routerNode, error) {
	cfg := config.DefaultRouter()
	cfg.ID, cfg.Listen, cfg.Admin, cfg.Gossip, cfg.Redis = "router", c.Listen, c.Admin, "127.0.0.1:0", redis
	cfg.Secret, cfg.DrainWindow = secret, devDrain
	var node *routerNode // for the fallback, which is called once it runs
	extras := routerExtras{
		root: func(router string) (http.Handler, error) { return page.New(router, stage) },
		fallback: func(ctx *fasthttp.RequestCtx) {
			toPage(ctx, node.face.Load().admin.Addr())
		},
	}
	var err error
	node, err = newRouter(cfg, log.Named("router"), newTrigger(), extras)
	return node, err
}

// toPage sends who opens the public port in a browser to the page.
func toPage(ctx *fasthttp.RequestCtx, admin string) {
	if string(ctx.Path()) != "/" || !ctx.IsGet() && !ctx.IsHead() {
		ctx.SetStatusCode(http.StatusNotFound)
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"error":"topic_missing","message":"the URL names no topic: connect to /t/{topic}"}` + "\n")
		return
	}
	host, port, err := net.SplitHostPort(admin)
	if seen, _, splitErr := net.SplitHostPort(string(ctx.Host())); splitErr == nil && config.Addr(admin).Wildcard() {
		host = seen // the page is where the browser is already
	}
	if err != nil {
		ctx.SetStatusCode(http.StatusInternalServerError)
		return
	}
	ctx.Response.Header.Set("Location", "http://"+net.JoinHostPort(host, port)+"/")
	ctx.SetStatusCode(http.StatusFound)
}

// until ends when stop is pulled: a development cluster ends at once, without a drain.
func until(ctx context.Context, stop *trigger) error {
	select {
	case <-ctx.Done():
	case <-stop.pulled():
	}
	return nil
}

// pass lets time pass in the embedded Redis, whose keys would never expire by themselves.
func pass(ctx context.Context, r *miniredis.Miniredis) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.FastForward(time.Second)
		}
	}
}

// say tells where to look.
func (c *devCmd) say(std stdio, router *routerNode, redis config.RedisURL) {
	listen, admin := router.server.Addr(), router.face.Load().admin.Addr()
	where := "in this process, " + redis.Redacted()
	if c.Redis != "" {
		where = redis.Redacted()
	}
	fmt.Fprintf(std.out, `Ringside: a router, %d gateways, Redis %s

    page       http://%s/
    dashboard  http://%[3]s/dashboard/
    connect    ws://%[4]s/t/finals
    publish    curl -X POST http://%[3]s/publish/finals -d '{"score":"2:1"}'
    ring       curl 'http://%[3]s/ring?format=text'

Ctrl-C ends it.

`, c.Gateways, where, admin, listen)
}
