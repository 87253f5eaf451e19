package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// redisArg as the first argument measures what messages cost Redis.
const redisArg = "redis"

// redisOptions are the command line of `bench redis`.
type redisOptions struct {
	parts    []string
	gateways []int
	rate     float64
	rates    []float64
	topics   int
	size     int
	window   time.Duration
	rounds   int
	binary   string
	out      string

	command string
}

// The parts of the measurement. Each writes a section of its own.
const (
	partReaders = "readers"
	partLinger  = "linger"
	partPublish = "publish"
)

//nolint:gochecknoglobals // a constant
var redisParts = []string{partReaders, partLinger, partPublish}

// redisBegin begins the section of a part.
func redisBegin(part string) string {
	return map[string]string{
		partReaders: "## What Redis costs, by gateways",
		partLinger:  "## What lingering reads save",
		partPublish: "## What Redis costs, by ways to publish",
	}[part]
}

func redisSections() (list []string) {
	for _, p := range redisParts {
		list = append(list, redisBegin(p))
	}
	return list
}

func parseRedis(args []string) (redisOptions, error) {
	var o redisOptions
	fs := flag.NewFlagSet("bench "+redisArg, flag.ContinueOnError)
	parts := fs.String("parts", strings.Join(redisParts, ","), "what to measure, comma-separated: each writes a section")
	gateways := fs.String("gateways", "1,3,8,16", "numbers of gateways of readers, comma-separated")
	fs.Float64Var(&o.rate, "rate", 500, "messages per second of readers")
	rates := fs.String("rates", "10,100,1000,5000", "messages per second of linger, comma-separated")
	fs.IntVar(&o.topics, "topics", 32, "topics")
	fs.IntVar(&o.size, "size", 200, "bytes of a message")
	fs.DurationVar(&o.window, "window", 5*time.Second, "length of one measurement")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; the order turns with each")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/BENCHMARKS.md", "file whose sections are written anew; - for the standard output")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	o.parts = strings.Split(*parts, ",")
	for _, p := range o.parts {
		if !slices.Contains(redisParts, p) {
			return o, fmt.Errorf("-parts: got %q, want of %s", *parts, strings.Join(redisParts, ", "))
		}
	}
	for f := range strings.SplitSeq(*gateways, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-gateways: got %q, want positive numbers separated by commas", *gateways)
		}
		o.gateways = append(o.gateways, n)
	}
	if o.rates, err = parseRates(*rates); err != nil {
		return o, err
	}
	if o.rate <= 0 || o.topics < 1 || o.rounds < 1 || o.window <= 0 {
		return o, errors.New("want a topic and a round at least, a rate and a window")
	}
	return o, cmp.Or(checkSize(o.size), checkLimit(o.topics*slices.Max(o.gateways)))
}

// runRedis measures the parts and writes each when it is done.
func runRedis(ctx context.Context, o redisOptions) error {
	var done func()
	var err error
	if o.binary, done, err = buildOnce(o.binary); err != nil {
		return err
	}
	defer done()
	debug.SetGCPercent(publisherGC)
	show.Of(o.steps())
	for _, p := range o.parts {
		began := time.Now()
		text, err := map[string]func(context.Context, redisOptions, redisHead) (string, error){
			partReaders: measureReaders, partLinger: measureLinger, partPublish: measurePublish,
		}[p](ctx, o, o.head(p, began))
		if err == nil {
			err = writeSection(o.out, redisBegin(p), text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// steps is how many there are to show.
func (o *redisOptions) steps() (n int) {
	for _, p := range o.parts {
		n += o.rounds * map[string]int{partReaders: 2 * len(o.gateways), partLinger: 2 * len(o.rates), partPublish: len(publishWays())}[p]
	}
	return n
}

// topicNames are the topics, of one part.
func (o *redisOptions) topicNames(part string) []string {
	list := make([]string, o.topics)
	for i := range list {
		list[i] = part + "/" + strconv.Itoa(i)
	}
	return list
}
