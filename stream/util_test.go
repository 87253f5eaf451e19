package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}

// infoInt is a number in INFO's answer.
func infoInt(t *testing.T, info any, name string) int {
	t.Helper()
	for line := range strings.Lines(fmt.Sprint(info)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO has no %s", name)
	return 0
}

// pause stops a server as if it hung; resume lets it go on.
func pause(t *testing.T, s *testcluster.RedisServer)  { signal(t, s, syscall.SIGSTOP) }
func resume(t *testing.T, s *testcluster.RedisServer) { signal(t, s, syscall.SIGCONT) }

func signal(t *testing.T, s *testcluster.RedisServer, sig syscall.Signal) {
	t.Helper()
	if err := s.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func isUnavailable(err error) bool {
	return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrAmbiguous)
}
func isAmbiguous(err error) bool {
	return errors.Is(err, ErrAmbiguous) && !errors.Is(err, ErrUnavailable)
}
