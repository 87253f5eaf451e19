package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// Conn is a connection to the other process. It is for one goroutine at a time on each side, and the sides take turns:
// while one waits in Give, the other must not Send or Give. Every call ends with its context. Except for ErrTooLarge,
// and a context that has ended before the call (Ack's apart), an error ends the connection: it is closed, and every
// later call fails with net.ErrClosed.
type Conn struct {
	pipe // owned by the caller's goroutine, as are all fields

	out     []byte // the frame that is sent, kept for its array
	outFDs  []int
	seq     uint32 // of the last batch that was given
	pending *batch // received, and not yet acknowledged
	over    string // why the connection ended; empty until then
}

// batch is what has been received and still belongs to the Conn.
type batch struct {
	seq uint32
	fds []int
}

// maxKept is how large an array for frames is kept from one batch to the next, in bytes.
const maxKept = 1 << 20

// newConn exchanges hellos over sock, which it closes when that fails.
func newConn(ctx context.Context, sock *net.UnixConn) (*Conn, error) {
	c := &Conn{pipe: newPipe(sock)}
	defer until(ctx, sock)()
	if err := c.hello(); err != nil {
		return nil, c.fail(ctx, "cannot greet the other process", err)
	}
	return c, nil
}

func (c *Conn) hello() error {
	if err := checkPeer(c.sock); err != nil {
		return err
	}
	if err := c.write(appendHello(nil, version), nil); err != nil {
		return err
	}
	if err := c.need(helloSize); err != nil {
		return err
	}
	return parseHello(c.take(helloSize))
}

// Send sends a message without descriptors, at most MaxState bytes. That it returns nil does not say that the other side
// has read it.
func (c *Conn) Send(ctx context.Context, kind byte, payload []byte) error {
	const what = "cannot send a message"
	if err := c.begin(ctx, what); err != nil {
		return err
	}
	if len(payload) > MaxState {
		return fmt.Errorf("%s: %w: %d bytes", what, ErrTooLarge, len(payload))
	}
	defer until(ctx, c.sock)()
	c.out = appendHeader(c.out[:0], header{typ: typeMessage, kind: kind, size: len(payload)})
	c.out = append(c.out, payload...)
	if err := c.flush(nil); err != nil {
		return c.fail(ctx, what, err)
	}
	return nil
}

// Give sends items as one batch and waits for its acknowledgement. When it returns nil, the successor has the batch, and
// the caller closes its own descriptors, which must stay open until then and are never closed here. After an error
// nothing of the batch is the successor's, and the caller goes on with it, unless errors.Is(err, ErrUnsure). On Linux a
// context that ends leaves no doubt, and only a successor that breaks the protocol does; elsewhere any failure after the
// last byte does.
func (c *Conn) Give(ctx context.Context, kind byte, items []Item) error {
	const what = "cannot give a batch"
	if err := c.begin(ctx, what); err != nil {
		return err
	}
	var err error
	c.out, c.outFDs, err = appendBatch(c.out[:0], c.outFDs[:0], kind, c.seq+1, items)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.seq++
	defer until(ctx, c.sock)()
	if err := c.flush(c.outFDs); err != nil {
		return c.fail(ctx, what, err)
	}
	if err := c.awaitAck(); err != nil {
		return c.settle(ctx, err)
	}
	return nil
}

// settle finds out whose a batch is that was sent whole, when waiting for its acknowledgement failed with err.
func (c *Conn) settle(ctx context.Context, err error) error {
	const what = "cannot give a batch"
	err = cause(ctx, err)
	unsure := fmt.Errorf("%w: %w", ErrUnsure, err)
	if !shutdownKeepsQueue || errors.Is(err, ErrMalformed) {
		return c.fail(ctx, what, unsure)
	}
	switch acknowledged, sure := c.takeBack(); {
	case acknowledged:
		c.end(err)
		return nil
	case sure:
		return c.fail(ctx, what, fmt.Errorf("the successor has not acknowledged it: %w", err))
	}
	return c.fail(ctx, what, unsure)
}

// takeBack shuts our socket for reading, so that it takes no acknowledgement any more and the successor's Ack fails, and
// then looks for one that came before.
func (c *Conn) takeBack() (acknowledged, sure bool) {
	err := c.sock.CloseRead()
	again := os.ErrDeadlineExceeded
	for errors.Is(again, os.ErrDeadlineExceeded) { // ctx sets a deadline once, maybe only now; nothing waits here
		err = errors.Join(err, c.sock.SetReadDeadline(time.Time{}))
		again = c.awaitAck()
	}
	return again == nil, err == nil && errors.Is(again, io.EOF)
}

