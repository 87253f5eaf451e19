package eventloop

import "io"

// Sending is what one connection is to be sent, and what became of it.
type Sending struct {
	Conn  *Conn
	Bytes []byte // not to be changed before [Loop.SendAll] returns

	N   int   // as from [Conn.Write]
	Err error // likewise
}

// SendAll writes to many connections of the loop, each as [Conn.Write] does, where the system lets with a system call for every few dozen of them. No
// connection may stand twice in the list. On the loop only.
func (l *Loop) SendAll(list []Sending) {
	if l.ring == nil || len(list) == 1 {
		for i := range list {
			s := &list[i]
			s.N, s.Err = s.Conn.Write(s.Bytes)
		}
		return
	}
	for len(list) > 0 {
		n := min(len(list), ringSize)
		l.sendSome(list[:n])
		list = list[n:]
	}
}

// sendSome has as many written to as the ring takes.
func (l *Loop) sendSome(list []Sending) {
	for i := range list {
		s := &list[i]
		s.N, s.Err = 0, nil
		if !s.Conn.open {
			s.Err = io.ErrClosedPipe
		} else if len(s.Bytes) > 0 {
			l.ring.add(int(s.Conn.fd), s.Bytes, uint64(i))
		}
	}
	l.ring.submit(list)
	for i := range list {
		s := &list[i]
		if s.Err == nil && s.N < len(s.Bytes) { // most often it is full, and this finds it so
			var n int
			n, s.Err = s.Conn.Write(s.Bytes[s.N:])
			s.N += n
		}
	}
}

// Batching reports whether [Loop.SendAll] writes to many with one system call; else err says why not.
func (l *Loop) Batching() (is bool, err error) { return l.ring != nil, l.ringErr }
