package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// States of a session.
const (
	away       uint8 = iota // it has no connection
	connecting              // TCP
	asked                   // its handshake is on the way
	greeted                 // the handshake is answered, its subscription not yet confirmed
	open
)

// session is one subscriber. It belongs to its loop.
type session struct {
	conn   eventloop.Conn
	worker *worker
	crowd  *crowd
	carry  []byte  // the beginning of an answer, a frame or an event that was cut
	memory *memory // nil while there is nothing to remember

	number   int32
	attempts uint32 // of all connections; tells an attempt's timer from that of the one before
	state    uint8
	tries    uint8 // in a row
	settled  bool  // it is open for the first time, or has given up
	token    bool  // it holds a place of those that are being opened
	due      int64 // when its attempt should have begun, ns since 1970
	deadline int64 // of its attempt, by the loop's clock

	track track
}

// memory is what a session that comes back shows.
type memory struct {
	position []byte
	pass     string // the reservation of the last refusal; good once
	resume   string // the token of the last welcome
	message  []byte // the fragments of a message so far
}

func (s *session) remember() *memory {
	if s.memory == nil {
		s.memory = &memory{}
	}
	return s.memory
}

func (s *session) topic() int { return topicOf(int(s.number), len(s.crowd.Topics), s.crowd.Hot) }

// values are those of its next attempt.
func (s *session) values() *values {
	v := &values{topic: s.crowd.Topics[s.topic()], number: int(s.number)}
	if m := s.memory; m != nil {
		if s.crowd.Resume {
			v.position = string(m.position)
		}
		if s.crowd.Back == Obedient {
			if v.pass = m.pass; v.pass == "" {
				v.pass = m.resume
			}
			m.pass = ""
		}
	}
	return v
}

// begin makes an attempt, which should have begun at due.
func (s *session) begin(due int64) {
	w := s.worker
	s.state, s.due, s.deadline, s.carry = connecting, due, w.loop.Now()+s.crowd.patience, nil
	w.slice().Attempts++
	to := s.addr()
	fd, err := eventloop.Connect(to, s.crowd.Source.address(int(s.number)))
	if err == nil {
		err = w.loop.Add(&s.conn, fd, s)
	}
	if err != nil {
		s.failed(reasonOf(err))
	}
}

func (s *session) addr() netip.AddrPort {
	return s.crowd.addrs[(int(s.number)+int(s.attempts-1))%len(s.crowd.addrs)]
}

// Ready reads everything there is.
func (s *session) Ready(c *eventloop.Conn, ev eventloop.Event) {
	if s.state == connecting {
		if err := c.Connected(); err != nil {
			s.broke(err)
			return
		}
		if ev&eventloop.Writable == 0 {
			return
		}
		s.ask()
	}
	if ev&eventloop.Readable == 0 {
		return
	}
	for c.Open() {
		buf := c.Loop().Scratch()
		n, drained, err := c.Read(buf)
		if errors.Is(err, eventloop.ErrAgain) {
			return
		}
		if err == nil {
			err = s.feed(buf[:n])
		}
		if err != nil {
			s.broke(err)
			return
		}
		if drained {
			return
		}
	}
}

// Sweep ends an attempt that has taken too long.
func (s *session) Sweep(_ *eventloop.Conn, now int64) {
	if s.state != open && now > s.deadline {
		s.conn.Close()
		s.failed("timeout")
	}
}

// ask sends the handshake.
func (s *session) ask() {
	s.state = asked
	v := s.values()
	b := append([]byte("GET "), s.crowd.target(v)...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, s.crowd.Targets[(int(s.number)+int(s.attempts-1))%len(s.crowd.Targets)]...)
	b = s.crowd.head.append(append(b, '\r', '\n'), v)
	s.write(b)
}

// write writes b at once. A socket of ours that is full means a server that does not read: the session ends.
func (s *session) write(b []byte) {
	n, err := s.conn.Write(b)
	if err == nil && n < len(b) {
		err = errors.New("the server does not read")
	}
	if err != nil {
		s.broke(err)
	}
}

// send sends a text frame.
func (s *session) send(t text) {
	s.write(clientFrame(wsframe.Text, t.append(nil, &values{topic: s.crowd.Topics[s.topic()], number: int(s.number)})))
}

