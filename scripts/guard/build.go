package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is a checkout with its benchmarks built.
type tree struct {
	dir string // root of the checkout
	bin string // where the built benchmarks are
}

// built is the benchmarks of a package, as a program for each layout.
type built struct {
	programs []string
	sum      [sha256.Size]byte // of the first
	dir      string            // where it runs
}

// moreLayouts is how many programs more are linked of each side, with their functions in another order: where a loop happens to lie can cost a
// third of it, and is no regression.
const moreLayouts = 2

// command runs a command and returns what it prints. An error has its last words.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Run(); err != nil {
		words := strings.TrimSpace(errs.String() + out.String())
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, words[max(0, len(words)-1500):])
	}
	return out.Bytes(), nil
}

// errNoBaseline means that there is nothing to compare with.
var errNoBaseline = errors.New("there is no earlier release here to compare with")

// baseline is the commit that is compared with, and what to call it: the one asked for; else the newest release that the checkout comes from, of
// a release itself the one before; else the commit that the file names.
func baseline(ctx context.Context, root, asked string) (hash, name string, err error) {
	resolve := func(ref string) (string, bool) {
		out, err := command(ctx, root, "git", "rev-parse", "--verify", "--quiet", ref+"^{commit}")
		return strings.TrimSpace(string(out)), err == nil
	}
	if asked != "" {
		if hash, ok := resolve(asked); ok {
			return hash, asked, nil
		}
		return "", "", fmt.Errorf("%s is no commit of this clone", asked)
	}
	for _, from := range []string{"HEAD", "HEAD^"} {
		tag, err := command(ctx, root, "git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", from)
		if err != nil {
			continue
		}
		name := strings.TrimSpace(string(tag))
		hash, _ := resolve(name)
		if head, _ := resolve("HEAD"); hash != head {
			return hash, name, nil
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "scripts/guard/baseline"))
	if err != nil {
		return "", "", err
	}
	ref := firstWord(text)
	if hash, ok := resolve(ref); ok {
		return hash, ref[:min(len(ref), 12)], nil
	}
	return "", "", fmt.Errorf("%w: no tag v… leads here, and commit %.12s, which scripts/guard/baseline names, is not in this clone (a shallow one?)", errNoBaseline, ref)
}

// firstWord is the first word of a file that is not in a comment.
func firstWord(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			return words[0]
		}
	}
	return ""
}

// checkout writes a commit's files to dir. The clone does not change.
func checkout(ctx context.Context, root, hash, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	archive := dir + ".tar"
	defer os.Remove(archive)
	if _, err := command(ctx, root, "git", "archive", "--format=tar", "-o", archive, hash); err != nil {
		return err
	}
	_, err := command(ctx, root, "tar", "-xf", archive, "-C", dir)
	return err
}

// build builds the benchmarks of packages, as they come; those of which the tree has none are left out.
func (t tree) build(ctx context.Context, pkgs ...string) (map[string]built, error) {
	all, args := map[string]built{}, []string(nil)
	for _, pkg := range pkgs {
		dir := filepath.Join(t.dir, filepath.FromSlash(pkg))
		if _, err := os.Stat(dir); err != nil {
			continue // the package is newer
		}
		all[pkg] = built{dir: dir}
		args = append(args, "./"+pkg)
	}
	if len(args) == 0 {
		return all, nil
	}
	if err := t.link(ctx, 0, args); err != nil {
		return nil, err
	}
	for pkg, b := range all {
		program := t.program(pkg, 0)
		if _, err := os.Stat(program); err != nil {
			delete(all, pkg) // it has no tests
			continue
		}
		var err error
		if b.sum, err = sum(program); err != nil {
			return nil, err
		}
		b.programs = []string{program}
		all[pkg] = b
	}
	return all, nil
}

// program is where the benchmarks of a package are, in one of the layouts.
func (t tree) program(pkg string, layout int) string {
	return filepath.Join(t.bin, fmt.Sprint(layout), path.Base(pkg)+".test")
}

// link makes the programs of packages in one of the layouts.
func (t tree) link(ctx context.Context, layout int, pkgs []string) error {
	dir := filepath.Join(t.bin, fmt.Sprint(layout)) + string(filepath.Separator)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	flags := "-ldflags=-s -w -buildid="
	if layout > 0 {
		flags += fmt.Sprint(" -randlayout=", layout)
	}
	_, err := command(ctx, t.dir, "go", append([]string{"test", "-c", "-vet=off", "-trimpath", "-buildvcs=false", flags, "-o", dir}, pkgs...)...)
	return err
}

// layouts links packages in so many layouts more.
func (t tree) layouts(ctx context.Context, all map[string]built, n int) error {
	var args []string
	for pkg := range all {
		args = append(args, "./"+pkg)
	}
	if len(args) == 0 {
		return nil
	}
	for layout := 1; layout <= n; layout++ {
		if err := t.link(ctx, layout, args); err != nil {
			return err
		}
		for pkg, b := range all {
			b.programs = append(b.programs, t.program(pkg, layout))
			all[pkg] = b
		}
	}
	return nil
}

func sum(file string) (s [sha256.Size]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return s, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// buildOld builds a package of the earlier release with the benchmarks of this one, so that both do the same work: with as many of the files
// guard*_test.go as that release can be built with, at worst with its own. ok is false when it has none.
func (t tree) buildOld(ctx context.Context, pkg, root string) (b built, ok bool, err error) {
	own, err := filepath.Glob(filepath.Join(t.dir, filepath.FromSlash(pkg), "guard*_test.go"))
	if err != nil {
		return b, false, err
	}
	kept := map[string][]byte{}
	for _, file := range own {
		if kept[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			return b, false, err
		}
	}
	for _, names := range [][]string{guardFiles, guardFiles[:1], nil} {
		if err := t.lay(pkg, root, names, kept); err != nil {
			return b, false, err
		}
		all, err := t.build(ctx, pkg)
		if err == nil {
			b, ok = all[pkg]
			return b, ok, nil
		}
		if ctx.Err() != nil || names == nil {
			return b, false, err
		}
	}
	return b, false, nil
}

// guardFiles are where a package has its benchmarks for the guard.
//
//nolint:gochecknoglobals // a constant
var guardFiles = []string{"guard_test.go", "guard_socket_test.go"}

// lay puts files of root's package in place of the tree's own. Without names the tree's own stand there again.
func (t tree) lay(pkg, root string, names []string, kept map[string][]byte) error {
	for _, name := range guardFiles {
		file := filepath.Join(t.dir, filepath.FromSlash(pkg), name)
		text := kept[name]
		if slices.Contains(names, name) {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(pkg), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if text == nil {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			continue // the package is newer
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
