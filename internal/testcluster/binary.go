package testcluster

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binaryEnv names a binary to test instead of building one.
const binaryEnv = "TEST_BINARY" // not RINGSIDE_…: the program refuses variables that it does not know

// built is the one piece of package state: a test binary builds the program once, whichever test asks first,
// and Main removes it.
var built struct {
	sync.Once
	dir  string
	path string
	err  error
}

// Main runs the tests of a package that uses [Binary] and cleans up after it. With -short it runs nothing and
// says so. Use it as `func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }`.
func Main(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		fmt.Println("SKIPPED: tests with real processes of the binary don't run with -short")
		return 0
	}
	defer func() {
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
	}()
	return m.Run()
}

// Binary is the path of the program, built on the first call: with the race detector when the tests have it.
func Binary(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		if built.path = os.Getenv(binaryEnv); built.path != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "ringside-test-"); built.err == nil {
			built.path, built.err = Build(built.dir, Race)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Build builds the program, with build tags, into dir and returns its path. The working directory must be inside the module.
func Build(dir string, race bool, tags ...string) (string, error) {
	path := filepath.Join(dir, "ringside")
	args := []string{"build", "-tags", strings.Join(tags, ","), "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/ringside-edge/ringside/cmd/ringside")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the program: %w\n%s", err, out)
	}
	return path, nil
}
