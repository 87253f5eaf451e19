package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/look"
)

// checkConfigCmd reads settings as a node would, and starts nothing. --json stands before the role: what comes behind the file are flags of
// the node.
type checkConfigCmd struct {
	asJSON

	Role  string   `arg:"" enum:"router,gateway,dev" help:"What the settings are for: router, gateway or dev."`
	File  string   `arg:"" help:"The YAML file."`
	Flags []string `arg:"" optional:"" passthrough:"" help:"Flags that the node gets beside it, for example --id g1."`
}

// checkAnswer is what `ringside check-config --json` prints.
type checkAnswer struct {
	Role  string `json:"role"`
	File  string `json:"file"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"` // a sentence that names the key and where it stands
}

// Run reads the file. Variables of the environment count, as they would for the node.
func (c *checkConfigCmd) Run(std stdio) error {
	var g grammar
	var done bool
	k, err := parser(&g, std.env, stdio{in: std.in, out: io.Discard, err: io.Discard}, &done)
	if err != nil {
		panic("BUG: the grammar of the command line: " + err.Error())
	}
	a := checkAnswer{Role: c.Role, File: c.File, OK: true}
	_, err = k.Parse(append([]string{c.Role, "--config", c.File}, c.Flags...))
	if err = config.Explain(err); err != nil {
		a.OK, a.Error = false, err.Error()
	}
	switch {
	case c.JSON:
		if err := printJSON(std.out, a); err != nil {
			return err
		}
		if !a.OK {
			return &failure{code: exitFailure}
		}
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", c.File, err)
	}
	_, err = fmt.Fprintf(std.out, "%s: %s of a %s\n", c.File, std.style(std.out).Good("these are settings"), c.Role)
	return err
}

// healthcheckCmd is what a container's health check runs, where there is no curl.
type healthcheckCmd struct {
	Of    adminURL `default:"http://127.0.0.1:8081" help:"Admin port of the node."`
	Ready bool     `help:"Ask whether it can do its work; else whether it answers."`

	asJSON
	credentials
}

// Run asks the node.
func (h *healthcheckCmd) Run(ctx context.Context, std stdio) error {
	path, well := "/healthz", "it answers"
	if h.Ready {
		path, well = "/readyz", "it is ready"
	}
	answer, err := h.ask(ctx, h.Of, http.MethodGet, path, nil)
	if r, ok := errors.AsType[*refused](err); ok && r.status == http.StatusServiceUnavailable {
		return h.unwell(std, r)
	}
	if err != nil {
		return err
	}
	if h.JSON {
		_, err = std.out.Write(answer)
		return err
	}
	_, err = fmt.Fprintln(std.out, std.style(std.out).Good(well))
	return err
}

// unwell is the end of a check that found something: with the names of the node's checks that fail.
func (h *healthcheckCmd) unwell(std stdio, r *refused) error {
	if h.JSON {
		if _, err := std.out.Write(r.body); err != nil {
			return err
		}
		return &failure{code: exitFailure}
	}
	var a struct {
		Checks []struct {
			Name    string `json:"name"`
			Ready   bool   `json:"ready"`
			Message string `json:"message"`
		} `json:"checks"`
	}
	if json.Unmarshal(r.body, &a) != nil || len(a.Checks) == 0 {
		return r
	}
	var wrong []string
	for _, c := range a.Checks {
		if !c.Ready {
			wrong = append(wrong, look.Printable(c.Name+": "+c.Message))
		}
	}
	return fmt.Errorf("it is not ready: %s", strings.Join(wrong, "; "))
}
