package handover

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

const (
	// messageFDs is how many descriptors one sendmsg may carry: the kernel's SCM_MAX_FD.
	messageFDs = 253
	// chunk is how many bytes one sendmsg with descriptors carries at most, and one recvmsg asks for.
	chunk = 64 << 10
)

// pipe moves bytes and descriptors over a UNIX stream socket. Descriptors are attached to bytes, but one receive may
// bring those of several sends, so they queue in the order in which they came, and frames say how many they own.
type pipe struct {
	sock *net.UnixConn // fixed

	// Owned by the caller's goroutine.
	in   []byte // in[r:w] has been received, and no frame has taken it
	r, w int
	fds  []int // so have these descriptors; they are the pipe's to close
	oob  []byte
}

func newPipe(sock *net.UnixConn) pipe {
	return pipe{sock: sock, in: make([]byte, chunk), oob: make([]byte, syscall.CmsgSpace(messageFDs*4))}
}

// write sends b, and fds along with its first bytes. b has more bytes than fds need messages. After an error, the last
// byte was not sent.
func (p *pipe) write(b []byte, fds []int) error {
	size := chunk
	if messages := (len(fds) + messageFDs - 1) / messageFDs; messages > 0 {
		size = min(size, len(b)/messages)
	}
	for len(fds) > 0 {
		some := fds[:min(len(fds), messageFDs)]
		n, _, err := p.sock.WriteMsgUnix(b[:size], syscall.UnixRights(some...), nil)
		if err != nil {
			return bare(err)
		}
		// The descriptors went with the first byte, however many bytes went.
		b, fds = b[n:], fds[len(some):]
	}
	if len(b) == 0 {
		return nil // a deadline that passes now must not make an error of what went whole
	}
	_, err := p.sock.Write(b)
	return bare(err)
}

// fill receives once: at least one byte, or an error. There must be room in p.in[p.w:], or nothing to keep.
func (p *pipe) fill() error {
	if p.r == p.w {
		p.r, p.w = 0, 0
	}
	n, oobn, flags, _, err := p.sock.ReadMsgUnix(p.in[p.w:], p.oob)
	p.w += max(n, 0)
	if oobn > 0 {
		if cerr := p.takeRights(p.oob[:oobn]); cerr != nil && err == nil {
			err = cerr
		}
	}
	switch {
	case err != nil:
		return bare(err)
	case flags&syscall.MSG_CTRUNC != 0:
		return ErrTruncated
	case len(p.fds) > MaxFDs+messageFDs:
		return fmt.Errorf("%w: %d descriptors", ErrMalformed, len(p.fds))
	}
	return nil
}

// takeRights queues the descriptors that are in control messages.
func (p *pipe) takeRights(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("cannot read control messages: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level != syscall.SOL_SOCKET || m.Header.Type != syscall.SCM_RIGHTS {
			continue
		}
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return fmt.Errorf("cannot read descriptors: %w", err)
		}
		p.fds = append(p.fds, fds...)
	}
	return nil
}

// need waits until n bytes are there to take, at most chunk. After an error nothing is taken, and it may be called again.
func (p *pipe) need(n int) error {
	if p.r > 0 && len(p.in)-p.r < n {
		p.w = copy(p.in, p.in[p.r:p.w])
		p.r = 0
	}
	for p.w-p.r < n {
		if err := p.fill(); err != nil {
			return err
		}
	}
	return nil
}

// take returns the next n bytes, which must be there, until the next call.
func (p *pipe) take(n int) []byte {
	b := p.in[p.r : p.r+n]
	p.r += n
	return b
}

// body takes n bytes into an array of their own, which grows as they come.
func (p *pipe) body(n int) ([]byte, error) {
	b := make([]byte, 0, min(n, 1<<20))
	for {
		b = append(b, p.take(min(n-len(b), p.w-p.r))...)
		if len(b) == n {
			return b, nil
		}
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
}

// close closes the socket, and the descriptors that no frame has taken.
func (p *pipe) close() error {
	closeFDs(p.fds)
	p.fds = nil
	return p.sock.Close()
}

// bare takes the addresses off an error of the socket: they are those that it was made at, which are no more.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}
