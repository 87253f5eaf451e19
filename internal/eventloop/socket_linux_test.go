package eventloop

import "testing"

// It is asked of every session all the time: no memory may go with it. Of a descriptor that is none nothing is said.
func TestUnansweredAllocatesNothing(t *testing.T) {
	_, fd := pair(t)
	if n := testing.AllocsPerRun(100, func() {
		if owes, _ := unanswered(fd); owes {
			t.Error("a peer that was sent nothing owes an answer")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if owes, silent := unanswered(-1); owes || silent != 0 {
		t.Errorf("got %v, %v of no descriptor", owes, silent)
	}
}
