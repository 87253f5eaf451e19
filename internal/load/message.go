package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// answer reads the head of the answer to the handshake, and returns what follows it.
func (s *session) answer(p []byte) ([]byte, error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > 64<<10 {
			return nil, errors.New("the head of the answer is too large")
		}
		return p, nil
	}
	want := "HTTP/1.1 101 "
	if s.crowd.Template.Transport == Events {
		want = "HTTP/1.1 200 "
	}
	if !bytes.HasPrefix(p, []byte(want)) {
		no, err := readRefusal(p, false)
		if no != nil {
			s.refused(no)
			return nil, nil
		}
		return p, err
	}
	if s.crowd.Template.Transport == Events && bytes.Contains(bytes.ToLower(p[:end]), []byte("\r\ntransfer-encoding:")) {
		return nil, errors.New("an event stream in chunks is not read")
	}
	s.state = greeted
	for _, f := range s.crowd.frames[:s.crowd.atOpen] {
		s.send(f.send)
	}
	if s.crowd.Template.Subscribed.empty() && s.conn.Open() {
		s.opened()
	}
	return p[end+4:], nil
}

// refusal is what a server says that turns somebody away.
type refusal struct {
	reason string
	retry  time.Duration // 0 when it does not say
	pass   string
}

// told is what Ringside says in the body of a refusal, in the reason of a close, or in an event.
type told struct {
	Error     string `json:"error"`
	Retry     int64  `json:"retry"`     // ms
	Reconnect int64  `json:"reconnect"` // ms
	Pass      string `json:"pass"`
}

func newRefusal(reason string, body []byte) *refusal {
	no := &refusal{reason: reason}
	var t told
	if i := bytes.IndexByte(body, '{'); i >= 0 && json.NewDecoder(bytes.NewReader(body[i:])).Decode(&t) == nil {
		no.retry = time.Duration(max(t.Retry, t.Reconnect, 0)) * time.Millisecond
		no.pass = t.Pass
		if t.Error != "" {
			no.reason += " " + t.Error
		}
	}
	return no
}

// readRefusal reads an answer that is no session; nil while it is not whole, which it is at the end of the connection.
func readRefusal(p []byte, whole bool) (*refusal, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p)), nil)
	if err != nil {
		return nil, fmt.Errorf("the answer is no HTTP: %.60q", p)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !whole && (errors.Is(err, io.ErrUnexpectedEOF) || resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && !resp.Close) {
		return nil, nil
	}
	no := newRefusal("status "+strconv.Itoa(resp.StatusCode), body)
	if no.retry == 0 {
		n, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // without it there is none
		no.retry = time.Duration(max(n, 0)) * time.Second
	}
	return no, nil
}

// readEvents takes the whole events in p and returns the rest.
func (s *session) readEvents(p []byte) []byte {
	now := time.Now().UnixNano()
	for s.conn.Open() {
		event, rest, ok := nextEvent(p)
		if !ok {
			break
		}
		s.message(event, now)
		p = rest
	}
	return p
}

// readFrames takes the whole frames in p and returns the rest.
func (s *session) readFrames(p []byte) ([]byte, error) {
	now := time.Now().UnixNano()
	for s.conn.Open() {
		f, rest, ok, err := nextFrame(p)
		if !ok || err != nil {
			return p, err
		}
		p = rest
		switch {
		case f.op == wsframe.Ping:
			s.write(clientFrame(wsframe.Pong, f.payload))
		case f.op == wsframe.Close:
			s.closed(f.payload)
			return nil, nil
		case f.op > wsframe.Close:
		case f.fin && f.op != wsframe.Continuation:
			s.messages(f.payload, now)
		default:
			s.fragment(f, now)
		}
	}
	return p, nil
}

func (s *session) fragment(f frame, now int64) {
	m := s.remember()
	m.message = append(m.message, f.payload...)
	if f.fin {
		whole := m.message
		m.message = nil
		s.messages(whole, now)
	}
}

// closed settles a close by the server: a refusal when the session was not open yet, or one that says when to come back.
func (s *session) closed(payload []byte) {
	code, reason, err := wsframe.ParseClose(payload)
	if err != nil {
		code = 0
	}
	no := newRefusal("close "+strconv.Itoa(int(code)), []byte(reason))
	if s.state != open {
		s.refused(no)
		return
	}
	s.conn.Close()
	s.worker.lost++
	s.worker.open--
	s.worker.because("lost: " + no.reason)
	if no.pass != "" && s.crowd.Back == Obedient {
		s.remember().pass = no.pass
	}
	s.again(no.retry, false)
}

// messages takes a frame's messages.
func (s *session) messages(p []byte, now int64) {
	if !s.crowd.Template.Lines {
		s.message(p, now)
		return
	}
	for line := range bytes.SplitSeq(p, []byte("\n")) {
		if len(line) > 0 && s.conn.Open() {
			s.message(line, now)
		}
	}
}

// message takes one message.
func (s *session) message(p []byte, now int64) {
	w, t := s.worker, &s.crowd.Template
	if w.prefix != nil && s.state == open {
		marks := 0
		for rest := p; ; marks++ {
			m, more, ok := nextMark(rest, w.prefix)
			if !ok {
				break
			}
			rest = more
			s.track.note(m.number)
			w.received(m, now)
		}
		if marks > 0 {
			w.bytes += int64(len(p))
			s.stand(p)
			return
		}
	}
	switch {
	case t.Refused.holds(p) && s.state != open:
		s.refused(newRefusal("refused", p))
		return
	case t.Subscribed.holds(p) && s.state == greeted:
		s.welcome(p)
		s.opened()
	}
	for _, f := range s.crowd.frames[s.crowd.atOpen:] {
		if s.conn.Open() && f.on.holds(p) {
			s.send(f.send)
		}
	}
	if w.echo != "" && bytes.Contains(p, []byte(w.echo)) {
		record(w.echoes, time.Duration(now-w.asked))
	}
	s.stand(p)
}

// stand keeps the position of a message.
func (s *session) stand(p []byte) {
	if !s.crowd.Resume {
		return
	}
	for _, b := range s.crowd.Template.Position {
		if at := b.find(p); at != nil {
			m := s.remember()
			m.position = append(m.position[:0], at...)
			return
		}
	}
}

// welcome takes what Ringside says about coming back.
func (s *session) welcome(p []byte) {
	if s.crowd.Back != Obedient {
		return
	}
	if s.crowd.Resume {
		if token := (Between{`"resume":"`, `"`}).find(p); token != nil {
			s.remember().resume = string(token)
		}
	}
	raw := (Between{`"backoff":{`, `}`}).find(p)
	if raw == nil || s.crowd.told == string(raw) {
		return
	}
	var policy backoff.Policy
	if json.Unmarshal([]byte("{"+string(raw)+"}"), &policy) == nil && policy.Validate() == nil {
		s.crowd.policy, s.crowd.told = policy, strings.Clone(string(raw))
	}
}
