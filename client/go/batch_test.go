package ringside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// truths are the payloads of a topic as Redis has them.
func truths(t *testing.T, redis *testcluster.RedisServer, topic string) (list []string) {
	t.Helper()
	truth, err := redis.Dial(t).Truth(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range truth {
		list = append(list, e.Payload)
	}
	return list
}

// Batches go on across kills of Redis: in the end each entry is there, once, in order, with the bytes that it was given.
func TestPublishBatch(t *testing.T) {
	redis := testcluster.NewRedisWith(t, testcluster.RedisOptions{Fsync: "always"})
	c := testcluster.Start(t, redis.URL(), 1, 1, "--batch-entries", "70", "--batch-bytes", "64KiB", "--redis-timeout", "500ms")
	ctx, cancel := context.WithTimeout(t.Context(), 2*testcluster.Limit())
	defer cancel()
	topics := []string{"finals", "a/b c?", "Übertragung"}
	var entries []Entry
	want := map[string][]string{}
	for i := range 900 {
		topic := topics[i%len(topics)]
		data := []string{`{"n":%d}`, "line\n<%d>\u2028", "\xff\x00%d"}[i/3%3]
		data = fmt.Sprintf(data, i)
		entries = append(entries, Entry{topic, []byte(data), Publish{}})
		want[topic] = append(want[topic], data)
	}
	entries = append(entries, Entry{"large", []byte(strings.Repeat("x", 100<<10)), Publish{}}) // goes into no batch
	killed := make(chan error, 1)
	go func() {
		defer close(killed)
		for range 2 {
			testcluster.Soon(t, "some are published", func() bool {
				n, err := c.Router(0).Metric(ctx, "ringside_admin_batch_entries_total", `result="published"`)
				return err == nil && n > 0
			})
			redis.Kill()
			if err := redis.Restart(ctx); err != nil {
				killed <- err
				return
			}
		}
	}()
	p := &Publisher{URL: "http://" + c.Router(0).Admin}
	results, err := p.PublishBatch(ctx, entries)
	if err != nil || len(results) != len(entries) {
		t.Fatalf("got %d results, %v", len(results), err)
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Position == "" {
			t.Fatalf("entry %d: got %+v", i, r)
		}
	}
	for topic, payloads := range want {
		if got := truths(t, redis, topic); !slices.Equal(got, payloads) {
			t.Errorf("%s has %d entries, want %d: %.300q", topic, len(got), len(payloads), got)
		}
	}
	if got := truths(t, redis, "large"); len(got) != 1 || len(got[0]) != 100<<10 {
		t.Errorf("large: got %d", len(got))
	}
}

// What is refused is told, and keeps nothing else up; keys of one's own make it safe to publish the whole batch again.
func TestPublishBatchRefused(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	p := &Publisher{URL: "http://" + c.Router(0).Admin}
	testcluster.Eventually(t, "redis answers", func() error {
		_, err := p.PublishBatch(t.Context(), []Entry{{Topic: "first"}})
		return err
	})
	entries := []Entry{
		{"finals", []byte("1"), Publish{Key: "1"}},
		{"a\nb", nil, Publish{}},
		{"finals\xff", nil, Publish{}},
		{"finals", []byte("again"), Publish{Key: "1"}},
		{"finals", []byte("2"), Publish{Key: "2"}},
	}
	for i, duplicate := range []bool{false, true} {
		results, err := p.PublishBatch(t.Context(), entries)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "entry 1 of 5") || !strings.Contains(err.Error(), "topic_control") {
			t.Errorf("got %v", err)
		}
		if r := results[0]; r.Err != nil || r.Duplicate != duplicate || results[3].Position != r.Position || !results[3].Duplicate || results[4].Duplicate != duplicate {
			t.Errorf("time %d: got %+v", i, results)
		}
		if !errors.Is(results[2].Err, ErrRefused) || results[1].Position != "" {
			t.Errorf("got %+v", results)
		}
	}
	if got := truths(t, redis, "finals"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got %q", got)
	}
	if results, err := p.PublishBatch(t.Context(), nil); err != nil || len(results) != 0 {
		t.Errorf("nothing: got %v, %v", results, err)
	}
}

// A batch is given up with its context, and at once where the server refuses its client; what became of it is told as not known.
func TestPublishBatchEnds(t *testing.T) {
	asked, status, body := 0, http.StatusServiceUnavailable, `{"error":"busy","message":"too many"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	p := &Publisher{URL: server.URL, Client: server.Client()}
	entries := make([]Entry, 3)
	for i := range entries {
		entries[i] = Entry{"finals", []byte(strconv.Itoa(i)), Publish{}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	results, err := p.PublishBatch(ctx, entries)
	for _, r := range append(results, Result{Err: err}) {
		if !errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, ErrRefused) || !strings.Contains(r.Err.Error(), "busy") {
			t.Errorf("got %v", r.Err)
		}
	}
	if asked < 2 {
		t.Errorf("it was tried %d times", asked)
	}
	asked, status, body = 0, http.StatusUnauthorized, `{"error":"unauthorized","message":"a token is needed"}`
	results, err = p.PublishBatch(t.Context(), entries)
	if !errors.Is(err, ErrRefused) || asked != 1 || !errors.Is(results[2].Err, ErrRefused) {
		t.Errorf("without a token: asked %d times, got %v, %v", asked, results, err)
	}
}
