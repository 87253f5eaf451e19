package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// Names of Action Cable's subprotocols. The extended one adds positions, and with them history.
const (
	protocolCable    = "actioncable-v1-json"
	protocolCableExt = "actioncable-v1-ext-json"
)

// Cable is how Action Cable is spoken. A session of it follows streams, which are topics, under identifiers of its client's: see
// cable_subs.go. What it takes to go on at another gateway its router keeps: see cable_note.go.
type Cable struct {
	// Public lets clients follow any stream that they name and whose topic demands nothing; else its name has to be signed.
	Public bool
	// Signed is the stream's name in a signed one; ok is false for one that was not signed by us. nil: none is.
	Signed func(signed string) (stream string, ok bool)
}

// signed is the stream's name in a signed one.
func (c *Cable) signed(name string) (stream string, ok bool) {
	if c.Signed == nil || name == "" {
		return "", false
	}
	return c.Signed(name)
}

// isCable reports whether a session of the format speaks Action Cable.
func (f format) isCable() bool { return f == formatCable || f == formatCableExt }

// cable is what a session of Action Cable has beyond others. It belongs to the session's loop.
type cable struct {
	list      []*cableSub // in the order of their notes
	pace      cablePace
	nextPing  int64      // loop time, ms
	waiting   int        // bytes of commands that wait for the application
	restored  []noteText // what it begins with; nil as a rule
	holdUntil int64      // loop time, ms: when what was restored is followed, asked for or not; 0: nothing is
	welcomed  bool
}

// cablePace is how a client wants to be pinged.
type cablePace struct {
	every time.Duration
	unit  byte // of the time in it: 's', 'm' for ms, 'n' for ns
}

const (
	cablePing    = 3 * time.Second // what clients expect: without a word for twice as long they come back
	cablePingMax = time.Minute
)

// parseCable reads a handshake of Action Cable; ok is false for any other, and where Action Cable is not spoken. Without a topic
// in the URL, which the caller has looked for, the gateway is as good as any other.
func (g *Gateway) parseCable(ctx *fasthttp.RequestCtx, req *request) (ok bool) {
	if g.cfg.Cable == nil || len(ctx.Request.Header.Peek(fasthttp.HeaderUpgrade)) == 0 {
		return false
	}
	h, args := &ctx.Request.Header, ctx.QueryArgs()
	var offered []string
	for _, v := range h.PeekAll(fasthttp.HeaderSecWebSocketProtocol) {
		for p := range strings.SplitSeq(string(v), ",") {
			offered = append(offered, strings.TrimSpace(p))
		}
	}
	switch {
	case slices.Contains(offered, protocolCableExt):
		req.format = formatCableExt
	case slices.Contains(offered, protocolCable):
		req.format = formatCable
	default:
		return false
	}
	req.named = true
	req.token = auth.CableToken(func(name string) string { return string(args.Peek(name)) }, func(name string) string { return string(h.Peek(name)) }, offered)
	req.pace = parsePace(string(args.Peek("pi")) + " " + string(args.Peek("ptp")))
	return true
}

// parsePace reads an interval in seconds and a unit, as a client or a ticket has them. What is missing or wrong is as usual.
func parsePace(text string) cablePace {
	p := cablePace{every: cablePing, unit: 's'}
	seconds, unit, _ := strings.Cut(text, " ")
	if n, err := strconv.Atoi(seconds); err == nil && n > 0 {
		p.every = min(time.Duration(n)*time.Second, cablePingMax)
	}
	if unit == "ms" || unit == "ns" {
		p.unit = unit[0]
	}
	return p
}

// String is the pace as a ticket has it.
func (p cablePace) String() string {
	unit := map[byte]string{'m': "ms", 'n': "ns"}[p.unit]
	return strconv.Itoa(int(p.every/time.Second)) + " " + unit
}

