package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ringside-edge/ringside"

// root is the repository, from here.
var root = filepath.Join("..", "..")

// skipped are folders that are not ours to judge: what git and builds leave behind.
var skipped = []string{".git", "bin", "dist", "node_modules"}

// files calls f for every file of the repository, with its path from the root, slashes between.
func files(t *testing.T, f func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skipped, d.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(d.Name(), ".pb.go"): // generated
		case d.Type().IsRegular():
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
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

// goFile is a file of Go code, parsed.
type goFile struct {
	name string // from the root
	pkg  string // its folder, from the root
	test bool
	set  *token.FileSet
	ast  *ast.File
}

// goFiles are all of them. Nothing is skipped for its build constraints.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var list []goFile
	files(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, read(t, name), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		list = append(list, goFile{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), set, parsed})
	})
	if len(list) < 20 {
		t.Fatalf("found %d files of Go code: the walk is wrong", len(list))
	}
	return list
}
