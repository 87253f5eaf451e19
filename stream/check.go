package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
)

// stuckAfter is after how long without a good check the link is made anew: a client library can miss that the master is another.
const stuckAfter = 3 * time.Second

// check connects when that is still to be done, and asks all servers whether they are there, and still the same.
func (c *Client) check(ctx context.Context) error {
	r, err := c.client()
	if err != nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
		if r, err = c.client(); err != nil {
			return err
		}
	}
	err = c.examine(ctx, r)
	var some *awayError
	switch {
	case err == nil, errors.As(err, &some) && some.reached: // the library finds the others by itself
		c.failing = time.Time{}
		return err
	case c.failing.IsZero():
		c.failing = time.Now()
	}
	if errors.Is(err, errReadOnly) || time.Since(c.failing) > stuckAfter {
		if c.connect(ctx) == nil {
			c.changes.Add(1)
		}
	}
	return err
}

var (
	errReadOnly = errors.New("this Redis is a replica, which takes no writes")
	errCluster  = errors.New("this Redis is a node of a Cluster: use a redis-cluster:// URL")
)

// awayError says which slots of a Cluster can't be reached.
type awayError struct {
	slots   string
	reached bool // others are
	err     error
}

func (e *awayError) Error() string { return fmt.Sprintf("slots %s: %v", e.slots, e.err) }
func (e *awayError) Unwrap() error { return e.err }

// examine asks whether every group of slots can be reached, and who the servers are.
func (c *Client) examine(ctx context.Context, r rueidis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	groups := 1
	if c.top == cluster {
		groups = topic.Slots / groupSize
	}
	cmds := make(rueidis.Commands, groups)
	for g := range cmds {
		cmds[g] = r.B().Get().Key(epochKey(g * groupSize)).Build()
	}
	var away []string
	var first error
	for g, res := range r.DoMulti(ctx, cmds...) {
		if err := res.Error(); err != nil && !rueidis.IsRedisNil(err) {
			away = append(away, fmt.Sprintf("%d–%d", g*groupSize, (g+1)*groupSize-1))
			first = cmp.Or(first, explain(err))
		}
	}
	switch {
	case first == nil:
		return c.identify(ctx, r)
	case c.top != cluster:
		return first
	}
	_ = c.identify(ctx, r) // those that are there may be others
	return &awayError{strings.Join(away, ", "), len(away) < groups, first}
}

// identify notes which servers there are. One that is another than before at its address, or was not there, may have other data.
func (c *Client) identify(ctx context.Context, r rueidis.Client) error {
	seen, err := c.servers(ctx, r)
	if err != nil {
		return err
	}
	changed := false
	for addr, id := range seen {
		if id == "" { // it has not answered
			seen[addr] = c.known[addr]
		} else if c.known[addr] != id {
			changed = true
		}
	}
	if changed && len(c.known) > 0 {
		c.changes.Add(1)
		c.metrics.serverChanges.Add(1)
		c.log.Info("a Redis server is another than before, or has started anew; its streams are looked at", zap.Int("servers", len(seen)))
	}
	c.known = seen
	return nil
}

// servers asks all servers at once who they are: the identities of the masters, by address. In a Cluster that of one that does not
// answer is empty: whether its slots can be reached is another question.
func (c *Client) servers(ctx context.Context, r rueidis.Client) (map[string]string, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := make(map[string]string)
	var failed error
	for addr, node := range r.Nodes() {
		wg.Go(func() {
			text, err := info(ctx, node)
			id, replica, clustered := identity(text)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case c.top == cluster:
				if !replica {
					seen[addr] = id
				}
			case err != nil:
				failed = explain(err)
			case clustered:
				failed = errCluster
			case replica:
				failed = errReadOnly
			default:
				seen[addr] = id
			}
		})
	}
	wg.Wait()
	return seen, failed
}

// info is what a server tells of itself and of its data. The embedded one tells nothing: it has but one life.
func info(ctx context.Context, node rueidis.Client) (text string, err error) {
	b := node.B()
	for _, res := range node.DoMulti(ctx, b.Info().Section("server").Build(), b.Info().Section("replication").Build(),
		b.Info().Section("cluster").Build()) {
		section, err := res.ToString()
		if said, ok := redisError(err); ok && strings.HasSuffix(said, "is not supported") {
			continue
		}
		if err != nil {
			return "", err
		}
		text += section
	}
	return text, nil
}