// newCable is what a session of the request has for Action Cable; nil for others.
func newCable(req *request) *cable {
	if !req.format.isCable() {
		return nil
	}
	c := &cable{pace: req.pace, restored: req.restored}
	if req.feed {
		c.represent(req)
	}
	return c
}

// welcome begins the session for its client, unless that was done.
func (s *session) welcome() {
	c := s.cable
	if c.welcomed {
		return
	}
	c.welcomed = true
	s.policy = s.worker.policy.version // there is no word for it
	body := `{"type":"welcome"}`
	if s.format == formatCableExt {
		body = fmt.Sprintf(`{"type":"welcome","sid":"%016x","restored":false}`, s.id)
		if ids := s.restoreSubs(c.restored); len(ids) > 0 {
			list, _ := json.Marshal(ids) // strings have JSON
			body = fmt.Sprintf(`{"type":"welcome","sid":"%016x","restored":true,"restored_ids":%s}`, s.id, list)
		}
		c.restored = nil
	}
	s.settled(welcomeNote, text([]byte(body)))
}

// beginCable begins a session of Action Cable.
func (s *session) beginCable() {
	s.tellNote(welcomeNote, "", true)
	s.welcome()
}

// pingCable sends the sign of life when it is due.
func (s *session) pingCable(now int64) {
	c := s.cable
	if now < c.nextPing || !c.welcomed || s.resume != nil || s.blocked() {
		return
	}
	// Sweeps come once a second: one that is a little early must not be a second late.
	c.nextPing = now + c.pace.every.Milliseconds() - 500
	s.worker.counts.heartbeats.Add(1)
	r := s.worker.cablePing(c.pace.unit)
	s.control(r.bytes(s.onLeg))
}

// cablePing is the ping of a unit, made once for all sessions of the loop that want it in the same moment.
func (w *worker) cablePing(unit byte) *record {
	now := w.loop.Now()
	p := &w.cablePings[map[byte]int{'s': 0, 'm': 1, 'n': 2}[unit]]
	if p.record != nil && p.made == now {
		return p.record
	}
	t := time.Now()
	n := map[byte]int64{'s': t.Unix(), 'm': t.UnixMilli(), 'n': t.UnixNano()}[unit]
	p.made, p.record = now, newRecord(leg.Beacon, 0, zeroPosition, text(fmt.Appendf(nil, `{"type":"ping","message":%d}`, n)))
	return p.record
}

// goodbye is what a client is told before the close frame, where its protocol has a word for it. Whether it comes back by itself
// hangs on that.
func (s *session) goodbye(why string, comesBack bool) []byte {
	if s.cable == nil {
		return nil
	}
	return text(fmt.Appendf(nil, `{"type":"disconnect","reason":"%s","reconnect":%t}`, why, comesBack))
}

// farewell is the end of a session of Action Cable.
func (s *session) farewell(reason closeReason, why string, comesBack bool) {
	if why == "" {
		why = cableRestart
	}
	code := uint16(codeNormal)
	if why == cableRestart {
		code = codeGoingAway
	}
	s.end(reason, wsframe.AppendClose(s.goodbye(why, comesBack), code, why))
}

// Why a session of Action Cable ends, in the words of its clients.
const (
	cableRestart      = "server_restart"
	cableRemote       = "remote"
	cableTooSlow      = "too_slow"
	cableUnauthorized = "unauthorized"
	cableExpired      = "token_expired"
)

const (
	codeNormal    = 1000
	codeGoingAway = 1001
)

// turnCableAway ends a session whose client may not have it, or has no time left.
func (s *session) turnCableAway(reason closeReason, no *refusal) {
	switch {
	case reason == closeExpired:
		s.farewell(reason, cableExpired, false)
	case reason == closeDenied:
		s.farewell(reason, cableRemote, false)
	case no.retry > 0:
		s.farewell(reason, cableRestart, true)
	case no.reason == auth.TokenExpired:
		s.farewell(reason, cableExpired, false)
	default:
		s.farewell(reason, cableUnauthorized, false)
	}
}
