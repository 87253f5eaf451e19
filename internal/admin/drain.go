package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

const (
	// forwardTimeout is what another member's admin port has to answer.
	forwardTimeout = 5 * time.Second
	// maxAnswer bounds what is read of its answer.
	maxAnswer = 64 << 10
	// forwardedHeader marks a request that has been forwarded, which must not happen twice.
	forwardedHeader = "Ringside-Forwarded"
)

// newClient makes the client that asks other members. It follows no redirect and uses no proxy: the addresses are
// the cluster's own.
func newClient(tlsConfig *tls.Config) *http.Client {
	return &http.Client{
		Timeout: forwardTimeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: forwardTimeout / 2}).DialContext,
			DisableKeepAlives:      true,
			TLSClientConfig:        tlsConfig,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// drainAnswer is what a drained gateway answers.
type drainAnswer struct {
	Shard    string `json:"shard"`
	State    string `json:"state"`
	Sessions uint64 `json:"sessions"` // left
}

// serveDrain drains this member, or hands the request on to the gateway that it names.
func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) error {
	shard, err := s.shard(w, r)
	if err != nil {
		return err
	}
	switch {
	case s.deps.Drainer != nil && (shard == "" || shard == s.cfg.Self):
		s.deps.Drainer.Drain()
		answer(w, http.StatusAccepted, drainAnswer{s.cfg.Self, ring.StateDraining.String(), s.deps.Drainer.Sessions()})
		return nil
	case shard == "":
		return refuse(http.StatusBadRequest, "shard_missing", "which gateway? Want ?shard=, one of: "+s.shards())
	case r.Header.Get(forwardedHeader) != "":
		return refuse(http.StatusNotFound, "shard_unknown", fmt.Sprintf("this is %s, not %.64q", s.cfg.Self, shard))
	}
	m, ok := s.deps.Ring().Member(shard)
	switch {
	case !ok || m.Role != ring.RoleGateway || m.State == ring.StateLeft:
		return refuse(http.StatusNotFound, "shard_unknown", fmt.Sprintf("no gateway is called %.64q; there are: %s", shard, s.shards()))
	case m.Static || m.Admin == "":
		return refuse(http.StatusConflict, "static", shard+" is named by configuration and has no admin port: take it out there")
	}
	return s.forward(w, r, m)
}

// shard is the gateway that a request names, by ?shard= or {"shard":"…"}; empty when it names none.
func (s *Server) shard(w http.ResponseWriter, r *http.Request) (string, error) {
	q, err := query(r, "shard")
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, envelope))
	if err != nil {
		return "", refuse(http.StatusRequestEntityTooLarge, "body", `the body is too large: want {"shard":"g1"}`)
	}
	var in struct {
		Shard string `json:"shard"`
	}
	if len(bytes.TrimSpace(body)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		err := dec.Decode(&in)
		if _, more := dec.Token(); err != nil || !errors.Is(more, io.EOF) {
			return "", refuse(http.StatusBadRequest, "json", `the body can't be read: want {"shard":"g1"} or none`)
		}
	}
	name := q["shard"]
	switch {
	case name != "" && in.Shard != "" && name != in.Shard:
		return "", refuse(http.StatusBadRequest, "shard_conflict", "query and body name different shards")
	case name == "":
		name = in.Shard
	}
	return name, nil
}

// shards lists the gateways that can be drained.
func (s *Server) shards() string {
	var ids []string
	for _, m := range s.deps.Ring().Members() {
		if m.Role == ring.RoleGateway && !m.Static && m.State != ring.StateLeft {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}

// forward passes the gateway's answer on.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, m ring.Member) error {
	scheme := "http"
	if s.cfg.Trust.TLS != nil { // all nodes of a cluster are set up alike
		scheme = "https"
	}
	target := url.URL{Scheme: scheme, Host: m.Admin, Path: "/drain", RawQuery: url.Values{"shard": {m.ID}}.Encode()}
	ctx, cancel := context.WithTimeout(r.Context(), forwardTimeout)
	defer cancel()
	status, body, err := s.post(ctx, target.String(), r.Header.Get("Authorization"))
	if err != nil {
		return refuse(http.StatusBadGateway, "unreachable", fmt.Sprintf("%s does not answer at its admin address %s (%v)", m.ID, m.Admin, err))
	}
	writeJSON(w, status, string(body))
	return nil
}

func (s *Server) post(ctx context.Context, target, authorization string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set(forwardedHeader, s.cfg.Self)
	if authorization != "" { // who may drain here may drain there
		req.Header.Set("Authorization", authorization)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, cause(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && !json.Valid(body) {
		err = errors.New("its answer is not JSON")
	}
	return resp.StatusCode, body, err
}

// cause is what an error of an HTTP client wraps, without the URL that the caller knows.
func cause(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}
