package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

type publishCmd struct {
	Topic    *string       `arg:"" optional:"" help:"Topic of the message."`
	Data     *string       `arg:"" optional:"" help:"Payload, as it is; - reads it from standard input."`
	Lines    bool          `help:"Publish each line of standard input, by batches. Without a topic each is an entry: {\"topic\":…,\"data\":…,\"id\":…}."`
	TryFor   time.Duration `default:"30s" help:"With --lines: how long to try on while the cluster can't take them."`
	To       adminURL      `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`
	Replicas int           `name:"min-replicas" placeholder:"N" help:"Replicas of Redis that must have the message before the answer."`
	ID       string        `name:"id" placeholder:"KEY" help:"Idempotency key: repeating a publish with the same key adds nothing. With --lines that of line n is KEY:n."`

	// The answer has always been JSON: the flag is for those who say it everywhere.
	JSON bool `name:"json" group:"Output" help:"Print JSON, which it does anyway: a line with topic, slot, position, and whether it was there already."`

	credentials
}

// Validate checks what concerns more than one argument.
func (p *publishCmd) Validate() error {
	switch {
	case p.Lines && p.Data != nil:
		return errors.New("with --lines the messages come from standard input: want no DATA")
	case p.Lines && p.TryFor <= 0:
		return errors.New("try-for: want more than 0")
	case !p.Lines && (p.Topic == nil || p.Data == nil):
		return errors.New("want TOPIC and DATA, or --lines")
	}
	return nil
}

// Run publishes and prints the answer: topic, slot and position as a line of JSON.
func (p *publishCmd) Run(ctx context.Context, std stdio) error {
	if p.Lines {
		return p.publishLines(ctx, std)
	}
	payload := []byte(*p.Data)
	if *p.Data == "-" {
		var err error
		if payload, err = io.ReadAll(std.in); err != nil {
			return usage(fmt.Errorf("cannot read the payload: %w", err))
		}
	}
	path := "/publish/" + url.PathEscape(*p.Topic)
	q := url.Values{}
	if p.ID != "" {
		q.Set("id", p.ID)
	}
	if p.Replicas > 0 {
		q.Set("min_replicas", strconv.Itoa(p.Replicas))
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	answer, err := p.ask(ctx, p.To, http.MethodPost, path, bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("not published: %w", err)
	}
	_, err = std.out.Write(answer)
	return err
}
