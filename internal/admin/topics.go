package admin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/ringside-edge/ringside/internal/topic"
)

// serveTopic tells how many sessions follow a topic in the whole cluster.
func (s *Server) serveTopic(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/topics/"))
	if err != nil {
		return refuse(http.StatusBadRequest, "topic_escape", "the topic in the path has a bad percent escape")
	}
	if err := topic.Validate(name); err != nil {
		return refuseTopic(err)
	}
	if s.deps.Count == nil {
		return refuse(http.StatusNotFound, "not_found", "nobody counts sessions here")
	}
	n, err := s.deps.Count(r.Context(), name)
	if err != nil {
		return &refusal{status: http.StatusServiceUnavailable, reason: "uncounted", after: retryAfter,
			message: "the gateway that adds up the sessions of the topic does not answer: " + err.Error()}
	}
	answer(w, http.StatusOK, n)
	return nil
}
