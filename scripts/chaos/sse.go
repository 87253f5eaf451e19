package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// runSSE makes one connection and reads it to its end.
func (c *client) runSSE(ctx context.Context, i *instance) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.Addr+c.target(), nil)
	if err != nil {
		return -1, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if last := c.last(c.topics[0]); last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	tr := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: handshake, DialContext: c.dial,
		ReadBufferSize: 4 << 10,
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return -1, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return -1, errors.New(resp.Status)
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		return -1, fmt.Errorf("%w: content type %q", errBroken, got)
	}
	e := &sseReader{c: c, retry: -1}
	in := bufio.NewReader(resp.Body)
	if resp.ContentLength >= 0 { // an event stream that has an end is a refusal
		return testcluster.ReadRefusal(in)
	}
	c.answered()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return e.retry, err
		}
		dispatched, err := e.line(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return -1, fmt.Errorf("%w (in %.200q)", err, line)
		}
		if dispatched {
			c.setOpen()
			c.pause(ctx)
		}
	}
}

// sseReader reads one event stream as the HTML standard says.
type sseReader struct {
	c     *client
	retry time.Duration // the last one that the server asked for; negative before

	id, event string // of the event being read
	data      []string
}

// line takes one line and reports whether it ended an event.
func (e *sseReader) line(line string) (bool, error) {
	if line == "" {
		return e.dispatch()
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		e.id = value
	case "event":
		e.event = value
	case "data":
		e.data = append(e.data, value)
	case "retry":
		ms, err := strconv.Atoi(value)
		if err != nil {
			return false, fmt.Errorf("%w: retry: %w", errBroken, err)
		}
		e.retry = time.Duration(ms) * time.Millisecond
	case "": // a comment
	default:
		return false, fmt.Errorf("%w: an unknown field %q", errBroken, name)
	}
	return false, nil
}

func (e *sseReader) dispatch() (bool, error) {
	topic := e.c.topics[0]
	id, kind, text := e.id, e.event, strings.Join(e.data, "\n")
	empty := e.data == nil
	e.id, e.event, e.data = "", "", nil
	switch {
	case kind == "heartbeat":
		var f freshness
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return true, fmt.Errorf("%w: heartbeat: %w", errBroken, err)
		}
		if err := errors.Join(f.check(), e.c.moved(topic, id)); err != nil {
			return true, err
		}
		return true, e.c.fresh(topic, f.Stale)
	case kind == "gap":
		var f frame
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return true, fmt.Errorf("%w: gap: %w", errBroken, err)
		}
		if f.Position != id {
			return true, fmt.Errorf("%w: a gap up to %s in an event with the ID %s", errBroken, f.Position, id)
		}
		return true, e.c.gap(topic, f.Reason, f.After, f.Position)
	case kind == "welcome":
		return false, nil
	case kind == "binary":
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return true, fmt.Errorf("%w: data: %w", errBroken, err)
		}
		return true, e.c.saw(topic, id, b)
	case !empty:
		return true, e.c.saw(topic, id, []byte(text))
	case id != "":
		return true, e.c.moved(topic, id)
	}
	return false, nil
}
