package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

var (
	cableHeaders    = append(upgradeHeaders[:5:5], "Sec-WebSocket-Protocol: actioncable-v1-json, actioncable-unsupported")
	cableExtHeaders = append(upgradeHeaders[:5:5], "Sec-WebSocket-Protocol: actioncable-v1-ext-json")
)

// speaksCable lets clients follow what they name. A pace that no test lasts for keeps pings out of the way.
func speaksCable(c *Config) { c.Cable = &Cable{Public: true}; c.Heartbeat = time.Hour }

// cableID is the identifier of a public stream. A name makes it another one for the same stream.
func cableID(stream, name string) string {
	id := `{"channel":"$pubsub","stream_name":"` + stream + `"`
	if name != "" {
		id += `,"name":"` + name + `"`
	}
	return id + "}"
}

// cableSay is a command as a client sends it.
func cableSay(command, identifier, more string) []byte {
	q, _ := json.Marshal(identifier)
	return wsframe.AppendClientFrame(nil, wsframe.Text, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, `{"command":"%s","identifier":%s%s}`, command, q, more))
}

// cableSaid is what a client hears.
type cableSaid struct {
	Type       string          `json:"type"`
	Identifier string          `json:"identifier"`
	Message    json.RawMessage `json:"message"`
	Stream     string          `json:"stream_id"`
	Epoch      string          `json:"epoch"`
	Offset     uint64          `json:"offset"`
	Reason     string          `json:"reason"`
	Reconnect  bool            `json:"reconnect"`
	SID        string          `json:"sid"`
	Restored   bool            `json:"restored"`
	IDs        []string        `json:"restored_ids"`
}

// cableHeard reads what a client has got, which must be whole frames but for the last.
func cableHeard(t *testing.T, b []byte) (list []cableSaid) {
	t.Helper()
	for len(b) > 0 {
		var n int
		head := 2
		switch {
		case len(b) < 2 || b[1] == 126 && len(b) < 4 || b[1] == 127 && len(b) < 10:
			return list
		case b[1] == 126:
			n, head = int(b[2])<<8|int(b[3]), 4
		case b[1] == 127:
			n, head = int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9]), 10
		default:
			n = int(b[1])
		}
		if len(b) < head+n {
			return list
		}
		if op := b[0] & 0xf; op == byte(wsframe.Text) {
			var m cableSaid
			if err := json.Unmarshal(b[head:head+n], &m); err != nil {
				t.Fatalf("not JSON: %.200q: %v", b[head:head+n], err)
			}
			if m.Type != "ping" {
				list = append(list, m)
			}
		}
		b = b[head+n:]
	}
	return list
}

// A session of Action Cable that is cut anywhere, many times over and in the middle of whatever, has its client welcomed and each
// subscription confirmed once, and gives it every message once and in order: under each of its identifiers.
func TestCableManyCuts(t *testing.T) {
	twoGateways(t, speaksCable, func(t *testing.T, a, b *rig) {
		var all sync.WaitGroup
		defer all.Wait()
		for round, headers := range [][]string{cableHeaders, cableExtHeaders} {
			rnd := rand.New(rand.NewPCG(uint64(round), 9))
			streams := []string{fmt.Sprint("one", round), fmt.Sprint("two", round), fmt.Sprint("three", round)}
			long := cableID(streams[0], strings.Repeat("é\\u0007", 30))
			ids := []string{cableID(streams[0], ""), cableID(streams[1], ""), long, cableID(streams[2], "")}
			gone := cableID("gone", "")
			f := a.followed(streams[0], headers...)
			nodes := []*rig{a, b}
			cut := func(n int) {
				f.read(rnd.IntN(n), func() bool { return false })
				f.next(nodes[rnd.IntN(2)])
			}
			history := fmt.Sprintf(`,"history":{"since":%d}`, time.Now().Add(-time.Minute).Unix())
			for _, id := range append([]string{gone}, ids...) {
				f.say(cableSay("subscribe", id, history))
				f.say(cableSay("subscribe", id, "")) // as clients do that wait for an answer
				if rnd.IntN(2) == 0 {
					cut(200)
				}
			}
			f.say(cableSay("unsubscribe", gone, ""))
			f.say(cableSay("subscribe", "no identifier", ""))
			confirmed := func() bool {
				n := 0
				for _, m := range cableHeard(t, f.client) {
					if m.Type == "confirm_subscription" && m.Identifier != gone {
						n++
					}
				}
				return n >= len(ids) && f.has("reject_subscription")
			}
			for tries := 0; !confirmed(); tries++ {
				if tries > 200 {
					t.Fatalf("not confirmed: %q", f.client)
				}
				f.read(rnd.IntN(6000)+300, confirmed)
				f.next(nodes[rnd.IntN(2)])
			}
			all.Go(func() { a.publishAll(streams...) })
			done := func() bool {
				return strings.Count(string(f.client), "the last of ") >= len(ids)
			}
			cuts := 0
			for !done() {
				f.read(3*aCut(rnd), done) // under two identifiers a message is twice as long
				if rnd.IntN(4) == 0 {
					b.cool()
				}
				f.next(nodes[rnd.IntN(2)])
				if cuts++; cuts > 4000 {
					t.Fatalf("no end of it: %+v", f.topics)
				}
			}
			checkCable(t, cableHeard(t, f.client), append([]string{gone}, ids...), headers)
			f.l.c.Close()
			t.Logf("round %d: %d cuts", round, cuts)
		}
	})
}

