package admin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"
)

// wantEntry is what an entry looks like.
const wantEntry = `want {"topic":"…","data":<any JSON value>,"id":"…","min_replicas":1,"encoding":"base64"}, where the last three are optional`

// entryFields are what an entry can have.
type entryFields struct {
	topic    *string
	id       string
	data     json.RawMessage // nil: there is none
	replicas int
	encoding string
}

// decodePublish reads an entry. The payload is the very bytes of data; with an encoding it is what that string stands for: the text
// itself, or bytes in base64.
func decodePublish(body []byte) (Message, error) {
	if !utf8.Valid(body) {
		return Message{}, refuse(http.StatusBadRequest, "json", "the body is not UTF-8: POST /publish/{topic} takes any bytes, and so does an entry with \"encoding\":\"base64\"")
	}
	in, err := readEntry(body)
	switch {
	case err != nil:
		return Message{}, refuse(http.StatusBadRequest, "json", fmt.Sprintf("the entry can't be read (%v): %s", err, wantEntry))
	case in.topic == nil:
		return Message{}, refuse(http.StatusBadRequest, "topic_missing", "the entry has no topic: "+wantEntry)
	case in.data == nil:
		return Message{Topic: *in.topic}, refuse(http.StatusBadRequest, "data_missing", "the entry has no data: "+wantEntry)
	}
	m := Message{Topic: *in.topic, ID: in.id, Payload: in.data, Replicas: in.replicas}
	if in.encoding == "" {
		return m, nil
	}
	m.Payload, err = decodeData(in.data, in.encoding)
	return m, err
}

// readEntry reads the object. Names are taken as they are written, and once: what two readers could understand in two ways is refused.
func readEntry(body []byte) (in entryFields, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if begin, err := dec.Token(); err != nil || begin != json.Delim('{') {
		return in, errors.Join(err, errors.New("it is no object"))
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return in, err
		}
		name, _ := t.(string) // a name is one
		if seen[name] {
			return in, fmt.Errorf("it has %.40q twice", name)
		}
		seen[name] = true
		switch name {
		case "topic":
			err = dec.Decode(&in.topic)
		case "id":
			err = dec.Decode(&in.id)
		case "data":
			err = dec.Decode(&in.data)
		case "min_replicas":
			err = dec.Decode(&in.replicas)
		case "encoding":
			err = dec.Decode(&in.encoding)
		default:
			err = fmt.Errorf("unknown field %.40q", name)
		}
		if err != nil {
			return in, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return in, err
	}
	if _, more := dec.Token(); !errors.Is(more, io.EOF) { // More takes a bracket that closes nothing for the end
		return in, errors.New("something follows the object")
	}
	return in, nil
}

// decodeData is what a string stands for.
func decodeData(data json.RawMessage, encoding string) (payload []byte, err error) {
	var text *string
	if json.Unmarshal(data, &text) != nil || text == nil {
		return nil, refuse(http.StatusBadRequest, "data", "with an encoding data is a string")
	}
	switch encoding {
	case "text":
		return []byte(*text), nil
	case "base64":
		if payload, err = base64.StdEncoding.DecodeString(*text); err == nil {
			return payload, nil
		}
		return nil, refuse(http.StatusBadRequest, "data", "data is not base64: "+err.Error())
	}
	return nil, refuse(http.StatusBadRequest, "data", fmt.Sprintf("unknown encoding %.40q: want text or base64", encoding))
}