// feed works off bytes of the server.
func (s *session) feed(p []byte) error {
	if len(s.carry) > 0 {
		s.carry = append(s.carry, p...)
		p = s.carry
	}
	var err error
	if s.state == asked {
		if p, err = s.answer(p); err != nil {
			return err
		}
	}
	if s.state == greeted || s.state == open {
		if s.crowd.Template.Transport == Events {
			p = s.readEvents(p)
		} else if p, err = s.readFrames(p); err != nil {
			return err
		}
	}
	if len(p) == 0 || !s.conn.Open() {
		s.carry = nil
		return nil
	}
	s.carry = append(s.carry[:0], p...)
	return nil
}

// broke ends the session's connection, by the server or by an error.
func (s *session) broke(err error) {
	carry := s.carry
	s.conn.Close()
	s.carry = nil
	if s.state == asked && errors.Is(err, io.EOF) && len(carry) > 0 { // a refusal whose end is that of the connection
		if no, _ := readRefusal(carry, true); no != nil {
			s.refused(no)
			return
		}
	}
	s.ended(reasonOf(err))
}

// ended settles the end of a connection, of any state.
func (s *session) ended(reason string) {
	if s.state != open {
		s.failed(reason)
		return
	}
	s.worker.lost++
	s.worker.open--
	s.worker.because("lost: " + reason)
	s.again(0, false)
}

// opened notes that the session is open.
func (s *session) opened() {
	w := s.worker
	s.state, s.tries = open, 0
	now := time.Now().UnixNano()
	record(w.connect, time.Duration(now-s.due))
	record(w.back, time.Duration(now-w.began))
	w.slice().Opened++
	if s.crowd.Leave {
		s.state = away
		s.conn.Close()
	} else {
		w.open++
	}
	s.settle()
}

// settle notes the first outcome, and gives its place to another.
func (s *session) settle() {
	if s.token {
		s.token = false
		<-s.crowd.places
	}
	if !s.settled {
		s.settled = true
		s.worker.settled++
		s.worker.last = time.Duration(time.Now().UnixNano() - s.worker.began)
	}
}

// failed settles an attempt that got no answer, or one that nobody understands.
func (s *session) failed(reason string) {
	s.worker.slice().Abandoned++
	s.worker.because(reason)
	s.again(0, true)
}

// refused settles an attempt that was turned away.
func (s *session) refused(no *refusal) {
	s.conn.Close()
	s.worker.slice().Refused++
	s.worker.because(no.reason)
	if no.pass != "" && s.crowd.Back == Obedient {
		s.remember().pass = no.pass
	}
	s.again(no.retry, true)
}

// again plans the next attempt; told is when the server wants it, 0 for not at all.
func (s *session) again(told time.Duration, attempt bool) {
	s.state, s.carry = away, nil
	if !s.crowd.Resume {
		s.track.fresh = true
	}
	var wait time.Duration
	switch s.crowd.Back {
	case Never:
		s.settle()
		return
	case Naive:
		if wait = s.crowd.Retry; !attempt {
			wait = 0 // it comes at once when its connection ends
		}
	case Obedient:
		if told > 0 {
			wait, s.tries = told, 0
		} else {
			wait = s.crowd.policy.Delay(int(s.tries))
			s.tries = min(s.tries+1, 60)
		}
	}
	if s.token {
		s.token = false
		<-s.crowd.places
	}
	s.later(wait)
}

// later begins an attempt after a while, unless another one has begun by then.
func (s *session) later(wait time.Duration) {
	w, number, due := s.worker, s.attempts, time.Now().Add(wait).UnixNano()
	time.AfterFunc(wait, func() {
		w.loop.Post(eventloop.NoteFunc(func() {
			if s.attempts == number && s.state == away && !w.stopped {
				s.attempts++
				s.begin(due)
			}
		}))
	})
}

// cut ends the session from our side; it comes back.
func (s *session) cut() {
	if s.state == open {
		s.worker.open--
	}
	s.conn.Close()
	s.again(0, false)
}

// reasonOf is a word for an error.
func reasonOf(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		return "the server hung up"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return fmt.Sprintf("%.100v", err)
}
