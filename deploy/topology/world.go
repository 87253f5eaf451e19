//go:build linux

package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// nameserver is where containers ask for names.
const nameserver = netlab.Middle

// stepLimit is how long anything may take to come about.
const stepLimit = 90 * time.Second

// world is what a topology is built in.
type world struct {
	lab     *netlab.Lab
	title   string
	deploy  string // folder with the files of deployment
	dir     string // for roots, volumes and settings
	program string // built as the Dockerfile says, or by make
	dynamic bool   // it is one by make, and wants the machine's C library
	image   *manifests.Image
	began   time.Time

	mu    sync.Mutex
	roots int
	all   []*container // guarded by mu
}

func newWorld(lab *netlab.Lab, title, deploy, dir, program string, image *manifests.Image) (*world, error) {
	w := &world{lab: lab, title: title, deploy: deploy, dir: filepath.Join(dir, title), program: program, image: image, began: time.Now()}
	file, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("%s is no program: %w", program, err)
	}
	defer file.Close()
	w.dynamic = slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	return w, os.Mkdir(w.dir, 0o755)
}

func (w *world) say(format string, args ...any) {
	fmt.Printf("%s %5.1f s  %s\n", w.title, time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

func (w *world) newHost() (*netlab.Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lab.Host()
}

func (w *world) removeHost(h *netlab.Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lab.Remove(h)
}

// line takes a host's line down, or up again.
func (w *world) line(h *netlab.Host, up bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lab.Line(h, up)
}

// start starts a container.
func (w *world) start(h *netlab.Host, name string, s spec) (*container, error) {
	w.mu.Lock()
	w.roots++
	s.Root = filepath.Join(w.dir, fmt.Sprintf("root-%d", w.roots))
	w.mu.Unlock()
	s.Files["etc/hosts"] = "127.0.0.1 localhost\n" + h.IP + " " + s.Hostname + "\n"
	if err := os.Mkdir(s.Root, 0o755); err != nil {
		return nil, err
	}
	c, err := startContainer(w.lab, h, name, s)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, c)
	return c, nil
}

// imageSpec is a container of an image, before anything is said of it. That of the Dockerfile has the program and nothing else; for others
// the machine's own programs stand in, in the places of the image.
func (w *world) imageSpec(image, hostname string) spec {
	s := spec{Hostname: hostname, Files: map[string]string{}, Links: map[string]string{}}
	name, _, _ := strings.Cut(image, ":")
	if name == "ringside" {
		s.User, s.Group = w.image.User, w.image.User
		s.Args = append(s.Args, w.image.Entrypoint...)
		s.Mounts = []mount{{From: w.program, To: w.image.Program, ReadOnly: true}}
		if w.dynamic {
			s.Mounts = append(s.Mounts, mount{From: "/usr/lib", To: "/usr/lib", ReadOnly: true})
			s.Links["lib"], s.Links["lib64"] = "usr/lib", "usr/lib64"
			if _, err := os.Stat("/usr/lib64"); err == nil {
				s.Mounts = append(s.Mounts, mount{From: "/usr/lib64", To: "/usr/lib64", ReadOnly: true})
			}
		}
		return s
	}
	s.Mounts = []mount{{From: "/usr", To: "/usr", ReadOnly: true}}
	s.Links = map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
	s.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	switch name {
	case "redis":
		s.User, s.Group, s.Dir = 999, 999, "data"
	case "prom/prometheus":
		s.User, s.Group, s.Dir, s.Args = 65534, 65534, "prometheus", []string{"/usr/bin/prometheus", "--storage.tsdb.path=data"} // Debian's has another default
	}
	return s
}

// await waits for something, and says what is missing when it does not come about.
func (w *world) await(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := testcluster.Poll(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// wrong is what containers wrote that no program should write.
func (w *world) wrong() (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		if fault := c.Faults(); fault != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", c.Name, fault))
		}
	}
	return err
}

// end ends all containers, and shows the end of what they said after a failure.
func (w *world) end(failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		if failed {
			fmt.Fprintf(os.Stderr, "---- %s: %s (ended: %v)\n%s\n", w.title, c.Name, c.Exited(), c.LogTail(12))
		}
		c.Kill()
	}
}

// step does a part of the test and says so.
func (w *world) step(name string, f func() error) error {
	if err := f(); err != nil {
		return fmt.Errorf("%s: %s: %w", w.title, name, err)
	}
	w.say("%s", name)
	return nil
}
