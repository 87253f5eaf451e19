package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/topic"
)

type policyCmd struct {
	Show policyShowCmd `cmd:"" default:"1" help:"Show the policy."`
	Set  policySetCmd  `cmd:"" help:"Change it: every node and every connected client has it within seconds."`
}

type policyShowCmd struct {
	Of adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

type policySetCmd struct {
	What    string   `arg:"" enum:"backoff" help:"What to set: backoff."`
	Changes []string `arg:"" name:"changes" help:"Any of min=200ms max=30s factor=2 jitter=0.5; the rest stays as it is."`
	Of      adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

// answeredPolicy is the answer of /policy.
type answeredPolicy struct {
	Backoff      backoff.Policy `json:"backoff"`
	Unremembered int            `json:"unremembered"`
}

// Run prints the policy.
func (p *policyShowCmd) Run(ctx context.Context, std stdio) error {
	now, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodGet, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "backoff %v\n", now.Backoff)
	remind(std, now.Unremembered)
	return nil
}

// Run changes the policy.
func (p *policySetCmd) Run(ctx context.Context, std stdio) error {
	was, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodGet, nil)
	if err != nil {
		return err
	}
	next, err := was.Backoff.With(p.Changes...)
	if err != nil {
		return fmt.Errorf("not set: %w", err)
	}
	// Only what was asked for, so that somebody else's change of another part stays.
	now, err := json.Marshal(next)
	if err != nil {
		return err
	}
	var all, some = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(now, &all); err != nil {
		return err
	}
	for _, c := range p.Changes {
		name, _, _ := strings.Cut(c, "=")
		some[name] = all[name]
	}
	body, err := json.Marshal(some)
	if err != nil {
		return err
	}
	set, err := askPolicy(ctx, &p.credentials, p.Of, http.MethodPut, body)
	if err != nil {
		return fmt.Errorf("not set: %w", err)
	}
	fmt.Fprintf(std.out, "backoff %v\n", set.Backoff)
	return nil
}

func askPolicy(ctx context.Context, c *credentials, of adminURL, method string, body []byte) (p answeredPolicy, err error) {
	text, err := c.ask(ctx, of, method, "/policy", bytes.NewReader(body))
	if err == nil && json.Unmarshal(text, &p) != nil {
		err = errors.New("the answer is no policy")
	}
	return p, err
}

// remind says that settings would not survive, as far as that is known.
func remind(std stdio, unremembered int) {
	if unremembered > 0 {
		fmt.Fprintf(std.err, "ringside: %d settings are not in Redis yet: a restart of all nodes at once would lose them\n", unremembered)
	}
}

type pinCmd struct {
	Topic  string   `arg:"" help:"Topic to place."`
	Shards []string `arg:"" help:"IDs of gateways, the preferred one first, separated by commas."`
	Of     adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

type unpinCmd struct {
	Topic string   `arg:"" help:"Topic that is pinned."`
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

type pinsCmd struct {
	Of adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

type dedicateCmd struct {
	Shard string   `arg:"" help:"ID of the gateway."`
	Off   bool     `help:"Let it own slots again."`
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`

	credentials
}

// Validate checks the topic.
func (p *pinCmd) Validate() error { return topic.Validate(p.Topic) }

// Validate checks the topic.
func (u *unpinCmd) Validate() error { return topic.Validate(u.Topic) }

// Run pins the topic.
func (p *pinCmd) Run(ctx context.Context, std stdio) error {
	query := url.Values{"shards": {strings.Join(p.Shards, ",")}}
	return wishes(ctx, &p.credentials, std, p.Of, http.MethodPut, "/pins/"+url.PathEscape(p.Topic)+"?"+query.Encode())
}

// Run ends the topic's pin.
func (u *unpinCmd) Run(ctx context.Context, std stdio) error {
	return wishes(ctx, &u.credentials, std, u.Of, http.MethodDelete, "/pins/"+url.PathEscape(u.Topic))
}

// Run prints what is pinned and dedicated.
func (p *pinsCmd) Run(ctx context.Context, std stdio) error {
	return wishes(ctx, &p.credentials, std, p.Of, http.MethodGet, "/pins")
}

// Run dedicates the shard, or ends that.
func (d *dedicateCmd) Run(ctx context.Context, std stdio) error {
	method := http.MethodPut
	if d.Off {
		method = http.MethodDelete
	}
	return wishes(ctx, &d.credentials, std, d.Of, method, "/dedicated/"+url.PathEscape(d.Shard))
}

// wishes sends a request and prints what is pinned and dedicated then.
func wishes(ctx context.Context, c *credentials, std stdio, of adminURL, method, path string) error {
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
	if err := json.Unmarshal(text, &now); err != nil {
		return errors.New("the answer is not understood")
	}
	for _, w := range now.Warnings {
		fmt.Fprintf(std.err, "ringside: warning: %s\n", w)
	}
	for _, p := range now.Pins {
		fmt.Fprintf(std.out, "pin        %s  %s\n", p.Topic, strings.Join(p.Shards, ","))
	}
	for _, d := range now.Dedicated {
		fmt.Fprintf(std.out, "dedicated  %s\n", d)
	}
	if len(now.Pins)+len(now.Dedicated) == 0 {
		fmt.Fprintln(std.out, "nothing is pinned or dedicated")
	}
	if method == http.MethodGet { // just after a change it is too early to say
		remind(std, now.Unremembered)
	}
	return nil
}