// awaitAck reads the acknowledgement of the last batch. It may be called again after an error of the socket.
func (c *Conn) awaitAck() error {
	if err := c.need(headerSize); err != nil {
		return err
	}
	b := c.take(headerSize)
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	if h.typ != typeAck || h.seq != c.seq {
		return fmt.Errorf("%w: header %x is not the acknowledgement of batch %d", ErrMalformed, b, c.seq)
	}
	return nil
}

// Receive waits for the next message or batch, and returns io.EOF when the other side has closed the connection between
// two. A payload and states are the caller's; the states of a batch share one array. The descriptors of a batch are
// close-on-exec and otherwise as they were; they are the connection's until Ack, which must come before any other call
// but Close.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	const what = "cannot receive"
	if err := c.begin(ctx, what); err != nil {
		return Message{}, err
	}
	defer until(ctx, c.sock)()
	m, err := c.receive()
	if err != nil {
		return Message{}, c.fail(ctx, what, err)
	}
	return m, nil
}

func (c *Conn) receive() (Message, error) {
	if err := c.need(headerSize); err != nil {
		if errors.Is(err, io.EOF) && (c.r < c.w || len(c.fds) > 0) {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	h, err := parseHeader(c.take(headerSize))
	if err != nil {
		return Message{}, err
	}
	if h.typ == typeAck {
		return Message{}, fmt.Errorf("%w: an acknowledgement of no batch", ErrMalformed)
	}
	body, err := c.body(h.size)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	if len(c.fds) < h.fds || c.r == c.w && len(c.fds) > h.fds {
		return Message{}, fmt.Errorf("%w: %d descriptors came with a frame of %d", ErrMalformed, len(c.fds), h.fds)
	}
	if h.typ == typeMessage {
		return Message{Kind: h.kind, Payload: body}, nil
	}
	fds := slices.Clone(c.fds[:h.fds])
	items, err := parseItems(body, fds, h.items)
	if err != nil {
		return Message{}, err
	}
	// The items are the caller's to change: the connection keeps a list of its own.
	c.pending = &batch{h.seq, slices.Clone(fds)}
	c.fds = slices.Delete(c.fds, 0, h.fds)
	return Message{Kind: h.kind, Items: items}, nil
}

// Ack says that the batch that was received last is ours now: when it returns nil, its descriptors are the caller's. When
// it fails, they are closed, the batch stays the old process's, and the caller must forget it.
func (c *Conn) Ack(ctx context.Context) error {
	const what = "cannot acknowledge a batch"
	if c.over != "" {
		return c.ended(what)
	}
	if c.pending == nil {
		panic("BUG: Ack without a batch")
	}
	if err := ctx.Err(); err != nil {
		return c.fail(ctx, what, err)
	}
	defer until(ctx, c.sock)()
	c.out = appendHeader(c.out[:0], header{typ: typeAck, seq: c.pending.seq})
	if err := c.flush(nil); err != nil {
		return c.fail(ctx, what, err)
	}
	c.pending = nil
	return nil
}

// Close closes the connection, and the descriptors of a batch that was not acknowledged. It may be called again.
func (c *Conn) Close() error {
	if c.over != "" {
		return nil
	}
	c.over = "it was closed"
	return c.release()
}

func (c *Conn) release() error {
	if c.pending != nil {
		closeFDs(c.pending.fds)
		c.pending = nil
	}
	return c.close()
}

// begin says whether a call may go ahead.
func (c *Conn) begin(ctx context.Context, what string) error {
	if c.over != "" {
		return c.ended(what)
	}
	if c.pending != nil {
		panic("BUG: a batch was received and neither acknowledged nor dropped by Close")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// ended hides what the error was to errors.Is: ErrUnsure, for one, was about an earlier batch.
func (c *Conn) ended(what string) error {
	return fmt.Errorf("%s: %w: %s", what, net.ErrClosed, c.over)
}

// fail ends the connection and returns err with context.
func (c *Conn) fail(ctx context.Context, what string, err error) error {
	err = fmt.Errorf("%s: %w", what, cause(ctx, err))
	c.end(err)
	return err
}

func (c *Conn) end(err error) {
	c.over = err.Error()
	_ = c.release()
}

// cause is why a call failed with err: the context, when it made the socket's deadline pass.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// flush sends c.out.
func (c *Conn) flush(fds []int) error {
	err := c.write(c.out, fds)
	if cap(c.out) > maxKept {
		c.out = nil
	}
	return err
}

// until makes what waits for d end with ctx, until the returned function is called.
func until(ctx context.Context, d interface{ SetDeadline(t time.Time) error }) (end func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = d.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done // or it would hit the next call
			_ = d.SetDeadline(time.Time{})
		}
	}
}
