package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// To cut nodes off from each other, the whole run happens in a network namespace of its own, in which every node has
// a further one, with an address of its own, and the run's routes between them:
//
//	node r1 ── 10.77.1.2 ══ 10.77.1.1 ┐
//	node g1 ── 10.77.2.2 ══ 10.77.2.1 ┼ the run: clients, publishers, redis-server at 10.77.0.1
//	node g2 ── 10.77.3.2 ══ 10.77.3.1 ┘
//
// A cut is a pair of routing rules by which packets between two nodes vanish without an answer, as they do in a real
// network. The run's processes are in a namespace of their own too, of which it is the first: the kernel ends all of them
// with it, and takes the networks away with the last. Nothing of it is visible outside, and nothing can be left over,
// however the run ends.

// insideEnv tells the run that it is inside; its value is why it can't be, when it can't.
const insideEnv = "CHAOS_STAGE"

const insideOK = "ok"

// enterStage starts the program again in a namespace of its own and returns its exit code. started is false when that
// is not possible; the run then goes on here, without cuts.
func enterStage(binary string) (code int, started bool) {
	if _, err := exec.LookPath("ip"); err != nil {
		_ = os.Setenv(insideEnv, fmt.Sprintf("cannot make a network: %v (apt-get install iproute2)", err)) // it has a valid name
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"="+insideOK, binaryEnv+"="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the child dies with this thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		_ = os.Setenv(insideEnv, fmt.Sprintf("cannot make a network namespace: %v", err)) // it has a valid name
		return 0, false
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		for sig := range signals {
			_ = cmd.Process.Signal(sig) // fails only when it has just ended
		}
	}()
	err := cmd.Wait()
	close(signals)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		progress("cannot wait for the run: %v", err)
		return 1, true
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		code = 1
	}
	return code, true
}

// stage is the network of a run.
type stage struct {
	why   string // why nothing can be cut; empty when it can
	self  int    // descriptor of the run's namespace
	hosts map[string]*host
}

// host is where a node lives.
type host struct {
	ip string // empty on loopback, without a namespace
	ns int    // descriptor of its namespace
}

func newStage() *stage {
	s := &stage{hosts: map[string]*host{}, why: os.Getenv(insideEnv)}
	if s.why != insideOK {
		if s.why == "" {
			s.why = "the run is not in a network namespace"
		}
		return s
	}
	s.why = ""
	if err := s.open(); err != nil {
		s.why = err.Error()
	}
	return s
}

// open makes the middle of the network.
func (s *stage) open() error {
	if err := ip("link set lo up", "addr add "+redisIP+"/32 dev lo"); err != nil { // first: a run without cuts needs it too
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("cannot route between nodes: %w", err)
	}
	var err error
	if s.self, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("cannot open the network namespace: %w", err)
	}
	// A node that is none of the run's: what can't be made is known before anything has started.
	_, err = s.host("trial")
	return err
}

// ip runs commands of ip(8) in the calling thread's namespace.
func ip(commands ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "))
	}
	return nil
}

// host is the place of the node with that name, made at the first call.
func (s *stage) host(name string) (*host, error) {
	if h := s.hosts[name]; h != nil {
		return h, nil
	}
	h := &host{}
	if s.why == "" {
		n := len(s.hosts) + 1
		h.ip = fmt.Sprintf("10.77.%d.2", n)
		if err := s.connect(h, n); err != nil {
			return nil, fmt.Errorf("cannot make the network of %s: %w", name, err)
		}
	}
	s.hosts[name] = h
	return h, nil
}

// connect makes the host's namespace and its line to the middle.
func (s *stage) connect(h *host, n int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot make a namespace: %w", err)
	}
	var err error
	h.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	s.home()
	if err != nil {
		return err
	}
	dev, middle := fmt.Sprintf("n%d", n), fmt.Sprintf("10.77.%d.1", n)
	err = ip(fmt.Sprintf("link add %s type veth peer name eth0 netns /proc/%d/fd/%d", dev, os.Getpid(), h.ns),
		"addr add "+middle+"/24 dev "+dev, "link set "+dev+" up")
	if err != nil {
		return err
	}
	if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer s.home()
	return ip("link set lo up", "addr add "+h.ip+"/24 dev eth0", "link set eth0 up", "route add default via "+middle)
}

// home brings the calling thread back to the run's namespace. A thread that can't come back must not be used by
// anybody else.
func (s *stage) home() {
	if err := unix.Setns(s.self, unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("BUG: cannot go back to the run's namespace: %v", err))
	}
}

// start starts a process on the host.
func (s *stage) start(h *host, name, log, path string, args ...string) (*process, error) {
	if h.ip == "" {
		return startProcess(name, log, path, args...)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("cannot enter the namespace of %s: %w", name, err)
	}
	defer s.home()
	return startProcess(name, log, path, args...) // a child is born in the namespace of the thread that starts it
}

// cut makes all packets between two hosts vanish, or with gossip those of gossip only.
func (s *stage) cut(a, b *host, gossip bool) error { return s.rules("add", a, b, gossip) }

// heal takes a cut away.
func (s *stage) heal(a, b *host, gossip bool) error { return s.rules("del", a, b, gossip) }

// Rules have priorities of their own by what they are: one is taken away by what it says, and what it does not say counts
// as said by any other.
const (
	prefAll    = 100
	prefGossip = 101
)

func (s *stage) rules(verb string, a, b *host, gossip bool) error {
	var list []string
	for _, way := range [][2]string{{a.ip, b.ip}, {b.ip, a.ip}} {
		between := fmt.Sprintf("from %s to %s", way[0], way[1])
		if !gossip {
			list = append(list, fmt.Sprintf("rule %s pref %d %s blackhole", verb, prefAll, between))
			continue
		}
		for i, proto := range []string{"tcp", "udp"} {
			list = append(list, fmt.Sprintf("rule %s pref %d %s ipproto %s dport %d blackhole", verb, prefGossip+i, between, proto, gossipPort))
		}
	}
	return ip(list...)
}
