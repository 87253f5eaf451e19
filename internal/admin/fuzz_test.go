package admin

import (
	"encoding/json"
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
