package eventloop

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringSize is how many writes leave with one system call: nothing else runs on the thread meanwhile, for about a third of a millisecond.
const ringSize = 64

// ring is an io_uring of which one thing is used: it writes to many sockets with one system call. Each write is done within the call, or not at
// all: with MSG_DONTWAIT the kernel puts none off. So nothing is under way between two calls, and nothing is to be waited for.
// See io_uring(7), io_uring_setup(2) and io_uring_enter(2). docs/decisions/033-writes-in-one-call.md has the measurements.
type ring struct {
	fd      int
	rings   []byte // both queues, shared with the kernel
	table   []byte // the entries of the submission queue, likewise
	sqHead  *uint32
	sqTail  *uint32
	sqMask  uint32
	sqArray []uint32
	sqes    []ringSQE
	cqHead  *uint32
	cqTail  *uint32
	cqMask  uint32
	cqes    []ringCQE
	tail    uint32 // of the submission queue, with what has been added and not submitted
	added   int
	held    [ringSize][]byte // keeps what is added where it is: the kernel has its address
}

// ringSQE is struct io_uring_sqe.
type ringSQE struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	_        [24]byte
}

// ringCQE is struct io_uring_cqe.
type ringCQE struct {
	userData uint64
	res      int32
	flags    uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		_                                                           uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		_                                                           uint64
	}
}

// Of linux/io_uring.h.
const (
	ringOpSend        = 26
	ringGetEvents     = 1
	ringOffSQ         = 0
	ringOffSQEs       = 0x10000000
	ringFeatSingle    = 1 << 0 // both queues are one mapping: since Linux 5.4
	ringFeatNoDrop    = 1 << 1 // 5.5
	ringFeatFastPoll  = 1 << 5 // 5.7: a socket's write is tried at once
	ringFeatNativeWrk = 1 << 9 // 5.12: the ring is not bound by RLIMIT_MEMLOCK
	ringNeeds         = ringFeatSingle | ringFeatNoDrop | ringFeatFastPoll | ringFeatNativeWrk
)

// newRing makes a ring. Where the system has none, or forbids it (as container runtimes do), there is an error.
func newRing() (*ring, error) {
	var p ringParams
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if p.features&ringNeeds != ringNeeds {
		r.close()
		return nil, fmt.Errorf("io_uring is too old: %w", errors.ErrUnsupported)
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(ringCQE{})))
	var err error
	if r.rings, err = r.mmap(ringOffSQ, size); err == nil {
		r.table, err = r.mmap(ringOffSQEs, p.sqEntries*uint32(unsafe.Sizeof(ringSQE{})))
	}
	if err != nil {
		r.close()
		return nil, err
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[at])) }
	r.sqHead, r.sqTail, r.sqMask = word(p.sq.head), word(p.sq.tail), *word(p.sq.ringMask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.ringMask)
	r.sqArray = unsafe.Slice(word(p.sq.array), p.sqEntries)
	r.cqes = unsafe.Slice((*ringCQE)(unsafe.Pointer(&r.rings[p.cq.cqes])), p.cqEntries)
	r.sqes = unsafe.Slice((*ringSQE)(unsafe.Pointer(&r.table[0])), p.sqEntries)
	for i := range r.sqArray {
		r.sqArray[i] = uint32(i)
	}
	return r, nil
}

func (r *ring) mmap(offset int64, size uint32) ([]byte, error) {
	b, err := unix.Mmap(r.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap of an io_uring: %w", err)
	}
	return b, nil
}

// add adds a write, of which [ring.submit] tells at i of its list. There is room for ringSize.
func (r *ring) add(fd int, p []byte, i uint64) {
	r.held[r.added] = p
	r.sqes[r.tail&r.sqMask] = ringSQE{
		opcode: ringOpSend, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&p[0]))), len: uint32(len(p)), msgFlags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL, userData: i,
	}
	r.tail++
	r.added++
}

// submit does all that was added, and notes of each in the list how many bytes the socket took; none, if it is full. What the kernel has no memory for
// counts as not taken.
func (r *ring) submit(list []Sending) {
	if r.added == 0 {
		return
	}
	atomic.StoreUint32(r.sqTail, r.tail)
	for left := r.added; left > 0; {
		waiting := r.tail - atomic.LoadUint32(r.sqHead)
		_, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(waiting), uintptr(left), ringGetEvents, 0, 0)
		left -= r.reap(list)
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY, unix.ENOMEM:
			back := r.tail - atomic.LoadUint32(r.sqHead) // not begun
			r.tail -= back
			atomic.StoreUint32(r.sqTail, r.tail)
			left -= int(back)
		default:
			panic(fmt.Sprintf("BUG: eventloop: io_uring_enter: %v", errno))
		}
	}
	clear(r.held[:r.added])
	r.added = 0
}

// reap takes in what is done.
func (r *ring) reap(list []Sending) (n int) {
	head := *r.cqHead
	for tail := atomic.LoadUint32(r.cqTail); head != tail; head++ {
		e := &r.cqes[head&r.cqMask]
		s := &list[e.userData]
		switch errno := syscall.Errno(-min(e.res, 0)); errno {
		case 0:
			s.N = int(e.res)
		case unix.EAGAIN, unix.EINTR:
		default:
			s.Err = errno
		}
		n++
	}
	atomic.StoreUint32(r.cqHead, head)
	return n
}

func (r *ring) close() {
	if r.rings != nil {
		_ = unix.Munmap(r.rings)
	}
	if r.table != nil {
		_ = unix.Munmap(r.table)
	}
	unix.Close(r.fd)
}
