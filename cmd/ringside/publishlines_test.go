package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// payloads are what a stream of Redis has, as topic=payload.
func payloads(t *testing.T, redis *miniredis.Miniredis) (list []string) {
	t.Helper()
	for _, key := range redis.Keys() {
		if !strings.HasSuffix(key, ":stream") {
			continue
		}
		entries, err := redis.Stream(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			fields := map[string]string{}
			for i := 0; i+1 < len(e.Values); i += 2 {
				fields[e.Values[i]] = e.Values[i+1]
			}
			if fields["topic"] != "" {
				list = append(list, fields["topic"]+"="+fields["payload"])
			}
		}
	}
	return list
}

func TestPublishLines(t *testing.T) {
	redis := miniredis.RunT(t)
	g1 := role(t, "redis://"+redis.Addr(), "gateway", "--id", "g1").node(t)
	ready(t, g1)
	f := func(stdin string, code int, want []string, says string, args ...string) {
		t.Helper()
		before := len(payloads(t, redis))
		got, out, errOut := command(t.Context(), stdin, nil, append([]string{"publish", "--to", "http://" + g1.Admin, "--lines"}, args...)...)
		if got != code || !strings.Contains(errOut, says) {
			t.Errorf("%q: got exit code %d, %s%s", stdin, got, out, errOut)
		}
		if list := payloads(t, redis)[before:]; strings.Join(list, "|") != strings.Join(want, "|") {
			t.Errorf("%q: got %q, want %q", stdin, list, want)
		}
	}
	f("1\n\n{\"n\": 2}\r\nthree", exitOK, []string{"finals=1", `finals={"n": 2}`, "finals=three"}, "", "finals")
	f("\xff\x00\n", exitOK, []string{"finals=\xff\x00"}, "", "finals")
	f("a\nb\n", exitOK, []string{"finals=a", "finals=b"}, "", "finals", "--id", "today")
	f("a\nb\nc\n", exitOK, []string{"finals=c"}, "", "finals", "--id", "today") // what is there already is there once
	f(`{"topic":"finals","data":{"n": 1},"id":"k"}`+"\n"+`{"topic":"finals","data":"4p=","encoding":"base64"}`+"\n"+`{"topic":"finals","data":"x\ny","encoding":"text"}`, exitFailure,
		[]string{`finals={"n": 1}`, "finals=x\ny"}, "line 2: ")
	f(`{"topic":"a\u0000","data":1}`+"\n"+`{"topic":"finals"}`+"\n"+`{"topic":"finals","data":1} {}`+"\n"+`{"topic":"finals","data":2,"more":1}`+"\n"+`{"topic":"finals","data":3}`, exitFailure,
		[]string{"finals=3"}, "4 of 5 lines were not published")
	f("", exitOK, nil, "", "finals")
	f(strings.Repeat("line\n", 1200), exitOK, strings.Split(strings.TrimSuffix(strings.Repeat("finals=line|", 1200), "|"), "|"), "", "finals")

	// What comes slowly is published as it comes.
	in, feed := io.Pipe()
	out := newOutput()
	done := make(chan int, 1)
	go func() {
		done <- run(context.WithoutCancel(t.Context()), []string{"publish", "--to", "http://" + g1.Admin, "--lines", "semi"}, nil, stdio{in: in, out: out, err: newOutput()})
	}()
	for i := range 3 {
		fmt.Fprintf(feed, "%d\n", i)
		out.waitFor(t, fmt.Sprintf(`{"line":%d,"topic":"semi","position":"`, i+1))
	}
	feed.Close()
	if code := <-done; code != exitOK {
		t.Errorf("got exit code %d", code)
	}
	if n := strings.Count(strings.Join(payloads(t, redis), "|"), "semi="); n != 3 {
		t.Errorf("got %d", n)
	}
}

// Lines that can't be published in time end it, and are named; so does what can't be read, and what makes no sense.
func TestPublishLinesEnds(t *testing.T) {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	f := func(stdin string, code int, says string, args ...string) {
		t.Helper()
		got, out, errOut := command(t.Context(), stdin, nil, append([]string{"publish", "--to", "http://" + addr}, args...)...)
		if got != code || out != "" || !strings.Contains(errOut, says) {
			t.Errorf("%q: got exit code %d, %s%s", args, got, out, errOut)
		}
	}
	f("1\n2\n", exitFailure, "line 1, and perhaps some behind it", "--lines", "finals", "--try-for", "300ms")
	f("1\n2\n", exitUsage, "try-for", "--lines", "finals", "--try-for", "0s")
	f("", exitUsage, "no DATA", "--lines", "finals", "1")
	f("", exitUsage, "TOPIC and DATA", "finals")
	f(strings.Repeat("x", maxLine+1), exitFailure, "line 1: ", "--lines", "finals")
	f("1\n", exitFailure, "token-file", "--lines", "finals", "--token-file", "/nowhere/at/all")
}
