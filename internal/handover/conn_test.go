package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// Every descriptor comes with its own state, whether in one batch or in many.
func TestGive(t *testing.T) {
	for _, tc := range []struct{ items, batch int }{{1, 1}, {4000, 126}, {4000, 4000}, {700, 127}} {
		t.Run(strconv.Itoa(tc.items)+" by "+strconv.Itoa(tc.batch), func(t *testing.T) {
			noLeak(t)
			giver, successor := connect(t)
			items := pairs(t, tc.items)
			given := make(chan error, 1)
			go func() {
				for batch := range slices.Chunk(items, tc.batch) {
					if err := giver.Give(within(t), 7, batch); err != nil {
						given <- err
						return
					}
				}
				given <- giver.Send(within(t), 9, []byte("that was all"))
			}()
			seen := 0
			for {
				m, err := successor.Receive(within(t))
				if err != nil {
					t.Fatal(err)
				}
				if m.Kind == 9 {
					if string(m.Payload) != "that was all" {
						t.Errorf("got %q", m.Payload)
					}
					break
				}
				if err := successor.Ack(within(t)); err != nil {
					t.Fatal(err)
				}
				for _, it := range m.Items {
					checkItem(t, items, it)
					closeFDs(it.FDs)
				}
				seen += len(m.Items)
			}
			if err := <-given; err != nil || seen != tc.items {
				t.Errorf("got %d items, %v, want %d", seen, err, tc.items)
			}
		})
	}
}

// checkItem checks that what came as got are duplicates of the descriptors of the item that its state names.
func checkItem(t *testing.T, items []Item, got Item) {
	t.Helper()
	n := binary.BigEndian.Uint32(got.State)
	want := items[n]
	if !bytes.Equal(got.State, want.State) || len(got.FDs) != 2 {
		t.Fatalf("item %d: got %d bytes and descriptors %v", n, len(got.State), got.FDs)
	}
	through(t, want.FDs[0], got.FDs[1], strconv.Itoa(int(n)))
	through(t, got.FDs[1], want.FDs[0], strconv.Itoa(int(n)))
	through(t, want.FDs[1], got.FDs[0], strconv.Itoa(int(n)))
}

