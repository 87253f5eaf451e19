package eventloop

import (
	"testing"
	"time"
)

// A peer owes an acknowledgement from when it is first seen to, and not from when it last said something.
func TestDebt(t *testing.T) {
	const s = int64(1000)
	var d Debt
	f := func(what string, now int64, owes bool, silent, want time.Duration) {
		t.Helper()
		got := d.age(now, owes, silent)
		if diff := got - want; max(diff, -diff) > 2*debtStep*time.Millisecond {
			t.Errorf("%s: at %d ms: got %v, want %v", what, now, got, want)
		}
		if (d != 0) != owes {
			t.Errorf("%s: at %d ms: it counts %d, and owes is %v", what, now, d, owes)
		}
	}
	f("quiet", 1*s, false, time.Minute, 0)
	f("sent something after a long silence", 100*s, true, time.Minute, 0)
	f("acknowledged", 101*s, false, time.Second, 0)
	f("sent something else", 130*s, true, 30*time.Second, 0)
	f("still owing", 140*s, true, 40*time.Second, 10*time.Second)
	f("for long", 151*s, true, 51*time.Second, 21*time.Second)
	f("it has answered, and owes the next one", 160*s, true, 3*time.Second, 0)
	f("again for a while", 165*s, true, 8*time.Second, 5*time.Second)
	f("the clock's first moment", 0, false, 0, 0)
	f("owing from there", 0, true, time.Hour, 0)
	f("and on", 25*s, true, time.Hour, 25*time.Second)
}
