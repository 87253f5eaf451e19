package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// ErrSetting is what [Settings] fail with when there is no room for a setting.
var ErrSetting = errors.New("the setting can't be taken")

// Settings are what the cluster's operators set at run time, on whichever node. What is written is on all nodes within
// seconds. Its methods don't block and are safe for concurrent use.
type Settings interface {
	Policy() backoff.Policy
	SetPolicy(p backoff.Policy) error
	Wishes() ring.Wishes
	Pin(topic string, shards []string) error // without shards the topic is pinned no more
	Dedicate(shard string, on bool) error
	// Unremembered is how many settings would be lost if all nodes were restarted now.
	Unremembered() int
}

// policyAnswer is the answer of /policy.
type policyAnswer struct {
	Backoff      backoff.Policy `json:"backoff"`
	Unremembered int            `json:"unremembered"` // settings that Redis is not known to have yet
}

// servePolicy shows the policy, or changes those of its fields that the body names.
func (s *Server) servePolicy(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	set, err := s.settings()
	if err != nil {
		return err
	}
	p := set.Policy()
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		if p, err = changedPolicy(w, r, p); err != nil {
			return err
		}
		if err := settingError(set.SetPolicy(p)); err != nil {
			return err
		}
	}
	answer(w, http.StatusOK, policyAnswer{p, set.Unremembered()})
	return nil
}

func changedPolicy(w http.ResponseWriter, r *http.Request, p backoff.Policy) (backoff.Policy, error) {
	const want = `want some of {"min":200,"max":30000,"factor":2,"jitter":0.5}, times in milliseconds`
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, envelope))
	if err != nil {
		return p, refuse(http.StatusRequestEntityTooLarge, "body", "the body is too large: "+want)
	}
	now, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	var in struct {
		Min    *json.Number `json:"min"`
		Max    *json.Number `json:"max"`
		Factor *json.Number `json:"factor"`
		Jitter *json.Number `json:"jitter"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || dec.More() || in.Min == nil && in.Max == nil && in.Factor == nil && in.Jitter == nil {
		return p, refuse(http.StatusBadRequest, "json", "the body can't be read: "+want)
	}
	// Fields that are not named keep what they have.
	fields := map[string]json.Number{}
	if err := json.Unmarshal(now, &fields); err != nil {
		return p, err
	}
	for name, v := range map[string]*json.Number{"min": in.Min, "max": in.Max, "factor": in.Factor, "jitter": in.Jitter} {
		if v != nil {
			fields[name] = *v
		}
	}
	merged, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(merged, &p)
	}
	if err != nil {
		return p, refuse(http.StatusBadRequest, "policy", "a value of the policy can't be read: "+want)
	}
	if err := p.Validate(); err != nil {
		return p, refuse(http.StatusBadRequest, "policy", err.Error())
	}
	return p, nil
}

// pinAnswer is a pin in an answer.
type pinAnswer struct {
	Topic  string   `json:"topic"`
	Shards []string `json:"shards"`
}

// wishesAnswer is the answer of /pins and of what changes them.
type wishesAnswer struct {
	Pins         []pinAnswer `json:"pins"`
	Dedicated    []string    `json:"dedicated"`
	Warnings     []string    `json:"warnings,omitempty"`
	Unremembered int         `json:"unremembered"`
}

func (s *Server) answerWishes(w http.ResponseWriter, set Settings, warnings ...string) {
	a := wishesAnswer{Pins: []pinAnswer{}, Dedicated: []string{}, Warnings: warnings, Unremembered: set.Unremembered()}
	wishes := set.Wishes()
	for _, p := range wishes.Pins {
		a.Pins = append(a.Pins, pinAnswer(p))
	}
	a.Dedicated = append(a.Dedicated, wishes.Dedicated...)
	answer(w, http.StatusOK, a)
}

func (s *Server) servePins(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	set, err := s.settings()
	if err == nil {
		s.answerWishes(w, set)
	}
	return err
}

// maxPinned is on how many shards a topic can be pinned, and maxShardID bounds their names.
const (
	maxPinned  = 12
	maxShardID = 64
)

// servePin shows, sets or ends the pin of the topic in the path.
func (s *Server) servePin(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "shards")
	if err != nil {
		return err
	}
	set, err := s.settings()
	if err != nil {
		return err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/pins/"))
	if err != nil {
		return refuse(http.StatusBadRequest, "topic_escape", "the topic in the path has a bad percent escape")
	}
	if err := topic.Validate(name); err != nil {
		return refuseTopic(err)
	}
	switch r.Method {
	case http.MethodDelete:
		if err := settingError(set.Pin(name, nil)); err != nil {
			return err
		}
	case http.MethodPut, http.MethodPost:
		shards := strings.Split(q["shards"], ",")
		if len(shards) > maxPinned || slices.ContainsFunc(shards, badShardID) {
			return refuse(http.StatusBadRequest, "shards", fmt.Sprintf("want ?shards=g1,g2 with 1 to %d IDs of shards", maxPinned))
		}
		if err := settingError(set.Pin(name, shards)); err != nil {
			return err
		}
		s.answerWishes(w, set, s.unknown(shards)...)
		return nil
	default:
		i := slices.IndexFunc(set.Wishes().Pins, func(p ring.Pin) bool { return p.Topic == name })
		if i < 0 {
			return refuse(http.StatusNotFound, "not_found", "the topic is not pinned")
		}
		answer(w, http.StatusOK, pinAnswer(set.Wishes().Pins[i]))
		return nil
	}
	s.answerWishes(w, set)
	return nil
}

func badShardID(id string) bool {
	return id == "" || len(id) > maxShardID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// unknown warns of shards that are not there: they may come yet.
func (s *Server) unknown(shards []string) (warnings []string) {
	for _, id := range shards {
		m, ok := s.deps.Ring().Member(id)
		if !ok || m.Role != ring.RoleGateway || m.State == ring.StateLeft {
			warnings = append(warnings, fmt.Sprintf("no gateway is called %s at present; there are: %s", id, s.shards()))
		}
	}
	return warnings
}

// serveDedicated makes the shard in the path a dedicated one, or an ordinary one again.
func (s *Server) serveDedicated(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	set, err := s.settings()
	if err != nil {
		return err
	}
	id, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/dedicated/"))
	if err != nil || badShardID(id) {
		return refuse(http.StatusBadRequest, "shards", "want /dedicated/ and the ID of a shard")
	}
	on := r.Method != http.MethodDelete
	if err := settingError(set.Dedicate(id, on)); err != nil {
		return err
	}
	var warnings []string
	if on {
		warnings = s.unknown([]string{id})
	}
	s.answerWishes(w, set, warnings...)
	return nil
}

func (s *Server) settings() (Settings, error) {
	if s.deps.Settings == nil {
		return nil, refuse(http.StatusNotFound, "no_settings", "this node has no settings")
	}
	return s.deps.Settings, nil
}

func settingError(err error) error {
	if errors.Is(err, ErrSetting) {
		return refuse(http.StatusConflict, "setting", err.Error())
	}
	return err
}
