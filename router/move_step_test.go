package router

import (
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// The tests in this file take a session's move step by step, with the clock in their hands. See [move] for the states.

// standing is a session that follows a topic and has had its first message.
func (l *lab) standing() (client, gateway *end) {
	l.t.Helper()
	client, gateway = l.open()
	gateway.write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one"))
	client.want("one")
	return client, gateway
}

// goesOn has the gateway of the leg send what comes behind the position, and the client get it.
func (l *lab) goesOn(client, gateway *end, from int) {
	l.t.Helper()
	got := gateway.resume()
	if len(got.Topics) != 1 || got.Topics[0].Position != at(from) {
		l.t.Fatalf("the session stands at %+v, want %d", got, from)
	}
	gateway.write(rec(leg.Topic, 0, 9, at(from), "finals") + message(9, from+1, "more"))
	client.want("more")
	l.wantState(1, 0, 0)
}

// says are the answers of the gateways, in the order in which they are asked; then all say yes.
func (l *lab) says(outcomes ...dialOutcome) (asked *[]string) {
	asked = new([]string)
	l.answer = func(_ *move, sh *shard) dialOutcome {
		*asked = append(*asked, sh.id)
		if n := len(*asked); n <= len(outcomes) {
			return outcomes[n-1]
		}
		return dialOK
	}
	return asked
}

func wantAsked(t *testing.T, asked *[]string, want ...string) {
	t.Helper()
	if len(*asked) != len(want) {
		t.Fatalf("asked %v, want %v", *asked, want)
	}
	for i := range want {
		if (*asked)[i] != want[i] {
			t.Fatalf("asked %v, want %v", *asked, want)
		}
	}
}

// Refused: the next one is asked at once, and the first not again for a while.
func TestStepDialRefused(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		l := newLab(t, portable, 2)
		client, gateway := l.standing()
		asked := l.says(dialRefused)
		gateway.close()
		l.moving()
		l.settle()
		wantAsked(t, asked, "g1", "g2")
		gateway = l.leg()
		l.goesOn(client, gateway, 1)
		gateway.close() // and g2 dies too, while g1 is still set aside
		l.moving()
		l.pass(100 * time.Millisecond)
		wantAsked(t, asked, "g1", "g2", "g2")
		l.goesOn(client, l.leg(), 2)
		l.wantMoves(moveCrash, movedOK, 2)
	})
}

// Refused by all, for a while: asked again with growing pauses, and the first that says yes has the session.
func TestStepNobodyTakesIt(t *testing.T) {
	l := newLab(t, false, 2)
	client, gateway := l.standing()
	asked := l.says(dialBusy, dialBusy, dialBusy, dialBusy)
	gateway.close()
	l.moving()
	l.settle()
	wantAsked(t, asked, "g1", "g2")
	l.wantState(1, 1, 1)
	l.pass(pauseMin)
	wantAsked(t, asked, "g1", "g2", "g1", "g2")
	l.pass(pauseMin) // the second pause is twice the first
	wantAsked(t, asked, "g1", "g2", "g1", "g2")
	l.pass(pauseMin)
	wantAsked(t, asked, "g1", "g2", "g1", "g2", "g1")
	l.goesOn(client, l.leg(), 1)
}

// Refused by all until the time is over: the client is told when to come back, and not a moment before.
func TestStepTimeIsOver(t *testing.T) {
	l := newLab(t, false, 2)
	client, gateway := l.standing()
	l.answer = func(*move, *shard) dialOutcome { return dialBusy }
	gateway.close()
	l.moving()
	l.pass(l.r.cfg.RehomeWait - parkLook)
	l.wantState(1, 1, 1)
	l.pass(parkLook)
	rest := client.rest()
	if delay, ok := sentAway(t, rest, false); !ok || delay < backoff.Default().Min || delay > backoff.Default().SoonMost() {
		t.Errorf("got %q, want to be sent away for a while", rest)
	}
	l.wantMoves(moveCrash, movedNot, 1)
	l.gone(client)
}

