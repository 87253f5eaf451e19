package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{ asJSON }

// versionAnswer is what `ringside version --json` prints.
type versionAnswer struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Run prints the version.
func (v versionCmd) Run(std stdio) error {
	a := versionAnswer{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	if v.JSON {
		return printJSON(std.out, a)
	}
	_, err := fmt.Fprintf(std.out, "ringside %s %s %s/%s\n", a.Version, a.Go, a.OS, a.Arch)
	return err
}

// version is the version that the go command stamped into the binary: a tag, or one made of commit and date.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
