// Command page drives the pages of a development cluster, and the one of the quick start, with a real Chromium, as a person would. On the page of `ringside dev` it
// kills and drains the gateway under a live match, and looks whether a message was lost or came twice; on the dashboard it looks
// around, drains by keyboard, and watches a gateway die and the port itself fall silent. What the browser complains about (errors, a
// violated policy) is a failure. On a page of another site, with the browser's own EventSource and WebSocket and nothing of ours, it
// breaks a cluster of processes in every way, and looks at what those were told.
//
// It needs chromium on the machine, and nothing from elsewhere. With -shots it takes pictures instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// limit is how long the whole check may take.
const limit = 5 * time.Minute

func main() {
	binary := flag.String("binary", "bin/ringside", "the program")
	chromium := flag.String("chromium", "chromium", "the browser")
	only := flag.String("only", "", "quickstart, demo, dashboard or plain; all without it")
	shots := flag.String("shots", "", "directory for pictures, which are then taken instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, *binary, *chromium, *shots, *only)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
	fmt.Println("page: ok")
}

func run(ctx context.Context, binary, chromium, shots, only string) error {
	b, err := startBrowser(ctx, chromium)
	if err != nil {
		return err
	}
	defer b.close()
	if only != "plain" {
		err = pages(ctx, binary, b, shots, only)
	}
	if err == nil && shots == "" && (only == "" || only == "plain") {
		err = runPlain(ctx, binary, b)
	}
	return err
}

// pages visits those of `ringside dev`.
func pages(ctx context.Context, binary string, b *browser, shots, only string) (err error) {
	const viewers = 40
	listen, err1 := testcluster.FreeAddr()
	admin, err2 := testcluster.FreeAddr()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	dev, err := testcluster.StartProcess("dev", binary, "dev", "--listen", listen, "--admin", admin, "--viewers", strconv.Itoa(viewers))
	if err != nil {
		return err
	}
	defer dev.Kill()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n---- the last lines of ringside dev\n%s", err, dev.LogTail(20))
		}
	}()
	node := &testcluster.Node{Process: dev, Addr: listen, Admin: admin}
	if err := testcluster.Poll(ctx, func() error { return node.Ready(ctx) }); err != nil {
		return fmt.Errorf("ringside dev is not ready: %w", err)
	}
	c := &check{ctx: ctx, b: b, node: node}
	if shots != "" {
		c.pictures(shots)
		return errors.Join(c.err, b.complaints())
	}
	if only == "" || only == "quickstart" {
		c.quickstart()
	}
	if only == "" || only == "demo" {
		c.demo(viewers)
		c.leave()
	}
	if only == "" || only == "dashboard" {
		c.board(viewers)
		c.token(binary)
	}
	return errors.Join(c.err, b.complaints())
}
