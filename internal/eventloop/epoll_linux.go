package eventloop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollEvents is how many events one epoll_wait fetches.
const epollEvents = 256

// epoll waits on an epoll descriptor through Go's netpoller: the descriptor is itself registered there, so
// that waiting parks a goroutine and not a thread. docs/decisions/006-event-loop.md has the measurements.
type epoll struct {
	ep     int
	file   *os.File
	raw    syscall.RawConn
	events [epollEvents]unix.EpollEvent
	n      int           // events that fetch found
	until  time.Duration // the deadline that is set on file, since Loop.start
	fetch  func(fd uintptr) bool
}

func (l *Loop) open(portable bool) error {
	if portable {
		l.poll = newPortable(l)
		return nil
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return fmt.Errorf("set non-blocking: %w", err)
	}
	p := &epoll{ep: ep, file: os.NewFile(uintptr(ep), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return err
	}
	p.fetch = func(uintptr) bool {
		p.n = p.poll()
		return p.n > 0
	}
	l.poll = p
	return nil
}

// add registers c once for everything. Edge-triggered, a full socket costs one event when it empties and
// nothing otherwise, so there is never a reason to modify the registration.
func (p *epoll) add(c *Conn) error {
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     c.slot,
		Pad:    int32(c.loop.conns[c.slot].gen),
	}
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, int(c.fd), &ev)
}

// remove closes the descriptor. It is deregistered by name first: a duplicate in another process, or one
// that is being handed over, would keep the registration alive.
func (p *epoll) remove(c *Conn) {
	_ = unix.EpollCtl(p.ep, unix.EPOLL_CTL_DEL, int(c.fd), nil) // not registered when add failed
	unix.Close(int(c.fd))
}

func (p *epoll) release(c *Conn) (int, error) {
	return int(c.fd), unix.EpollCtl(p.ep, unix.EPOLL_CTL_DEL, int(c.fd), nil)
}

func (p *epoll) poll() int {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep),
			uintptr(unsafe.Pointer(&p.events[0])), epollEvents, 0, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			panic(fmt.Sprintf("BUG: eventloop: epoll_wait: %v", errno))
		}
	}
}

func (p *epoll) pending(l *Loop) { p.dispatch(l, p.poll()) }

func (p *epoll) wait(l *Loop, until time.Duration) {
	if p.until != until {
		p.until = until
		_ = p.file.SetReadDeadline(l.start.Add(until)) // fails only once closed
		if l.hasNotes() {                              // a wake may just have been overwritten
			l.sleeping.Store(false)
			return
		}
	}
	p.n = 0
	err := p.raw.Read(p.fetch)
	l.sleeping.Store(false)
	if err != nil {
		p.until = 0 // woken, or time for the sweep: the deadline is spent
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(fmt.Sprintf("BUG: eventloop: waiting for epoll: %v", err))
		}
		return
	}
	p.dispatch(l, p.n)
}

func (p *epoll) dispatch(l *Loop, n int) {
	for i := range p.events[:n] {
		e := &p.events[i]
		var ev Event
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			ev |= Readable
		}
		if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			ev |= Writable
		}
		if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			ev |= Hangup
		}
		l.dispatch(e.Fd, uint32(e.Pad), ev)
	}
}

// wake makes wait return by a deadline in the past: no descriptor and no system call.
func (p *epoll) wake() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) }

func (p *epoll) close() { p.file.Close() }

// The system calls are raw: they don't block, so the scheduler need not hear of them.

func rawRead(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func rawSend(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
