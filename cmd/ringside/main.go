// Command ringside is the public edge of a live event: routers that splice client connections to the gateway of
// their topic, gateways that fan messages out of Redis Streams, and the tools to run them.
//
// Each subcommand has a file of its own; what both roles need to come up, run and leave is in core.go and
// life.go; what --help, the manual page and docs/CLI.md say is in manual.go, and what the exit codes mean in exit.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/look"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// stdio is what a command reads and writes, and for whom.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      look.Env
	color    string // what --color says
}

// style is how what goes to w looks: one of out and err.
func (s stdio) style(w io.Writer) look.Style { return look.Of(s.color, w, s.env) }

// grammar is the command line.
type grammar struct {
	Color string `group:"Output" enum:"auto,always,never" default:"auto" commandline:"" help:"Colours: auto (on a terminal, unless NO_COLOR is set), always or never."`

	Dev       devCmd       `cmd:"" help:"Run a whole cluster in this process, with a page to try it on."`
	Router    routerCmd    `cmd:"" help:"Run a router: the public port."`
	Gateway   gatewayCmd   `cmd:"" help:"Run a gateway: a shard of the ring."`
	Publish   publishCmd   `cmd:"" help:"Publish a message."`
	Subscribe subscribeCmd `cmd:"" help:"Follow a topic and print its messages."`
	Bench     benchCmd     `cmd:"" help:"Measure a server under load: this one, or any other that speaks WebSocket."`
	Ring      ringCmd      `cmd:"" help:"Show the cluster, or where a topic is."`
	Status    statusCmd    `cmd:"" help:"Show how every node is, or the busiest topics."`
	Drain     drainCmd     `cmd:"" help:"Empty a gateway and wait until it has left."`
	Policy    policyCmd    `cmd:"" help:"Show or set how clients come back, for the whole cluster."`
	Pin       pinCmd       `cmd:"" help:"Place a topic on named shards."`
	Unpin     unpinCmd     `cmd:"" help:"Let the ring place a topic again."`
	Pins      pinsCmd      `cmd:"" help:"Show pinned topics and dedicated shards."`
	Dedicate  dedicateCmd  `cmd:"" help:"Keep a shard for the topics that are pinned to it."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	BenchWorker benchWorkerCmd `cmd:"" hidden:"" help:"Subscribers of bench, in a process of their own."`

	Completion  kongcompletion.Completion `cmd:"" help:"Say how bash, zsh or fish complete commands and flags."`
	Man         manCmd                    `cmd:"" help:"Print the manual page."`
	CheckConfig checkConfigCmd            `cmd:"" help:"Read a settings file as a node would, and say what is wrong with it."`
	Healthcheck healthcheckCmd            `cmd:"" help:"Ask a node whether it is well; for containers."`
}

const description = "The public edge of a live event: one message published once reaches every subscriber of its topic.\n"

// parser makes the parser of a grammar. done is set when --help has answered instead of a command.
func parser(g *grammar, env []string, std stdio, done *bool) (*kong.Kong, error) {
	k, err := kong.New(g, append(config.Options(env),
		kong.Name("ringside"),
		kong.Description(description),
		kong.Vars{"templates": strings.Join(load.Templates(), ", ")},
		kong.Writers(std.out, std.err),
		kong.Exit(func(int) { *done = true }),
	)...)
	if err == nil {
		addPages(k)
	}
	return k, err
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args, env []string, std stdio) int {
	var g grammar
	var done bool
	std.env = env
	k, err := parser(&g, env, std, &done)
	if err != nil {
		panic("BUG: the grammar of the command line: " + err.Error())
	}
	if kongcompletion.Register(k, kongcompletion.WithExitFunc(func(int) { done = true })); done { // it is a shell that asks
		return exitOK
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if done {
		return exitOK
	}
	if err != nil {
		std.fail(explain(parsed, err), "See: ringside "+subcommand(parsed, err)+"--help")
		return exitUsage
	}
	std.color = g.Color
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(std)
	err = parsed.Run()
	advice := ""
	if f, ok := errors.AsType[*failure](err); ok {
		advice = f.advice
	}
	if err != nil && err.Error() != "" {
		std.fail(err, advice)
	}
	return exitCode(err)
}

// warn tells the person something that is no result.
func (s stdio) warn(text string) {
	fmt.Fprintf(s.err, "%s %s\n", s.style(s.err).Warn("ringside:"), look.Printable(text))
}

// fail says what went wrong, and on a second line what to do about it.
func (s stdio) fail(err error, advice string) {
	style := s.style(s.err)
	fmt.Fprintf(s.err, "%s %s\n", style.Bad("ringside:"), strings.TrimPrefix(err.Error(), "ringside: "))
	if advice != "" {
		fmt.Fprintln(s.err, advice)
	}
}

// subcommand is the one that a failed parse got to, with a space behind it; empty when it got to none.
func subcommand(parsed *kong.Context, err error) string {
	if n := selected(parsed, err); n != nil {
		return commandName(n) + " "
	}
	return ""
}

// selected is the command that a failed parse got to; the one above a default that was not named. nil when it got to none.
func selected(parsed *kong.Context, err error) *kong.Node {
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && parsed == nil {
		parsed = pe.Context
	}
	if parsed == nil || parsed.Selected() == nil {
		return nil
	}
	n := parsed.Selected()
	if n.Parent != nil && n.Parent.DefaultCmd == n && !slices.Contains(parsed.Args, n.Name) {
		n = n.Parent
	}
	return n
}

// explain is a failed parse as a person should read it: kong suggests the nearest command, but not below one that has a default.
func explain(parsed *kong.Context, err error) error {
	n := selected(parsed, err)
	err = config.Explain(err)
	name, unexpected := strings.CutPrefix(err.Error(), "unexpected argument ")
	if n == nil || !unexpected || strings.Contains(name, " ") {
		return err
	}
	var known []string
	for _, c := range n.Children {
		known = append(known, c.Name)
	}
	return fmt.Errorf("%w%s", err, config.Suggest(name, known))
}
