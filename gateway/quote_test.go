package gateway

import (
	"encoding/json"
	"testing"
)

// quote is a message of a price board.
type quote struct {
	Symbol string
	N      int
}

func (q *quote) parse(t testing.TB, data []byte) {
	t.Helper()
	if err := json.Unmarshal(data, q); err != nil {
		t.Fatalf("%.100q: %v", data, err)
	}
}
