package main

import (
	"flag"
	"fmt"
	"os"
	"syscall"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// parseFlags reads a command's flags, and returns what to type for the same measurement again.
func parseFlags(fs *flag.FlagSet, args []string) (command string, err error) {
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return "", err
	}
	if fs.NArg() > 0 {
		return "", fmt.Errorf("an unexpected argument %q", fs.Arg(0))
	}
	return commandLine(fs), nil
}

// commandLine is the command without what does not change the result.
func commandLine(fs *flag.FlagSet) string {
	line := "go run ./scripts/" + fs.Name()
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "out", "binary", "install", "before", "note":
		default:
			line += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	return line
}

// checkSize says early that a message could not carry its publish time.
func checkSize(size int) error {
	if size < load.LeastSize {
		return fmt.Errorf("-size: got %d, want at least %d, for the publish time", size, load.LeastSize)
	}
	return nil
}

// checkLimit says early that a proxy could not hold the sessions.
func checkLimit(subscribers int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	if need := uint64(2*(subscribers+500) + 200); lim.Max < need {
		return fmt.Errorf("%d subscribers need %d open files in a proxy, the limit is %d: use -subscribers %d",
			subscribers, need, lim.Max, (lim.Max-200)/2-500)
	}
	return nil
}

// buildOnce builds the program of this tree for all stages of a measurement, unless another is named. The caller calls done behind the last stage.
func buildOnce(binary string) (path string, done func(), err error) {
	if binary != "" {
		return binary, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "ringside-bench-")
	if err != nil {
		return "", nil, err
	}
	say("building ringside")
	if path, err = testcluster.Build(dir, false); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return path, func() { os.RemoveAll(dir) }, nil
}
