package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

type publishCmd struct {
	Topic    string   `arg:"" help:"Topic of the message."`
	Data     string   `arg:"" help:"Payload, as it is; - reads it from standard input."`
	To       adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`
	Replicas int      `name:"min-replicas" placeholder:"N" help:"Replicas of Redis that must have the message before the answer."`
	ID       string   `name:"id" placeholder:"KEY" help:"Idempotency key: repeating a publish with the same key adds nothing."`

	credentials
}

// Run publishes and prints the answer: topic, slot and position as a line of JSON.
func (p *publishCmd) Run(ctx context.Context, std stdio) error {
	payload := []byte(p.Data)
	if p.Data == "-" {
		var err error
		if payload, err = io.ReadAll(std.in); err != nil {
			return fmt.Errorf("cannot read the payload: %w", err)
		}
	}
	path := "/publish/" + url.PathEscape(p.Topic)
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
