package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// parseFrame reads a whole frame of ringside.v1 off what has come; n is 0 when there is none yet.
func parseFrame(b []byte) (w word, n int, err error) {
	head, size := 2, 0
	switch {
	case len(b) < 2:
		return w, 0, nil
	case b[1] == 126 && len(b) >= 4:
		head, size = 4, int(b[2])<<8|int(b[3])
	case b[1] == 127 && len(b) >= 10:
		head = 10
		for _, d := range b[2:10] {
			size = size<<8 | int(d)
		}
	case b[1] < 126:
		size = int(b[1])
	default:
		return w, 0, nil
	}
	n = head + size
	switch {
	case len(b) < n:
		return w, 0, nil
	case b[0] == 0x80|byte(wsframe.Close):
		return word{kind: "closed", reason: fmt.Sprintf("%q", b[head:n])}, n, nil
	case b[0] != 0x80|byte(wsframe.Text):
		return w, n, nil
	}
	w, err = parseV1(b[head:n])
	return w, n, err
}

func parseV1(b []byte) (w word, err error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return w, fmt.Errorf("%.100q: %w", b, err)
	}
	w = word{kind: m.Type, topic: m.Topic, reason: m.Reason, count: m.Count, payload: string(m.Data)}
	if m.Encoding != "" || strings.HasPrefix(w.payload, `"`) {
		err = json.Unmarshal(m.Data, &w.payload)
	}
	if m.Encoding == "base64" {
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(w.payload)
		w.payload = string(raw)
	}
	if at := m.ID + m.Position; at != "" && err == nil {
		w.at, err = position.Parse(at)
	}
	if m.Until != "" && err == nil {
		w.until, err = position.Parse(m.Until)
	}
	if m.After != "" && err == nil {
		w.after, err = position.Parse(m.After)
	}
	return w, err
}

// parseEvent reads a whole event off an event stream.
func parseEvent(b []byte) (w word, n int, err error) {
	end := bytes.Index(b, []byte("\n\n"))
	if end < 0 {
		return w, 0, nil
	}
	var data []string
	for line := range strings.SplitSeq(string(b[:end]), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			return w, 0, fmt.Errorf("a line without a field: %q", line)
		case name == "id":
			w.at, err = position.Parse(value)
		case name == "retry":
			w.kind = "welcome"
		case name == "event":
			w.kind = value
		case name == "data":
			data = append(data, value)
		}
	}
	w.payload = strings.Join(data, "\n")
	switch {
	case w.kind == "welcome" && len(data) > 0: // beside the greeting, which has the position
		var said word
		if said, err = parseV1([]byte(w.payload)); err == nil && (said.kind != "welcome" || w.at != zeroPosition) {
			err = fmt.Errorf("a welcome at %v says %+v", w.at, said)
		}
		w.kind = ""
	case w.kind == "welcome" && w.at == zeroPosition:
		w.kind = "closed"
	case w.kind == "binary":
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(w.payload)
		w.kind, w.payload = "message", string(raw)
	case w.kind == "skipped":
		w, err = parseV1([]byte(w.payload))
	case w.kind == "gap":
		var g word
		g, err = parseV1([]byte(w.payload))
		if g.at != w.at {
			err = errors.Join(err, fmt.Errorf("a gap at %v tells of %v", w.at, g.at))
		}
		w = g
	case w.kind == "":
		w.kind = "message"
	}
	return w, end + 2, err
}
