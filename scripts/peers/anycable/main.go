// Command anycable is AnyCable's own server as its command anycable-go builds it, but for the telemetry that calls home: to be measured beside others.
// Its options are anycable-go's.
package main

import (
	"fmt"
	"os"

	"github.com/anycable/anycable-go/cli"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "anycable: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	cfg, err, done := cli.NewConfigFromCLI(os.Args)
	if err != nil || done {
		return err
	}
	r, err := cli.NewRunner(cfg, []cli.Option{
		cli.WithName("AnyCable"), cli.WithDefaultRPCController(), cli.WithDefaultBroker(), cli.WithDefaultSubscriber(), cli.WithDefaultBroadcaster(),
	})
	if err != nil {
		return err
	}
	return r.Run()
}
