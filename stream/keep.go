package stream

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// keepPrefix begins the keys of what is kept for whoever comes back.
const keepPrefix = "ringside:kept:"

// Keep keeps a value under a name for a while. It blocks until Redis has taken it.
func (c *Client) Keep(ctx context.Context, name string, value []byte, life time.Duration) error {
	r, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	return r.Do(ctx, r.B().Set().Key(keepPrefix+name).Value(rueidis.BinaryString(value)).Px(life).Build()).Error()
}

// Take returns what is kept under a name, which it is no longer then; nil when nothing is.
func (c *Client) Take(ctx context.Context, name string) ([]byte, error) {
	r, err := c.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	v, err := r.Do(ctx, r.B().Getdel().Key(keepPrefix+name).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return v, err
}
