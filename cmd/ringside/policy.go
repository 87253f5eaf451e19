package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/topic"
)

type policyCmd struct {
	Show policyShowCmd `cmd:"" default:"withargs" help:"Show the policy."`
	Set  policySetCmd  `cmd:"" help:"Change it: every node and every connected client has it within seconds."`
}

type policyShowCmd struct {
	Of adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

type policySetCmd struct {
	What    string   `arg:"" enum:"backoff" help:"What to set: backoff."`
	Changes []string `arg:"" name:"changes" help:"Any of min=200ms max=30s factor=2 jitter=0.5; the rest stays as it is."`
	Of      adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

// answeredPolicy is the answer of /policy.
type answeredPolicy struct {
	Backoff      *backoff.Policy `json:"backoff"`
	Unremembered int             `json:"unremembered"`

	text []byte // as it came
}

// Run prints the policy.
func (p *policyShowCmd) Run(ctx context.Context, std stdio) error {
	now, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodGet, nil)
	if err == nil {
		err = now.print(std, p.JSON)
	}
	if err == nil {
		remind(std, now.Unremembered)
	}
	return err
}

func (a *answeredPolicy) print(std stdio, raw bool) error {
	if raw {
		_, err := std.out.Write(a.text)
		return err
	}
	_, err := fmt.Fprintf(std.out, "backoff %v\n", *a.Backoff)
	return err
}

// Run changes the policy.
func (p *policySetCmd) Run(ctx context.Context, std stdio) error {
	was, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodGet, nil)
	if err != nil {
		return err
	}
	body, err := p.changed(*was.Backoff)
	if err != nil {
		return usage(fmt.Errorf("not set: %w", err))
	}
	set, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodPut, body)
	if err != nil {
		return fmt.Errorf("not set: %w", err)
	}
	return set.print(std, p.JSON)
}

// changed is the JSON of what was asked for alone, so that somebody else's change of another part stays.
func (p *policySetCmd) changed(was backoff.Policy) ([]byte, error) {
	next, err := was.With(p.Changes...)
	if err != nil {
		return nil, err
	}
	now, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	var all, some = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(now, &all); err != nil {
		return nil, err
	}
	for _, c := range p.Changes {
		name, _, _ := strings.Cut(c, "=")
		some[name] = all[name]
	}
	return json.Marshal(some)
}

func askPolicy(ctx context.Context, c *credentials, of adminURL, method string, body []byte) (p answeredPolicy, err error) {
	p.text, err = c.ask(ctx, of, method, "/policy", bytes.NewReader(body))
	if err == nil && (json.Unmarshal(p.text, &p) != nil || p.Backoff == nil) {
		err = notRingside(string(of), string(p.text))
	}
	return p, err
}

// remind says that settings would not survive, as far as that is known.
func remind(std stdio, unremembered int) {
	if unremembered > 0 {
		std.warn(fmt.Sprintf("%d settings are not in Redis yet: a restart of all nodes at once would lose them", unremembered))
	}
}

type pinCmd struct {
	Topic  string   `arg:"" help:"Topic to place."`
	Shards []string `arg:"" help:"IDs of gateways, the preferred one first, separated by commas."`
	Of     adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

type unpinCmd struct {
	Topic string   `arg:"" help:"Topic that is pinned."`
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

type pinsCmd struct {
	Of adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

type dedicateCmd struct {
	Shard string   `arg:"" help:"ID of the gateway."`
	Off   bool     `help:"Let it own slots again."`
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	asJSON
	credentials
}

// Validate checks the topic.
func (p *pinCmd) Validate() error { return topic.Validate(p.Topic) }

// Validate checks the topic.
func (u *unpinCmd) Validate() error { return topic.Validate(u.Topic) }

// Run pins the topic.
func (p *pinCmd) Run(ctx context.Context, std stdio) error {
	query := url.Values{"shards": {strings.Join(p.Shards, ",")}}
	return wishes(ctx, &p.credentials, std, p.JSON, p.Of, http.MethodPut, "/pins/"+url.PathEscape(p.Topic)+"?"+query.Encode())
}

// Run ends the topic's pin.
func (u *unpinCmd) Run(ctx context.Context, std stdio) error {
	return wishes(ctx, &u.credentials, std, u.JSON, u.Of, http.MethodDelete, "/pins/"+url.PathEscape(u.Topic))
}

// Run prints what is pinned and dedicated.
func (p *pinsCmd) Run(ctx context.Context, std stdio) error {
	return wishes(ctx, &p.credentials, std, p.JSON, p.Of, http.MethodGet, "/pins")
}

// Run dedicates the shard, or ends that.
func (d *dedicateCmd) Run(ctx context.Context, std stdio) error {
	method := http.MethodPut
	if d.Off {
		method = http.MethodDelete
	}
	return wishes(ctx, &d.credentials, std, d.JSON, d.Of, method, "/dedicated/"+url.PathEscape(d.Shard))
}

// wishes sends a request and prints what is pinned and dedicated then.
func wishes(ctx context.Context, c *credentials, std stdio, raw bool, of adminURL, method, path string) error {
	text, err := c.ask(ctx, of, method, path, nil)
	if err != nil {
		return err
	}
	var now struct {
		Pins []struct {
			Topic  string   `json:"topic"`
			Shards []string `json:"shards"`
		} `json:"pins"`
		Dedicated    []string `json:"dedicated"`
		Warnings     []string `json:"warnings"`
		Unremembered int      `json:"unremembered"`
	}
	if err := json.Unmarshal(text, &now); err != nil || now.Pins == nil {
		return notRingside(string(of), string(text))
	}
	for _, w := range now.Warnings {
		std.warn("warning: " + w)
	}
	style := std.style(std.out)
	table := look.NewTable(style)
	for _, p := range now.Pins {
		table.Row(look.Cell{Text: "pin", Paint: style.Head}, p.Topic, strings.Join(p.Shards, ","))
	}
	for _, d := range now.Dedicated {
		table.Row(look.Cell{Text: "dedicated", Paint: style.Head}, d)
	}
	switch {
	case raw:
		_, err = std.out.Write(text)
	case len(now.Pins)+len(now.Dedicated) == 0:
		_, err = fmt.Fprintln(std.out, "nothing is pinned or dedicated")
	default:
		_, err = fmt.Fprint(std.out, table)
	}
	if err != nil {
		return err
	}
	if method == http.MethodGet { // just after a change it is too early to say
		remind(std, now.Unremembered)
	}
	return nil
}
