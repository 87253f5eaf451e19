package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// published is the answer to POST /publish.
type published struct {
	Topic    string `json:"topic"`
	Slot     int    `json:"slot"`
	Position string `json:"position"`
}

// publish publishes JSON by HTTP at a node's admin port. id is the idempotency key; empty for none.
func publish(n *testcluster.Node, topic, data, id string) (published, error) {
	req := map[string]any{"topic": topic, "data": json.RawMessage(data)}
	if id != "" {
		req["id"] = id
	}
	b, err := json.Marshal(req)
	if err != nil {
		return published{}, err
	}
	r, err := n.Post(context.Background(), "/publish", string(b))
	return readPublished(r, err)
}

// publishBody publishes bytes as they are.
func publishBody(n *testcluster.Node, topic, body string) (published, error) {
	r, err := n.Post(context.Background(), "/publish/"+url.PathEscape(topic), body)
	return readPublished(r, err)
}

// statusError is an answer that is no success.
type statusError struct{ testcluster.Response }

func (e statusError) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Body) }

func readPublished(r testcluster.Response, err error) (p published, _ error) {
	if err != nil {
		return p, err
	}
	if r.Status/100 != 2 {
		return p, statusError{r}
	}
	if err := json.Unmarshal([]byte(r.Body), &p); err != nil {
		return p, fmt.Errorf("%w in %q", err, r.Body)
	}
	if _, err := position.Parse(p.Position); err != nil {
		return p, fmt.Errorf("%w in %q", err, r.Body)
	}
	return p, nil
}

// topicNames are n topics, some of them with what is awkward in a URL.
func topicNames(n int) []string {
	forms := []string{"match-%d", "match/%d/score", "Übertragung %d", "m+%d & co?", "50%%-%d"}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(forms[i%len(forms)], i)
	}
	return names
}

// eventually is [testcluster.Eventually] under the name that the tests use most.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	testcluster.Eventually(t, what, f)
}
