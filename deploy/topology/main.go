//go:build linux

// Command topology tries out what the files of deployment describe. Every container of the Compose project and every pod of the
// Kubernetes base runs as a real process, with what its manifest says read out of it, not copied: command, settings, variables, user,
// read-only root, capabilities, system settings, limits, health checks, probes, preStop, the time to stop. Each has a network of its own
// with its own address, names are resolved by a DNS server whose answers change as containers come and go, and network policies are
// rules of nftables in each pod's network. Clients on a further host follow topics through the routers while gateways are added, drained,
// killed, cut off and rolled, a router goes away and Redis restarts.
//
// It is no Kubernetes and no Docker: what schedules, balances and pulls images is modelled, in as few lines as that takes.
//
//	cd deploy && go run ./topology .                 # as root, on Linux, with ip, nft, redis-server and prometheus
//	cd deploy && go run ./topology -only compose .
//
// All of it lives in namespaces that end with it (package netlab): nothing is left over, however it ends. Without root or namespaces it
// says SKIPPED, and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/netlab"
)

// limit is how long a topology may take.
const limit = 8 * time.Minute

// The topologies.
const (
	kubernetes = "kubernetes"
	compose    = "compose"
)

// Variables that tell the program, started again inside, what to run there, and where.
const (
	titleEnv   = "TOPOLOGY_TITLE"
	dirEnv     = "TOPOLOGY_DIR"
	programEnv = "TOPOLOGY_PROGRAM"
)

func main() {
	if text := os.Getenv(containerEnv); text != "" {
		fmt.Fprintln(os.Stderr, "topology:", contain(text))
		os.Exit(125)
	}
	only := flag.String("only", "", "compose or kubernetes; both without it")
	program := flag.String("program", "", "the program; without it one is built as the Dockerfile says")
	short := flag.Bool("short", false, "leave out what takes long")
	flag.Parse()
	deploy, err := filepath.Abs(flag.Arg(0))
	code := 0
	switch title := os.Getenv(titleEnv); {
	case err != nil:
	case title != "":
		err = inside(title, deploy, *short)
	default:
		code, err = outside(deploy, *only, *program)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "topology:", err)
		code = 1
	}
	os.Exit(code)
}

// outside builds the program and starts this one again for each topology, side by side.
func outside(deploy, only, program string) (code int, err error) {
	if os.Getuid() != 0 {
		fmt.Println("SKIPPED: the deployed topology can't be tried out: containers have users of their own, which takes root")
		return 0, nil
	}
	image, err := manifests.ReadImage(deploy)
	if err != nil {
		return 0, err
	}
	if program == "" {
		program, err = build(deploy, image)
	} else {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(filepath.Dir(deploy), "bin", "topology") // what is in it is seen inside alone
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	titles := []string{kubernetes, compose}
	if only != "" {
		titles = []string{only}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, title := range titles {
		wg.Go(func() {
			c, started := netlab.Enter(titleEnv+"="+title, dirEnv+"="+dir, programEnv+"="+program)
			mu.Lock()
			defer mu.Unlock()
			if code = max(code, c); !started {
				fmt.Println("SKIPPED: the deployed topology can't be tried out:", netlab.New().Why())
			}
		})
	}
	wg.Wait()
	return code, nil
}

// build makes the program as the Dockerfile does.
func build(deploy string, image *manifests.Image) (string, error) {
	root := filepath.Dir(deploy)
	program := filepath.Join(root, "bin", "image", "ringside")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	// The image's root is a folder here.
	cmd := exec.Command("sh", "-c", strings.Replace(image.Build, " -o "+image.Program+" ", " -o "+program+" ", 1))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the image: %s: %w\n%s", image.Build, err, out)
	}
	return program, nil
}

// inside tries one topology out.
func inside(title, deploy string, short bool) (err error) {
	lab := netlab.New()
	if why := lab.Why(); why != "" {
		fmt.Println("SKIPPED: the deployed topology can't be tried out:", why)
		return nil
	}
	dir := os.Getenv(dirEnv)
	if err := mountMemory(dir); err != nil {
		return fmt.Errorf("cannot mount what containers write: %w", err)
	}
	image, err := manifests.ReadImage(deploy)
	if err != nil {
		return err
	}
	w, err := newWorld(lab, title, deploy, dir, os.Getenv(programEnv), image)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer func() { w.end(err != nil) }()
	try, known := map[string]func(context.Context, *world, bool) error{kubernetes: tryKubernetes, compose: tryCompose}[title]
	if !known {
		return errors.New(title + " is no topology: compose or kubernetes")
	}
	if err := try(ctx, w, short); err != nil {
		return err
	}
	if err := w.wrong(); err != nil {
		return err
	}
	w.say("ok")
	return nil
}

// steps does one after the other until one fails.
func (w *world) steps(list ...any) error {
	for s := range slices.Chunk(list, 2) {
		if err := w.step(s[0].(string), s[1].(func() error)); err != nil {
			return err
		}
	}
	return nil
}
