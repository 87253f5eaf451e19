package main

import "time"

// clock is a moment of the simulation, counted from its beginning.
type moment = time.Duration

// event is something that happens at a moment to whom it concerns.
type event struct {
	at   moment
	seq  uint64 // events of one moment happen in the order in which they were planned
	kind uint8
	who  int32
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// agenda holds what is to happen, as a heap of four children a node: ten million events of 24 bytes, and no pointer
// for the collector to follow.
type agenda struct {
	events []event
	seq    uint64
}

func (a *agenda) plan(at moment, kind uint8, who int32) {
	a.seq++
	a.events = append(a.events, event{at: at, seq: a.seq, kind: kind, who: who})
	for i := len(a.events) - 1; i > 0; {
		up := (i - 1) / 4
		if !a.events[i].before(a.events[up]) {
			return
		}
		a.events[i], a.events[up] = a.events[up], a.events[i]
		i = up
	}
}

// next takes the earliest event; ok is false when there is none.
func (a *agenda) next() (e event, ok bool) {
	n := len(a.events)
	if n == 0 {
		return event{}, false
	}
	e = a.events[0]
	a.events[0] = a.events[n-1]
	a.events = a.events[:n-1]
	for i := 0; ; {
		least := i
		for c := 4*i + 1; c <= 4*i+4 && c < n-1; c++ {
			if a.events[c].before(a.events[least]) {
				least = c
			}
		}
		if least == i {
			return e, true
		}
		a.events[i], a.events[least] = a.events[least], a.events[i]
		i = least
	}
}
