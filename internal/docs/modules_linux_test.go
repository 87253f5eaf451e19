package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// linked are the packages of npm that the programs in documents use, by the folder that has them.
var linked = map[string][]string{
	"client":                          {"ws"},
	"internal/e2e/testdata/app":       {"@anycable/core", "@rails/actioncable"},
	"internal/docs/testdata/socketio": {"socket.io", "socket.io-client"},
}

// modules makes a node_modules with them, and with the SDK of the tree.
func modules(t *testing.T, tree, dir string) {
	t.Helper()
	link := func(target, name string) {
		t.Helper()
		name = filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(target); err != nil {
			t.Fatalf("packages are missing: make docs, or scripts/setup sdk node-app node-socketio (%v)", err)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for folder, names := range linked {
		for _, name := range names {
			link(filepath.Join(tree, filepath.FromSlash(folder), "node_modules", filepath.FromSlash(name)), name)
		}
	}
	sdk := filepath.Join(dir, "@ringside-edge", "client")
	link(filepath.Join(tree, "client", "package.json"), "@ringside-edge/client/package.json")
	build := exec.Command(filepath.Join(tree, "client", "node_modules", ".bin", "esbuild"), "src/index.ts", "--bundle", "--format=esm", "--target=es2022",
		"--log-level=warning", "--outfile="+filepath.Join(sdk, "dist", "index.js"))
	build.Dir = filepath.Join(tree, "client")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the SDK: %v\n%s", err, out)
	}
}
