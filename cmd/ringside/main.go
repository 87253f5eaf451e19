// Command ringside is the public edge of a live event: routers that splice client connections to the gateway of
// their topic, gateways that fan messages out of Redis Streams, and the tools to run them.
//
// Each subcommand has a file of its own; what both roles need to come up, run and leave is in node.go and
// life.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/ringside-edge/ringside/internal/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // the command line, the environment or the configuration file is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// grammar is the command line.
type grammar struct {
	Dev       devCmd       `cmd:"" help:"Run a whole cluster in this process, with a page to try it on."`
	Router    routerCmd    `cmd:"" help:"Run a router: the public port."`
	Gateway   gatewayCmd   `cmd:"" help:"Run a gateway: a shard of the ring."`
	Publish   publishCmd   `cmd:"" help:"Publish a message."`
	Subscribe subscribeCmd `cmd:"" help:"Follow a topic and print its messages."`
	Ring      ringCmd      `cmd:"" help:"Show the cluster, or where a topic is."`
	Drain     drainCmd     `cmd:"" help:"Empty a gateway and wait until it has left."`
	Policy    policyCmd    `cmd:"" help:"Show or set how clients come back, for the whole cluster."`
	Pin       pinCmd       `cmd:"" help:"Place a topic on named shards."`
	Unpin     unpinCmd     `cmd:"" help:"Let the ring place a topic again."`
	Pins      pinsCmd      `cmd:"" help:"Show pinned topics and dedicated shards."`
	Dedicate  dedicateCmd  `cmd:"" help:"Keep a shard for the topics that are pinned to it."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

const description = "The public edge of a live event: one message published once reaches every subscriber of its topic.\n\n" +
	"A flag --some-name of router, gateway and dev is also the key some-name of the YAML file that --config names, and " +
	"the environment variable RINGSIDE_SOME_NAME. The flag wins over the variable, the variable over the file."

// parser makes the parser of a grammar. done is set when --help has answered instead of a command.
func parser(g *grammar, env []string, std stdio, done *bool) (*kong.Kong, error) {
	return kong.New(g, append(config.Options(env),
		kong.Name("ringside"),
		kong.Description(description),
		kong.Writers(std.out, std.err),
		kong.Exit(func(int) { *done = true }),
	)...)
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args, env []string, std stdio) int {
	var g grammar
	var done bool
	k, err := parser(&g, env, std, &done)
	if err != nil {
		panic("BUG: the grammar of the command line: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if done {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(std.err, "ringside: %v\nSee: ringside %s--help\n", config.Explain(err), subcommand(parsed, err))
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(std)
	if err := parsed.Run(); err != nil {
		fmt.Fprintf(std.err, "ringside: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// subcommand is the one that a failed parse got to, with a space behind it; empty when it got to none.
func subcommand(parsed *kong.Context, err error) string {
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && parsed == nil {
		parsed = pe.Context
	}
	if parsed == nil || parsed.Selected() == nil {
		return ""
	}
	return parsed.Selected().Name + " "
}
