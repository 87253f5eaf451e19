package eventloop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// ways runs a test on each way to write to many.
func ways(t *testing.T, f func(t *testing.T, l *Loop)) {
	for name, cfg := range map[string]Config{"ring": {}, "one by one": {NoRing: true}, "portable": {Portable: true}} {
		t.Run(name, func(t *testing.T) {
			l, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			switch is, err := l.Batching(); {
			case is == (err != nil), is && name != "ring":
				t.Errorf("batching: got %v, %v", is, err)
			case !is && name == "ring":
				t.Logf("no ring here: %v", err)
			}
			run(t, l)
			f(t, l)
		})
	}
}

// Everybody gets what is theirs, in the order of calls, whatever else the list has: those who are gone, and nothing to send.
func TestSendAll(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		const n, rounds = 3*ringSize + 7, 4
		peers, ends := make([]*net.TCPConn, n), make([]*echo, n)
		for i := range n {
			c, fd := pair(t)
			peers[i], ends[i] = c, add(t, l, fd)
		}
		const gone = 5
		on(t, l, ends[gone].conn.Close)
		for round := range rounds {
			list := make([]Sending, n)
			for i := range list {
				list[i] = Sending{Conn: &ends[i].conn, Bytes: fmt.Appendf(nil, "%d to %d;", round, i), N: 99, Err: io.EOF}
			}
			list[7].Bytes = nil
			on(t, l, func() { l.SendAll(list) })
			for i, s := range list {
				switch {
				case i == gone && (s.N != 0 || !errors.Is(s.Err, io.ErrClosedPipe)), i != gone && (s.N != len(s.Bytes) || s.Err != nil):
					t.Fatalf("%d: got %d of %d, %v", i, s.N, len(s.Bytes), s.Err)
				}
			}
		}
		on(t, l, func() { l.SendAll(nil) })
		for i, c := range peers {
			var want []byte
			for round := range rounds {
				want = fmt.Appendf(want, "%d to %d;", round, i)
			}
			if i == gone || i == 7 {
				continue
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d: got %q, %v, want %q", i, got, err, want)
			}
		}
	})
}

// writable waits for a socket to take something again.
type writable struct {
	conn Conn
	told chan struct{}
}

func (w *writable) Ready(_ *Conn, ev Event) {
	if ev&Writable != 0 {
		select {
		case w.told <- struct{}{}:
		default:
		}
	}
}

func (w *writable) Sweep(*Conn, int64) {}

// A socket that is full takes a part, and its handler hears when there is room again; one whose peer has reset it is an error; the others notice neither.
func TestSendAllToSome(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		full, fd := pair(t)
		slow := &writable{told: make(chan struct{}, 1)}
		dead, deadFD := pair(t)
		broken := &writable{told: make(chan struct{}, 1)}
		_, other := pair(t)
		e := add(t, l, other)
		on(t, l, func() {
			if err := errors.Join(l.Add(&slow.conn, fd, slow), l.Add(&broken.conn, deadFD, broken)); err != nil {
				t.Error(err)
			}
		})
		_ = dead.SetLinger(0)
		dead.Close()
		big := bytes.Repeat([]byte("x"), 32<<20)
		sent := 0
		for round := 0; sent < len(big); round++ {
			if round > 0 && sent == 0 {
				t.Fatal("it took nothing")
			}
			list := []Sending{{Conn: &slow.conn, Bytes: big[sent:]}, {Conn: &broken.conn, Bytes: []byte("y")}, {Conn: &e.conn, Bytes: []byte("z")}}
			on(t, l, func() {
				select {
				case <-slow.told: // of before
				default:
				}
				l.SendAll(list)
			})
			if list[0].Err != nil || round == 0 && list[0].N >= len(big) {
				t.Fatalf("who does not read: got %d, %v", list[0].N, list[0].Err)
			}
			if list[2].N != 1 || list[2].Err != nil {
				t.Fatalf("who does: got %d, %v", list[2].N, list[2].Err)
			}
			if round == 0 && list[1].Err == nil && list[1].N == 1 { // the reset was still under way
				round--
			} else if list[1].Err == nil {
				t.Fatalf("whose peer is gone: got %d, %v", list[1].N, list[1].Err)
			}
			if sent += list[0].N; sent < len(big) {
				if _, err := io.CopyN(io.Discard, full, int64(list[0].N)); err != nil {
					t.Fatal(err)
				}
				<-slow.told
			}
		}
	})
}