// gone looks whether everything is given back once the client has gone, and its gateway, if any.
func (l *lab) gone(ends ...*end) {
	l.t.Helper()
	for _, e := range ends {
		e.close()
	}
	eventually(l.t, "the session has gone", func() bool { return l.r.Sessions() == 0 })
	l.wantState(0, 0, 0)
	if n := l.r.sum(func(c *counts) *count { return &c.waiting }); n != 0 {
		l.t.Errorf("%d bytes wait for nobody", n)
	}
}

// Dies during the replay: what was whole counts, what was not comes anew.
func TestStepDiesDuringReplay(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		l := newLab(t, portable, 2)
		client, gateway := l.standing()
		gateway.close()
		l.moving()
		l.settle()
		gateway = l.leg()
		gateway.resume()
		third := message(9, 3, "three")
		gateway.write(rec(leg.Topic, 0, 9, at(1), "finals") + message(9, 2, "two") + third[:len(third)-1])
		client.want("two")
		gateway.close()
		l.moving()
		l.pass(parkLook)
		l.goesOn(client, l.leg(), 2)
		l.wantMoves(moveCrash, movedOK, 2)
	})
}

// Dies again at once, before it has said anything, several times in a row; the pace holds.
func TestStepDiesAtOnce(t *testing.T) {
	l := newLab(t, false, 2)
	client, gateway := l.standing()
	client.write("command")
	gateway.want("command")
	asked := l.says()
	gateway.close()
	const times = 20
	for i := range times {
		l.moving()
		l.settle()
		if len(*asked) != i+1 { // the queue's only token of this moment is used up
			l.pass(parkLook)
		}
		gateway = l.leg()
		if i%2 == 0 {
			gateway.resume()
		}
		gateway.close()
	}
	l.moving()
	l.pass(parkLook)
	gateway = l.leg()
	l.goesOn(client, gateway, 1)
	gateway.want("command") // nobody has acknowledged it
	l.wantMoves(moveCrash, movedOK, times+1)
}

// held has the gateway take its time; go on ends it.
func (l *lab) held(outcome dialOutcome) (asked chan *shard, goOn chan bool) {
	asked, goOn = make(chan *shard, 10), make(chan bool)
	l.answer = func(_ *move, sh *shard) dialOutcome {
		asked <- sh
		<-goOn
		return outcome
	}
	return asked, goOn
}

// The client leaves, before its gateway is asked and while it is: the leg that nobody needs is let go of.
func TestStepClientLeaves(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		l := newLab(t, portable, 1)
		client, gateway := l.standing()
		gateway.close()
		l.moving()
		l.gone(client)
		l.settle()
		if n := len(l.legs); n != 0 {
			t.Errorf("%d gateways were asked for nobody", n)
		}
		l.pass(parkLook)

		client, gateway = l.standing()
		asked, goOn := l.held(dialOK)
		gateway.close()
		l.moving()
		l.r.mover.dispatch(t.Context(), l.r.now())
		<-asked
		client.close()
		eventually(t, "the session has gone", func() bool { return l.r.Sessions() == 0 })
		close(goOn)
		l.settle()
		if rest := l.leg().rest(); rest != "" {
			t.Errorf("a gateway got %q for nobody", rest)
		}
		l.gone(client)
		l.wantMoves(moveCrash, movedLeft, 2)
	})
}

// The client sends meanwhile: without a leg, while a gateway is asked, and behind what nobody has acknowledged. All of it
// comes to the next gateway, in order, behind the block.
func TestStepClientSends(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		l := newLab(t, portable, 1)
		client, gateway := l.standing()
		client.write("done, half a com")
		gateway.want("done, half a com")
		gateway.write(acked(len("done, ")) + message(3, 2, "two"))
		client.want("two")
		asked, goOn := l.held(dialOK)
		gateway.close()
		l.moving()
		client.write("ma")
		l.kept("half a comma")
		l.r.mover.dispatch(t.Context(), l.r.now())
		<-asked
		client.write("nd, n")
		l.kept("half a command, n")
		close(goOn)
		l.settle()
		gateway = l.leg()
		client.write("ext")
		l.goesOn(client, gateway, 2)
		gateway.want("half a command, next")
		gateway.write(acked(len("half a command, next")))
		l.kept("")
		l.gone(client, gateway)
	})
}

