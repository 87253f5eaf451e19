package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/ringside-edge/ringside/internal/topic"
)

const (
	// maxBatches bounds the batches that are in memory at once, as maxPublishes does single publishes.
	maxBatches = 8
	// batchEntries and batchBytes are the defaults of Config.
	batchEntries = 1000
	batchBytes   = 4 << 20
)

// entry is an element of a batch as it came. It is JSON.
type entry struct {
	text []byte
	line int // it stands on; 0 for one of an array
}

// failedAnswer says why an entry was not published. Topic is empty where there is none that could be told.
type failedAnswer struct {
	Topic string `json:"topic,omitempty"`
	failure
}

// batchAnswer is the answer to a batch. When nothing was published it is an error as well.
type batchAnswer struct {
	*failure
	Published int   `json:"published"` // those that were there before included
	Failed    int   `json:"failed"`
	Results   []any `json:"results"` // of each entry, in order: a publishedAnswer or a failedAnswer
}

// statusSome is the status of a batch a part of which was published.
const statusSome = http.StatusMultiStatus

// serveBatch takes a batch. A body that can't be read, or has too much in it, is refused as a whole, before anything is published; what is
// wrong with one entry concerns that one alone.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request, split func(body []byte, most int) ([]entry, error)) error {
	if r.Header.Get("Idempotency-Key") != "" {
		return refuse(http.StatusBadRequest, "id", "one Idempotency-Key for a batch is not taken: give each entry an id")
	}
	kind := bodies{s.batches, s.cfg.BatchBytes, refuse(http.StatusRequestEntityTooLarge, "batch_bytes",
		fmt.Sprintf("the batch is larger than %d bytes; nothing of it was published: send it in parts", s.cfg.BatchBytes))}
	return s.withBody(w, r, kind, func(body []byte) error {
		entries, err := split(body, s.cfg.BatchEntries)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return refuse(http.StatusBadRequest, "batch_empty", "the batch has no entry")
		}
		s.publishBatch(w, r, entries)
		return nil
	})
}

func tooManyEntries(most int) *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "batch_entries", fmt.Sprintf("the batch has more than %d entries; nothing of it was published: send it in parts", most))
}

// splitArray takes the entries out of an array.
func splitArray(body []byte, most int) (entries []entry, err error) {
	unread := func(at int64, err error) error {
		return refuse(http.StatusBadRequest, "json", fmt.Sprintf("the array can't be read at byte %d, behind %d entries (%v): nothing of it was published", at, len(entries), err))
	}
	if n := invalidUTF8(body); n >= 0 {
		return nil, unread(int64(n), errors.New("it is not UTF-8"))
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, unread(dec.InputOffset(), err)
	}
	for dec.More() {
		if len(entries) == most {
			return nil, tooManyEntries(most)
		}
		var text json.RawMessage
		if err := dec.Decode(&text); err != nil {
			return nil, unread(dec.InputOffset(), err)
		}
		entries = append(entries, entry{text: text})
	}
	if _, err := dec.Token(); err != nil {
		return nil, unread(dec.InputOffset(), err)
	}
	if _, more := dec.Token(); !errors.Is(more, io.EOF) {
		return nil, unread(dec.InputOffset(), errors.New("something follows the array"))
	}
	return entries, nil
}

// splitLines takes an entry out of each line that is not empty.
func splitLines(body []byte, most int) (entries []entry, err error) {
	n := 0
	for line := range bytes.Lines(body) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(entries) == most {
			return nil, tooManyEntries(most)
		}
		var text json.RawMessage
		err := json.Unmarshal(line, &text)
		if invalidUTF8(line) >= 0 {
			err = errors.New("it is not UTF-8")
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "json", fmt.Sprintf("line %d can't be read (%v): nothing of the batch was published", n, err))
		}
		entries = append(entries, entry{line, n})
	}
	return entries, nil
}

// invalidUTF8 is where text is not UTF-8; -1 when all of it is.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	at := 0
	for {
		c, n := utf8.DecodeRune(text[at:])
		if c == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
}

// publishBatch publishes what can be published, in one call, and tells of each entry.
func (s *Server) publishBatch(w http.ResponseWriter, r *http.Request, entries []entry) {
	a := batchAnswer{Results: make([]any, len(entries))}
	var worst *refusal
	no := func(i int, topic string, err error) {
		refused := s.refusalOf("publish", err)
		if worst == nil || refused.status > worst.status {
			worst = refused
		}
		a.Failed++
		f := failedAnswer{topic, refused.failure()}
		if line := entries[i].line; line > 0 {
			f.Message = fmt.Sprintf("line %d: %s", line, f.Message)
		}
		a.Results[i] = f
		s.metrics.entries.WithLabelValues(refused.reason).Inc()
	}
	ms, at := make([]Message, 0, len(entries)), make([]int, 0, len(entries))
	for i, e := range entries {
		m, err := decodePublish(e.text)
		if err == nil {
			err = s.acceptable(r, m)
		}
		switch {
		case err == nil:
			ms, at = append(ms, m), append(at, i)
		case topic.Validate(m.Topic) != nil:
			no(i, "", err)
		default:
			no(i, m.Topic, err)
		}
	}
	if len(ms) > 0 {
		for j, o := range s.deps.Publisher.Publish(r.Context(), ms) {
			if o.Err != nil {
				no(at[j], ms[j].Topic, refusePublish(o.Err))
				continue
			}
			a.Published++
			a.Results[at[j]] = publishedAnswer{ms[j].Topic, o.Slot, o.Position.String(), o.Duplicate}
			result := entryPublished
			if o.Duplicate {
				result = entryDuplicate
			}
			s.metrics.entries.WithLabelValues(result).Inc()
		}
	}
	a.answer(w, worst)
}

// answer answers with what became of all entries: 200 for all published, 207 for some, and for none the status of what failed worst.
func (a *batchAnswer) answer(w http.ResponseWriter, worst *refusal) {
	status := http.StatusOK
	switch {
	case worst == nil:
	case a.Published > 0:
		status = statusSome
	default:
		status = worst.status
		f := worst.failure()
		f.Message = fmt.Sprintf("none of %d entries was published; the worst: %s", a.Failed, f.Message)
		a.failure = &f
	}
	if worst != nil && worst.after != "" {
		w.Header().Set("Retry-After", worst.after)
	}
	answer(w, status, a)
}
