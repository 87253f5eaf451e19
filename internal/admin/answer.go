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

// fail answers with an error, counts it, and logs it when it is ours.
func (s *Server) fail(w http.ResponseWriter, handler string, err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		s.deps.Log.Error("cannot answer a request to the admin port", zap.String("handler", handler), zap.Error(err))
		r = refuse(http.StatusInternalServerError, "internal", "an error of Ringside's, which its log has")
	}
	s.metrics.refused.WithLabelValues(r.reason).Inc()
	if r.after != "" {
		w.Header().Set("Retry-After", r.after)
	}
	answer(w, r.status, struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		Ambiguous bool   `json:"ambiguous,omitempty"`
	}{r.reason, r.message, r.ambiguous})
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
