package eventloop

import "time"

// Debt is since when a peer owes an acknowledgement; 0 while it owes none. The system tells whether it does, and how long ago it last said
// anything, which says nothing by itself: of a peer that is sent something after a long silence that is long ago, and its answer under way.
// It is in steps of 128 ms, and one more.
type Debt uint32

const debtStep = 128 // ms

// look asks the system about the connection fd, and returns how long its peer has been seen to owe an acknowledgement, at now, in ms.
func (d *Debt) look(fd int, now int64) time.Duration {
	owes, silent := unanswered(fd)
	return d.age(now, owes, silent)
}

// age is how long it has been seen to owe one, at now, in ms of any clock; silent is since when nothing has come of it.
func (d *Debt) age(now int64, owes bool, silent time.Duration) time.Duration {
	at := Debt(now/debtStep) + 1
	if at == 0 {
		at = 1
	}
	since := func() time.Duration { return time.Duration(at-*d) * debtStep * time.Millisecond }
	switch {
	case !owes:
		*d = 0
		return 0
	case *d == 0 || silent < since(): // it has said something since, and owes something else
		*d = at
	}
	return since()
}
