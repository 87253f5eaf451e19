// Command page drives the page of `ringside dev` with a real Chromium, as a person would: it follows a topic,
// publishes and sees the message arrive, loses the connection and comes back without a hole, drains the gateway
// that serves it, and does it all by keyboard too. What the browser complains about (errors, a violated policy) is a
// failure.
//
// It needs chromium on the machine, and nothing from elsewhere. With -shots it also saves pictures of the page, wide
// and narrow, dark and light.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// limit is how long the whole check may take.
const limit = 3 * time.Minute

func main() {
	binary := flag.String("binary", "bin/ringside", "the program")
	chromium := flag.String("chromium", "chromium", "the browser")
	shots := flag.String("shots", "", "directory for pictures; none are taken without it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, *binary, *chromium, *shots)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
	fmt.Println("page: ok")
}

func run(ctx context.Context, binary, chromium, shots string) (err error) {
	listen, err1 := testcluster.FreeAddr()
	admin, err2 := testcluster.FreeAddr()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	dev, err := testcluster.StartProcess("dev", binary, "dev", "--listen", listen, "--admin", admin)
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
	b, err := startBrowser(ctx, chromium)
	if err != nil {
		return err
	}
	defer b.close()
	c := &check{ctx: ctx, b: b, node: node}
	c.all()
	if shots != "" && c.err == nil {
		c.pictures(shots)
	}
	return errors.Join(c.err, b.complaints())
}