func TestMessages(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	large := bytes.Repeat([]byte("large"), MaxState/5)
	for i, want := range [][]byte{{}, []byte("small"), large} {
		sent := make(chan error, 1)
		go func() { sent <- giver.Send(within(t), byte(i), want) }()
		m, err := successor.Receive(within(t))
		if err != nil || m.Kind != byte(i) || !bytes.Equal(m.Payload, want) || m.Items != nil {
			t.Errorf("got kind %d, %d bytes, %v, want %d bytes", m.Kind, len(m.Payload), err, len(want))
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := successor.Send(within(t), byte(i), []byte("and back")); err != nil {
			t.Error(err)
		}
		if m, err := giver.Receive(within(t)); err != nil || string(m.Payload) != "and back" {
			t.Errorf("got %q, %v", m.Payload, err)
		}
	}
	giver.Close()
	if _, err := successor.Receive(within(t)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
	if err := successor.Send(within(t), 1, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that the connection is closed", err)
	}
}

// Messages that come many at a time are cut at the right places, wherever the buffer ends.
func TestManyMessages(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	const n = 20000
	var all []byte
	for i := range n {
		word := strconv.Itoa(i)
		all = append(appendHeader(all, header{typ: typeMessage, size: len(word)}), word...)
	}
	sent := make(chan error, 1)
	go func() { sent <- giver.write(all, nil) }()
	ctx := within(t)
	for i := range n {
		if m, err := successor.Receive(ctx); err != nil || string(m.Payload) != strconv.Itoa(i) {
			t.Fatalf("got %q, %v, want %d", m.Payload, err, i)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Items need not have two descriptors, nor small states, and messages may run into a batch.
func TestGiveShapes(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	fds := pairs(t, 1)[0].FDs
	large := bytes.Repeat([]byte{1, 2, 3}, 1<<20)
	want := []Item{
		{State: nil, FDs: slices.Repeat(fds[:1], MaxItemFDs)},
		{State: []byte("none"), FDs: nil},
		{State: large, FDs: slices.Repeat(fds, 100)},
		{State: nil, FDs: nil},
		{State: large, FDs: fds},
	}
	for range 3 {
		if err := giver.Send(within(t), 1, []byte("next")); err != nil {
			t.Fatal(err)
		}
	}
	given := giving(within(t), giver, 2, want)
	for range 3 {
		if m, err := successor.Receive(within(t)); err != nil || string(m.Payload) != "next" {
			t.Fatalf("got %q, %v", m.Payload, err)
		}
	}
	got := receiveBatch(t, successor)
	if err := successor.Ack(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-given; err != nil {
		t.Fatal(err)
	}
	for i, it := range got.Items {
		if !bytes.Equal(it.State, want[i].State) || len(it.FDs) != len(want[i].FDs) {
			t.Errorf("item %d: got %d bytes and %d descriptors", i, len(it.State), len(it.FDs))
		}
		for _, fd := range it.FDs {
			flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
			if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d: flags %#x, %v, want close-on-exec", fd, flags, errno)
			}
		}
		closeFDs(it.FDs)
	}
}

// What waits in a socket is not lost, and the socket stays non-blocking, or blocking.
func TestPendingBytes(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	fds := pairs(t, 1)[0].FDs
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(fds[1], []byte("before")); err != nil {
		t.Fatal(err)
	}
	given := giving(within(t), giver, 1, []Item{{FDs: fds[:1]}})
	m := receiveBatch(t, successor)
	if err := errors.Join(successor.Ack(within(t)), <-given); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(fds[1], []byte(" and after")); err != nil {
		t.Fatal(err)
	}
	fd := m.Items[0].FDs[0]
	defer closeFDs([]int{fd})
	wantRead(t, fd, "before and after")
	if _, err := syscall.Read(fd, make([]byte, 1)); err != syscall.EAGAIN {
		t.Errorf("got %v, want a descriptor that is non-blocking", err)
	}
}

func TestLimits(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	fds := pairs(t, 1)[0].FDs
	huge := make([]byte, MaxState)
	f := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
	ctx := within(t)
	f("message", giver.Send(ctx, 1, make([]byte, MaxState+1)))
	f("no items", giver.Give(ctx, 1, nil))
	f("items", giver.Give(ctx, 1, make([]Item, MaxItems+1)))
	f("state", giver.Give(ctx, 1, []Item{{State: make([]byte, MaxState+1)}}))
	f("descriptors of an item", giver.Give(ctx, 1, []Item{{FDs: slices.Repeat(fds[:1], MaxItemFDs+1)}}))
	f("descriptors", giver.Give(ctx, 1, slices.Repeat([]Item{{FDs: slices.Repeat(fds[:1], MaxItemFDs)}}, MaxFDs/MaxItemFDs+1)))
	f("batch", giver.Give(ctx, 1, slices.Repeat([]Item{{State: huge}}, MaxBatch/MaxState)))

	// The connection is none the worse.
	given := giving(ctx, giver, 1, []Item{{State: huge, FDs: fds}})
	m := receiveBatch(t, successor)
	if err := errors.Join(successor.Ack(ctx), <-given); err != nil || len(m.Items[0].State) != MaxState {
		t.Errorf("got %d bytes, %v", len(m.Items[0].State), err)
	}
	closeFDs(m.Items[0].FDs)
}

// Breaking the order of calls is a defect of the caller.
func TestOrder(t *testing.T) {
	noLeak(t)
	giver, successor := connect(t)
	panics := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		f()
	}
	ctx := within(t)
	panics("Ack without a batch", func() { _ = successor.Ack(ctx) })
	given := giving(ctx, giver, 1, pairs(t, 1))
	receiveBatch(t, successor)
	panics("Receive before Ack", func() { _, _ = successor.Receive(ctx) })
	panics("Send before Ack", func() { _ = successor.Send(ctx, 1, nil) })
	successor.Close()
	if err := <-given; !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
}
