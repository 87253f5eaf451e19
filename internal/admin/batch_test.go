package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
)

const ndjson = "Content-Type: application/x-ndjson"

// batchResult is a result of a batch as a client reads it.
type batchResult struct {
	Topic, Position, Error, Message string
	Slot                            *int
	Duplicate, Ambiguous            bool
}

// batch publishes a batch and holds the status, the numbers and, for each entry, "ok", "duplicate" or the reason.
func (p *port) batch(t *testing.T, body string, status int, want []string, headers ...string) []batchResult {
	t.Helper()
	a := p.do(t, "POST", "/publish", body, headers...)
	var got struct {
		Published, Failed int
		Results           []batchResult
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%.80q: %v in %s", body, err, a.body)
	}
	var results []string
	published := 0
	for _, r := range got.Results {
		switch {
		case r.Error != "":
			results = append(results, r.Error)
			if r.Position != "" || r.Slot != nil || r.Message == "" {
				t.Errorf("%.80q: a failed entry is answered as %+v", body, r)
			}
			continue
		case r.Duplicate:
			results = append(results, "duplicate")
		default:
			results = append(results, "ok")
		}
		published++
		if r.Position == "" || r.Slot == nil || r.Topic == "" {
			t.Errorf("%.80q: a published entry is answered as %+v", body, r)
		}
	}
	if a.status != status || strings.Join(results, " ") != strings.Join(want, " ") || got.Published != published || got.Failed != len(results)-published {
		t.Errorf("%.80q: got %d %s, want %d %v", body, a.status, a.body, status, want)
	}
	return got.Results
}

