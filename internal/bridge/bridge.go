// Package bridge carries TLS connections into an event loop, which knows descriptors only: one end of a local stream is the
// loop's, and two goroutines copy between the other end and the TLS connection.
//
//	peer ◄── TCP ──► [Wire] ◄── tls.Conn ──► two goroutines ◄── local stream ──► descriptor, on a loop here or in a successor
//
// Both directions are bounded by the buffers of the system and one record: who does not read stops who writes. An end of one
// direction is passed on as that, a connection that breaks closes both. The descriptor can go to another
// process: the bridge stays, and carries on for it.
//
// It makes no handshakes, and does not know what is carried.
package bridge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

const (
	// upBuffer is what is read of a peer at once. It is held while nothing comes, so it is small.
	upBuffer = 1 << 10
	// downBuffer is what is read for a peer at once: a TLS record. It is held only while there is something.
	downBuffer = 16 << 10
	// streamBuffer bounds what the local stream holds in either direction, in bytes.
	streamBuffer = 32 << 10
	// goneEvery is how often a bridge looks whether an end that says nothing any more is still held by somebody.
	goneEvery = 100 * time.Millisecond
)

//nolint:gochecknoglobals // shared by all bridges, which hold one for moments only
var downBuffers = sync.Pool{New: func() any { return new([downBuffer]byte) }}

// Wire is a TCP connection that TLS is spoken over. It gives first what was read of the connection before, and, once it is
// bridged, a write fails when the peer takes nothing for a while, however much there is to write.
type Wire struct {
	net.Conn
	ahead []byte
	stall time.Duration
	watch Watcher // nil for nobody
}

// Watcher follows a connection until it is bridged. Its methods are called by whoever reads and writes, and must not block.
type Watcher interface {
	Waits(waits bool) // for the peer: around each read
	GotOn()           // the peer has been answered, as it is once its part of a handshake has come
}

// Watch has f follow the connection.
func (w *Wire) Watch(f Watcher) { w.watch = f }

// NewWire wraps a connection of which ahead was read already.
func NewWire(c net.Conn, ahead []byte) *Wire { return &Wire{Conn: c, ahead: ahead} }

// Read implements net.Conn.
func (w *Wire) Read(p []byte) (int, error) {
	if len(w.ahead) == 0 {
		if w.watch == nil {
			return w.Conn.Read(p)
		}
		w.watch.Waits(true)
		defer w.watch.Waits(false)
		return w.Conn.Read(p)
	}
	n := copy(p, w.ahead)
	if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
		w.ahead = nil
	}
	return n, nil
}

// Write implements net.Conn.
func (w *Wire) Write(p []byte) (n int, err error) {
	if w.stall == 0 {
		n, err = w.Conn.Write(p)
		if w.watch != nil {
			w.watch.GotOn()
		}
		return n, err
	}
	for {
		if err := w.Conn.SetWriteDeadline(time.Now().Add(w.stall)); err != nil {
			return n, err
		}
		m, err := w.Conn.Write(p[n:])
		if n += m; n == len(p) || m == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// bridge is one connection that is carried.
type bridge struct {
	set  *Set
	side Side
	seq  int
	wire *Wire
	tls  *tls.Conn
	near *net.UnixConn
	raw  syscall.RawConn // of near

	upDone chan struct{}  // closed when nothing comes from the peer any more
	once   sync.Once      // for the reason of its end
	left   time.Time      // since when nobody holds the other end, if so; owned by the sweep
	debt   eventloop.Debt // of acknowledgements of its peer; likewise
}

// up copies what the peer sends.
func (b *bridge) up() {
	defer close(b.upDone)
	buf := make([]byte, upBuffer)
	for {
		n, err := b.tls.Read(buf)
		if n > 0 {
			if _, err := b.near.Write(buf[:n]); err != nil { // what the session has said last is still on its way
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF): // it may still listen
			_ = b.near.CloseWrite() // fails when nobody is there
			return
		default:
			b.end(reasonOf(err))
			return
		}
	}
}

// down copies what is sent to the peer, and closes the bridge in the end.
func (b *bridge) down() {
	defer b.set.remove(b)
	var buf *[downBuffer]byte
	var n int
	var err error
	read := func(fd uintptr) bool {
		buf = downBuffers.Get().(*[downBuffer]byte) //nolint:forcetypeassert // its New is ours
		for {
			if n, err = syscall.Read(int(fd), buf[:]); !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		if errors.Is(err, syscall.EAGAIN) { // nothing is held while it waits
			downBuffers.Put(buf)
			return false
		}
		return true
	}
	for b.raw.Read(read) == nil { // until it is closed under us
		if n > 0 && err == nil {
			_, err = b.tls.Write(buf[:n])
		}
		downBuffers.Put(buf)
		if n <= 0 {
			b.sayEnd()
			break
		}
		if err != nil {
			b.end(reasonOf(err))
			break
		}
	}
	b.near.Close()
	b.wire.Conn.Close()
	<-b.upDone
	b.end(endPeer)
}

// sayEnd tells the peer that nothing more comes, and waits for its end, or for that of whom it is connected to.
func (b *bridge) sayEnd() {
	_ = b.tls.CloseWrite() // the peer may be gone
	if half, ok := b.wire.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		if eventloop.PeerGone(b.near) {
			b.end(endSession)
			return
		}
		select {
		case <-b.upDone:
			return
		case <-tick.C:
		}
	}
}

// end counts why the bridge ends, and closes both of its sides. Only the first reason counts.
func (b *bridge) end(reason endReason) {
	b.once.Do(func() { b.set.ended[b.side][reason].Add(1) })
	b.near.Close()
	b.wire.Conn.Close()
}

// reasonOf tells what an error of the TLS connection means.
func reasonOf(err error) endReason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endStalled
	case errors.Is(err, net.ErrClosed): // by the other direction, or the sweep, which has counted it
		return endSession
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return endPeer
	}
	return endBroken
}
