package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/stream"
)

// xadd publishes past the script, as docs/PUBLISHING.md tells.
func (p *publishing) xadd(ctx context.Context) error {
	const connections, flight = 4, 64
	return p.at(connections, func(first int) error {
		var commands strings.Builder
		for i := range flight {
			name := p.topics[(first+i)%len(p.topics)]
			words := []string{"XADD", stream.Key(topic.Slot(name)), "MINID", "~", strconv.FormatInt(time.Now().Add(-10*time.Minute).UnixMilli(), 10), "*",
				"id", "", "topic", name, "payload", p.body}
			fmt.Fprintf(&commands, "*%d\r\n", len(words))
			for _, w := range words {
				fmt.Fprintf(&commands, "$%d\r\n%s\r\n", len(w), w)
			}
		}
		c, err := net.Dial("tcp", p.stage.redis.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		in, text := bufio.NewReader(c), []byte(commands.String())
		if _, err := c.Write(text); err != nil {
			return err
		}
		for !p.over(ctx) { // one more round is under way while the answers of the one before are read
			if _, err := c.Write(text); err != nil {
				return err
			}
			if err := p.added(in, flight); err != nil {
				return err
			}
		}
		return p.added(in, flight)
	})
}

// added reads the answers to so many XADD.
func (p *publishing) added(in *bufio.Reader, n int) error {
	for range n {
		for range 2 { // the length, and the ID
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if line[0] == '-' {
				return errors.New(line)
			}
		}
	}
	p.taken.Add(int64(n))
	return nil
}

// client runs a client of the product while f runs.
func (p *publishing) client(ctx context.Context, f func(c *stream.Client) error) error {
	c, err := stream.New(stream.Config{URL: p.stage.redis.URL()}, zap.NewNop())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for c.Ready() != nil && err == nil {
		err = wait(ctx, time.Millisecond)
	}
	p.until = time.Now().Add(p.o.window)
	if err == nil {
		err = f(c)
	}
	cancel()
	return errors.Join(err, <-done)
}

func (p *publishing) script(ctx context.Context) error {
	const calls = 128
	return p.client(ctx, func(c *stream.Client) error {
		return p.at(calls, func(i int) error {
			for ; !p.over(ctx); i += calls {
				if _, err := c.Publish(ctx, stream.Message{Topic: p.topics[i%len(p.topics)], Payload: []byte(p.body)}); err != nil {
					return err
				}
				p.taken.Add(1)
			}
			return nil
		})
	})
}

func (p *publishing) scriptBatch(ctx context.Context) error {
	const calls = 4
	return p.client(ctx, func(c *stream.Client) error {
		return p.at(calls, func(int) error {
			ms := make([]stream.Message, publishBatch)
			for i := range ms {
				ms[i] = stream.Message{Topic: p.topics[i%len(p.topics)], Payload: []byte(p.body)}
			}
			for !p.over(ctx) {
				for _, o := range c.PublishAll(ctx, ms) {
					if o.Err != nil {
						return o.Err
					}
				}
				p.taken.Add(publishBatch)
			}
			return nil
		})
	})
}

func (p *publishing) post(ctx context.Context) error { return p.posts(ctx, 32, 1) }

func (p *publishing) postBatch(ctx context.Context) error { return p.posts(ctx, 4, publishBatch) }

// posts publishes by HTTP, so many messages in each request.
func (p *publishing) posts(ctx context.Context, connections, batch int) error {
	return p.at(connections, func(first int) error {
		c, err := net.Dial("tcp", p.router.Admin)
		if err != nil {
			return err
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for i := first; !p.over(ctx); i += connections {
			if err := p.request(c, in, i, batch); err != nil {
				return err
			}
			p.taken.Add(int64(batch))
		}
		return nil
	})
}

func (p *publishing) request(c net.Conn, in *bufio.Reader, at, batch int) error {
	items := make([]string, batch)
	for i := range items {
		items[i] = fmt.Sprintf(`{"topic":%q,"data":%s}`, p.topics[(at+i)%len(p.topics)], p.body)
	}
	body := items[0]
	if batch > 1 {
		body = "[" + strings.Join(items, ",") + "]"
	}
	_, err := fmt.Fprintf(c, "POST /publish HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", p.router.Admin, len(body), body)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it has been read
	if err == nil && (resp.StatusCode != http.StatusOK || strings.Contains(string(text), `"error":`)) {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, text)
	}
	return err
}

// startPublisher starts `ringside publish --lines`, which ends when what it reads from does.
func startPublisher(ctx context.Context, binary, to string) (*exec.Cmd, io.WriteCloser, error) {
	c := exec.CommandContext(ctx, binary, "publish", "--to", to, "--lines")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	return c, in, c.Start()
}
