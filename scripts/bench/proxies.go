package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// The names of the arms, and of the gateway behind them.
const (
	armRouter  = "ringside router"
	armHAProxy = "haproxy"
	armNginx   = "nginx"
	armDirect  = "no proxy"

	gatewayName = "ringside gateway" // in the memory table
)

//go:embed haproxy.cfg.tmpl
var haproxyConfig string

//go:embed nginx.conf.tmpl
var nginxConfig string

// proxyValues are what the two configurations are made with.
type proxyValues struct {
	Dir         string
	Listen      string
	Upstream    string
	Threads     int
	Sessions    int // that it must be able to hold, with some to spare
	Descriptors int
}

// startProxies starts HAProxy and nginx in front of an upstream. Those that are not installed are installed
// with apt when that is allowed and possible; otherwise they are left out, with a word.
func (s *stage) startProxies(ctx context.Context, upstream string, o options) error {
	for _, p := range []struct {
		name, config, file string
		args               func(path string) []string
	}{
		{armHAProxy, haproxyConfig, "haproxy.cfg", func(path string) []string { return []string{"-db", "-f", path} }},
		{armNginx, nginxConfig, "nginx.conf", func(path string) []string { return []string{"-p", s.dir, "-c", path} }},
	} {
		binary, err := findProxy(ctx, p.name, o.install)
		if err != nil {
			say("leaving out %s: %v", p.name, err)
			continue
		}
		if err := s.startProxy(ctx, p.name, binary, p.config, p.file, p.args, upstream, o); err != nil {
			return err
		}
	}
	return nil
}

// startHAProxy starts one more HAProxy, in front of what has a name.
func (s *stage) startHAProxy(ctx context.Context, name, upstream string, o options) (arm, error) {
	binary, err := findProxy(ctx, armHAProxy, o.install)
	if err != nil {
		return arm{}, err
	}
	args := func(path string) []string { return []string{"-db", "-f", path} }
	if err := s.startProxy(ctx, armHAProxy, binary, haproxyConfig, "haproxy-"+name+".cfg", args, upstream, o); err != nil {
		return arm{}, err
	}
	a := s.arms[len(s.arms)-1]
	s.arms = s.arms[:len(s.arms)-1]
	return a, nil
}

func (s *stage) startProxy(ctx context.Context, name, binary, config, file string, args func(string) []string, upstream string, o options) error {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		return err
	}
	var text strings.Builder
	err = template.Must(template.New(file).Parse(config)).Execute(&text, proxyValues{
		Dir:         s.dir,
		Listen:      addr,
		Upstream:    upstream,
		Threads:     runtime.NumCPU(),
		Sessions:    o.subscribers + 500,
		Descriptors: 2*(o.subscribers+500) + 200,
	})
	if err != nil {
		return err
	}
	path, err := s.write(file, text.String())
	if err != nil {
		return err
	}
	p, err := testcluster.StartProcess(name, binary, args(path)...)
	if err != nil {
		return err
	}
	s.procs = append(s.procs, p)
	s.arms = append(s.arms, arm{Name: name, addr: addr, pid: p.PID()})
	return listening(ctx, p, addr)
}

// findProxy is the path of a program; it may be installed first.
func findProxy(ctx context.Context, name string, install bool) (string, error) {
	if path, err := lookPath(name); err == nil {
		return path, nil
	}
	switch {
	case !install:
		return "", fmt.Errorf("it is not installed, and -install=false")
	case os.Geteuid() != 0:
		return "", fmt.Errorf("it is not installed, and only root can (apt-get install %s)", name)
	}
	say("installing %s", name)
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", name}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return lookPath(name)
}

// lookPath looks in sbin too, where Debian puts servers and a user's PATH does not reach.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", err
}
