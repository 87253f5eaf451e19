package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// refusal is an error that is answered with a status of its own.
type refusal struct {
	status    int
	reason    string // closed set: a label value and the "error" of the body
	message   string // a sentence for a person
	ambiguous bool   // it may have been carried out
	after     string // Retry-After in seconds; empty for none
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, reason, message string) *refusal {
	return &refusal{status: status, reason: reason, message: message}
}

// failure is an error as it is answered.
type failure struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	Ambiguous bool   `json:"ambiguous,omitempty"`
}

func (r *refusal) failure() failure { return failure{r.reason, r.message, r.ambiguous} }

// fail answers with an error, and counts it.
func (s *Server) fail(w http.ResponseWriter, handler string, err error) {
	r := s.refusalOf(handler, err)
	s.metrics.refused.WithLabelValues(r.reason).Inc()
	if r.after != "" {
		w.Header().Set("Retry-After", r.after)
	}
	answer(w, r.status, r.failure())
}

// refusalOf is how an error is answered. What is none of ours is logged.
func (s *Server) refusalOf(handler string, err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	s.deps.Log.Error("cannot answer a request to the admin port", zap.String("handler", handler), zap.Error(err))
	return refuse(http.StatusInternalServerError, "internal", "an error of Ringside's, which its log has")
}

// answer writes v as one line of JSON.
func answer(w http.ResponseWriter, status int, v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("BUG: admin: cannot encode an answer: " + err.Error())
	}
	writeJSON(w, status, b.String())
}

func writeJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client has gone when it fails
}

// query checks that a request has no query parameter but the known ones, and each at most once.
func query(r *http.Request, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "query", "the query can't be read: "+err.Error())
	}
	accepts := "none is taken"
	if len(known) > 0 {
		accepts = "want " + strings.Join(known, " or ")
	}
	one := map[string]string{}
	for name, list := range values {
		if !slices.Contains(known, name) {
			return nil, refuse(http.StatusBadRequest, "query", fmt.Sprintf("unknown query parameter %.40q: ", name)+accepts)
		}
		if len(list) > 1 {
			return nil, refuse(http.StatusBadRequest, "query", "query parameter "+name+" is given twice")
		}
		one[name] = list[0]
	}
	return one, nil
}
