package gateway

import (
	"strconv"
	"strings"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// class is all sessions of a loop whose clients call a topic by the same identifiers: what they get is the same. A message is
// encoded once for the topic, and for a class the identifiers are put in front of that: once for all of its sessions, and into
// storage that is there already.
type class struct {
	format   format
	key      string   // a digit for the format, and the names
	prefixes [][]byte // the beginning of each message, one for every identifier
	uses     int
	offers   map[offered]*offer // to routers; made when it is needed
	turn     uint64             // of the worker: when the batches were made
	batches  [2]batch           // for legs, and without
}

// maxAliases is under how many identifiers a session may follow one topic: each makes its messages longer.
const maxAliases = 8

// class is the one for a topic of the session's, made when there is none yet; it has to be dropped.
func (s *session) class(topic string) *class {
	w := s.worker
	var ids []string
	for _, c := range s.cable.list {
		if c.follows(topic) {
			ids = append(ids, c.identifier)
		}
	}
	key := string(rune('0'+s.format)) + strings.Join(ids, nameEnd)
	c := w.classes[key]
	if c == nil {
		c = &class{format: s.format, key: key}
		for _, id := range ids {
			c.prefixes = append(c.prefixes, appendQuoted([]byte(`{"identifier":`), id))
		}
		if w.classes == nil {
			w.classes = make(map[string]*class)
		}
		w.classes[key] = c
	}
	c.uses++
	return c
}

// nameEnd stands between two of a class's names: identifiers are JSON, which has no such character.
const nameEnd = "\x00"

// names are the identifiers of the class's sessions, in one string.
func (c *class) names() string { return c.key[1:] }

func (w *worker) dropClass(c *class) {
	if c.uses--; c.uses == 0 {
		delete(w.classes, c.key)
	}
}

// reclass gives the subscription the class that it belongs to since the session's identifiers have changed.
func (s *sub) reclass() {
	w, old := s.session.worker, s.class
	s.class = s.session.class(s.feed.topic.name)
	if old != nil {
		w.dropClass(old)
	}
	s.withdraw()
}

// encodeCable is what follows the identifier. A payload that is JSON stands as it is, as in encodeV1.
func encodeCable(e *entry) []byte {
	return append(appendMessage(make([]byte, 0, len(e.payload)+16), e.payload), '}')
}

// encodeCableExt adds where the message stands.
func encodeCableExt(e *entry) []byte {
	j := appendMessage(make([]byte, 0, len(e.payload)+len(e.topic.quoted)+64), e.payload)
	j = append(append(j, `,"stream_id":`...), e.topic.quoted...)
	j = append(append(append(j, `,"epoch":"`...), cableEpoch(e.at.Epoch)...), `","offset":`...)
	return append(strconv.AppendUint(j, cableOffset(e.at.ID), 10), '}')
}

// size is how long a message is with the identifiers.
func (c *class) size(core []byte) (n int) {
	for _, p := range c.prefixes {
		n += len(p) + len(core) + wsframe.HeaderSize(len(p)+len(core))
	}
	return n
}

// append appends a message as the sessions of the class get it.
func (c *class) append(b []byte, e *entry, onLeg bool) []byte {
	core := e.record(c.format).b[leg.HeaderSize:]
	if onLeg {
		b = leg.AppendHeader(b, leg.Header{Length: uint32(c.size(core)), Kind: leg.Data, Topic: e.topic.num, Position: e.at})
	}
	for _, p := range c.prefixes {
		b = wsframe.AppendHeader(b, wsframe.Text, len(p)+len(core))
		b = append(append(b, p...), core...)
	}
	return b
}

// cableRecord is a message as a class gets it, kept because a socket has taken a part of it.
type cableRecord struct {
	class *class
	r     *record
	next  *cableRecord
}

// record is the message as a record of its own, shared by the sessions of the class whose sockets have taken a part of it.
func (c *class) record(e *entry) *record {
	for {
		head := e.cut.Load()
		for r := head; r != nil; r = r.next {
			if r.class == c {
				return r.r
			}
		}
		made := &cableRecord{class: c, r: &record{c.append(nil, e, true)}, next: head}
		if e.cut.CompareAndSwap(head, made) {
			e.topic.charge(e, len(made.r.b))
			return made.r
		}
	}
}

// batch is entries, or as many of them as are worth one write, as the class gets them.
func (c *class) batch(w *worker, entries []*entry, onLeg bool) *batch {
	if c.turn != w.turn {
		c.turn = w.turn
		for i := range c.batches {
			b := &c.batches[i]
			b.b, b.n = nil, 0
			if cap(b.buf) > keepBuffer {
				b.buf = nil
			}
		}
	}
	b := &c.batches[0]
	if onLeg {
		b = &c.batches[1]
	}
	if b.n == 0 {
		b.buf, b.n = c.gather(b.buf[:0], entries, batchLimit, onLeg)
		b.b = b.buf
	}
	return b
}

// gather is like the function of that name.
func (c *class) gather(b []byte, entries []*entry, limit int, onLeg bool) ([]byte, int) {
	for i, e := range entries {
		if n := c.size(e.record(c.format).b[leg.HeaderSize:]); i > 0 && len(b)+n+leg.HeaderSize > limit {
			return b, i
		}
		b = c.append(b, e, onLeg)
	}
	return b, len(entries)
}

// cableBase is what times in offsets are counted from, ms: clients hold an offset as a double, which has 53 bits.
const (
	cableBase = 1_600_000_000_000
	cableSeq  = 12 // bits of an ID's sequence number
)

func cableEpoch(e uint32) string {
	s := strconv.FormatUint(uint64(e), 16)
	return strings.Repeat("0", 8-len(s)) + s
}

// cableOffset is a position within its epoch as clients of Action Cable know it.
func cableOffset(id position.ID) uint64 {
	return (max(id.Ms, cableBase)-cableBase)<<cableSeq | min(id.Seq, 1<<cableSeq-1)
}

// cablePosition is the reverse.
func cablePosition(epoch string, offset uint64) (position.Position, bool) {
	e, err := strconv.ParseUint(epoch, 16, 32)
	if err != nil || e == 0 || offset>>53 != 0 {
		return position.Position{}, false
	}
	return position.Position{Epoch: uint32(e), ID: position.ID{Ms: offset>>cableSeq + cableBase, Seq: offset & (1<<cableSeq - 1)}}, true
}
