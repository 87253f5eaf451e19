package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// spec is a container: what an image and a manifest say, in the words of the kernel.
type spec struct {
	Root     string // folder in which its root is built
	In       int    // a process whose root it has instead: of a command that is carried out in a container
	Mounts   []mount
	Links    map[string]string // symbolic links in the root
	Files    map[string]string // small files in the root
	ReadOnly bool              // the root can't be written to
	Hostname string
	Dir      string // working directory

	User, Group     int
	Groups          []int
	DropAll         bool // capabilities, of the bounding set too
	NoNewPrivileges bool
	Sysctls         map[string]string
	Descriptors     uint64 // limit; 0 for what there is

	Args, Env []string
}

// mount shows something of the machine in a container.
type mount struct {
	From, To string
	ReadOnly bool
}

// containerEnv hands a spec to the process that becomes the container.
const containerEnv = "TOPOLOGY_CONTAINER"

// container is a running one.
type container struct {
	*testcluster.Process
	spec spec
	host *netlab.Host
}

// startContainer starts one on a host, in namespaces of its own of every other kind but that of users.
func startContainer(lab *netlab.Lab, host *netlab.Host, name string, s spec) (*container, error) {
	c := &container{spec: s, host: host}
	err := lab.In(host, func() (err error) {
		c.Process, err = become(name, s, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC)
		return err
	})
	return c, err
}

// exec starts a command in the container, as its user, and with its network, root and processes.
func (c *container) exec(lab *netlab.Lab, name string, args ...string) (p *testcluster.Process, err error) {
	s := c.spec
	s.In, s.Args, s.Sysctls = c.PID(), args, nil
	err = lab.In(c.host, func() error {
		mine, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(mine)
		its, err := unix.Open(fmt.Sprintf("/proc/%d/ns/pid", c.PID()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(its)
		if err := unix.Setns(its, unix.CLONE_NEWPID); err != nil { // of children
			return err
		}
		p, err = become(name, s, 0)
		if err := unix.Setns(mine, unix.CLONE_NEWPID); err != nil {
			panic(fmt.Sprintf("BUG: cannot go back to the run's processes: %v", err))
		}
		return err
	})
	return p, err
}

// become starts this program as what the spec says.
func become(name string, s spec, flags uintptr) (*testcluster.Process, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{containerEnv + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if s.In == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // others end with the container that they are in
	}
	return testcluster.StartCommand(name, cmd)
}

// contain makes this process what the spec says, and does not return but with an error.
func contain(text string) error {
	runtime.LockOSThread() // what a thread gives up, the program that it becomes has given up
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	root := fmt.Sprintf("/proc/%d/root", s.In)
	if s.In == 0 {
		if err := s.build(); err != nil {
			return err
		}
		root = s.Root
	}
	if s.Descriptors > 0 {
		limit := syscall.Rlimit{Cur: s.Descriptors, Max: s.Descriptors}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) != nil { // the machine has fewer
			_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
			limit.Cur = limit.Max
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		}
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("cannot enter %s: %w", root, err)
	}
	if err := unix.Chdir("/" + s.Dir); err != nil {
		return err
	}
	if err := s.drop(); err != nil {
		return err
	}
	return fmt.Errorf("cannot run %v: %w", s.Args, syscall.Exec(s.Args[0], s.Args, s.Env))
}

// build builds the root: an empty one in memory, with what is shown in it.
func (s *spec) build() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for name, value := range s.Sysctls {
		if err := os.WriteFile("/proc/sys/"+sysctlPath(name), []byte(value), 0o600); err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return err
	}
	if err := mountMemory(s.Root); err != nil {
		return fmt.Errorf("cannot mount the root: %w", err)
	}
	for name, text := range s.Files {
		path := filepath.Join(s.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, to := range s.Links {
		if err := os.Symlink(to, filepath.Join(s.Root, name)); err != nil {
			return err
		}
	}
	for _, dev := range []string{"null", "zero", "random", "urandom"} {
		s.Mounts = append(s.Mounts, mount{From: "/dev/" + dev, To: "/dev/" + dev})
	}
	for _, m := range s.Mounts {
		if err := m.show(s.Root); err != nil {
			return fmt.Errorf("cannot show %s at %s: %w", m.From, m.To, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.Root, s.Dir), 0o755); err != nil {
		return err
	}
	if s.Dir != "" && !s.ReadOnly {
		if err := os.Chown(filepath.Join(s.Root, s.Dir), s.User, s.Group); err != nil {
			return err
		}
	}
	proc := filepath.Join(s.Root, "proc")
	if err := os.Mkdir(proc, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if s.ReadOnly {
		return unix.Mount("", s.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID, "")
	}
	return nil
}

func mountMemory(dir string) error {
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=755")
}

func sysctlPath(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == '.' {
			b[i] = '/'
		}
	}
	return string(b)
}

// show mounts a folder or a file of the machine below root.
func (m mount) show(root string) error {
	to := filepath.Join(root, m.To)
	info, err := os.Stat(m.From)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(m.From, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if m.ReadOnly {
		return unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

// drop gives up what the container has no right to.
func (s *spec) drop() error {
	if s.DropAll {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // of a kernel that has fewer
				return fmt.Errorf("cannot give up capability %d: %w", c, err)
			}
		}
	}
	if err := syscall.Setgroups(s.Groups); err != nil {
		return err
	}
	if err := syscall.Setgid(s.Group); err != nil {
		return err
	}
	if err := syscall.Setuid(s.User); err != nil {
		return err
	}
	if s.NoNewPrivileges {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}
