// Package manifests reads the files of deployment into types, as the tools that use them would: what is misspelt or of a wrong type is
// an error.
package manifests

import "path/filepath"

// Where the files are, from the folder that has them.
const (
	composeFile = "compose/docker-compose.yml"
	baseFolder  = "kubernetes/base"
	dockerfile  = "Dockerfile"
)

func in(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
