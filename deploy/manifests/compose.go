package manifests

import (
	"context"
	"fmt"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// Compose loads the project for Compose, with the given cluster secret in its environment.
func Compose(dir, secret string) (*types.Project, error) {
	opts, err := cli.NewProjectOptions([]string{in(dir, composeFile)}, cli.WithEnv([]string{"RINGSIDE_SECRET=" + secret}))
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	p, err := opts.LoadProject(context.Background())
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	return p, nil
}
