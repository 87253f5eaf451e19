package docs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What commands name that are not run is there: files, packages, tests, flags, targets of make. (Those of ringside are parsed in
// cmd/ringside.)
func TestNames(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.NotRun == "" || !b.IsShell() {
				continue
			}
			dir := ""
			for _, c := range commands(b) {
				found++
				if wrong := unnamed(t, dir, c.words, b.Text); wrong != "" {
					t.Errorf("%s:%d: %s: there is no %s", d.name, c.line, strings.Join(c.words, " "), wrong)
				}
				if c.words[0] == "cd" && len(c.words) == 2 {
					dir = c.words[1]
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d commands: the search is wrong", found)
	}
}

// unnamed is what a command names and is not there; empty when all is. dir is the folder that it is typed in, text all that is
// typed with it.
func unnamed(t *testing.T, dir string, words []string, text string) string {
	t.Helper()
	switch {
	case words[0] == "make" && len(words) > 1:
		makefile := read(t, "Makefile")
		if !strings.Contains(makefile, "\n"+words[1]+":") {
			return "target " + words[1]
		}
	case words[0] == "npm" && len(words) > 1 && words[1] == "install":
		for _, name := range words[2:] {
			if !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "./") && !slices.Contains(packages(t), name) {
				return "package " + name
			}
		}
	case words[0] == "go" && len(words) > 2:
		return unknownToGo(t, words[2:])
	case words[0] == "sysctl" && len(words) > 2 && runtime.GOOS == "linux":
		name, _, _ := strings.Cut(words[2], "=")
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err != nil {
			return "setting " + name
		}
	case words[0] == "systemctl" && len(words) > 2:
		unit := regexp.MustCompile(`@.*`).ReplaceAllString(words[len(words)-1], "@")
		if _, err := os.Stat(filepath.Join(root, "configs", strings.TrimSuffix(unit, ".service")+".service")); err != nil {
			return "unit " + unit
		}
	}
	for _, w := range words[1:] {
		w = strings.Trim(w, `"'`)
		if name, ok := strings.CutPrefix(w, "--from-file="); ok {
			if !strings.Contains(text, "> "+name) {
				return "file " + name
			}
			continue
		}
		if !pathOfOurs.MatchString(w) {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, dir, w)); err != nil {
			return "file " + w
		}
	}
	return ""
}

// pathOfOurs is a word that can only be a file of the tree.
var pathOfOurs = regexp.MustCompile(`^(\./)?(configs|deploy|docs|client|scripts|internal|cmd)(/[A-Za-z0-9_.@-]+)*/?$`)

// unknownToGo is what `go run` or `go test` would not find.
func unknownToGo(t *testing.T, words []string) string {
	t.Helper()
	folder := ""
	for _, w := range words {
		if strings.HasPrefix(w, "./") && w != "./..." {
			folder = w
		}
	}
	if folder == "" {
		return ""
	}
	code := source(t, folder)
	if code == "" {
		return "package " + folder
	}
	for i, w := range words {
		switch flag := strings.TrimLeft(strings.SplitN(w, "=", 2)[0], "-"); {
		case w == "-run" || flag == "run" && strings.HasPrefix(w, "-"):
			name := strings.TrimSuffix(strings.SplitN(strings.Trim(words[i+1], "'"), "/", 2)[0], "$")
			if !strings.Contains(code, "func "+name) {
				return "test " + name
			}
		case strings.HasPrefix(w, "-") && !slices.Contains([]string{"v", "race", "count", "short", "update", "timeout"}, flag) && !strings.Contains(code, `"`+flag+`"`):
			return "flag " + w
		}
	}
	return ""
}

// source is the Go code of a folder.
func source(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// packages are those of npm that the tree uses, and its own.
func packages(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range []string{"client/package.json", "internal/e2e/testdata/app/package.json", "internal/docs/testdata/socketio/package.json"} {
		var p struct {
			Name                          string
			Dependencies, DevDependencies map[string]string
		}
		if err := json.Unmarshal([]byte(read(t, file)), &p); err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Name)
		for _, list := range []map[string]string{p.Dependencies, p.DevDependencies} {
			for name := range list {
				names = append(names, name)
			}
		}
	}
	return names
}

// read is the text of a file.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUnnamed(t *testing.T) {
	f := func(line string, wrong bool) {
		t.Helper()
		words := strings.Fields(line)
		if got := unnamed(t, "", words, line); (got != "") != wrong {
			t.Errorf("%s: got %q, want something: %v", line, got, wrong)
		}
	}
	f("make run", false)
	f("make nothing", true)
	f("go run ./scripts/bench -out /tmp/b.md", false)
	f("go run ./scripts/bench -outt /tmp/b.md", true)
	f("go run ./scripts/benches", true)
	f("go test ./gateway -run TestTopicCost -v", false)
	f("go test ./gateway -run TestTopicCosts -v", true)
	f("docker build -f deploy/Dockerfile -t ringside .", false)
	f("docker build -f deploy/Dockerfiles -t ringside .", true)
	f("systemctl reload ringside-router", false)
	f("systemctl reload ringside-routers", true)
	f("systemctl restart ringside-gateway@g1", false)
	f("npm install @ringside-edge/client ws", false)
	f("npm install leftpad", true)
	f("sysctl -w kernel.pid_max=1", false)
	f("sysctl -w kernel.pid_mix=1", runtime.GOOS == "linux")
	f("kubectl create secret generic ringside --from-file=cluster.secret", true)
}
