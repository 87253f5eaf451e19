package gateway

import (
	"errors"
	"net"
	"sync"
)

// link is a gateway's way to Redis. It can be made to stand still, so that the gateway lags behind the others.
type link struct {
	ln net.Listener
	to string
	wg sync.WaitGroup

	mu     sync.Mutex
	flows  *sync.Cond // of what follows
	stands bool
	closed bool
	conns  []net.Conn
}

func newLink(to string) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{ln: ln, to: to}
	l.flows = sync.NewCond(&l.mu)
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) accept() {
	for {
		from, err := l.ln.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", l.to)
		if err != nil || !l.keep(from, to) {
			err = errors.Join(err, from.Close())
			if to != nil {
				_ = errors.Join(err, to.Close())
			}
			continue
		}
		l.wg.Go(func() { l.pump(from, to) })
		l.wg.Go(func() { l.pump(to, from) })
	}
}

func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns = append(l.conns, conns...)
	return true
}

// pump hands on what comes, and the end.
func (l *link) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for l.stands && !l.closed {
			l.flows.Wait()
		}
		l.mu.Unlock()
		if _, bad := to.Write(buf[:n]); err != nil || bad != nil {
			return
		}
	}
}

// stand has everything on the link stand still, or flow again.
func (l *link) stand(still bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stands = still
	l.flows.Broadcast()
}

func (l *link) still() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stands
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.flows.Broadcast()
	conns := l.conns
	l.mu.Unlock()
	l.ln.Close()
	for _, c := range conns {
		c.Close()
	}
	l.wg.Wait()
}