// identity is what INFO tells of a server's life and of that of its data.
func identity(info string) (id string, replica, clustered bool) {
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "run_id", "master_replid":
			id += value + " "
		case "role":
			replica = value == "slave"
		case "cluster_enabled":
			clustered = value == "1"
		}
	}
	return id, replica, clustered
}

// suspect has the next check come at once when err means that the link leads to the wrong server.
func (c *Client) suspect(err error) {
	if e, ok := redisError(err); ok && (strings.HasPrefix(e, "READONLY") || strings.HasPrefix(e, "MASTERDOWN")) {
		select {
		case c.look <- struct{}{}:
		default:
		}
	}
}

// redisError is what Redis has answered, if it has.
func redisError(err error) (string, bool) {
	var e *rueidis.RedisError
	if errors.As(err, &e) {
		return e.Error(), true
	}
	return "", false
}

// explainedError says what to do about an error that a person has to mend.
type explainedError struct {
	what string
	err  error
}

func (e *explainedError) Error() string { return e.what + ": " + e.err.Error() }
func (e *explainedError) Unwrap() error { return e.err }

// explain says what to do about errors that a person has to mend.
func explain(err error) error {
	var done *explainedError
	if err == nil || errors.As(err, &done) {
		return err
	}
	said, _ := redisError(err)
	var cert *tls.CertificateVerificationError
	var what string
	switch {
	case errors.As(err, &cert):
		what = "the certificate of Redis is not believed; --redis-tls-ca and --redis-tls-server-name say which is"
	case strings.HasPrefix(said, "NOPERM"), strings.Contains(said, "ACL failure"), strings.Contains(said, "user executing the script"):
		what = "the Redis user lacks a right that docs/OPERATIONS.md lists"
	case strings.HasPrefix(said, "WRONGPASS"), strings.HasPrefix(said, "NOAUTH"):
		what = "Redis does not accept the user or password of the URL"
	case strings.HasPrefix(said, "MOVED"), strings.HasPrefix(said, "ASK"):
		what = "the keys lie on another server; of a Cluster, which needs a redis-cluster:// URL, or one that is changing"
	case strings.HasPrefix(said, "OOM"):
		what = "Redis is at its maxmemory"
	case strings.HasPrefix(said, "MISCONF"):
		what = "Redis can't write to its disk"
	default:
		return err
	}
	return &explainedError{what, err}
}

// rightsScript tries, on keys that are gone again at its end, what the user of a Redis must be allowed to. What a gateway's tails
// need beyond that they say themselves.
//
// KEYS: a stream, a key.
//
//nolint:gochecknoglobals // a constant
var rightsScript = newScript(`
for _, command in ipairs({
  {'TIME'},
  {'XADD', KEYS[1], 'MINID', '~', '1', '*', 'epoch', '0'},
  {'XLEN', KEYS[1]},
  {'XTRIM', KEYS[1], 'MAXLEN', '~', '10'},
  {'XRANGE', KEYS[1], '-', '+', 'COUNT', '1'},
  {'XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1'},
  {'SET', KEYS[2], '1', 'PX', '1000'},
  {'GET', KEYS[2]},
  {'PEXPIRE', KEYS[2], '1000'},
  {'DEL', KEYS[1], KEYS[2]},
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    -- Redis does not say which command it was.
    if string.find(answer.err, 'user executing') or string.find(answer.err, 'permission') then
      return redis.error_reply('NOPERM of ' .. command[1] .. ': ' .. answer.err)
    end
    return answer
  end
end
return 'OK'
`)

// checkRights finds a user with too few rights before the first publish does.
func checkRights(ctx context.Context, r rueidis.Client) error {
	one := call{keys: []string{tag(0) + "rights:stream", tag(0) + "rights:key"}}
	res := rightsScript.eval(ctx, r, one) // though the server may know it
	if res[0].Error() == nil {
		res = rightsScript.run(ctx, r, one)
	}
	if said, ok := redisError(res[0].Error()); ok && (strings.HasPrefix(said, "OOM") || strings.HasPrefix(said, "MISCONF") || strings.HasPrefix(said, "READONLY")) {
		return nil // of no user's rights; publishes and the next check tell it
	}
	return res[0].Error()
}
