package admin

import "net/http"

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	answer(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
	return nil
}

// checkResult is one check in the answer of /readyz.
type checkResult struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Message string `json:"message,omitempty"`
}

// checkAll runs every check.
func (s *Server) checkAll() []checkResult {
	results := []checkResult{}
	for _, c := range s.deps.Checks {
		res := checkResult{Name: c.Name, Ready: true}
		if err := c.Ready(); err != nil {
			res.Ready, res.Message = false, err.Error()
		}
		results = append(results, res)
	}
	return results
}

// serveReady runs every check, so that the answer names all that fail.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	body := struct {
		Ready  bool          `json:"ready"`
		Checks []checkResult `json:"checks"`
	}{Ready: true, Checks: s.checkAll()}
	for _, c := range body.Checks {
		body.Ready = body.Ready && c.Ready
	}
	status := http.StatusOK
	if !body.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	answer(w, status, body)
	return nil
}
