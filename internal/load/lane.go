package load

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"
)

const (
	dialLimit  = 5 * time.Second
	redialWait = 100 * time.Millisecond
)

// lane is a connection of the press. Whoever hands it a message writes it, while the connection may take more, and a goroutine
// of its own reads the answers.
type lane struct {
	press   *Press
	encoder *encoder

	mu     sync.Mutex
	conn   net.Conn      // guarded by mu, as all below; nil while there is none
	in     *bufio.Reader // of conn; its reader's alone
	queue  []pending     // not sent yet
	flight [][]pending   // requests that are sent, in their order
	ended  bool          // nobody connects any more
	buf    []byte        // of a request
}

// connect dials; the caller holds nothing.
func (l *lane) connect(ctx context.Context) error {
	conn, err := l.encoder.dial(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		conn.Close()
		return net.ErrClosed
	}
	l.conn, l.in = conn, bufio.NewReader(conn)
	return nil
}

// put takes a message.
func (l *lane) put(m pending) {
	l.mu.Lock()
	l.queue = append(l.queue, m)
	lost := l.push()
	l.mu.Unlock()
	if lost.list != nil {
		l.press.settled(lost.list, lost.reason)
	}
}

// losses are messages that were not taken.
type losses struct {
	list   []pending
	reason string
}

// push sends what the connection may take; with mu held. It returns what could not be sent.
func (l *lane) push() losses {
	for l.conn != nil && len(l.queue) > 0 && len(l.flight) < l.encoder.flight {
		n := min(len(l.queue), l.encoder.batch)
		list := append([]pending(nil), l.queue[:n]...)
		l.queue = l.queue[n:]
		if len(l.queue) == 0 {
			l.queue = nil
		}
		now := time.Now()
		for i := range list {
			list[i].sent = now
		}
		l.buf = l.encoder.encode(l.buf[:0], l.press.Run, list)
		l.flight = append(l.flight, list)
		_ = l.conn.SetWriteDeadline(now.Add(answerLimit)) // what is wrong shows in the write
		if _, err := l.conn.Write(l.buf); err != nil {
			return l.drop(reasonOf(err))
		}
	}
	return losses{}
}

// drop lets the connection go, and what was under way on it; with mu held.
func (l *lane) drop(reason string) losses {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
	lost := losses{reason: reason}
	for _, list := range l.flight {
		lost.list = append(lost.list, list...)
	}
	l.flight = nil
	return lost
}

// run reads answers, and connects anew where it has to, until ctx ends.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		in := l.in
		up := l.conn != nil
		l.mu.Unlock()
		if !up {
			if err := l.connect(ctx); err != nil {
				l.lose(reasonOf(err), true)
				sleep(ctx, redialWait)
				continue
			}
			l.mu.Lock()
			lost := l.push()
			l.mu.Unlock()
			l.press.settled(lost.list, lost.reason)
			continue
		}
		reason, err := l.encoder.answer(in)
		if err != nil {
			l.lose(reasonOf(err), false)
			continue
		}
		l.mu.Lock()
		var list []pending
		var lost losses
		if len(l.flight) > 0 {
			list = l.flight[0]
			l.flight = l.flight[1:]
			lost = l.push()
		}
		l.mu.Unlock()
		l.press.settled(list, reason)
		if lost.list != nil {
			l.press.settled(lost.list, lost.reason)
		}
	}
}

// lose gives up what is under way, and what waits too if it is all.
func (l *lane) lose(reason string, all bool) {
	l.mu.Lock()
	lost := l.drop(reason)
	if all {
		lost.list = append(lost.list, l.queue...)
		l.queue = nil
	}
	l.mu.Unlock()
	l.press.settled(lost.list, lost.reason)
}

// giveUp gives up everything that has no answer.
func (l *lane) giveUp() { l.lose("no answer", true) }

// hangUp ends the connection for good.
func (l *lane) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.conn != nil {
		l.conn.Close()
	}
}