// kept waits until so much of the client's waits.
func (l *lab) kept(want string) {
	l.t.Helper()
	eventually(l.t, "what the client has sent is kept", func() bool {
		return l.r.sum(func(c *counts) *count { return &c.waiting }) == uint64(len(want))
	})
}

// The gateway asks for the move and dies in the same moment: the crash's move is the one that counts.
func TestStepDrainAndCrashAtOnce(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		move := rec(leg.Move, 0, 0, position.Position{}, "")
		l := newLab(t, portable, 2)
		client, gateway := l.standing()
		asked := l.says(dialRefused)
		gateway.write(move)
		gateway.close()
		eventually(t, "it is homeless", func() bool { _, _, homeless := l.state(); return homeless == 1 })
		l.settle()
		wantAsked(t, asked, "g1", "g2") // the crash may go back to where it comes from; nobody is asked for the drain
		gateway = l.leg()
		l.goesOn(client, gateway, 1)
		l.wantMoves(moveDrain, movedSuperseded, 1)
		l.wantMoves(moveCrash, movedOK, 1)
		l.gone(client, gateway)
	})
}

// The gateway dies while the next one is asked on its behalf: that one's answer is of no use, and it is asked once more.
func TestStepCrashDuringDrain(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		l := newLab(t, portable, 2)
		client, gateway := l.standing()
		asked, goOn := l.held(dialOK)
		gateway.write(rec(leg.Move, 0, 0, position.Position{}, "") + message(3, 2, "two"))
		client.want("two") // it is served on
		l.moving()
		l.wantState(1, 1, 0)
		l.r.mover.dispatch(t.Context(), l.r.now())
		if sh := <-asked; sh.id != "g2" {
			t.Errorf("asked %s, want g2", sh.id)
		}
		gateway.close()
		l.moving()
		l.wantState(1, 1, 1)
		close(goOn)
		l.r.mover.wg.Wait()
		if rest := l.leg().rest(); rest != "" {
			t.Errorf("the leg of the drain got %q", rest)
		}
		l.pass(parkLook)
		l.goesOn(client, l.leg(), 2)
		l.wantMoves(moveDrain, movedSuperseded, 1)
		l.wantMoves(moveCrash, movedOK, 1)
	})
}

// The answer for a drain is there, but not taken in yet, when the gateway dies; and the other way round.
func TestStepCrashBehindTheAnswer(t *testing.T) {
	l := newLab(t, false, 2)
	for _, crashFirst := range []bool{false, true} {
		client, gateway := l.standing()
		l.r.onEveryLoop(func(w *worker) { w.sessions[0].lookForHome(moveDrain) })
		l.moving()
		var m *move
		done := l.r.mover.done
		l.r.mover.done = func(answered *move) { m = answered }
		l.r.mover.dispatch(t.Context(), l.r.now())
		l.r.mover.wg.Wait()
		l.r.mover.done = done
		l.r.onEveryLoop(func(w *worker) {
			s := w.sessions[0]
			if crashFirst {
				s.upstreamGone(closeLegLost)
				m.Run()
				return
			}
			m.Run()
		})
		next := l.leg()
		if crashFirst {
			if rest := next.rest(); rest != "" {
				t.Errorf("the leg of the drain got %q", rest)
			}
			l.pass(parkLook)
			next = l.leg()
		}
		l.goesOn(client, next, 1)
		if rest := gateway.rest(); rest != "" {
			t.Errorf("the old gateway got %q", rest)
		}
		l.gone(client, next)
		l.pass(time.Second)
	}
	l.wantMoves(moveDrain, movedOK, 1)
	l.wantMoves(moveDrain, movedSuperseded, 1)
	l.wantMoves(moveCrash, movedOK, 1)
}
