package router

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
)

const (
	maxAnswerHead = 16 << 10 // bytes of an upstream's head, interim ones included
	maxAnswerBody = 64 << 10 // bytes of an answer that is passed on whole
)

// answer is what an upstream said to a handshake. Its slices lie in the buffer that it was read into.
type answer struct {
	status int
	line   []byte // status line, without its end
	block  []byte // header fields, up to and with the blank line
	rest   []byte // what came behind the head already
	leg    bool   // a session begins, and its bytes come in records
	ticket []byte // of a leg; nil when the gateway gave none
	policy uint32 // of a leg: version of the backoff policy that the client knows; 0 when the gateway does not say

	farewell bool // of a leg: the gateway wants to know when the session goes elsewhere
	final    bool // no other gateway would say anything else

	chunked bool // a body in chunks
	opaque  bool // a body of a given length, or encoded
}

// errAnswer is the cause of all that is wrong with an answer.
var errAnswer = errors.New("the upstream's answer is not acceptable")

func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errAnswer, fmt.Sprintf(format, args...))
}

// answerReader finds the end of an answer's head in what is read into buf, with what comes along with it. Interim answers are passed over.
type answerReader struct {
	buf                  []byte
	n, searched, interim int
}

// room is where the next bytes go; there is some as long as take has not failed.
func (r *answerReader) room() []byte { return r.buf[r.n:] }