func checkCable(t *testing.T, heard []cableSaid, ids []string, headers []string) {
	t.Helper()
	counts := map[string]int{}
	next := map[string]int{}
	at := map[string]uint64{}
	for _, m := range heard {
		switch m.Type {
		case "":
			var text string
			_ = json.Unmarshal(m.Message, &text)
			want := fmt.Sprintf("%d ", next[m.Identifier])
			if next[m.Identifier] == cutMessages-1 {
				want = "the last of "
			}
			if !strings.HasPrefix(text, want) {
				t.Fatalf("%.80s: got %.40q, want message %q", m.Identifier, text, want)
			}
			next[m.Identifier]++
			if &headers[0] == &cableExtHeaders[0] {
				if m.Offset <= at[m.Identifier] || m.Stream == "" || len(m.Epoch) != 8 {
					t.Fatalf("%.80s: position %q %q %d behind %d", m.Identifier, m.Stream, m.Epoch, m.Offset, at[m.Identifier])
				}
				at[m.Identifier] = m.Offset
			}
		default:
			counts[m.Type+" "+m.Identifier]++
		}
	}
	if heard[0].Type != "welcome" || counts["welcome "] != 1 {
		t.Errorf("welcomes: %d, and the first word is %+v", counts["welcome "], heard[0])
	}
	for i, id := range ids {
		if n := counts["confirm_subscription "+id]; n != 1 && (i > 0 || n > 1) { // the first was left, perhaps before its turn came
			t.Errorf("%.80s was confirmed %d times", id, n)
		}
		if i > 0 && next[id] != cutMessages {
			t.Errorf("%.80s: got %d messages, want %d", id, next[id], cutMessages)
		}
	}
}

// Offsets order as positions do, and lead back to them, as long as a client holds them in a double.
func TestCableOffset(t *testing.T) {
	last := uint64(0)
	for _, id := range []position.ID{{Ms: cableBase, Seq: 1}, {Ms: 1763900000000}, {Ms: 1763900000000, Seq: 4095}, {Ms: 1763900000001}, {Ms: 3_700_000_000_000, Seq: 7}} {
		o := cableOffset(id)
		if o <= last || float64(o) != float64(o-1)+1 {
			t.Errorf("%v: offset %d behind %d", id, o, last)
		}
		last = o
		if got, ok := cablePosition(cableEpoch(7), o); !ok || got != (position.Position{Epoch: 7, ID: id}) {
			t.Errorf("%v: got %v, %v", id, got, ok)
		}
	}
	for _, bad := range []string{"", "0", "x", "-1", "100000000"} {
		if _, ok := cablePosition(bad, 1); ok {
			t.Errorf("epoch %q is taken", bad)
		}
	}
}
