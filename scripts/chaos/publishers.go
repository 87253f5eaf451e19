package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// How publishers behave.
const (
	publishers   = 5 // of them every other one writes to Redis directly
	publishLimit = 3 * time.Second
	keyedTries   = 40
	refusedShare = 100 // one publish of so many is one that must be refused
	floodPayload = 16 << 10
	floodTotal   = 8 << 20 // more than a topic's log holds
)

// press is all publishers of a run and what they know.
type press struct {
	a      *audience
	topics []string
	seed   uint64

	mu   sync.Mutex
	pubs []publication // guarded by mu
	n    int           // guarded by mu: publications begun outside of the publishers' own count
}

// note keeps a publication.
func (p *press) note(pub publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pubs = append(p.pubs, pub)
}

// list is a copy of all publications.
func (p *press) list() []publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]publication(nil), p.pubs...)
}

// name makes a name that no other publication has.
func (p *press) name(kind string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return fmt.Sprintf("%d-%s-%d", p.seed, kind, p.n)
}

// run publishes at a rate, all publishers together, until ctx ends; a publish that is under way is finished.
func (p *press) run(ctx context.Context, rate float64) {
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() { p.publisher(ctx, i, time.Duration(publishers/rate*float64(time.Second))) })
	}
	wg.Wait()
}

// publisher is one of them.
func (p *press) publisher(ctx context.Context, number int, every time.Duration) {
	rng := rand.New(rand.NewPCG(p.seed, 1<<32+uint64(number)))
	redis := &writer{r: p.a.cluster.redis}
	defer redis.Close()
	web := &http.Client{Timeout: publishLimit, Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name := fmt.Sprintf("%d-p%d-%d", p.seed, number, n)
		topic := p.topics[(number*7+n)%len(p.topics)]
		body := payload(name, rng)
		switch {
		case rng.IntN(refusedShare) == 0:
			p.refused(web, rng, name, body)
		case number%2 == 1:
			p.add(redis, name, topic, body)
		default:
			p.post(ctx, web, rng, name, topic, body, rng.IntN(2) == 0)
		}
	}
}

// payload is what carries a name: JSON, text of several lines, or bytes that are no text.
func payload(name string, rng *rand.Rand) []byte {
	pad := strings.Repeat("x", rng.IntN(300))
	switch rng.IntN(6) {
	case 0:
		return []byte("m " + name + " Tor für Köln 🥅\n" + pad + "\n<&\"\\ end")
	case 1:
		return []byte("m " + name + " \xff\xfe\x00\x01" + pad)
	}
	return fmt.Appendf(nil, `{"m":%q,"score":{"home":%d,"away":1},"note":"Köln <3","pad":%q}`, name, rng.IntN(9), pad)
}

// begin is a publication at its start.
func (p *press) begin(name, topic string, body []byte) publication {
	return publication{Name: name, Topic: topic, Sum: p.a.sum(body), Started: p.a.now(), Outcome: outcomeAmbiguous}
}

// post publishes through a node. With a key it repeats until somebody has taken it; without, one attempt has to do.
func (p *press) post(ctx context.Context, web *http.Client, rng *rand.Rand, name, topic string, body []byte, keyed bool) {
	pub := p.begin(name, topic, body)
	query := ""
	tries := 1
	if keyed {
		query = "?id=" + url.QueryEscape(name)
		tries = keyedTries
	}
	maybe := false // an attempt so far may have been applied
	for range tries {
		i := p.node(rng)
		if i == nil {
			break
		}
		pub.Outcome, pub.ID = ask(web, i, "/publish/"+url.PathEscape(topic)+query, body, maybe)
		if pub.Outcome == outcomeOK {
			break
		}
		maybe = pub.Outcome == outcomeAmbiguous
		select {
		case <-ctx.Done():
		case <-time.After(retryWait):
		}
	}
	p.note(pub)
}

// refused publishes what must be refused: the topic has a control character in it, or there is none.
func (p *press) refused(web *http.Client, rng *rand.Rand, name string, body []byte) {
	topic := "bad\x01" + name
	pub := p.begin(name, topic, body)
	if i := p.node(rng); i != nil {
		pub.Outcome, pub.ID = ask(web, i, "/publish/"+url.PathEscape(topic), body, false)
		p.note(pub)
	}
}

// node picks a node to publish at: mostly a router.
func (p *press) node(rng *rand.Rand) *instance {
	role := testcluster.Router
	if rng.IntN(4) == 0 {
		role = testcluster.Gateway
	}
	list := p.a.cluster.list(role)
	first := rng.IntN(len(list))
	for k := range list {
		if i := list[(first+k)%len(list)].live(); i != nil {
			return i
		}
	}
	return nil
}

// ask makes one attempt. maybe says that an earlier one may have been applied: then a refusal proves nothing.
func ask(web *http.Client, i *instance, path string, body []byte, maybe bool) (outcome, position.ID) {
	resp, err := web.Post("http://"+i.Admin+path, "application/octet-stream", strings.NewReader(string(body)))
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) && !maybe {
			return outcomeFailed, position.ID{}
		}
		return outcomeAmbiguous, position.ID{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var answer struct {
		Position  string `json:"position"`
		Ambiguous bool   `json:"ambiguous"`
	}
	if err != nil || json.Unmarshal(b, &answer) != nil {
		return outcomeAmbiguous, position.ID{}
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		at, err := position.Parse(answer.Position)
		if err != nil {
			return outcomeAmbiguous, position.ID{}
		}
		return outcomeOK, at.ID
	case maybe || answer.Ambiguous:
		return outcomeAmbiguous, position.ID{}
	case resp.StatusCode/100 == 4 || resp.StatusCode == http.StatusServiceUnavailable:
		return outcomeFailed, position.ID{}
	}
	return outcomeAmbiguous, position.ID{}
}

// flood publishes more to one topic than its log holds, over the given time.
func (p *press) flood(ctx context.Context, topic string, over time.Duration) {
	redis := &writer{r: p.a.cluster.redis}
	defer redis.Close()
	n := floodTotal / floodPayload
	tick := time.NewTicker(over / time.Duration(n))
	defer tick.Stop()
	pad := strings.Repeat("flood ", floodPayload/6)
	for range n {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name := p.name("flood")
		p.add(redis, name, topic, fmt.Appendf(nil, `{"m":%q,"pad":%q}`, name, pad))
	}
}
