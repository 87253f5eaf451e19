package eventloop

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// portable waits with two goroutines per connection, one for each direction. A direction is armed again
// when a call on it has found nothing to do (EAGAIN), which gives handlers the meaning of epoll's edges.
type portable struct {
	loop  *Loop
	woken chan struct{}
	wg    sync.WaitGroup
}

type portableConn struct {
	file  *os.File
	read  chan struct{} // a token: wait for the direction to become ready; closed with the connection
	write chan struct{}
}

func newPortable(l *Loop) *portable {
	return &portable{loop: l, woken: make(chan struct{}, 1)}
}

func (p *portable) add(c *Conn) error {
	f := os.NewFile(uintptr(c.fd), "conn")
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	c.port = &portableConn{file: f, read: make(chan struct{}, 1), write: make(chan struct{}, 1)}
	c.port.armRead()
	c.port.armWrite()
	gen := c.loop.conns[c.slot].gen
	p.wg.Add(2)
	go p.watch(raw.Read, c.port.read, unix.POLLIN, portableEvent{p.loop, c.slot, gen, Readable})
	go p.watch(raw.Write, c.port.write, unix.POLLOUT, portableEvent{p.loop, c.slot, gen, Writable})
	return nil
}

// watch posts ev whenever the direction is ready after having been armed, until the connection is closed.
func (p *portable) watch(ready func(func(uintptr) bool) error, armed <-chan struct{}, mask int16, ev portableEvent) {
	defer p.wg.Done()
	for range armed {
		if ready(func(fd uintptr) bool { return pollNow(fd, mask) }) != nil {
			return
		}
		p.loop.Post(ev)
	}
}

func pollNow(fd uintptr, mask int16) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: mask}}
	n, err := unix.Poll(fds, 0)
	return n > 0 || (err != nil && err != unix.EINTR) // on an error the read or write itself tells
}

func (p *portable) remove(c *Conn) {
	if c.port == nil { // add failed
		unix.Close(int(c.fd))
		return
	}
	close(c.port.read)
	close(c.port.write)
	c.port.file.Close()
}

// release keeps a duplicate: the goroutines that wait end with the original.
func (p *portable) release(c *Conn) (int, error) {
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	p.remove(c)
	return fd, err
}

func (p *portable) wait(l *Loop, until time.Duration) {
	t := time.NewTimer(time.Until(l.start.Add(until)))
	defer t.Stop()
	select {
	case <-p.woken:
	case <-t.C:
	}
	l.sleeping.Store(false)
}

func (p *portable) pending(*Loop) {}

func (p *portable) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *portable) close() { p.wg.Wait() }

// portableEvent is an event on its way to the loop.
type portableEvent struct {
	loop *Loop
	slot int32
	gen  uint32
	ev   Event
}

func (e portableEvent) Run() { e.loop.dispatch(e.slot, e.gen, e.ev) }

func (c *portableConn) armRead()  { arm(c.read) }
func (c *portableConn) armWrite() { arm(c.write) }

func arm(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
