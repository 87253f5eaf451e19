package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

//go:embed redis_publish.md.tmpl
var publishTemplate string

// publishWay is a way to publish as fast as Redis, and all that stands before it, takes messages.
type publishWay struct {
	What string
	Also string // how many at once
	run  func(p *publishing, ctx context.Context) error
}

func publishWays() []publishWay {
	return []publishWay{
		{"plain `XADD`", "4 connections, 64 commands under way on each", (*publishing).xadd},
		{"the publish script, one message a call", "128 calls under way on one connection", (*publishing).script},
		{"the publish script, 100 messages a call", "4 calls under way", (*publishing).scriptBatch},
		{"`POST /publish`, one message", "32 connections", (*publishing).post},
		{"`POST /publish`, 100 messages", "4 connections", (*publishing).postBatch},
		{"`ringside publish --lines`", "one process", (*publishing).lines},
	}
}

const publishBatch = 100

// publishing is a Redis with a router in front of it, and no gateway: nothing reads.
type publishing struct {
	o      redisOptions
	stage  *stage
	router *testcluster.Node
	topics []string
	body   string // of a message: JSON
	until  time.Time
	taken  atomic.Int64
	ended  time.Duration // CPU time of processes of ours that are over
}

// published is what came of a way in a round.
type published struct {
	perSecond float64
	redis     float64 // µs of CPU per message
	busy      float64 // share of one CPU that Redis used, percent
	others    float64
}

// publishRow is a way's line: medians.
type publishRow struct {
	publishWay
	PerSecond, Redis, Busy float64
	Rounds                 []float64 // PerSecond
}

type publishData struct {
	redisHead
	Rows []publishRow
}

func measurePublish(ctx context.Context, o redisOptions, h redisHead) (string, error) {
	p := &publishing{o: o, topics: o.topicNames(partPublish)}
	p.body = `"` + strings.Repeat("x", o.size-2) + `"`
	defer func() {
		if p.stage != nil {
			p.stage.stop()
		}
	}()
	if err := p.start(ctx); err != nil {
		return "", err
	}
	ways := publishWays()
	results := make([][]published, len(ways))
	for round := range o.rounds {
		for turn := range ways {
			i := turn
			if round%2 == 1 {
				i = len(ways) - 1 - turn
			}
			show.Next("round %d of %d, %s", round+1, o.rounds, ways[i].What)
			r, err := p.measure(ctx, ways[i])
			if err != nil {
				return "", fmt.Errorf("%s: %w", ways[i].What, err)
			}
			say("%s: %.0f/s, redis %.1f µs", ways[i].What, r.perSecond, r.redis)
			results[i] = append(results[i], r)
		}
	}
	return reportPublish(h, ways, results)
}

func reportPublish(h redisHead, ways []publishWay, results [][]published) (string, error) {
	d := publishData{redisHead: h}
	for i, w := range ways {
		list := results[i]
		perSecond := func(r *published) float64 { return r.perSecond }
		d.Rows = append(d.Rows, publishRow{w, of(list, perSecond), of(list, func(r *published) float64 { return r.redis }),
			of(list, func(r *published) float64 { return r.busy }), each(list, perSecond)})
		for _, r := range list {
			d.Others = max(d.Others, r.others)
		}
	}
	return render(publishTemplate, d)
}

func (p *publishing) start(ctx context.Context) (err error) {
	if p.stage, err = newRedisStage(ctx, p.o.binary); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p.router, err = testcluster.StartNode(ctx, testcluster.NodeSpec{Binary: p.stage.binary, Role: testcluster.Router, Redis: p.stage.redis.URL()})
	if err != nil {
		return err
	}
	p.stage.procs, p.stage.router = append(p.stage.procs, p.router.Process), p.router
	return testcluster.Poll(ctx, func() error {
		r, err := p.router.Post(ctx, "/publish/warm", `"x"`)
		if err == nil && r.Status != 200 {
			err = fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return err
	})
}

// measure empties Redis, publishes for a while and tells what it took.
func (p *publishing) measure(ctx context.Context, w publishWay) (r published, err error) {
	if err := p.empty(); err != nil {
		return r, err
	}
	before, err := p.stage.readLoad()
	if err != nil {
		return r, err
	}
	began := time.Now()
	p.until = began.Add(p.o.window)
	p.taken.Store(0)
	p.ended = 0
	if err := w.run(p, ctx); err != nil {
		return r, err
	}
	took := time.Since(began)
	after, err := p.stage.readLoad()
	if err != nil {
		return r, err
	}
	after.ours += p.ended
	used, n := after.since(before), float64(p.taken.Load())
	return published{n / took.Seconds(), inMicros(used.redis) / n, 100 * used.redis.Seconds() / took.Seconds(), used.Others()}, ctx.Err()
}

// empty takes the messages of the way before out of Redis.
func (p *publishing) empty() error {
	c, err := testcluster.DialRedis(p.stage.redis.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do("FLUSHALL")
	return err
}

// over reports that it is time to end.
func (p *publishing) over(ctx context.Context) bool {
	return ctx.Err() != nil || !time.Now().Before(p.until)
}

// at runs f so many times at once, with numbers that are different; the first error is returned.
func (p *publishing) at(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// lines feeds the program with lines, which it publishes as they come.
func (p *publishing) lines(ctx context.Context) error {
	c, in, err := startPublisher(ctx, p.stage.binary, httpURL(p.router.Admin))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(in, 64<<10)
	n := int64(0)
	for ; !p.over(ctx) && err == nil; n++ {
		_, err = fmt.Fprintf(out, `{"topic":%q,"data":%s}`+"\n", p.topics[int(n)%len(p.topics)], p.body)
	}
	if err == nil {
		err = out.Flush()
	}
	_ = in.Close()
	if e := c.Wait(); e != nil {
		err = fmt.Errorf("ringside publish --lines: %w", e)
	}
	p.taken.Store(n)
	p.ended = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return err
}
