package router

import (
	"io"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/leg"
)

// TestEndBehindAnswer has a gateway end right behind its answer: what it said reaches the client, and the end is not missed, whichever of the two
// the loop finds first.
func TestEndBehindAnswer(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, func(c *Config, _ *Deps) { c.HandshakeTimeout = time.Hour }, g)
		g.setReply(func(f *far) bool {
			f.write(f.answer(leg.HeaderLeg + ": v1\r\n" + leg.HeaderShard + ": g1\r\n"))
			f.write(record(leg.Data, "hi"))
			return false
		})
		for range 100 {
			c := r.open("a", wsHead, "")
			c.want("hi")
			if _, ok := sentAway(t, c.rest(), false); !ok {
				t.Fatal("the client was not sent away")
			}
			c.conn.Close()
		}
		r.empty()
	})
}

// TestAnswerInPieces has the answer come byte by byte, and the client's first word before it.
func TestAnswerInPieces(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		g.setReply(func(f *far) bool {
			for _, b := range []byte(f.answer(leg.HeaderLeg+": v1\r\n"+leg.HeaderShard+": g1\r\n") + record(leg.Data, "hi")) {
				f.write(string([]byte{b}))
			}
			return true
		})
		c := r.open("a", wsHead, "early")
		c.want("hi")
		g.session().want("early")
	})
}

// TestGoneWhileAsked has clients go while their gateway is being asked: their places, and the gateway's connections, are given back.
func TestGoneWhileAsked(t *testing.T) {
	g := gateway(t, "g1")
	asked, answer := make(chan *far, 100), make(chan struct{})
	g.setReply(func(f *far) bool {
		asked <- f
		<-answer
		return replyLeg(f)
	})
	r := start(t, false, nil, g)
	for range 20 {
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
		<-asked
		_ = c.conn.SetLinger(0) // it breaks the connection
		c.conn.Close()
	}
	close(answer)
	for range 20 {
		f := g.session()
		if _, err := io.Copy(io.Discard, f.conn); err != nil {
			t.Logf("the router broke the leg: %v", err) // as good as an end
		}
	}
	r.empty()
}
