package handover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A successor that dies before it acknowledges has nothing, and the giver goes on.
func TestSuccessorDiesBeforeAck(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	items := pairs(t, 300)
	given := giving(within(t), giver, 1, items)
	receiveBatch(t, successor)
	successor.Close()
	if err := <-given; err == nil || errors.Is(err, ErrUnsure) {
		t.Errorf("got %v, want an error that is sure", err)
	}
	for _, it := range items {
		through(t, it.FDs[0], it.FDs[1], "still here")
	}
	if err := giver.Give(within(t), 1, items); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that the connection is closed", err)
	}
}

// The same when it dies with bytes unread: then the giver is reset.
func TestSuccessorDiesReading(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	items := pairs(t, 2000)
	given := giving(within(t), giver, 1, items)
	if err := successor.need(headerSize); err != nil {
		t.Fatal(err)
	}
	successor.Close()
	if err := <-given; err == nil || errors.Is(err, ErrUnsure) {
		t.Errorf("got %v, want an error that is sure", err)
	}
	through(t, items[0].FDs[0], items[0].FDs[1], "still here")
}

// A successor that dies after its acknowledgement has had the batch.
func TestSuccessorDiesAfterAck(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	given := giving(within(t), giver, 1, pairs(t, 10))
	m := receiveBatch(t, successor)
	if err := successor.Ack(within(t)); err != nil {
		t.Fatal(err)
	}
	successor.Close()
	for _, it := range m.Items {
		closeFDs(it.FDs)
	}
	if err := <-given; err != nil {
		t.Error(err)
	}
	if err := giver.Give(within(t), 1, pairs(t, 1)); err == nil || errors.Is(err, ErrUnsure) {
		t.Errorf("got %v, want an error that is sure", err)
	}
}

// A giver that dies gives nothing, wherever in a batch it was.
func TestGiverDies(t *testing.T) {
	frame, fds, err := appendBatch(nil, nil, 1, 1, pairs(t, 600))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, headerSize - 1, headerSize, headerSize + 1, len(frame) / 2, len(frame) - 1} {
		t.Run("", func(t *testing.T) {
			noLeak(t)
			giver, successor := connect(t)
			sent := make(chan error, 1)
			go func() {
				some := fds[:min(len(fds), n*messageFDs)]
				sent <- errors.Join(giver.write(frame[:n], some), giver.Close())
			}()
			if _, err := successor.Receive(within(t)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %d bytes: got %v, want an unexpected EOF", n, err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// An acknowledgement that comes too late fails, and its descriptors are closed.
func TestGiverDiesBeforeAck(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	ctx, cancel := context.WithCancel(within(t))
	given := giving(ctx, giver, 1, pairs(t, 10))
	receiveBatch(t, successor)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnsure) != !shutdownKeepsQueue {
		t.Errorf("got %v, want that it was canceled", err)
	}
	if err := successor.Ack(within(t)); err == nil {
		t.Error("the acknowledgement of a batch that the giver took back went through")
	}
}

// An acknowledgement that had come when the giver lost patience counts.
func TestAckBeforeCancel(t *testing.T) {
	if !shutdownKeepsQueue {
		t.Skip("only Linux can tell")
	}
	noLeak(t)
	giver, successor := connect(t)
	frame, fds, err := appendBatch(nil, nil, 1, 1, pairs(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	giver.seq = 1
	if err := giver.write(frame, fds); err != nil {
		t.Fatal(err)
	}
	m := receiveBatch(t, successor)
	if err := successor.Ack(within(t)); err != nil {
		t.Fatal(err)
	}
	closeFDs(m.Items[0].FDs)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := giver.settle(ctx, os.ErrDeadlineExceeded); err != nil {
		t.Error(err)
	}
}

// However a cancellation and an acknowledgement meet, the two sides agree on whose the batch is.
func TestBothSidesAgree(t *testing.T) {
	if !shutdownKeepsQueue {
		t.Skip("only Linux can tell")
	}
	noLeak(t)
	items := pairs(t, 1)
	outcomes := map[bool]int{}
	for i := range 300 {
		giver, successor := connect(t)
		ctx, cancel := context.WithCancel(context.Background())
		given := giving(ctx, giver, 1, items)
		m, err := successor.Receive(within(t))
		if err != nil {
			t.Fatal(err)
		}
		go cancel()
		for range i % 50 {
			runtime.Gosched()
		}
		ack := successor.Ack(within(t))
		if ack == nil {
			closeFDs(m.Items[0].FDs)
		}
		if err := <-given; (err == nil) != (ack == nil) || errors.Is(err, ErrUnsure) {
			t.Fatalf("giver: %v, successor: %v", err, ack)
		}
		outcomes[ack == nil]++
		giver.Close()
		successor.Close()
	}
	t.Logf("acknowledged %d times, taken back %d times", outcomes[true], outcomes[false])
}

// A successor that answers with something else leaves the giver unsure.
func TestUnsure(t *testing.T) {
	for name, answer := range map[string][]byte{
		"message":       appendHeader(nil, header{typ: typeMessage}),
		"another batch": appendHeader(nil, header{typ: typeAck, seq: 2}),
		"garbage":       bytes.Repeat([]byte("garbage!"), 3),
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			giver, successor := connect(t)
			items := pairs(t, 3)
			given := giving(within(t), giver, 1, items)
			receiveBatch(t, successor)
			if _, err := successor.sock.Write(answer); err != nil {
				t.Fatal(err)
			}
			if err := <-given; !errors.Is(err, ErrUnsure) || !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want ErrUnsure", err)
			}
			// That was about one batch, and says nothing of the next.
			if err := giver.Give(within(t), 1, items); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrUnsure) {
				t.Errorf("got %v, want that the connection is closed", err)
			}
		})
	}
}

// A frame that does not fit what came with it is refused whole.
func TestMalformedBatches(t *testing.T) {
	items := pairs(t, 3)
	frame, fds, err := appendBatch(nil, nil, 1, 1, items)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to byte) []byte {
		b := slices.Clone(frame)
		b[at] = to
		return b
	}
	ack := appendHeader(nil, header{typ: typeAck, seq: 1})
	message := appendHeader(nil, header{typ: typeMessage})
	for name, tc := range map[string]struct {
		frame []byte
		fds   []int
	}{
		"a descriptor too few":           {frame, fds[1:]},
		"a descriptor too many":          {frame, slices.Concat(fds, fds[:1])},
		"no descriptors":                 {frame, nil},
		"a message with descriptors":     {message, fds},
		"an acknowledgement":             {ack, nil},
		"one with descriptors":           {ack, fds},
		"an unknown type":                {change(0, 9), fds},
		"a reserved byte":                {change(2, 1), fds},
		"too many items":                 {change(8, 1), fds},
		"too many descriptors":           {change(12, 1), fds},
		"too large":                      {change(16, 255), fds},
		"an item less":                   {change(11, 2), fds},
		"an item more":                   {change(11, 4), fds},
		"a state beyond the end":         {change(headerSize+1, 1), fds},
		"an item with more descriptors":  {change(headerSize+7, 7), fds},
		"an item with fewer descriptors": {change(headerSize+7, 1), fds},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			giver, successor := connect(t)
			if err := giver.write(tc.frame, tc.fds); err != nil {
				t.Fatal(err)
			}
			if m, err := successor.Receive(within(t)); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %d items, %v, want ErrMalformed", len(m.Items), err)
			}
		})
	}
}

