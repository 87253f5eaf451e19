package load

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Tick is the unit of CPU time in /proc/<pid>/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const Tick = 10 * time.Millisecond

// family is pid and all its descendants: nginx and HAProxy do their work in children.
func family(pid int) []int {
	pids := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // no match: it has ended
	for _, path := range lists {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, family(child)...)
			}
		}
	}
	return pids
}

// CPUTime is the user and system time that pid and its descendants have used so far.
func CPUTime(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, p := range family(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, err
		}
		// The name in parentheses may hold anything; utime and stime are the 14th and 15th field.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 13 {
			return 0, fmt.Errorf("cannot read /proc/%d/stat: %q", p, b)
		}
		for _, f := range fields[11:13] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("cannot read /proc/%d/stat: %w", p, err)
			}
			sum += time.Duration(n) * Tick
		}
	}
	return sum, nil
}

// PSS is the memory of pid and its descendants in bytes, shared pages divided among those who share them.
func PSS(pid int) (int64, error) {
	var sum int64
	for _, p := range family(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, err
		}
		kb, err := field(b, "Pss:")
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", p, err)
		}
		sum += kb << 10
	}
	return sum, nil
}

// Sockets is the number of open sockets of pid and its descendants.
func Sockets(pid int) (int, error) {
	n := 0
	for _, p := range family(pid) {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p))
		if err != nil {
			return 0, err
		}
		for _, link := range links {
			to, err := os.Readlink(link) // an error: it was closed since
			if err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
	}
	return n, nil
}

// field finds the number after a name at the start of a line.
func field(b []byte, name string) (int64, error) {
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), name); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("no field %q", name)
}

// UnusedTime is how long the machine's processors have had nothing to do, of all together, as /proc/stat says. What they did otherwise does not
// stand there with any precision: it is sampled by a tick, which a schedule of whole milliseconds keeps in step with.
func UnusedTime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return unusedTime(string(b))
}

func unusedTime(stat string) (time.Duration, error) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, fmt.Errorf("cannot read /proc/stat: %q", first)
	}
	var sum time.Duration
	for _, f := range fields[4:6] { // idle, and idle with a disk at work
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read /proc/stat: %w", err)
		}
		sum += time.Duration(n) * Tick
	}
	return sum, nil
}
