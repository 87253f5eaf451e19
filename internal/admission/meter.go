package admission

import "time"

// meter learns how many handshakes per second a door takes. Only a second in which some had to wait shows that; in any other
// the rate can but be higher, and is tried: had it been guessed too low, those who are told to return at that rate would never
// press, and it would stay too low for good.
type meter struct {
	rate    float64
	began   time.Time // of the second that is counted
	n       int
	pressed bool // somebody had to wait in it
}

const (
	meterTime = time.Second
	// meterWeight is what one second counts against those before.
	meterWeight = 0.4
	// meterTry is how much more is tried after a second in which most of the rate came and nobody had to wait.
	meterTry = 1.1
	// meterMost is how much of the rate that is: a little less than what is booked of it.
	meterMost = 0.7
	// leastRate is never gone below: else nobody would be told to come back in time to show better.
	leastRate = 5
)

func (m *meter) add(now time.Time) {
	m.turn(now)
	m.n++
}

// turn ends the second when it is over.
func (m *meter) turn(now time.Time) {
	if m.began.IsZero() {
		m.began = now
	}
	took := now.Sub(m.began)
	if took < meterTime {
		return
	}
	seen := float64(m.n) / took.Seconds()
	switch {
	case m.pressed && took < 2*meterTime: // else it was not pressed all the time
		m.rate += meterWeight * (seen - m.rate)
	case seen > m.rate:
		m.rate = seen
	case seen > m.rate*meterMost:
		m.rate *= meterTry
	}
	m.rate = max(m.rate, leastRate)
	m.began, m.n, m.pressed = now, 0, false
}
