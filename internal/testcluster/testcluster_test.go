package testcluster

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringside-edge/ringside/internal/position"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcess(t *testing.T) {
	p, err := StartProcess("sh", "sh", "-c", "echo one; echo two >&2; echo three; exit 7")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(Limit()); code != 7 || err != nil {
		t.Errorf("exit: got %d, %v, want 7", code, err)
	}
	if got := p.LogTail(2); got != "two\nthree" {
		t.Errorf("log: got %q", got)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal after the end: %v", err)
	}

	if p, err = StartProcess("sleep", "sleep", "1000"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(time.Millisecond); err == nil {
		t.Error("waiting for a process that runs: got no error")
	}
	p.Kill()
	if code, err := p.Wait(Limit()); code != -1 || err != nil {
		t.Errorf("exit after SIGKILL: got %d, %v, want -1", code, err)
	}
	if _, err := StartProcess("none", "/no/such/program"); err == nil {
		t.Error("a program that isn't there: got no error")
	}
}

func TestFreeAddr(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	if n, _ := strconv.Atoi(port); n < lowestPort || n >= ephemeralStart() {
		t.Errorf("port: got %s, want one outside the ephemeral range", port)
	}
	if free(addr) {
		t.Error("a port that is taken counts as free")
	}
}

func TestFreeAddrIsFoundOnce(t *testing.T) {
	var mu sync.Mutex
	found := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				addr, err := FreeAddr()
				mu.Lock()
				if err != nil || found[addr] {
					t.Errorf("got %s a second time, or an error: %v", addr, err)
				}
				found[addr] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// Other test binaries run at the same time.
func TestReservedPortsAreOfTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a name for it")
	}
	name := "ringside-test-name-" + strconv.Itoa(os.Getpid())
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@" + name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if reserveName(name) {
		t.Error("got a name that another holds")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if !reserveName(name) {
		t.Error("a name is not given back")
	}
}

func TestPoll(t *testing.T) {
	n := 0
	err := Poll(context.Background(), func() error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("got %v after %d calls, want 3", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Poll(ctx, func() error { return errors.New("never") }); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("got %v, want the last error", err)
	}
}

// TestRedis publishes, kills the server and finds everything again.
func TestRedis(t *testing.T) {
	s := NewRedis(t, true)
	c := s.Dial(t)
	id, err := c.Add("finals", "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add("finals", "two", "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do("NONSENSE"); err == nil {
		t.Error("an unknown command: got no error")
	}
	s.Kill()
	if _, err := c.Do("PING"); err == nil {
		t.Error("a command after the end: got no error")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	truth, err := s.Dial(t).Truth("finals")
	if err != nil {
		t.Fatal(err)
	}
	if len(truth) != 2 || truth[0] != (Entry{ID: id, Topic: "finals", Payload: "one"}) || truth[1].Key != "key" {
		t.Errorf("truth: got %+v", truth)
	}
}

func TestStreamKey(t *testing.T) {
	f := func(topic, want string) {
		t.Helper()
		if got := StreamKey(topic); got != want {
			t.Errorf("%q: got %s, want %s", topic, got, want)
		}
	}
	f("abc", "ringside:{10}:169:stream")                                       // SHA-1 a9993e36…
	f("", "ringside:{13}:218:stream")                                          // SHA-1 da39a3ee…
	f("The quick brown fox jumps over the lazy dog", "ringside:{2}:47:stream") // SHA-1 2fd4e1c6…
}

// at is a position in the one epoch of these tests.
func at(n uint64) position.Position {
	return position.Position{Epoch: 1, ID: position.ID{Ms: n}}
}

// TestCheck shows the checker every kind of fault: one that it missed would hide the same in the program.
func TestCheck(t *testing.T) {
	var truth []Entry
	for i := range uint64(5) {
		truth = append(truth, Entry{ID: at(i + 1).ID, Payload: strconv.FormatUint(i+1, 10)})
	}
	f := func(p Protocol, start uint64, seen []Seen, from int, want string) {
		t.Helper()
		s := &Subscriber{cfg: SubscriberConfig{Name: "s", Protocol: p}, tracks: map[string]*Track{"x": {Start: at(start), Seen: seen}}}
		if p == Raw {
			s.tracks["x"].Start = position.Position{}
		}
		err := Check(s, "x", truth, from)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v from %d, %v: got %v, want %q", p, start, seen, err, want)
		}
	}
	see := func(ids ...uint64) (list []Seen) {
		for _, id := range ids {
			list = append(list, Seen{Conn: 1, Position: at(id), Data: strconv.FormatUint(id, 10)})
		}
		return list
	}
	f(V1, 0, see(1, 2, 3, 4, 5), 0, "")
	f(V1, 2, see(3, 4, 5), 2, "")
	f(V1, 5, nil, 5, "")
	f(SSE, 2, see(3, 4, 5), 0, "starts at")
	f(V1, 0, see(1, 2, 4, 5), 0, "message 2 is")
	f(V1, 0, see(1, 2, 2, 3, 4, 5), 0, "message 2 is")
	f(V1, 0, see(2, 1, 3, 4, 5), 0, "message 0 is")
	f(V1, 0, see(1, 2, 3, 4), 0, "missing")
	f(V1, 0, see(1, 2, 3, 4, 5, 6), 0, "too many")
	f(V1, 4, []Seen{{1, at(5), "other"}}, 4, "want \"5\"")

	f(Raw, 0, see(1, 2, 3, 4, 5), 0, "")
	f(Raw, 0, see(3, 4, 5), 2, "")
	f(Raw, 0, see(3, 4, 5), 0, "at most 0")
	f(Raw, 0, see(1, 3, 4, 5), 0, "after")
	f(Raw, 0, see(1, 2, 2, 3, 4, 5), 0, "after")
	f(Raw, 0, see(1, 2, 3, 4), 0, "the last message")
	f(Raw, 0, append(see(1, 2), Seen{2, position.Position{}, "4"}, Seen{2, position.Position{}, "5"}), 0, "")
	f(Raw, 0, append(see(1, 2), Seen{2, position.Position{}, "2"}), 0, "again")
	f(Raw, 0, see(9), 0, "never published")
}

func TestSubscriberNoticesWhatNoServerMayDo(t *testing.T) {
	f := func(want string, steps ...func(s *Subscriber) error) {
		t.Helper()
		s := &Subscriber{cfg: SubscriberConfig{Name: "s", Topic: "x"}, tracks: map[string]*Track{"x": {}}}
		var err error
		for _, step := range steps {
			if err == nil {
				err = step(s)
			}
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	moved := func(n uint64) func(*Subscriber) error {
		return func(s *Subscriber) error { return s.moved("x", at(n).String(), false) }
	}
	saw := func(n uint64) func(*Subscriber) error {
		return func(s *Subscriber) error { return s.saw(1, "x", at(n).String(), "") }
	}
	f("", moved(1), saw(2), moved(3), saw(4))
	f("", moved(1), moved(1), saw(2), moved(2))
	f("not after", moved(1), saw(1))
	f("not after", moved(1), saw(3), saw(2))
	f("not after", moved(1), moved(5), saw(4))
	f("behind", moved(1), saw(3), moved(2))
	f("before any position", saw(1))
	f("position", func(s *Subscriber) error { return s.saw(1, "x", "nonsense", "") })
	f("not followed", func(s *Subscriber) error { return s.saw(1, "y", at(1).String(), "") })
	f("without a gap", moved(1), func(s *Subscriber) error { return s.saw(1, "x", "00000002-5-0", "") })
	f("", moved(5), func(s *Subscriber) error { return s.gap("x", "epoch", "00000002-1-0") })
}
