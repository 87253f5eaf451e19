package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/look"
)

type ringCmd struct {
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway: the ring as it sees it."`
	Topic string   `placeholder:"TOPIC" help:"Show where this topic is instead."`

	asJSON
	credentials
}

// Run prints the ring.
func (r *ringCmd) Run(ctx context.Context, std stdio) error {
	path, text := "/ring", admin.RingText
	if r.Topic != "" {
		path, text = "/ring?"+url.Values{"topic": {r.Topic}}.Encode(), admin.PlaceText
	}
	return r.show(ctx, std, r.Of, path, r.JSON, text)
}

// show asks the admin port for what path has, and prints it: as it came, or as text has it.
func (c *credentials) show(ctx context.Context, std stdio, of adminURL, path string, raw bool, text func([]byte, look.Style) (string, error)) error {
	answer, err := c.ask(ctx, of, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	out, err := text(answer, std.style(std.out)) // also of what is printed raw: what it is not must not be passed on
	if err != nil {
		return notRingside(string(of), string(answer))
	}
	if raw {
		out = string(answer)
	}
	_, err = fmt.Fprint(std.out, out)
	return err
}
