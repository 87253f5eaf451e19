package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// session is one WebSocket subscriber on a loop. It belongs to its loop, except for ready.
type session struct {
	conn   eventloop.Conn
	worker *worker
	ready  chan error // gets one value: the end of the handshake
	opened bool       // the handshake has been answered
	frames int64      // data frames since the last reset
	carry  []byte     // the beginning of an answer or a frame that was cut
}

// stampDigits is the length of the publish time in a payload; stampAt is where it stands.
const (
	stampDigits = 19
	stampAt     = len(`{"t":`)
)

// payload makes a message of size bytes that carries its publish time.
func payload(size int, now time.Time) string {
	head := fmt.Sprintf(`{"t":%0*d,"pad":"`, stampDigits, now.UnixNano())
	const tail = `"}`
	pad := max(0, size-len(head)-len(tail))
	return head + string(bytes.Repeat([]byte{'x'}, pad)) + tail
}

// Ready reads everything there is.
func (s *session) Ready(c *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Readable == 0 {
		return
	}
	for {
		buf := c.Loop().Scratch()
		n, drained, err := c.Read(buf)
		if errors.Is(err, eventloop.ErrAgain) {
			return
		}
		if err == nil {
			err = s.feed(buf[:n])
		}
		if err != nil {
			s.end(err)
			return
		}
		if drained {
			return
		}
	}
}

// Sweep is part of [eventloop.Handler]; there is nothing to time out here.
func (s *session) Sweep(*eventloop.Conn, int64) {}

func (s *session) end(err error) {
	s.conn.Close()
	if s.opened {
		s.worker.lost.Add(1)
		return
	}
	s.ready <- fmt.Errorf("handshake: %w", err)
}

// feed works off bytes of the server.
func (s *session) feed(p []byte) error {
	if len(s.carry) > 0 {
		s.carry = append(s.carry, p...)
		p = s.carry
	}
	var err error
	if !s.opened {
		p, err = s.handshake(p)
		if err != nil {
			return err
		}
	}
	if s.opened {
		if p, err = s.readFrames(p); err != nil {
			return err
		}
	}
	s.carry = append(s.carry[:0], p...)
	if len(p) == 0 {
		s.carry = nil
	}
	return nil
}

// handshake looks for the end of the answer and returns what follows it.
func (s *session) handshake(p []byte) ([]byte, error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return p, nil
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")) {
		return nil, fmt.Errorf("the answer is %.300q", p)
	}
	s.opened = true
	s.ready <- nil
	return p[end+4:], nil
}

// Opcodes that the load generator knows.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
)

// readFrames counts the whole frames in p and returns the rest.
func (s *session) readFrames(p []byte) ([]byte, error) {
	now := time.Now().UnixNano()
	for {
		body, size, ok := frameSize(p)
		if !ok || len(p) < body+size {
			return p, nil
		}
		payload := p[body : body+size]
		switch op := p[0] & 0x0f; op {
		case opText, opBinary:
			s.frames++
			s.worker.frame(payload, now)
		case opPing:
			if err := s.pong(payload); err != nil {
				return nil, err
			}
		case opClose:
			return nil, errors.New("the server closed")
		}
		p = p[body+size:]
	}
}

// frameSize is where the payload of the frame at the start of p begins and how long it is.
func frameSize(p []byte) (body, size int, ok bool) {
	if len(p) < 2 {
		return 0, 0, false
	}
	switch n := int(p[1] & 0x7f); {
	case n < 126:
		return 2, n, true
	case n == 126 && len(p) >= 4:
		return 4, int(binary.BigEndian.Uint16(p[2:])), true
	case n == 127 && len(p) >= 10:
		return 10, int(binary.BigEndian.Uint64(p[2:])), true
	}
	return 0, 0, false
}

// pong answers a ping, masked with zeros.
func (s *session) pong(payload []byte) error {
	f := append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	n, err := s.conn.Write(f)
	if err == nil && n < len(f) {
		err = errors.New("no room for a pong")
	}
	return err
}

// stamp reads the publish time out of a payload.
func stamp(payload []byte) (int64, bool) {
	if len(payload) < stampAt+stampDigits {
		return 0, false
	}
	t, err := strconv.ParseInt(string(payload[stampAt:stampAt+stampDigits]), 10, 64)
	return t, err == nil
}
