package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/look"
)

// Every benchmark of the module is either held, or it is said why not; and what is held is there.
func TestEveryBenchmarkHasItsPlace(t *testing.T) {
	root := filepath.Join("..", "..")
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func Benchmark(\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "guard") {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range declared.FindAllSubmatch(text, -1) {
			there[filepath.ToSlash(pkg)+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, target := range targets {
		for _, name := range append(target.socketNames(), target.pure...) {
			held[target.pkg+"."+name] = true
		}
	}
	for name := range there {
		if held[name] == (notHeld[name] != "") {
			t.Errorf("%s: want it in one of targets and notHeld (targets.go)", name)
		}
	}
	for name := range held {
		if !there[name] {
			t.Errorf("%s is held, and is not there", name)
		}
	}
	for name := range notHeld {
		if !there[name] {
			t.Errorf("notHeld names %s, which is not there", name)
		}
	}
}

func TestParse(t *testing.T) {
	rs, err := parse([]byte("goos: linux\nBenchmarkSeal-2   \t 1000\t 610.7 ns/op\t 160 B/op\t 2 allocs/op\n" +
		"BenchmarkSplice/leg-2 \t 30\t 38.1 cpu-µs/msg\t 0 ns/op\nBenchmarkRead/16 100 5 ns/op\nBenchmarkUnderWay\nPASS\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, cost, allocs float64) {
		t.Helper()
		if got := rs[name]; got.cost() != cost || got["allocs/op"] != allocs {
			t.Errorf("%s: got %v, want a cost of %v and %v allocations", name, got, cost, allocs)
		}
	}
	f("Seal", 610.7, 2)
	f("Splice/leg", 38.1, 0)
	f("Read/16", 5, 0)
	if len(rs) != 3 {
		t.Errorf("got %v", rs)
	}
	if _, err := parse([]byte("BenchmarkX 1 fast ns/op\n")); err == nil {
		t.Error("took a number that is none")
	}
}

func TestSameAs(t *testing.T) {
	f := func(is, was allocs, socket *withSocket, want string, more bool) {
		t.Helper()
		if how, got := is.sameAs(was, socket); how != want || got != more {
			t.Errorf("%v beside %v: got %q, %v, want %q, %v", is, was, how, got, want, more)
		}
	}
	sockets := &withSocket{"FanOut", 32}
	f(allocs{2, 160}, allocs{2, 160}, nil, "", false)
	f(allocs{3, 160}, allocs{2, 160}, nil, "3 allocations, not 2", true)
	f(allocs{1, 160}, allocs{2, 160}, nil, "1 allocations, not 2", false)
	f(allocs{2, 167}, allocs{2, 160}, nil, "", false)
	f(allocs{2, 176}, allocs{2, 160}, nil, "176 bytes, not 160", true)
	f(allocs{2, 1e6}, allocs{2, 990_000}, nil, "", false)
	f(allocs{9, 1200}, allocs{5, 1100}, sockets, "", false)
	f(allocs{5 + 64, 1100}, allocs{5, 1100}, sockets, "69 allocations, not 5", true)
}

func TestFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	want := map[string]allocs{"leg.Seal": {2, 160}, "gateway.Encode/v1": {5, 1096.5}}
	if err := writeAllocs(file, want); err != nil {
		t.Fatal(err)
	}
	got, version, err := readAllocs(file)
	if err != nil || version != goVersion() || len(got) != 2 || got["leg.Seal"] != want["leg.Seal"] || got["gateway.Encode/v1"] != want["gateway.Encode/v1"] {
		t.Errorf("got %v, %q, %v", got, version, err)
	}
	f := func(text string, ok bool) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readAllowed(file); (err == nil) != ok {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	f("# none\n\n", true)
	f("leg.Seal 1.6 a longer key\n", true)
	f("leg.Seal 1.6\n", false)
	f("leg.Seal 0.9 faster\n", false)
	f("leg.Seal much slower now\n", false)
	for _, name := range []string{"allowed.txt", "allocs.txt", "baseline"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := readAllowed("allowed.txt"); err != nil {
		t.Error(err)
	}
}

// git runs git in a directory, as nobody in particular.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// module is a small one with a hot path and a release, which the guard is tried on.
type module struct {
	t   *testing.T
	dir string
}

const hotPath = `package hot

// Sum is a hot path.
func Sum(b []byte) (n int) {
	for range ROUNDS {
		for _, c := range b {
			n = n*31 + int(c)
		}
	}
	MORE
	return n
}

var kept []byte
`

func newModule(t *testing.T) *module {
	t.Helper()
	m := &module{t, t.TempDir()}
	write(t, filepath.Join(m.dir, "go.mod"), "module example.org/hot\n\ngo 1.24\n")
	write(t, filepath.Join(m.dir, "hot/guard_test.go"), `package hot

import "testing"

func BenchmarkSum(b *testing.B) {
	p := make([]byte, 1000)
	for b.Loop() {
		Sum(p)
	}
}
`)
	write(t, filepath.Join(m.dir, "scripts/guard/allowed.txt"), "")
	m.hot("10", "")
	git(t, m.dir, "init", "-q")
	m.commit()
	return m
}

func (m *module) hot(rounds, more string) {
	write(m.t, filepath.Join(m.dir, "hot/hot.go"), strings.NewReplacer("ROUNDS", rounds, "MORE", more).Replace(hotPath))
}

func (m *module) commit() string {
	git(m.t, m.dir, "add", "-A")
	git(m.t, m.dir, "commit", "-q", "--allow-empty", "-m", "x")
	return git(m.t, m.dir, "rev-parse", "HEAD")
}

// testLimit is far from what the same code can come to beside whatever else runs, and from six times the work.
const testLimit = 2.5

// guard runs the guard on the module.
func (m *module) guard(update bool) *report {
	m.t.Helper()
	g := &guard{
		options: options{only: regexp.MustCompile(""), limit: testLimit, rounds: 2, update: update},
		root:    m.dir, temp: m.t.TempDir(), progress: m.t.Output(),
		began: time.Now(), targets: []target{{pkg: "hot", pure: []string{"Sum"}}},
	}
	rep, err := g.all(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return rep
}

// wants runs the guard and looks at what it says of the one benchmark.
func (m *module) wants(verdict, note string) *report {
	m.t.Helper()
	rep := m.guard(false)
	if len(rep.Benchmarks) != 1 || rep.Benchmarks[0].Verdict != verdict || !strings.Contains(rep.Benchmarks[0].Note, note) || rep.worse() != (verdict != "") {
		m.t.Errorf("got %+v, want %q and a note with %q", rep.Benchmarks, verdict, note)
	}
	return rep
}

// What a hot path costs more is found, in time and in allocations, and the same code does not trip.
func TestGuard(t *testing.T) {
	m := newModule(t)
	m.guard(true)
	git(t, m.dir, "tag", "v1.0.0")
	m.commit()

	rep := m.wants("", "the same program")
	if rep.Baseline != "v1.0.0" || rep.NoBaseline != "" {
		t.Errorf("got %+v, want it compared with v1.0.0", rep)
	}
	m.hot("10", "kept = b") // another program, and as fast
	m.wants("", "")
	m.hot("60", "")
	slow := m.wants("slower", "times what it cost")
	if r := slow.Benchmarks[0]; r.Ratio < testLimit {
		t.Errorf("six times the work: got a ratio of %v", r.Ratio)
	}
	write(t, filepath.Join(m.dir, "scripts/guard/allowed.txt"), "hot.Sum 30 it does more\n")
	m.wants("", "allowed: it does more")
	m.hot("10", "kept = make([]byte, 64)")
	m.wants("allocates more", "1 allocations, not 0")
	m.guard(true)
	m.hot("10", "")
	m.wants("allocates less", "update the file")

	var text strings.Builder
	if err := slow.write(&text, look.Style{}); err != nil || !strings.Contains(text.String(), "1 of 1 benchmarks are not as they should be") {
		t.Errorf("got %v, %s", err, text.String())
	}
}

// The release that is compared with is the newest that leads here, of a release itself the one before; without any it is the commit that
// the file names; and where that is not in the clone, allocations are held alone.
func TestBaseline(t *testing.T) {
	m := newModule(t)
	f := func(root, asked, want string) {
		t.Helper()
		if got, _, err := baseline(t.Context(), root, asked); got != want || (err == nil) != (want != "") {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	first := m.commit()
	write(t, filepath.Join(m.dir, "scripts/guard/baseline"), "# as long as there is no release\n"+first+"\n")
	m.guard(true)
	second := m.commit()
	f(m.dir, "", first)
	f(m.dir, second, second)
	f(m.dir, "v9.9.9", "")
	git(t, m.dir, "tag", "unrelated")
	f(m.dir, "", first)

	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, m.dir, "clone", "-q", "--depth", "1", "file://"+m.dir, shallow)
	if _, _, err := baseline(t.Context(), shallow, ""); !errors.Is(err, errNoBaseline) {
		t.Errorf("a shallow clone: got %v, want %v", err, errNoBaseline)
	}
	rep := (&module{t, shallow}).wants("", "")
	if rep.NoBaseline == "" || rep.Baseline != "" {
		t.Errorf("a shallow clone: got %+v, want that it says so", rep)
	}
	(&module{t, shallow}).hot("10", "kept = make([]byte, 64)")
	(&module{t, shallow}).wants("allocates more", "1 allocations")

	git(t, m.dir, "tag", "v1.0.0")
	third := m.commit()
	f(m.dir, "", second)
	git(t, m.dir, "tag", "v1.1.0")
	f(m.dir, "", second)
	m.commit()
	f(m.dir, "", third)
}

// An earlier release that can't be built is an error, and in the short form no more than said.
func TestBrokenRelease(t *testing.T) {
	m := newModule(t)
	m.guard(true)
	write(t, filepath.Join(m.dir, "hot/hot.go"), "package hot\n\nfunc Sum([]byte) int { return missing.Sum }\n")
	m.commit()
	git(t, m.dir, "tag", "v1.0.0")
	m.hot("10", "")
	m.commit()
	g := &guard{root: m.dir, temp: t.TempDir(), progress: t.Output(), targets: []target{{pkg: "hot", pure: []string{"Sum"}}}}
	g.options = options{only: regexp.MustCompile(""), limit: testLimit, rounds: 1}
	if _, err := g.all(t.Context()); err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("got %v, want what the compiler says", err)
	}
	g.short = true
	if rep, err := g.all(t.Context()); err != nil || rep.worse() || !strings.Contains(rep.NoBaseline, "v1.0.0 can't be built") {
		t.Errorf("the short form: got %+v, %v", rep, err)
	}
}

// A benchmark that only one side has is listed and not compared; the earlier release is built with the benchmarks of this one where it can be.
func TestOneSide(t *testing.T) {
	m := newModule(t)
	git(t, m.dir, "tag", "v1.0.0")
	write(t, filepath.Join(m.dir, "hot/hot_test.go"), "package hot\n\nimport \"testing\"\n\nfunc BenchmarkSumOfTwo(b *testing.B) {\n\tfor b.Loop() {\n\t\tSum([]byte{1, 2})\n\t}\n}\n")
	m.hot("11", "")
	m.commit()
	g := &guard{began: time.Now(), root: m.dir, temp: t.TempDir(), progress: t.Output(), targets: []target{{pkg: "hot", pure: []string{"Sum", "SumOfTwo"}}}}
	g.options = options{only: regexp.MustCompile(""), limit: 1e9, rounds: 1, update: true}
	if _, err := g.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.update = false
	rep, err := g.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if bs := rep.Benchmarks; len(bs) != 2 || bs[0].Ratio == 0 || bs[1].Ratio != 0 || rep.worse() {
		t.Errorf("got %+v, want the first compared and the second not", bs)
	}
}

// What is asked for has to be there.
func TestOptions(t *testing.T) {
	f := func(args string, ok bool) {
		t.Helper()
		if _, err := run(context.Background(), strings.Fields(args), t.Output(), t.Output()); (err == nil) != ok {
			t.Errorf("%s: got %v", args, err)
		}
	}
	f("-only nothing.is.called.so", false)
	f("-limit 0.5", false)
	f("-rounds 0", false)
	f("-update -only leg", false)
	f("more", false)
	f("-only (", false)
}
