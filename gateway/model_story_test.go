package gateway

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// story is what has happened, for the case that fails. Gateways log into it.
type story struct {
	mu    sync.Mutex
	b     bytes.Buffer
	slots []*truth // no others are of interest
}

func (s *story) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, rest, ok := bytes.Cut(p, []byte(`{"slot": `)); ok {
		n, _ := strconv.Atoi(string(rest[:max(0, bytes.IndexAny(rest, ",}"))]))
		if !slices.ContainsFunc(s.slots, func(t *truth) bool { return t.slot == n }) {
			return len(p), nil
		}
	}
	return s.b.Write(p)
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(&w.story, "%6d  %s\n", time.Since(w.began).Milliseconds(), fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	text := fmt.Sprintf("%s\n\nWhat happened (ms):\n%s", fmt.Sprintf(format, args...), w.story.String())
	if *w.failed == "" {
		*w.failed = text
	}
	w.t.Fatal(text)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

// until waits for a condition and judges meanwhile what clients hear.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(w.limit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.fail("never came true: %s", what)
		}
		<-tick.C
		w.listen()
	}
}

// do sends a command to Redis.
func (w *world) do(args ...string) any {
	w.t.Helper()
	v, err := w.conn.Do(args...)
	if err != nil {
		w.fail("%.200q: %v", args, err)
	}
	return v
}
