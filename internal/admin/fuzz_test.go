package admin

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzDecodePublish holds that a body that is taken says one thing only: its payload is the JSON that stands in it, and the same
// message written anew reads the same.
func FuzzDecodePublish(f *testing.F) {
	f.Add([]byte(`{"topic":"finals","data":{"score":"2:1"},"id":"goal-17","min_replicas":1}`))
	f.Add([]byte(`{"topic":"a","data":null}`))
	f.Add([]byte(`{"topic":"a","data":1} {"topic":"b"}`))
	f.Add([]byte(`{"topic":"a","topic":"b","data":1,"data":2}`))
	f.Add([]byte("{\"topic\":\"a\xff\",\"data\":1}"))
	f.Add([]byte(`{"topic":"\ud800","data":"\ud800"}`))
	f.Add([]byte(`{"topic":"a","data":1}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodePublish(body)
		if err != nil {
			return
		}
		if !json.Valid(m.Payload) || !utf8.Valid(m.Payload) || !utf8.ValidString(m.Topic) || len(m.Payload) > len(body) {
			t.Fatalf("%q became %q %q", body, m.Topic, m.Payload)
		}
		if !json.Valid(body) {
			t.Fatalf("%q is more than one JSON object", body)
		}
		again, err := json.Marshal(map[string]any{"topic": m.Topic, "id": m.ID, "data": json.RawMessage(m.Payload), "min_replicas": m.Replicas})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decodePublish(again); err != nil || n.Topic != m.Topic || n.ID != m.ID || n.Replicas != m.Replicas {
			t.Fatalf("%q: got %+v, %v, want %+v", body, n, err, m)
		}
	})
}

// FuzzSplitBatch holds that what is taken of a batch is JSON, all of it and in order: nothing of a body is passed over but space.
func FuzzSplitBatch(f *testing.F) {
	f.Add([]byte(`[{"topic":"a","data":1},{"topic":"b","data":[1, 2]}]`))
	f.Add([]byte("{\"topic\":\"a\",\"data\":1}\r\n\n {\"topic\":\"b\",\"data\":2}"))
	f.Add([]byte(`[1,]`))
	f.Add([]byte(`[1]]`))
	f.Add([]byte("[\"\xff\"]"))
	f.Add([]byte("1\n2 3\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for lines, split := range map[bool]func([]byte, int) ([]entry, error){false: splitArray, true: splitLines} {
			entries, err := split(body, 1000)
			if err != nil || !lines && (len(body) == 0 || bytes.TrimLeft(body, " \t\r\n")[0] != '[') { // it is asked of what begins like an array alone
				continue
			}
			var texts [][]byte
			for _, e := range entries {
				if !json.Valid(e.text) || !utf8.Valid(e.text) {
					t.Fatalf("%q has the entry %q", body, e.text)
				}
				texts = append(texts, e.text)
			}
			joined := bytes.Join(texts, []byte("\n"))
			var all []json.RawMessage
			if !lines {
				joined = slices.Concat([]byte("["), bytes.Join(texts, []byte(",")), []byte("]"))
				if err := json.Unmarshal(body, &all); err != nil || len(all) != len(entries) {
					t.Fatalf("%q has %d entries, %v, got %d", body, len(all), err, len(entries))
				}
			}
			again, err := split(joined, 1000)
			if err != nil || len(again) != len(entries) {
				t.Fatalf("%q: written anew %q has %d entries, %v, want %d", body, joined, len(again), err, len(entries))
			}
		}
	})
}
