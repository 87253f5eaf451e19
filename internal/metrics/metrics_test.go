package metrics

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHandler(t *testing.T) {
	r := New("v1.2.3", "router")
	r.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "ringside_test_total", Help: "A test's."}))
	w := httptest.NewRecorder()
	Handler(r).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d, want 200", w.Code)
	}
	for _, want := range []string{
		`ringside_build_info{goversion="` + runtime.Version() + `",role="router",version="v1.2.3"} 1`,
		"go_goroutines ", "process_open_fds ", "ringside_test_total 0",
	} {
		if want == "process_open_fds " && runtime.GOOS != "linux" {
			continue
		}
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the answer lacks %q", want)
		}
	}
}

// Two registries in one process don't meet: the roles of `ringside dev` need that.
func TestIndependent(t *testing.T) {
	for range 2 {
		if _, err := New("v", "dev").Gather(); err != nil {
			t.Error(err)
		}
	}
}
