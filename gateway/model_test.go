package gateway

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestModel holds real gateways on a real Redis against a model of what is guaranteed ([view]), through random sequences of
// everything that can happen to them.
//
// It runs for half a minute, or as long as RINGSIDE_MODEL says ("10m"; `make model`), or as many cases as -rapid.checks. A case
// that fails is made smaller, and is told together with all that happened in it; -rapid.seed or -rapid.failfile repeats it.
func TestModel(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	conn := redis.Dial(t)
	end := time.Now().Add(modelBudget(t))
	cases, failed := 0, ""
	t.Cleanup(func() {
		if failed != "" {
			t.Logf("as it was, before it was made smaller: %s", failed)
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		if time.Now().After(end) && failed == "" {
			return
		}
		cases++
		w := newWorld(rt, t, redis, conn, &failed)
		defer w.end()
		w.begin()
		rt.Repeat(w.actions())
		w.quiesce()
	})
	t.Logf("%d cases", cases)
}

// modelBudget is how long to go on with new cases.
func modelBudget(t *testing.T) time.Duration {
	asked := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if asked {
		return 24 * time.Hour
	}
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	if err := checks.Value.Set(strconv.Itoa(20000)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Value.Set(was) })
	if s := os.Getenv("RINGSIDE_MODEL"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("RINGSIDE_MODEL: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 5 * time.Second
	}
	return 25 * time.Second
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                    func(*rapid.T) { w.listen() },
		"publish":             w.actPublish,
		"publish more":        w.actPublish,
		"publish with an id":  w.actPublishID,
		"XADD":                w.actXADD,
		"poison":              w.actPoison,
		"flood":               w.actFlood,
		"connect":             w.actConnect,
		"leave":               w.actLeave,
		"come back":           w.actComeBack,
		"come back elsewhere": w.actComeBackElsewhere,
		"subscribe":           w.actSubscribe,
		"unsubscribe":         w.actUnsubscribe,
		"stop reading":        w.actStopReading,
		"read on":             w.actReadOn,
		"move":                w.actMove,
		"beat":                w.actBeat,
		"trim":                w.actTrim,
		"trim unread":         w.actTrimUnread,
		"interrupt":           w.actInterrupt,
		"pause":               w.actPause,
		"lag":                 w.actLag,
		"catch up":            w.actCatchUp,
		"place":               w.actPlace,
		"cool":                w.actCool,
		"restart":             w.actRestart,
		"lose":                w.actLose,
		"flush":               w.actFlush,
		"save":                w.actSave,
		"restore":             w.actRestore,
	}
}

// quiesce lets everything come to rest, publishes a last message to each topic, and looks whether everybody has got that and all
// that there was before.
func (w *world) quiesce() {
	w.note("the end")
	for _, c := range w.clients {
		c.hold(false)
	}
	w.felt()
	w.settle() // nobody lags from here on
	w.until("everybody is greeted", func() bool {
		w.gather()
		return w.all(func(v *view) bool { return v.greeted && !v.leaving })
	})
	for _, topic := range w.topics {
		last := w.publish(topic, "", w.payload(0, 0)).Position.ID
		w.until("everybody has the last message of "+topic, func() bool {
			w.gather() // one that has a part of a message that can't be had any more has left
			return w.all(func(v *view) bool { return v.topic != topic || v.got == last })
		})
	}
	for _, c := range w.clients {
		for _, v := range c.views {
			if err := v.settled(w.winner); err != nil {
				w.fail("%s: %s: %v", c.name, v.topic, err)
			}
		}
	}
}

// gather has everybody come back.
func (w *world) gather() {
	w.t.Helper()
	for i, c := range w.clients {
		switch m := w.members[i%len(w.members)]; {
		case c.parted:
			w.move(c, m)
		case c.away():
			w.open(c, m)
		}
	}
}

func (w *world) all(ok func(*view) bool) bool {
	for _, c := range w.clients {
		for _, v := range c.views {
			if !ok(v) {
				return false
			}
		}
	}
	return true
}

// winner is the one that counts of the entries with an idempotency key.
func (w *world) winner(f *fact) (position.ID, error) {
	text, _ := w.do("GET", idKey(f.topic, f.key)).(string)
	if text == "" {
		return position.ID{}, nil
	}
	return position.ParseID(text)
}
