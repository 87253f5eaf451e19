package admin

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

func TestPublish(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(body string, want Message) {
		t.Helper()
		a := p.do(t, "POST", "/publish", body)
		if a.status != 200 {
			t.Errorf("%s: got %d %s", body, a.status, a.body)
			return
		}
		if got := p.publisher.last(t); got.Topic != want.Topic || got.ID != want.ID || string(got.Payload) != string(want.Payload) || got.Replicas != want.Replicas {
			t.Errorf("%s: got %q %q %q, want %q %q %q", body, got.Topic, got.ID, got.Payload, want.Topic, want.ID, want.Payload)
		}
	}
	f(`{"topic":"finals","data":{"score" : "2:1"}}`, Message{"finals", "", []byte(`{"score" : "2:1"}`), 0})
	f(` {"id":"goal-17","data": [1, 2],"topic":"a/b"} `, Message{"a/b", "goal-17", []byte(`[1, 2]`), 0})
	f(`{"topic":"x","data":null}`, Message{"x", "", []byte(`null`), 0})
	f(`{"topic":"x","data":"<b>\u00e9"}`, Message{"x", "", []byte(`"<b>\u00e9"`), 0})
	f(`{"topic":"x","data":1,"min_replicas":2}`, Message{"x", "", []byte(`1`), 2})
	f(`{"topic":"\u00e9","data":0}`, Message{"é", "", []byte(`0`), 0})

	a := p.do(t, "POST", "/publish", `{"topic":"finals","data":1}`)
	if want := `{"topic":"finals","slot":198,"position":"6f1c22aa-1763900000000-0"}` + "\n"; a.body != want {
		t.Errorf("answer: got %s, want %s", a.body, want)
	}
	a = p.do(t, "POST", "/publish", `{"topic":"finals","data":1,"id":"again"}`)
	if !strings.Contains(a.body, `"duplicate":true`) {
		t.Errorf("duplicate: got %s", a.body)
	}
}

func TestPublishRaw(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(path, body string, want Message, headers ...string) {
		t.Helper()
		a := p.do(t, "POST", path, body, headers...)
		if a.status != 200 {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
			return
		}
		if got := p.publisher.last(t); got.Topic != want.Topic || got.ID != want.ID || string(got.Payload) != body || got.Replicas != want.Replicas {
			t.Errorf("%s: got %q %q %q, want %q %q %q", path, got.Topic, got.ID, got.Payload, want.Topic, want.ID, body)
		}
	}
	f("/publish/finals", `{"score":"2:1"}`, Message{Topic: "finals"})
	f("/publish/finals", "\xff\x00", Message{Topic: "finals"})
	f("/publish/finals", "", Message{Topic: "finals"})
	f("/publish/a/b", "x", Message{Topic: "a/b"})
	f("/publish/a//b/../c", "x", Message{Topic: "a//b/../c"})
	f("/publish/a%2Fb%20c+d", "x", Message{Topic: "a/b c+d"})
	f("/publish/finals?id=k1", "x", Message{Topic: "finals", ID: "k1"})
	f("/publish/finals?min_replicas=1", "x", Message{Topic: "finals", Replicas: 1})
	f("/publish/finals", "x", Message{Topic: "finals", ID: "k2"}, "Idempotency-Key: k2")
	f("/publish/finals?id=k3", "x", Message{Topic: "finals", ID: "k3"}, "Idempotency-Key: k3")
	f("/publish/finals", strings.Repeat("x", testPayload), Message{Topic: "finals"})
}

func TestPublishRefused(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(path, body string, status int, reason string, headers ...string) answered {
		t.Helper()
		a := p.do(t, "POST", path, body, headers...)
		if a.status != status || a.reason() != reason {
			t.Errorf("%s %.60q: got %d %s, want %d %s", path, body, a.status, a.body, status, reason)
		}
		return a
	}
	f("/publish", ``, 400, "json")
	f("/publish", `[]`, 400, "batch_empty")
	f("/publish", `{"topic":"x","data":1,"min_replicas":17}`, 400, "min_replicas")
	f("/publish/x?min_replicas=-1", `x`, 400, "min_replicas")
	f("/publish/x?min_replicas=all", `x`, 400, "min_replicas")
	f("/publish", `{"topic":"x","data":1}{}`, 400, "json")
	f("/publish", `{"topic":"x","data":1,"more":1}`, 400, "json")
	f("/publish", `{"topic":1,"data":1}`, 400, "json")
	f("/publish", "{\"topic\":\"x\",\"data\":\"\xff\"}", 400, "json")
	f("/publish", `{"data":1}`, 400, "topic_missing")
	f("/publish", `{"topic":"x"}`, 400, "data_missing")
	f("/publish", `{"topic":"","data":1}`, 400, "topic_empty")
	f("/publish", `{"topic":"x","data":1,"id":"a\nb"}`, 400, "id")
	f("/publish", `{"topic":"x","data":1,"id":"`+strings.Repeat("x", 256)+`"}`, 400, "id")
	f("/publish", `{"topic":"x","data":"`+strings.Repeat("x", testPayload)+`"}`, 413, "too_large")
	f("/publish", strings.Repeat(" ", testPayload+envelope+1), 413, "too_large")
	f("/publish?id=x", `{"topic":"x","data":1}`, 400, "query")
	f("/publish", `{}`, 415, "encoding", "Content-Encoding: gzip")
	f("/publish/", `x`, 400, "topic_empty")
	f("/publish/x?topic=y", `x`, 400, "query")
	f("/publish/x?id=a", `x`, 400, "id", "Idempotency-Key: b")
	f("/publish/x", strings.Repeat("x", testPayload+1), 413, "too_large")

	p.publisher.fail(fmt.Errorf("%w: connection refused", ErrUnavailable))
	a := f("/publish/x", "x", 503, "unavailable")
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "ambiguous") {
		t.Errorf("unavailable: got %v %s", a.header, a.body)
	}
	p.publisher.fail(fmt.Errorf("%w: timeout", ErrAmbiguous))
	if a = f("/publish/x", "x", 503, "ambiguous"); a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"ambiguous":true`) {
		t.Errorf("ambiguous: got %v %s", a.header, a.body)
	}
	p.publisher.fail(ErrTooLarge)
	f("/publish/x", "x", 413, "too_large")
}

// A body of unknown length is cut off at the limit too.
func TestPublishChunked(t *testing.T) {
	p := start(t, "r1", false, nil)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	chunk := fmt.Sprintf("%x\r\n%s\r\n", testPayload, strings.Repeat("x", testPayload))
	fmt.Fprintf(c, "POST /publish/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s%s0\r\n\r\n", chunk, chunk)
	b := make([]byte, 64)
	n, _ := c.Read(b)
	if want := "HTTP/1.1 413"; !strings.HasPrefix(string(b[:n]), want) {
		t.Errorf("got %q, want %s", b[:n], want)
	}
}

// When Redis stands still, only so many payloads wait in memory.
func TestPublishBusy(t *testing.T) {
	p := start(t, "r1", false, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	p.publisher.hold(entered, release)
	var wg sync.WaitGroup
	for range maxPublishes {
		wg.Go(func() {
			if a := p.do(t, "POST", "/publish/x", "x"); a.status != 200 {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	for range maxPublishes {
		<-entered
	}
	if a := p.do(t, "POST", "/publish/x", "x"); a.status != 503 || a.reason() != "busy" || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	close(release)
	wg.Wait()
}
