package main

// runRaw judges a session without positions, which can't be told of a gap: what Redis has lost, and what a gap would cover,
// may be missing. Within a connection its messages are a stretch of all lives without another hole, and none comes twice.
func (t *trackCheck) runRaw() {
	var all []entry
	var of []int                // which life, of each
	index := map[uint64][]int{} // of a payload; more than one when it was published again after a loss
	for k, l := range t.lives {
		for _, e := range l.Entries {
			index[e.Sum] = append(index[e.Sum], len(all))
			all, of = append(all, e), append(of, k)
		}
	}
	newest := len(t.lives) - 1
	t.lives = []life{{Entries: all}}
	t.enter(0, 0)
	// pass leaves behind everything before the entry with index to, of a life.
	pass := func(to, in int, ev event) {
		for ; t.next < to; t.next++ {
			inside := to < len(all) && all[to].Lost && of[t.next] == in // it had not been taken away yet
			if all[t.next].Lost && !inside || of[t.next] < in {
				t.v.Gapped++
			} else {
				t.missing[t.next] = passed{at: ev.At}
			}
		}
	}
	conn := 0
	for _, ev := range t.h.Events {
		if ev.Kind == evFresh && ev.Stale {
			t.v.Stale++
		}
		if ev.Kind != evMessage {
			continue
		}
		t.v.Deliveries++
		i, ok := t.nextOf(index[ev.Sum])
		if !ok {
			t.phantom(ev)
			continue
		}
		if ev.Conn != conn { // what lies between two connections is nobody's
			conn = ev.Conn
			t.next = max(t.next, i)
		}
		pass(i, of[i], ev)
		t.arrived(ev, i)
	}
	pass(len(all), newest, event{})
	t.settle(true)
}

// nextOf is the first of the indices, in order, at which the session has not arrived yet, or the last.
func (t *trackCheck) nextOf(indices []int) (int, bool) {
	for _, i := range indices {
		if i >= t.next {
			return i, true
		}
	}
	if len(indices) == 0 {
		return 0, false
	}
	return indices[len(indices)-1], true
}
