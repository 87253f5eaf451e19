package main

import (
	"time"
)

// redisHead is what the sections of `bench redis` begin with.
type redisHead struct {
	Begin, Date, Machine, Command string
	Versions                      []string
	Topics, Size, Rounds          int
	Window                        time.Duration
	Missing                       int64
	Others                        float64 // percent of the machine that other programs used, where it was most
}

func (o *redisOptions) head(part string, began time.Time) redisHead {
	return redisHead{Begin: redisBegin(part), Date: began.UTC().Format(time.DateOnly), Machine: machine(), Command: o.command, Versions: versions(),
		Topics: o.topics, Size: o.size, Rounds: o.rounds, Window: o.window}
}

// note takes in what casts doubt on a measurement.
func (h *redisHead) note(ways []way) {
	for i := range ways {
		h.Missing += ways[i].Missing
		h.Others = max(h.Others, ways[i].Busy.Others())
	}
}

// Noisy reports that the machine was not quiet.
func (h redisHead) Noisy() bool { return h.Others > othersMax }