// take takes in n bytes that were read into room. The answer is nil while its head is not whole.
func (r *answerReader) take(n int) (*answer, error) {
	r.n += n
	for {
		end := bytes.Index(r.buf[r.searched:r.n], []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		head := r.buf[:r.searched+end+4]
		a, err := parseAnswer(head)
		if err != nil {
			return nil, err
		}
		if a.status >= 200 || a.status == fasthttp.StatusSwitchingProtocols {
			a.rest = r.buf[len(head):r.n]
			return a, nil
		}
		if r.interim += len(head); r.interim > len(r.buf) {
			return nil, badAnswer("its interim heads are larger than %d bytes", len(r.buf))
		}
		r.n = copy(r.buf, r.buf[len(head):r.n])
		r.searched = 0
	}
	r.searched = max(0, r.n-3)
	if r.n == len(r.buf) {
		return nil, badAnswer("its head is larger than %d bytes", len(r.buf))
	}
	return nil, nil //nolint:nilnil // it is not whole
}

// readAnswer reads an answer's head into buf.
func readAnswer(c net.Conn, buf []byte) (*answer, error) {
	r := answerReader{buf: buf}
	for {
		n, err := c.Read(r.room())
		if n == 0 && err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		if a, err := r.take(n); a != nil || err != nil {
			return a, err
		}
	}
}

func parseAnswer(head []byte) (*answer, error) {
	line, block, _ := bytes.Cut(head, []byte("\r\n"))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	if !bytes.Equal(version, []byte("HTTP/1.1")) && !bytes.Equal(version, []byte("HTTP/1.0")) || httphead.HasControl(line) {
		return nil, badAnswer("it is not HTTP/1.1")
	}
	status, err := strconv.Atoi(string(code))
	if err != nil || len(code) != 3 || status < 100 {
		return nil, badAnswer("its status is not a number")
	}
	return &answer{status: status, line: line, block: block}, nil
}

// said is what an answer's header fields say about the session.
type said struct {
	upgrade, connection, events bool
	chunked, opaque             bool
	accepts, protocols, framed  int
	upgrades                    int
	body                        bool // one that is not empty
	accept, protocol            []byte
	extensions                  [][]byte
	leg, ticket, policy         []byte
	farewell, final             bool
}

func (a *answer) read() (said, error) {
	var s said
	fs := httphead.Fields{Rest: a.block}
	for fs.Next() {
		switch f := fs.Field; {
		case f.Is("upgrade"):
			s.upgrade = httphead.FoldEqual(f.Value, "websocket")
			s.upgrades++
		case f.Is("connection"):
			s.connection = s.connection || httphead.HasElement(f.Value, "upgrade")
		case f.Is("sec-websocket-accept"):
			s.accept = f.Value
			s.accepts++
		case f.Is("sec-websocket-protocol"):
			s.protocol = f.Value
			s.protocols++
		case f.Is("sec-websocket-extensions"):
			for e := range httphead.Elements(f.Value) {
				name, _, _ := bytes.Cut(e, []byte(";"))
				s.extensions = append(s.extensions, bytes.TrimSpace(name))
			}
		case f.Is("content-type"):
			kind, _, _ := bytes.Cut(f.Value, []byte(";"))
			s.events = httphead.FoldEqual(bytes.TrimSpace(kind), "text/event-stream")
		case f.Is("content-length"), f.Is("transfer-encoding"):
			s.framed++
			s.body = s.body || !f.Is("content-length") || string(f.Value) != "0"
			s.chunked = s.chunked || httphead.FoldEqual(f.Value, "chunked")
			s.opaque = s.opaque || !httphead.FoldEqual(f.Value, "chunked")
		case f.Is("content-encoding"):
			s.opaque = s.opaque || !httphead.FoldEqual(f.Value, "identity")
		case bytes.EqualFold(f.Name, []byte(leg.HeaderLeg)):
			s.leg = f.Value
		case bytes.EqualFold(f.Name, []byte(leg.HeaderTicket)):
			s.ticket = f.Value
		case bytes.EqualFold(f.Name, []byte(leg.HeaderPolicy)):
			s.policy = f.Value
		case bytes.EqualFold(f.Name, []byte(leg.HeaderFarewell)):
			s.farewell = true
		case bytes.EqualFold(f.Name, []byte(leg.HeaderFinal)):
			s.final = true
		}
	}
	if fs.Err != nil {
		return said{}, badAnswer("%v", fs.Err)
	}
	return s, nil
}

// begins reports whether the answer begins the session that was asked for; otherwise it is to be passed on as it is, or
// an error says why it can be neither. own is whether one of our gateways was asked, by a signed handshake.
func (a *answer) begins(hs *handshake, own bool) (bool, error) {
	s, err := a.read()
	if err != nil {
		return false, err
	}
	if a.leg = own && s.leg != nil; a.leg && string(s.leg) != leg.Version {
		return false, badAnswer("its leg has another version")
	}
	a.final, a.farewell = own && s.final, a.leg && s.farewell
	if a.leg && s.ticket != nil {
		if a.ticket, err = leg.ParseTicketText(string(s.ticket)); err != nil {
			return false, badAnswer("its ticket is malformed")
		}
		if v, err := strconv.ParseUint(string(s.policy), 16, 32); err == nil { // else the next gateway tells the client anew
			a.policy = uint32(v)
		}
	}
	switch {
	case a.status == fasthttp.StatusOK && !hs.websocket && s.events:
		if a.leg && s.framed > 0 {
			return false, badAnswer("its leg is framed by HTTP as well")
		}
		a.chunked, a.opaque = s.chunked, s.opaque
		return true, nil
	case a.status != fasthttp.StatusSwitchingProtocols:
		return false, nil
	case !hs.websocket:
		return false, badAnswer("it upgrades what was no WebSocket handshake")
	}
	return true, s.checkUpgrade(hs, own)
}

// checkUpgrade checks a 101 against the client's handshake (RFC 6455, 4.1), because a tunnel is open from then on.
func (s *said) checkUpgrade(hs *handshake, own bool) error {
	switch {
	case !s.upgrade || s.upgrades > 1 || !s.connection:
		return badAnswer("it upgrades to something else")
	case s.body:
		return badAnswer("its upgrade has a body")
	case s.accepts != 1 || string(s.accept) != httphead.AcceptFor(hs.key):
		return badAnswer("its Sec-WebSocket-Accept does not belong to the key")
	case s.protocols > 1 || s.protocols == 1 && !slices.Contains(hs.protocols, string(s.protocol)):
		return badAnswer("it chose a subprotocol that was not offered")
	}
	for _, e := range s.extensions {
		if own || !slices.Contains(hs.extensions, string(e)) { // to our own gateways no offer is passed on
			return badAnswer("it chose an extension that was not offered")
		}
	}
	return nil
}

// appendHead appends the answer's head for the client: of our own gateways without what is ours, of others as it came.
func (a *answer) appendHead(b []byte, own bool) []byte {
	b = append(append(b, a.line...), "\r\n"...)
	if !own {
		return append(b, a.block...)
	}
	for fs := (httphead.Fields{Rest: a.block}); fs.Next(); {
		if !isOurs(fs.Field) {
			b = append(append(b, fs.Field.Line...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// first is what the client of a session gets first: the answer's head, of so many bytes, and behind it what else the upstream has sent.
func (u *upstream) first() (first []byte, head int) {
	a := u.answer
	first = a.appendHead(make([]byte, 0, len(a.line)+len(a.block)+len(a.rest)+2), u.own)
	return append(first, a.rest...), len(first)
}

// passOn reads the body, which is bounded, and makes the answer the client's. c is where the rest of it comes from.
func (a *answer) passOn(to *fasthttp.Response, c net.Conn) error {
	head := a.appendHead(nil, false)
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), bytes.NewReader(a.rest), c), maxAnswerHead)
	var resp fasthttp.Response
	if err := resp.ReadLimitBody(r, maxAnswerBody); err != nil {
		return badAnswer("its body: %v", err)
	}
	to.SetStatusCode(a.status)
	for fs := (httphead.Fields{Rest: a.block}); fs.Next(); {
		if f := fs.Field; !isHopByHop(f) && !isOurs(f) && !f.Is("content-length") {
			to.Header.AddBytesKV(f.Name, f.Value)
		}
	}
	to.SetBody(resp.Body())
	to.SetConnectionClose()
	return nil
}
