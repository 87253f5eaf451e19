package docs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// standing starts what most documents take for granted: a Redis, a router, and gateways g1 and g2, at the addresses that all documents use.
const standing = redis + `
ringside router --id router >router.log 2>&1 &
ringside gateway --id g1 --join 127.0.0.1:7946 >g1.log 2>&1 &
ringside gateway --id g2 --join 127.0.0.1:7946 --listen 127.0.0.1:9102 --admin 127.0.0.1:9202 --gossip 127.0.0.1:7948 >g2.log 2>&1 &
for i in {1..600}; do
  case "$(ringside ring 2>/dev/null)" in *"on 2 active"*) break ;; esac
  sleep 0.1
done
for port in 8081 9201 9202; do curl -sf --retry 60 --retry-all-errors --retry-delay 1 -o ready 127.0.0.1:$port/readyz; done
`

// redis is a Redis, and nothing else.
const redis = `
redis-server --save '' >redis.log 2>&1 &
until redis-cli ping >ready 2>&1; do sleep 0.05; done
`

// own are documents that change more than they clean up, and what stands when they begin. All others share a cluster, one after the other.
var own = map[string]string{
	"README.md":          "",
	"docs/QUICKSTART.md": "",
	"docs/OPERATIONS.md": redis,

	"docs/MIGRATE-ANYCABLE.md": redis,
	"docs/MIGRATE-SOCKETIO.md": redis,
	"docs/SECURITY.md":         redis + "ip addr add 10.0.0.8/32 dev lo\n",
}

// Every block of commands in every document is run as it stands, and prints what the document shows, unless it says why it is not.
func TestCommands(t *testing.T) {
	bin := binaries(t)
	var shared []document
	for _, d := range documents(t) {
		if !d.runs() {
			continue
		}
		stage, alone := own[d.name]
		if !alone {
			shared = append(shared, d)
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			play(t, begin(t, bin, stage), d)
		})
	}
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		s := begin(t, bin, standing)
		for _, d := range shared {
			t.Run(d.name, func(t *testing.T) {
				s.t = t
				s.dir = desk(t)
				s.must("cd " + s.dir)
				play(t, s, d)
			})
		}
		t.Run("inline", func(t *testing.T) {
			s.t = t
			inline(t, s)
		})
	})
}

// binaries is a folder with the program, as the tests have it, and as make builds it in made/.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	made := filepath.Join(dir, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	program := testcluster.Binary(t)
	if err := os.Symlink(program, filepath.Join(dir, "ringside")); err != nil {
		t.Fatal(err)
	}
	if !testcluster.Race && os.Link(program, filepath.Join(made, "ringside")) == nil {
		return dir
	}
	if _, err := testcluster.Build(made, false); err != nil { // it is another one, or stands on another disk
		t.Fatal(err)
	}
	return dir
}

// desk is a folder to type in: what is in the tree is there, and what is written is not written into the tree.
func desk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tree, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"configs", "deploy", "docs", "client", "internal", "scripts"} {
		if err := os.Symlink(filepath.Join(tree, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	modules(t, tree, filepath.Join(dir, "node_modules"))
	// make works on the tree, and leaves what it builds here.
	makeIt := fmt.Sprintf("make() { command make --no-print-directory -C %s BINARY=%s/bin/ringside \"$@\"; }\n", tree, dir)
	if err := os.WriteFile(filepath.Join(dir, ".desk"), []byte(makeIt), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// begin starts a shell at a new desk, and the stage.
func begin(t *testing.T, bin, stage string) *shell {
	t.Helper()
	dir := desk(t)
	// What make would build stands where it would put it, so that it finds nothing to do: to build would be the slowest step of all.
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(bin, "made", "ringside"), filepath.Join(dir, "bin", "ringside")); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, dir, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"RINGSIDE_LOG_FORMAT=text", // as on a terminal
		"RINGSIDE_STALE_AFTER=1m")  // a busy machine is no part of a document
	s.must(". ./.desk")
	s.must(stage)
	return s
}

// play does what a document says, from its beginning to its end.
func play(t *testing.T, s *shell, d document) {
	for _, b := range d.blocks {
		var err error
		switch {
		case b.NotRun != "":
		case b.Value("file") != "":
			err = os.WriteFile(filepath.Join(s.dir, b.Value("file")), []byte(b.Text+"\n"), 0o600)
		case b.Value("from") != "":
			err = shown(s, b)
		case b.IsShell():
			err = steps(s, b)
		}
		if err != nil {
			t.Fatalf("%s:%d: %v", d.name, b.Line, err)
		}
	}
}

// shown holds that a command that stays has printed what a block shows.
func shown(s *shell, b Block) error {
	j := s.jobs[b.Value("from")]
	if j == nil {
		return fmt.Errorf("nothing stays that is called %s", b.Value("from"))
	}
	return s.shows(j, strings.Split(b.Text, "\n"))
}

// steps types what stands in a block.
func steps(s *shell, b Block) error {
	for _, step := range b.Steps() {
		if err := enter(s, b, step); err != nil {
			return fmt.Errorf("%s (line %d): %w", step.Commands, step.Line, err)
		}
	}
	return nil
}

func enter(s *shell, b Block, step Step) error {
	want := step.Want
	if want == nil {
		want = []string{"…"}
	}
	if b.Has("stays") {
		return s.shows(s.start(b.Value("stays"), step.Commands), want)
	}
	once := func(run func(string) (string, error)) error {
		printed, err := run(step.Commands)
		if err != nil {
			return fmt.Errorf("%w, after it has printed\n%s", err, printed)
		}
		if !Matches(want, printed) {
			return fmt.Errorf("it prints\n%s", printed)
		}
		return nil
	}
	if !b.Has("until") {
		return once(s.run)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience())
	defer cancel()
	return testcluster.Poll(ctx, func() error { return once(s.try) })
}