func TestBatch(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(body string, want []Message, headers ...string) {
		t.Helper()
		before := len(p.publisher.got)
		var ok []string
		for _, m := range want {
			ok = append(ok, map[bool]string{true: "duplicate", false: "ok"}[m.ID == "again"])
		}
		p.batch(t, body, 200, ok, headers...)
		if got := p.publisher.got[before:]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
	f(`[{"topic":"a","data":{"n" : 1}},{"topic":"b","data":"x","id":"k","min_replicas":2},{"topic":"a","data":null,"id":"again"}]`, []Message{
		{"a", "", []byte(`{"n" : 1}`), 0}, {"b", "k", []byte(`"x"`), 2}, {"a", "again", []byte(`null`), 0},
	})
	lines := []Message{{"a", "", []byte(`1`), 0}, {"b", "", []byte(`[ 2 ]`), 0}}
	f(`{"topic":"a","data":1}`+"\n"+`{"topic":"b","data":[ 2 ]}`, lines, ndjson)
	f("\r\n"+`  {"topic":"a","data":1} `+"\r\n\r\n"+`{"topic":"b","data":[ 2 ]}`+"\n\n", lines, "Content-Type: application/jsonl; charset=UTF-8")
	f(` [ {"topic":"a","data":1} ,`+"\n"+`{"topic":"b","data":[ 2 ]} ] `, lines, "Content-Type: application/x-www-form-urlencoded")
	f(strings.Repeat(" ", 100)+`[{"topic":"a","data":1}]`, lines[:1])
	f(`[{"topic":"a","data":"Goal!\n","encoding":"text"},{"topic":"a","data":"/wA=","encoding":"base64"},{"topic":"a","data":"","encoding":"base64"}]`, []Message{
		{"a", "", []byte("Goal!\n"), 0}, {"a", "", []byte("\xff\x00"), 0}, {"a", "", []byte{}, 0},
	})
	f(`{"topic":"a","data":1}`, lines[:1], ndjson) // one line is a batch of one
}

// Each entry is told its own fate, and those that can be published are, whatever the others are like.
func TestBatchTellsOfEachEntry(t *testing.T) {
	p := start(t, "r1", false, nil)
	long := strings.Repeat("x", testPayload)
	p.batch(t, `[{"topic":"a","data":1},{"data":1},{"topic":"a"},{"topic":"a\n","data":1},{"topic":"","data":1},{"topic":"a","data":1,"id":"\n"},
		{"topic":"a","data":1,"min_replicas":17},{"topic":"a","data":"`+long+`"},{"topic":"a","data":1,"topic":"b"},{"topic":"a","data":1,"more":1},
		{"Topic":"a","data":1},1,null,[],{"topic":1,"data":1},{"topic":"a","data":"%","encoding":"base64"},{"topic":"a","data":1,"encoding":"text"},
		{"topic":"a","data":"","encoding":"gzip"},{"topic":"a","data":2}]`, 207, []string{
		"ok", "topic_missing", "data_missing", "topic_control", "topic_empty", "id",
		"min_replicas", "too_large", "json", "json",
		"json", "json", "json", "json", "json", "data", "data",
		"data", "ok",
	})
	if n := len(p.publisher.got); n != 2 || string(p.publisher.got[1].Payload) != "2" {
		t.Errorf("published %v", p.publisher.got)
	}
	results := p.batch(t, `{"topic":"a","data":1}`+"\n\n"+`{"topic":"a"}`, 207, []string{"ok", "data_missing"}, ndjson)
	if !strings.HasPrefix(results[1].Message, "line 3: ") || results[1].Topic != "a" {
		t.Errorf("got %+v, want the line and the topic", results[1])
	}
	a := p.do(t, "GET", "/metrics", "")
	for _, want := range []string{`{result="published"} 3`, `{result="json"} 7`, `{result="topic_control"} 1`, `{result="data_missing"} 2`} {
		if !strings.Contains(a.body, "ringside_admin_batch_entries_total"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// What Redis does not take is told for each entry, in doubt or not; the status says whether all, some or none were published.
func TestBatchWithoutRedis(t *testing.T) {
	p := start(t, "r1", false, nil)
	body := `[{"topic":"a","data":1},{"topic":"b","data":1}]`
	p.publisher.fail(fmt.Errorf("%w: refused", ErrUnavailable), "b")
	if r := p.batch(t, body, 207, []string{"ok", "unavailable"}); r[1].Ambiguous {
		t.Errorf("unavailable: got %+v", r[1])
	}
	p.publisher.fail(fmt.Errorf("%w: time-out", ErrAmbiguous), "b")
	if r := p.batch(t, body, 207, []string{"ok", "ambiguous"}); !r[1].Ambiguous {
		t.Errorf("ambiguous: got %+v", r[1])
	}
	p.publisher.fail(ErrUnavailable)
	p.batch(t, body, 503, []string{"unavailable", "unavailable"})
	if a := p.do(t, "POST", "/publish", body); a.reason() != "unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("none: got %d %v %s", a.status, a.header, a.body)
	}
	p.batch(t, `[{"topic":"","data":1},{"topic":"b"},{"topic":"b","data":1}]`, 503, []string{"topic_empty", "data_missing", "unavailable"})
	p.batch(t, `[{"topic":"","data":1},{"topic":"b"}]`, 400, []string{"topic_empty", "data_missing"})
	p.publisher.fail(ErrTooLarge)
	p.batch(t, body, 413, []string{"too_large", "too_large"})
}

// An error that is none of Redis's is told as one of ours.
func TestBatchInternal(t *testing.T) {
	p := start(t, "r1", false, func(d *Deps) { d.Log = zap.NewNop() })
	p.publisher.fail(errors.New("something else"))
	p.batch(t, `[{"topic":"a","data":1}]`, 500, []string{"internal"})
}

// What can't be read, or is too much, is refused as a whole: nothing of it is published.
func TestBatchRefused(t *testing.T) {
	p := startWith(t, Config{Listen: "127.0.0.1:0", Self: "g1", MaxPayload: testPayload, BatchEntries: 3, BatchBytes: 4 * testPayload}, true, nil)
	f := func(body string, status int, reason, says string, headers ...string) {
		t.Helper()
		a := p.do(t, "POST", "/publish", body, headers...)
		if a.status != status || a.reason() != reason || !strings.Contains(a.body, says) || strings.Contains(a.body, "results") {
			t.Errorf("%.60q: got %d %s, want %d %s that says %s", body, a.status, a.body, status, reason, says)
		}
	}
	one := `{"topic":"x","data":1}`
	f(`[`+one+`,`, 400, "json", "behind 1 entries")
	f(`[`+one+` `+one+`]`, 400, "json", "byte")
	f(`[`+one+`]]`, 400, "json", "follows")
	f(`[`+one+`] `+one, 400, "json", "follows")
	f("["+one+",\"\xff\"]", 400, "json", "UTF-8")
	f(one+"\n"+`{"topic":"x","da`, 400, "json", "line 2", ndjson)
	f("\n"+one+"\n{\"topic\":\"x\",\"data\":\"\xff\"}\n"+one, 400, "json", "line 3", ndjson)
	f(one+one, 400, "json", "line 1", ndjson)
	f(`[`+one+`]`+"\n"+`}`, 400, "json", "line 2", ndjson)
	f("\n \n", 400, "batch_empty", "", ndjson)
	f(``, 400, "batch_empty", "", ndjson)
	f(`[`+one+`,`+one+`,`+one+`,`+one+`]`, 413, "batch_entries", "more than 3")
	f(strings.Repeat(one+"\n", 4), 413, "batch_entries", "more than 3", ndjson)
	f(`["`+strings.Repeat("x", 4*testPayload)+`"]`, 413, "batch_bytes", "4096")
	f(`[`+one+`]`, 415, "encoding", "", "Content-Encoding: gzip")
	f(one, 415, "encoding", "", ndjson, "Content-Encoding: br")
	f(`[`+one+`]`, 400, "id", "each entry", "Idempotency-Key: k")
	for _, kind := range []string{"multipart/form-data; boundary=x", "application/xml", "image/png", "application/json; charset=latin1", "json", "a/b;;"} {
		f(one, 415, "content_type", "", "Content-Type: "+kind)
	}
	if len(p.publisher.got) != 0 {
		t.Errorf("published %v", p.publisher.got)
	}
}

// The key in the header counts for one entry, as it does for a raw payload.
func TestPublishWithKeyInHeader(t *testing.T) {
	p := start(t, "r1", false, nil)
	if a := p.do(t, "POST", "/publish", `{"topic":"x","data":1}`, "Idempotency-Key: k"); a.status != 200 || p.publisher.last(t).ID != "k" {
		t.Errorf("got %d, %v", a.status, p.publisher.got)
	}
	if a := p.do(t, "POST", "/publish", `{"topic":"x","data":1,"id":"k"}`, "Idempotency-Key: k"); a.status != 200 || p.publisher.last(t).ID != "k" {
		t.Errorf("got %d, %v", a.status, p.publisher.got)
	}
	if a := p.do(t, "POST", "/publish", `{"topic":"x","data":1,"id":"k"}`, "Idempotency-Key: l"); a.status != 400 || a.reason() != "id" {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// A token is good for the entries of its topics, and for no other entry of the batch.
func TestBatchTokens(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, topics bool) *Tokens {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := ReadTokens(filepath.Join(dir, name), topics, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	p := startTrusting(t, Trust{
		Admins:     file("admin", "the-token-of-admins\n", false),
		Publishers: file("publish", "the-token-of-scores finals score.*\n", true),
	})
	body := `[{"topic":"finals","data":1},{"topic":"news","data":1},{"topic":"score.1","data":1}]`
	p.batch(t, body, 207, []string{"ok", "topic_forbidden", "ok"}, "Authorization: Bearer the-token-of-scores")
	p.batch(t, `[{"topic":"news","data":1}]`, 403, []string{"topic_forbidden"}, "Authorization: Bearer the-token-of-scores")
	p.batch(t, body, 200, []string{"ok", "ok", "ok"}, "Authorization: Bearer the-token-of-admins")
	if a := p.do(t, "POST", "/publish", body, "Authorization: Bearer wrong"); a.status != 401 || a.reason() != "unauthorized" {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// A client that stops in the middle of its batch has published nothing.
func TestBatchThatBreaksOff(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(head, body string) {
		t.Helper()
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n%s\r\n\r\n%s", head, body)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		n, _ := c.Read(b)
		if got := string(b[:n]); !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("got %q", got)
		}
	}
	one := `{"topic":"x","data":1}` + "\n"
	f("Content-Length: 1000", one)
	f("Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(one), one))
	if len(p.publisher.got) != 0 {
		t.Errorf("published %v", p.publisher.got)
	}
}

// When Redis stands still, only so many batches wait in memory; single publishes have places of their own.
func TestBatchesBusy(t *testing.T) {
	p := start(t, "r1", false, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	p.publisher.hold(entered, release)
	var wg sync.WaitGroup
	for range maxBatches {
		wg.Go(func() {
			if a := p.do(t, "POST", "/publish", `[{"topic":"x","data":1}]`); a.status != 200 {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	for range maxBatches {
		<-entered
	}
	if a := p.do(t, "POST", "/publish", `[{"topic":"x","data":1}]`); a.status != 503 || a.reason() != "busy" || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	wg.Go(func() {
		if a := p.do(t, "POST", "/publish", `{"topic":"x","data":1}`); a.status != 200 {
			t.Errorf("a single one: got %d %s", a.status, a.body)
		}
	})
	<-entered
	close(release)
	wg.Wait()
}
