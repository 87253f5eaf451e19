package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

type ringCmd struct {
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway: the ring as it sees it."`
	Topic string   `placeholder:"TOPIC" help:"Show where this topic is instead."`
	JSON  bool     `name:"json" help:"Print JSON."`

	credentials
}

// Run prints the ring.
func (r *ringCmd) Run(ctx context.Context, std stdio) error {
	query := url.Values{"format": {"text"}}
	if r.JSON {
		query.Set("format", "json")
	}
	if r.Topic != "" {
		query.Set("topic", r.Topic)
	}
	answer, err := r.ask(ctx, r.Of, http.MethodGet, "/ring?"+query.Encode(), nil)
	if err == nil && len(answer) == 0 {
		err = errors.New("the answer is empty")
	}
	if err != nil {
		return err
	}
	_, err = std.out.Write(answer)
	return err
}