// A descriptor that is not open fails its batch, and nothing of it arrives.
func TestClosedDescriptor(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	items := pairs(t, 300)
	items[299].FDs = []int{1 << 20}
	given := giving(within(t), giver, 1, items)
	if m, err := successor.Receive(within(t)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d items, %v, want an unexpected EOF", len(m.Items), err)
	}
	if err := <-given; !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

// A successor without room for the descriptors notices, and closes those that it got.
func TestDescriptorLimit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux gives as many as there is room for")
	}
	noLeak(t)
	giver, successor := connect(t)
	frame, fds, err := appendBatch(nil, nil, 1, 1, pairs(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := giver.write(frame, fds); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = uint64(slices.Max(fds) + 20)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err = successor.Receive(within(t))
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("got %v, want ErrTruncated", err)
	}
}

// Every call ends with its context, by deadline and by cancellation.
func TestContext(t *testing.T) {
	large := make([]byte, MaxState)
	f := func(name string, want error, call func(t *testing.T, ctx context.Context, giver, successor *Conn) error) {
		t.Helper()
		for _, how := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(name+": "+how.Error(), func(t *testing.T) {
				noLeak(t)
				giver, successor := connect(t)
				ctx, cancel := context.WithCancel(context.Background())
				if how == context.DeadlineExceeded {
					ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
				} else {
					time.AfterFunc(10*time.Millisecond, cancel)
				}
				defer cancel()
				err := call(t, ctx, giver, successor)
				if !errors.Is(err, how) || want != nil && !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, how)
				}
				// One that has ended already is no use.
				if err := giver.Send(ctx, 1, nil); err == nil {
					t.Error("sent with a context that has ended")
				}
			})
		}
	}
	f("Receive", nil, func(t *testing.T, ctx context.Context, _, successor *Conn) error {
		_, err := successor.Receive(ctx)
		return err
	})
	f("Send", nil, func(t *testing.T, ctx context.Context, giver, _ *Conn) error { return giver.Send(ctx, 1, large) })
	f("Give, sending", nil, func(t *testing.T, ctx context.Context, giver, _ *Conn) error {
		items := pairs(t, 1)
		items[0].State = large
		return giver.Give(ctx, 1, items)
	})
	var unsure error
	if !shutdownKeepsQueue {
		unsure = ErrUnsure
	}
	f("Give, waiting", unsure, func(t *testing.T, ctx context.Context, giver, _ *Conn) error {
		return giver.Give(ctx, 1, pairs(t, 1))
	})
	f("Ack", nil, func(t *testing.T, ctx context.Context, giver, successor *Conn) error {
		frame, fds, err := appendBatch(nil, nil, 1, 1, pairs(t, 1))
		if err := errors.Join(err, giver.write(frame, fds)); err != nil {
			t.Fatal(err)
		}
		receiveBatch(t, successor)
		// Nobody reads: fill the way that the acknowledgement takes.
		_ = successor.sock.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := successor.sock.Write(large); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = successor.sock.SetWriteDeadline(time.Time{})
		return successor.Ack(ctx)
	})
}
