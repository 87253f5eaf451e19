//go:build !linux

package docs

import "testing"

func TestCommands(t *testing.T) {
	t.Skip("SKIPPED: the commands of documents are run in Linux's namespaces")
}
