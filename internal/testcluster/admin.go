package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Response is an HTTP answer with its body read.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Reason is the reason in a JSON error body; empty when there is none.
func (r Response) Reason() string {
	var v struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal([]byte(r.Body), &v)
	return v.Error
}

// requestTimeout is how long one request may take.
const requestTimeout = 15 * time.Second

// Do makes one HTTP request on a connection of its own.
func Do(ctx context.Context, method, target, body string, header http.Header) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader([]byte(body)))
	if err != nil {
		return Response{}, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	tr := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: requestTimeout}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return Response{}, err
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}, nil
}

// Get asks the admin port.
func (n *Node) Get(ctx context.Context, path string) (Response, error) {
	return Do(ctx, http.MethodGet, "http://"+n.Admin+path, "", nil)
}

// Post posts to the admin port.
func (n *Node) Post(ctx context.Context, path, body string) (Response, error) {
	return Do(ctx, http.MethodPost, "http://"+n.Admin+path, body, nil)
}

// Ring is what GET /ring says.
type Ring struct {
	Version string       `json:"version"`
	Slots   int          `json:"slots"`
	Members []RingMember `json:"members"`
}

// RingMember is a member in [Ring].
type RingMember struct {
	ID    string `json:"id"`
	Role  string `json:"role"`
	State string `json:"state"`
	Addr  string `json:"addr"`
	Load  uint64 `json:"load"`
	Slots int    `json:"slots"`
}

// Member finds a member by ID.
func (r Ring) Member(id string) (RingMember, bool) {
	for _, m := range r.Members {
		if m.ID == id {
			return m, true
		}
	}
	return RingMember{}, false
}

// Ring asks the node for its ring.
func (n *Node) Ring(ctx context.Context) (Ring, error) {
	var ring Ring
	return ring, n.getJSON(ctx, "/ring", &ring)
}

// Place is what GET /ring?topic= says.
type Place struct {
	Topic      string   `json:"topic"`
	Slot       int      `json:"slot"`
	Stream     string   `json:"stream"`
	Owner      string   `json:"owner"`
	Preference []string `json:"preference"`
}

// Place asks the node where a topic is.
func (n *Node) Place(ctx context.Context, topic string) (Place, error) {
	var p Place
	return p, n.getJSON(ctx, "/ring?topic="+url.QueryEscape(topic), &p)
}

func (n *Node) getJSON(ctx context.Context, path string, v any) error {
	r, err := n.Get(ctx, path)
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return fmt.Errorf("GET %s of %s: %d %s", path, n.Name, r.Status, r.Body)
	}
	if err := json.Unmarshal([]byte(r.Body), v); err != nil {
		return fmt.Errorf("GET %s of %s: %w in %s", path, n.Name, err, r.Body)
	}
	return nil
}

// Metric is the sum of all series of a metric whose labels contain every one of the given `name="value"`.
func (n *Node) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	return n.sum(ctx, func(series string) bool {
		rest, ok := strings.CutPrefix(series, name)
		return ok && (rest == "" || rest[0] == '{') && containsAll(rest, labels)
	})
}

// MetricsWith is the sum of all series of all metrics that have the given labels.
func (n *Node) MetricsWith(ctx context.Context, labels ...string) (float64, error) {
	return n.sum(ctx, func(series string) bool { return containsAll(series, labels) })
}

// sum adds up the series that f wants; f gets the name with the labels.
func (n *Node) sum(ctx context.Context, f func(series string) bool) (float64, error) {
	r, err := n.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	for line := range strings.Lines(r.Body) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' || !f(line[:i]) {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metrics of %s: %w", n.Name, err)
		}
		sum += v
	}
	return sum, nil
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
