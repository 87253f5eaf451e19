package gateway

import (
	"encoding/base64"
	"encoding/json"
	"sync/atomic"
	"unicode/utf8"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// format is what a session's client speaks. Every message is encoded once per format, not once per session.
type format uint8

const (
	formatV1       format = iota // ringside.v1: JSON in text frames
	formatRaw                    // ringside.raw: payloads in frames
	formatSSE                    // Server-Sent Events
	formatCable                  // Action Cable
	formatCableExt               // Action Cable with positions and history
	formats
)

// Names of the WebSocket subprotocols.
const (
	protocolV1  = "ringside.v1"
	protocolRaw = "ringside.raw"
)

// subprotocol is its name in a handshake; of WebSocket formats.
func (f format) subprotocol() string {
	return [formats]string{protocolV1, protocolRaw, "", protocolCable, protocolCableExt}[f]
}

func (f format) String() string {
	return [formats]string{"v1", "raw", "sse", "cable", "cable_ext"}[f]
}

// entry is one message of a topic. It is immutable, apart from its encodings, which are made when the first
// session of a format needs one, and is shared by all sessions on all loops.
type entry struct {
	at      position.Position
	topic   *topic
	payload []byte
	records [formats]atomic.Pointer[record]
	cut     atomic.Pointer[cableRecord] // of Action Cable, as classes get it whose sessions have a part of it

	// Of topics whose slow sessions pass over what was replaced.
	key   string
	keyed bool // a newer one with the same key replaces it

	// Guarded by the slot's mu.
	logged   bool   // stands in the topic's log, or on its board
	kept     bool   // on the board
	replaced bool   // there is a newer one with its key
	cost     int    // bytes that the log is charged for it
	index    uint64 // in the log
}

// entryOverhead is what an entry costs beside its bytes: the struct, its place in the log, slice headers.
const entryOverhead = 192

// record is a shared byte string: a leg record, whose bytes behind the header are what the client gets. A
// session without a leg gets just those.
type record struct{ b []byte }

func newRecord(kind leg.Kind, topic uint32, at position.Position, body []byte) *record {
	b := make([]byte, leg.HeaderSize, leg.HeaderSize+len(body))
	leg.PutHeader(b, leg.Header{Length: uint32(len(body)), Kind: kind, Topic: topic, Position: at})
	return &record{append(b, body...)}
}

// bytes are what goes to the socket.
func (r *record) bytes(onLeg bool) []byte {
	if onLeg {
		return r.b
	}
	return r.b[leg.HeaderSize:]
}

// record is e encoded in f. Safe for concurrent use; two loops may encode at once, and one of them wins.
func (e *entry) record(f format) *record {
	if r := e.records[f].Load(); r != nil {
		return r
	}
	var body []byte
	switch f {
	case formatV1:
		body = encodeV1(e)
	case formatRaw:
		body = encodeRaw(e)
	case formatCable:
		body = encodeCable(e)
	case formatCableExt:
		body = encodeCableExt(e)
	default:
		body = encodeSSE(e)
	}
	r := newRecord(leg.Data, e.topic.num, e.at, body)
	if !e.records[f].CompareAndSwap(nil, r) {
		return e.records[f].Load()
	}
	e.topic.charge(e, len(r.b))
	return r
}

// encodeV1 makes the text frame `{"type":"message","topic":…,"id":…,"data":…}`. A payload that is JSON
// stands as it is; other text becomes a JSON string; bytes that are no text become base64 and say so.
func encodeV1(e *entry) []byte {
	j := make([]byte, 0, len(e.payload)+len(e.topic.quoted)+96)
	j = append(j, `{"type":"message","topic":`...)
	j = append(j, e.topic.quoted...)
	j = append(j, `,"id":"`...)
	j = e.at.AppendText(j)
	j = append(appendData(append(j, '"'), e.payload), '}')
	return wsframe.AppendFrame(make([]byte, 0, len(j)+wsframe.HeaderSize(len(j))), wsframe.Text, j)
}

// appendData appends a payload as the further field "data" of an object.
func appendData(j, payload []byte) []byte { return appendField(j, `,"data":`, payload) }

// appendMessage is the same for a field called "message".
func appendMessage(j, payload []byte) []byte { return appendField(j, `,"message":`, payload) }

func appendField(j []byte, name string, payload []byte) []byte {
	switch {
	case !utf8.Valid(payload): // first: the JSON package does not look into strings
		j = append(append(append(j, `,"encoding":"base64"`...), name...), '"')
		j = base64.StdEncoding.AppendEncode(j, payload)
		return append(j, '"')
	case json.Valid(payload):
		return append(append(j, name...), payload...)
	}
	return appendQuoted(append(j, name...), string(payload))
}

func encodeRaw(e *entry) []byte {
	op := wsframe.Binary
	if utf8.Valid(e.payload) {
		op = wsframe.Text
	}
	return wsframe.AppendFrame(make([]byte, 0, len(e.payload)+wsframe.HeaderSize(len(e.payload))), op, e.payload)
}

// encodeSSE makes the event. Line ends within the payload, of whatever kind, become lines of their own, which
// a client joins with "\n"; bytes that are no text come as base64 in an event called "binary".
func encodeSSE(e *entry) []byte {
	b := make([]byte, 0, len(e.payload)+64)
	b = append(b, "id: "...)
	b = e.at.AppendText(b)
	b = append(b, '\n')
	if !utf8.Valid(e.payload) {
		b = append(b, "event: binary\ndata: "...)
		b = base64.StdEncoding.AppendEncode(b, e.payload)
		return append(b, "\n\n"...)
	}
	return append(appendSSEData(b, e.payload), '\n')
}

// appendSSEData appends text as `data:` lines.
func appendSSEData(b, text []byte) []byte {
	b = append(b, "data: "...)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				i++
			}
			fallthrough
		case '\n':
			b = append(b, "\ndata: "...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '\n')
}

// appendQuoted appends s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic("BUG: gateway: a string has no JSON: " + err.Error())
	}
	return append(b, q...)
}
