package netlab

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

// Enter starts the program again in namespaces of its own, with further variables (NAME=value), waits for it and returns its exit
// code. started is false in there, and where it is not possible: [Lab.Why] then says why.
func Enter(env ...string) (code int, started bool) {
	if os.Getenv(insideEnv) != "" {
		return 0, false
	}
	if _, err := exec.LookPath("ip"); err != nil {
		_ = os.Setenv(insideEnv, fmt.Sprintf("cannot make a network: %v (apt-get install iproute2)", err)) // it has a valid name
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec // it is this program, as it was started
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(append(os.Environ(), insideEnv+"="+insideOK), env...)
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
		fmt.Fprintf(os.Stderr, "cannot wait for the run: %v\n", err)
		return 1, true
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		code = 1
	}
	return code, true
}

// Lab is the network. Its methods are for one goroutine at a time, but for [Lab.In], which is safe for concurrent use.
type Lab struct {
	why   string // why there is none; empty when there is
	self  int    // descriptor of the program's network namespace
	count int
}

// Host is where something lives: a network namespace with an address.
type Host struct {
	IP   string
	Node string // the address of the program on the host's line

	ns  int // descriptor of its namespace
	dev string
}

// New makes the middle of the network.
func New() *Lab {
	l := &Lab{why: os.Getenv(insideEnv)}
	switch l.why {
	case insideOK:
		l.why = ""
		if err := l.open(); err != nil {
			l.why = err.Error()
		}
	case "":
		l.why = "the run is not in a network namespace"
	}
	return l
}

// Why says why there is no network; empty when there is one.
func (l *Lab) Why() string { return l.why }

func (l *Lab) open() error {
	if err := ip("link set lo up", "addr add "+Middle+"/32 dev lo"); err != nil { // first: a run without cuts needs it too
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("cannot route between hosts: %w", err)
	}
	var err error
	if l.self, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("cannot open the network namespace: %w", err)
	}
	// What can't be made is known before anything has started.
	trial, err := l.Host()
	if err != nil {
		return err
	}
	return l.Remove(trial)
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

// Host makes a host.
func (l *Lab) Host() (*Host, error) {
	l.count++
	h := &Host{IP: fmt.Sprintf("10.77.%d.2", l.count), Node: fmt.Sprintf("10.77.%d.1", l.count), dev: fmt.Sprintf("n%d", l.count)}
	if err := l.connect(h); err != nil {
		return nil, fmt.Errorf("cannot make the network of a host: %w", err)
	}
	return h, nil
}

// Remove takes a host out of the network. What runs on it goes on, and reaches nobody.
func (l *Lab) Remove(h *Host) error {
	err := ip("link del " + h.dev)
	_ = unix.Close(h.ns)
	return err
}

// connect makes the host's namespace and its line to the middle.
func (l *Lab) connect(h *Host) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot make a namespace: %w", err)
	}
	var err error
	h.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	l.home()
	if err != nil {
		return err
	}
	err = ip(fmt.Sprintf("link add %s type veth peer name eth0 netns /proc/%d/fd/%d", h.dev, os.Getpid(), h.ns),
		"addr add "+h.Node+"/24 dev "+h.dev, "link set "+h.dev+" up")
	if err != nil {
		return err
	}
	return l.In(h, func() error {
		return ip("link set lo up", "addr add "+h.IP+"/24 dev eth0", "link set eth0 up", "route add default via "+h.Node)
	})
}

// home brings the calling thread back to the program's namespace. A thread that can't come back must not be used by
// anybody else.
func (l *Lab) home() {
	if err := unix.Setns(l.self, unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("BUG: cannot go back to the program's namespace: %v", err))
	}
}

// In runs f on the host: sockets and processes that it makes are born there. f keeps to its goroutine.
func (l *Lab) In(h *Host, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter the namespace of %s: %w", h.IP, err)
	}
	defer l.home()
	return f()
}

// Line takes a host's line down, or up again.
func (l *Lab) Line(h *Host, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	return ip("link set " + h.dev + " " + state)
}

// Cut makes packets between two hosts vanish: all of them, or with a port those to it alone.
func (l *Lab) Cut(a, b *Host, port int) error { return rules("add", a, b, port) }

// Heal takes a cut away.
func (l *Lab) Heal(a, b *Host, port int) error { return rules("del", a, b, port) }

// Rules have priorities of their own by what they are: one is taken away by what it says, and what it does not say counts
// as said by any other.
const (
	prefAll  = 100
	prefPort = 101
)

func rules(verb string, a, b *Host, port int) error {
	var list []string
	for _, way := range [][2]string{{a.IP, b.IP}, {b.IP, a.IP}} {
		between := fmt.Sprintf("from %s to %s", way[0], way[1])
		if port == 0 {
			list = append(list, fmt.Sprintf("rule %s pref %d %s blackhole", verb, prefAll, between))
			continue
		}
		for i, proto := range []string{"tcp", "udp"} {
			list = append(list, fmt.Sprintf("rule %s pref %d %s ipproto %s dport %d blackhole", verb, prefPort+i, between, proto, port))
		}
	}
	return ip(list...)
}
