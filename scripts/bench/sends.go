package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// sendsArg as the first argument makes the program a server that does nothing but send, at the address that follows: what it uses for a delivery is
// what the system takes for one send. Subscribers connect to it as to Ringside; a publisher's XADD goes to it as to Redis, and what it carries is
// sent to every subscriber, in one call for each.
const sendsArg = "sends"

// sender is a subscriber of it. It belongs to the loop.
type sender struct{ conn eventloop.Conn }

// Ready reads away what comes, and forgets who has gone.
func (s *sender) Ready(c *eventloop.Conn, ev eventloop.Event) {
	for ev&eventloop.Readable != 0 && c.Open() {
		if _, drained, err := c.Read(c.Loop().Scratch()); err != nil || drained {
			if err != nil && err != eventloop.ErrAgain {
				c.Close()
			}
			return
		}
	}
}

// Sweep does nothing.
func (*sender) Sweep(*eventloop.Conn, int64) {}

func runSends(ctx context.Context, addr string) error {
	eventloop.RaiseDescriptorLimit()
	loop, err := eventloop.New(eventloop.Config{})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serveSends(loop, c)
		}
	}()
	return loop.Run(ctx)
}

// serveSends takes a subscriber, or a publisher, by what it says first.
func serveSends(loop *eventloop.Loop, c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	if first, err := in.Peek(1); err != nil || first[0] == '*' {
		for err == nil {
			var payload []byte
			if payload, err = lastWord(in); err == nil {
				frame := wsframe.AppendFrame(nil, wsframe.Text, payload)
				loop.Post(eventloop.NoteFunc(func() {
					loop.Each(func(s *eventloop.Conn) { _, _ = s.Write(frame) }) // who takes less shows in what its subscriber counts
				}))
				_, err = io.WriteString(c, "+1-1\r\n")
			}
		}
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	fd, err := eventloop.Detach(c)
	if err != nil {
		return
	}
	_ = eventloop.SetOptions(fd, eventloop.SocketOptions{}) // it is there, or its subscriber is not
	loop.Post(eventloop.NoteFunc(func() {
		s := &sender{}
		if loop.Add(&s.conn, fd, s) == nil {
			_, _ = s.conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
		}
	}))
}

// lastWord reads a command as Redis does, and returns its last word.
func lastWord(in *bufio.Reader) (word []byte, err error) {
	number := func(sign string) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), sign))
		if err != nil || n < 0 || n > 1<<20 {
			return 0, fmt.Errorf("no command: %q", line)
		}
		return n, nil
	}
	words, err := number("*")
	for ; err == nil && words > 0; words-- {
		var n int
		if n, err = number("$"); err == nil {
			word = make([]byte, n+2)
			_, err = io.ReadFull(in, word)
		}
	}
	return bytes.TrimSuffix(word, []byte("\r\n")), err
}

// startSends starts that server in place of a cluster.
func (s *stage) startSends(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr, err := testcluster.FreeAddr()
	if err != nil {
		return err
	}
	p, err := testcluster.StartProcess(sendsArg, self, sendsArg, addr)
	if err != nil {
		return err
	}
	s.procs, s.sends = append(s.procs, p), &testcluster.Node{Process: p, Addr: addr}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return listening(ctx, p, addr)
}
