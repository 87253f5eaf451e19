package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func micros(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.1f", v)
}

// span is the range of a row's proxy.
func span(r row) string {
	if math.IsNaN(r.Low) {
		return "–"
	}
	return micros(r.Low) + "–" + micros(r.High)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

func num(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func nums(list []float64) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = num(v)
	}
	return strings.Join(parts, ", ")
}

// machine describes where the measurement ran.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, runtime.GOOS)
}

// versions are the programs that took part: those that always do, and the proxies where they are asked for.
func versions(proxies ...string) []string {
	list := []string{runtime.Version()}
	commands := [][]string{{"uname", "-sr"}, {"redis-server", "--version"}}
	for _, name := range proxies {
		commands = append(commands, []string{name, "-v"})
	}
	for _, c := range commands {
		path, err := lookPath(c[0])
		if err != nil {
			continue
		}
		out, err := exec.Command(path, c[1:]...).CombinedOutput() // nginx tells it on the standard error
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(out), "\n")
		list = append(list, strings.TrimSpace(first))
	}
	return list
}
