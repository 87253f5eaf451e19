package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	ringside "github.com/ringside-edge/ringside/client/go"
	"github.com/ringside-edge/ringside/internal/certs"
)

const (
	// lineBatch is how many lines are published at once, if so many have come.
	lineBatch = 1000
	// maxLine bounds a line; the cluster bounds its payload.
	maxLine = 16 << 20
)

// line is a line of the input.
type line struct {
	n    int
	text []byte
	err  error // of the reading, and the end of it
}

// publishLines publishes the lines of the input in order, as many at once as have come, and prints an answer for each. It goes on behind lines that
// are refused, which it names; it ends at one that can't be published in time, because those behind must not come before it.
func (p *publishCmd) publishLines(ctx context.Context, std stdio) error {
	token, err := p.token()
	if err != nil {
		return err
	}
	tlsConfig, err := certs.Client(certs.Files{CA: p.TLSCA, Cert: p.TLSCert, Key: p.TLSKey}, "")
	if err != nil {
		return err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig}
	defer transport.CloseIdleConnections()
	to := &ringside.Publisher{URL: string(p.To), Token: token, Client: &http.Client{Transport: transport}}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := make(chan line, lineBatch)
	go readLines(ctx, std.in, lines)
	failed, total := 0, 0
	for ended := error(nil); ended == nil; {
		var batch []line
		batch, ended = nextLines(ctx, lines)
		n, err := p.publishBatch(ctx, to, batch, std)
		failed, total = failed+n, total+len(batch)
		if err != nil {
			return err
		}
		if ended != nil && !errors.Is(ended, io.EOF) {
			return fmt.Errorf("cannot read what is to be published: %w", ended)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d lines were not published", failed, total)
	}
	return nil
}

// readLines hands on the lines that are not empty, and then why it ends.
func readLines(ctx context.Context, in io.Reader, lines chan<- line) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	give := func(l line) bool {
		select {
		case lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	n := 0
	for s.Scan() {
		n++
		if len(s.Bytes()) > 0 && !give(line{n: n, text: bytes.Clone(s.Bytes())}) {
			return
		}
	}
	err := io.EOF
	if s.Err() != nil {
		err = fmt.Errorf("line %d: %w", n+1, s.Err())
	}
	give(line{err: err})
}

// nextLines waits for a line and takes those that are there too. The error says why no more come.
func nextLines(ctx context.Context, lines <-chan line) (batch []line, err error) {
	for len(batch) < lineBatch {
		var l line
		if len(batch) == 0 {
			select {
			case l = <-lines:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		} else {
			select {
			case l = <-lines:
			default:
				return batch, nil
			}
		}
		if l.err != nil {
			return batch, l.err
		}
		batch = append(batch, l)
	}
	return batch, nil
}

// publishBatch publishes some lines and returns how many were refused. The error ends it all.
func (p *publishCmd) publishBatch(ctx context.Context, to *ringside.Publisher, lines []line, std stdio) (failed int, err error) {
	var entries []ringside.Entry
	var at []int // number of the line of each
	for _, l := range lines {
		e, err := p.entry(l)
		if err != nil {
			failed++
			fmt.Fprintf(std.err, "ringside: line %d: %v\n", l.n, err)
			continue
		}
		entries, at = append(entries, e), append(at, l.n)
	}
	ctx, cancel := context.WithTimeout(ctx, p.TryFor)
	defer cancel()
	results, _ := to.PublishBatch(ctx, entries) // of each line below
	for i, r := range results {
		switch {
		case errors.Is(r.Err, ringside.ErrRefused):
			failed++
			fmt.Fprintf(std.err, "ringside: line %d: %v\n", at[i], r.Err)
			continue
		case r.Err != nil && err == nil:
			err = fmt.Errorf("line %d, and perhaps some behind it, can't be published, or are not known to be: %w", at[i], r.Err)
		}
		if r.Err != nil {
			continue
		}
		if failedWrite := printLine(std.out, at[i], entries[i].Topic, r); failedWrite != nil {
			return failed, failedWrite
		}
	}
	return failed, err
}

func printLine(to io.Writer, n int, topic string, r ringside.Result) error {
	text, err := json.Marshal(struct {
		Line      int    `json:"line"`
		Topic     string `json:"topic"`
		Position  string `json:"position"`
		Duplicate bool   `json:"duplicate,omitempty"`
	}{n, topic, r.Position, r.Duplicate})
	if err == nil {
		_, err = to.Write(append(text, '\n'))
	}
	return err
}

// entry is what a line is to be published as: itself, or, without a topic, what it says as an entry of a batch does.
func (p *publishCmd) entry(l line) (e ringside.Entry, err error) {
	key := ""
	if p.ID != "" {
		key = p.ID + ":" + strconv.Itoa(l.n)
	}
	if p.Topic != nil {
		return ringside.Entry{Topic: *p.Topic, Data: l.text, How: ringside.Publish{Key: key, MinReplicas: p.Replicas}}, nil
	}
	var in struct {
		Topic    string          `json:"topic"`
		ID       string          `json:"id"`
		Data     json.RawMessage `json:"data"`
		Replicas int             `json:"min_replicas"`
		Encoding string          `json:"encoding"`
	}
	in.ID, in.Replicas = key, p.Replicas
	dec := json.NewDecoder(bytes.NewReader(l.text))
	dec.DisallowUnknownFields()
	switch err = dec.Decode(&in); {
	case err == nil && !json.Valid(l.text):
		err = errors.New("something follows the object")
	case err == nil && in.Data == nil:
		err = errors.New("it has no data")
	}
	if err != nil {
		return e, fmt.Errorf(`it is no entry (%w): want {"topic":"…","data":<any JSON value>,"id":"…","min_replicas":1,"encoding":"base64"}, where the last three are optional`, err)
	}
	e = ringside.Entry{Topic: in.Topic, Data: in.Data, How: ringside.Publish{Key: in.ID, MinReplicas: in.Replicas}}
	var text string
	switch in.Encoding {
	case "":
		return e, nil
	case "text", "base64":
		err = json.Unmarshal(in.Data, &text)
		e.Data = []byte(text)
		if err == nil && in.Encoding == "base64" {
			e.Data, err = base64.StdEncoding.DecodeString(text)
		}
	default:
		err = errors.New("an encoding is text or base64")
	}
	return e, err
}
