package main

import "time"

// outage is a time in which Redis gave no sign of life.
type outage struct {
	From, To time.Duration
	Why      string
}

// freshLimits are how soon clients must know.
type freshLimits struct {
	Told  time.Duration // after Redis fell silent: that their topics are stale
	Clear time.Duration // after it came back: that they are so no more
}

// inTime are those of a run: clients are told when a topic turns stale, and with every heartbeat.
//
//nolint:gochecknoglobals // a constant in all but name
var inTime = freshLimits{Told: staleAfter + 2*heartbeat, Clear: staleAfter + 2*heartbeat}

// judgeFreshness looks whether everybody who was connected through an outage, and reads, was told of it in time. It is pure.
func judgeFreshness(v *verdict, limits freshLimits, outages []outage, seen []history) {
	for _, h := range seen {
		if h.Slow || h.Toggles {
			continue
		}
		for _, o := range outages {
			v.outage(limits, o, h)
		}
	}
}

// outage judges one outage and one session in one topic.
func (v *verdict) outage(limits freshLimits, o outage, h history) {
	conn := 0 // on which the session stood when it began
	stale := false
	var told, early, cleared time.Duration // zero for not
	until := time.Duration(0)              // when the connection is known to have stood
	for _, ev := range h.Events {
		switch {
		case ev.At <= o.From:
			conn = ev.Conn
			stale = ev.Kind == evFresh && ev.Stale || ev.Kind != evFresh && stale
			continue
		case ev.Conn != conn:
			continue
		}
		until = ev.At
		switch {
		case ev.Kind != evFresh:
		case ev.Stale && told == 0:
			told, cleared = ev.At, 0
		case !ev.Stale && told > 0 && ev.At < o.To:
			early = ev.At
		case !ev.Stale && told > 0 && cleared == 0:
			cleared = ev.At
		}
	}
	if conn == 0 || stale || o.To-o.From < limits.Told || until < o.From+limits.Told {
		return
	}
	v.Outages++
	if told == 0 || told > o.From+limits.Told {
		v.add(badStale, o.From, "%s, topic %q: Redis was silent for %.1f s (%s), and the client was told so %s",
			h.Session, h.Topic, (o.To - o.From).Seconds(), o.Why, when(told, o.From))
		return
	}
	if early > 0 {
		v.add(badStale, early, "%s, topic %q: it was told that it is fresh %s, while Redis was silent (%s)", h.Session, h.Topic,
			when(early, o.From), o.Why)
		return
	}
	if told-o.From > v.ToldAfter {
		v.ToldAfter, v.ToldLast = told-o.From, h.Session
	}
	if until < o.To+limits.Clear {
		return
	}
	if cleared == 0 || cleared > o.To+limits.Clear {
		v.add(badStale, o.To, "%s, topic %q: Redis was back after %.1f s (%s), and the client was told so %s",
			h.Session, h.Topic, (o.To - o.From).Seconds(), o.Why, when(cleared, o.To))
		return
	}
	v.ClearAfter = max(v.ClearAfter, cleared-o.To)
}

// when says when something was told that should have been told soon after a moment.
func when(told, since time.Duration) string {
	if told == 0 {
		return "never"
	}
	return (told - since).Round(10*time.Millisecond).String() + " later"
}
