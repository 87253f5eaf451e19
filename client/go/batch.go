package ringside

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is a message of a batch.
type Entry struct {
	Topic string
	Data  []byte
	How   Publish
}

// Result is what became of an entry.
type Result struct {
	Position  string // where it stands; empty when Err is not nil
	Duplicate bool   // its key was used before: nothing was added, and the position is that of the first
	// Err wraps [ErrRefused] when trying again would not change it. Any other error means that the context has ended, and that the entry may have
	// been published all the same: again with the same key, it is there once.
	Err error
}

// batchResult is what became of an entry, as it is answered.
type batchResult struct {
	Position  string `json:"position"`
	Duplicate bool   `json:"duplicate"`
	Error     string `json:"error"`
	Message   string `json:"message"`
}

const (
	// maxBatch is how many entries, and maxBatchBytes of how many bytes, are sent at once; fewer where the server takes fewer.
	maxBatch      = 1000
	maxBatchBytes = 1 << 20
	// maxBatchAnswer bounds what is read of the answer.
	maxBatchAnswer = 16 << 20
)

// PublishBatch publishes entries, many in one request, and returns a result for each. Entries of a topic are published in the order that they
// are given in. As [Publisher.Publish] does, it tries again what the cluster did not take, for as long as the context lasts, and each entry is
// there once, however often it was tried; what is refused keeps nothing else up. The error is nil when all entries are published, else that of
// the first that is not. A slice of any length is sent in as many requests as it takes, one after the other.
func (p *Publisher) PublishBatch(ctx context.Context, entries []Entry) ([]Result, error) {
	b := batch{p: p, target: strings.TrimRight(p.URL, "/") + "/publish", most: maxBatch, results: make([]Result, len(entries))}
	for i, e := range entries {
		if e.How.Key == "" {
			e.How.Key = rand.Text()
		}
		line, err := encode(e)
		if err != nil {
			b.results[i].Err = err
			continue
		}
		b.rest = append(b.rest, unpublished{i, e, line})
	}
	for n := 0; len(b.rest) > 0; {
		before := len(b.rest)
		wait, err := b.send(ctx)
		if err == nil || len(b.rest) < before {
			n = 0
		}
		if err == nil {
			continue
		}
		if ended := pause(ctx, n, wait); ended != nil {
			b.fail(b.rest, errors.Join(ended, err))
			b.rest = nil
		}
		n++
	}
	for i, r := range b.results {
		if r.Err != nil {
			return b.results, fmt.Errorf("entry %d of %d: %w", i, len(entries), r.Err)
		}
	}
	return b.results, nil
}

// batch is a batch under way.
type batch struct {
	p       *Publisher
	target  string
	most    int // entries of a request
	rest    []unpublished
	results []Result
}

// unpublished is an entry that is still to be published.
type unpublished struct {
	i    int // among all
	e    Entry
	line []byte
}

// send makes one request of what comes next, and takes out of rest what need not be tried again. The error is why something of the request has to
// be: nil when nothing has. wait is what the server asks for.
func (b *batch) send(ctx context.Context) (wait time.Duration, err error) {
	n := 0
	var body bytes.Buffer
	for n < min(len(b.rest), b.most) && (n == 0 || body.Len()+len(b.rest[n].line) <= maxBatchBytes) {
		body.Write(b.rest[n].line)
		n++
	}
	sent := b.rest[:n]
	a, err := b.p.post(ctx, b.target, "application/x-ndjson", body.Bytes(), maxBatchAnswer)
	switch {
	case err != nil:
	case len(a.Results) == n:
		return a.wait, b.take(sent, a.Results)
	case a.status == http.StatusRequestEntityTooLarge && n > 1:
		b.most = n / 2
		return 0, nil
	case a.status == http.StatusRequestEntityTooLarge:
		return b.sendRaw(ctx)
	default:
		wait, err = a.wait, a.err()
	}
	if errors.Is(err, ErrRefused) { // whatever is sent
		b.fail(b.rest, err)
		b.rest = nil
		return 0, nil
	}
	return wait, err
}

// sendRaw publishes what comes next alone: it can be too large for a batch, and not for a message.
func (b *batch) sendRaw(ctx context.Context) (wait time.Duration, err error) {
	next := b.rest[0]
	position, wait, err := b.p.try(ctx, b.p.rawTarget(next.e.Topic, next.e.How), next.e.Data)
	if err != nil && !errors.Is(err, ErrRefused) {
		return wait, err
	}
	b.results[next.i] = Result{Position: position, Err: err}
	b.rest = b.rest[1:]
	return 0, nil
}

// take notes what became of the entries of a request. Those that are to be tried again stay in front of the rest: what is behind them in
// their topics must not come before them.
func (b *batch) take(sent []unpublished, results []batchResult) (err error) {
	var again []unpublished
	for j, r := range results {
		to := &b.results[sent[j].i]
		switch r.Error {
		case "":
			*to = Result{Position: r.Position, Duplicate: r.Duplicate}
		case "unavailable", "ambiguous", "internal":
			if again = append(again, sent[j]); err == nil {
				err = fmt.Errorf("ringside: %s: %s", r.Error, r.Message)
			}
		default:
			to.Err = fmt.Errorf("%w: %s: %s", ErrRefused, r.Error, r.Message)
		}
	}
	b.rest = append(again, b.rest[len(sent):]...)
	return err
}

func (b *batch) fail(list []unpublished, err error) {
	for _, u := range list {
		b.results[u.i].Err = err
	}
}

// encode writes an entry as a line. Its data arrives byte for byte: as a text where it is one.
func encode(e Entry) ([]byte, error) {
	if !utf8.ValidString(e.Topic) || !utf8.ValidString(e.How.Key) {
		return nil, fmt.Errorf("%w: a topic and a key are UTF-8", ErrRefused)
	}
	wire := struct {
		Topic    string `json:"topic"`
		ID       string `json:"id"`
		Replicas int    `json:"min_replicas,omitempty"`
		Encoding string `json:"encoding"`
		Data     string `json:"data"`
	}{e.Topic, e.How.Key, e.How.MinReplicas, "text", string(e.Data)}
	if !utf8.Valid(e.Data) {
		wire.Encoding, wire.Data = "base64", base64.StdEncoding.EncodeToString(e.Data)
	}
	line, err := json.Marshal(wire)
	return append(line, '\n'), err
}
