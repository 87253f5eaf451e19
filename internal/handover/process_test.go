package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own successor: with the first set, it takes over from who listens at that path. The second says
// where it is to die.
const (
	childPath = "RINGSIDE_HANDOVER_TEST_PATH"
	childMode = "RINGSIDE_HANDOVER_TEST_MODE"
)

// child takes batches over and answers on the first descriptor of each item what it reads from the second.
func child(path, mode string) int {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := Dial(ctx, path)
		if err != nil {
			return err
		}
		for {
			m, err := c.Receive(ctx)
			if err != nil {
				return err
			}
			if m.Items == nil {
				return nil // and leave the descriptors to the system
			}
			if mode == "die before ack" {
				die()
			}
			if err := c.Ack(ctx); err != nil {
				return err
			}
			if mode == "die after ack" {
				die()
			}
			for _, it := range m.Items {
				buf := make([]byte, 100)
				n, err := syscall.Read(it.FDs[1], buf)
				if err != nil {
					return err
				}
				answer := fmt.Sprintf("%d: %s has %s", os.Getpid(), it.State, buf[:n])
				if _, err := syscall.Write(it.FDs[0], []byte(answer)); err != nil {
					return err
				}
			}
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "successor:", err)
		return 1
	}
	return 0
}

// die is sudden, as kill -9 is.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// succeed starts a child process that takes over.
func succeed(t *testing.T, mode string) (*exec.Cmd, *Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childMode+"="+mode)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept(within(t))
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return cmd, c
}

// crossed makes items each of which has one end of two socket pairs; far has the other ends.
func crossed(t *testing.T, n int) (items []Item, far [][2]int) {
	t.Helper()
	for i := range n {
		a, fa := socketPair(t)
		b, fb := socketPair(t)
		for _, fd := range []int{a, fa, b, fb} {
			syscall.CloseOnExec(fd)
		}
		t.Cleanup(func() { closeFDs([]int{fa, fb}) })
		items = append(items, Item{State: []byte("item " + strconv.Itoa(i)), FDs: []int{a, b}})
		far = append(far, [2]int{fa, fb})
	}
	return items, far
}

func closeItems(items []Item) {
	for _, it := range items {
		closeFDs(it.FDs)
	}
}

// Another process serves what it was given, what was pending in the sockets included.
func TestProcess(t *testing.T) {
	noLeak(t)
	items, far := crossed(t, 300)
	for i := range far {
		if _, err := syscall.Write(far[i][1], []byte("word "+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	cmd, c := succeed(t, "")
	for batch := range slices.Chunk(items, 126) {
		if err := c.Give(within(t), 1, batch); err != nil {
			t.Fatal(err)
		}
		closeItems(batch)
	}
	for i := range far {
		wantRead(t, far[i][0], fmt.Sprintf("%d: item %d has word %d", cmd.Process.Pid, i, i))
	}
	if err := errors.Join(c.Send(within(t), 2, nil), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestProcessDies(t *testing.T) {
	for _, mode := range []string{"die before ack", "die after ack"} {
		t.Run(mode, func(t *testing.T) {
			noLeak(t)
			items, far := crossed(t, 300)
			cmd, c := succeed(t, mode)
			err := c.Give(within(t), 1, items)
			if errors.Is(err, ErrUnsure) || (err == nil) != (mode == "die after ack") {
				t.Errorf("got %v", err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the successor did not die")
			}
			for i, it := range items {
				through(t, it.FDs[0], far[i][0], "still here")
			}
			closeItems(items)
		})
	}
}
