package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The settings that come with the project are what a node takes; what one would refuse is named.
func TestCheckConfig(t *testing.T) {
	f := func(role, file string, code int, want string, flags ...string) {
		t.Helper()
		got, out, errOut := command(t.Context(), "", nil, append([]string{"check-config", role, file}, flags...)...)
		if got != code || !strings.Contains(out+errOut, want) {
			t.Errorf("%s %s: got %d %q %q, want %d, %q", role, file, got, out, errOut, code, want)
		}
	}
	for role, files := range map[string][]string{
		"router":  {"../../configs/router.yaml", "../../deploy/kubernetes/base/settings/router.yaml", "../../deploy/compose/router.yaml"},
		"gateway": {"../../configs/gateway.yaml", "../../deploy/kubernetes/base/settings/gateway.yaml", "../../deploy/compose/gateway.yaml"},
		"dev":     {"../../configs/dev.yaml"},
	} {
		for _, file := range files {
			var flags []string
			if role != "dev" {
				flags = []string{"--id", "n1"} // which pods and containers get from their name
			}
			f(role, file, exitOK, "these are settings of a "+role, flags...)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("heartbeat: 3s\n")
	f("gateway", bad, exitFailure, "--id")
	write("id: g1\nheartbeats: 3s\n")
	f("gateway", bad, exitFailure, "heartbeats")
	write("id: g1\nheartbeat: 3\n")
	f("gateway", bad, exitFailure, "heartbeat")
	f("gateway", filepath.Join(t.TempDir(), "none.yaml"), exitFailure, "none.yaml")
	f("redis", bad, exitUsage, "router")
}
