package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
)

// browser is one tab of a headless Chromium, spoken to by its DevTools protocol.
type browser struct {
	cmd     *exec.Cmd
	profile string
	conn    *websocket.Conn
	session string        // of the tab
	done    chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	next    int                // guarded by mu: ID of the next command
	waiting map[int]chan reply // guarded by mu
	errors  []string           // guarded by mu: what the page did wrong
}

// reply is an answer to a command.
type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startBrowser starts Chromium with an empty profile and opens a tab.
func startBrowser(ctx context.Context, path string) (*browser, error) {
	profile, err := os.MkdirTemp("", "ringside-page-")
	if err != nil {
		return nil, err
	}
	b := &browser{profile: profile, done: make(chan struct{}), waiting: map[int]chan reply{}}
	b.cmd = exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--disable-features=BackForwardCache", // a page that was left keeps no connection
		"--user-data-dir="+profile, "--remote-debugging-port=0", "about:blank")
	stderr, err := b.cmd.StderrPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the browser: %w", err), os.RemoveAll(profile))
	}
	if err := b.attach(ctx, stderr); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// attach finds the DevTools port in what the browser prints, and opens a tab.
func (b *browser) attach(ctx context.Context, stderr io.Reader) error {
	found := make(chan string, 1)
	go func() { // ends with the browser
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
				found <- url
			}
		}
	}()
	var url string
	select {
	case url = <-found:
	case <-ctx.Done():
		return errors.New("the browser does not say where its DevTools listen")
	}
	var err error
	if b.conn, _, err = websocket.DefaultDialer.DialContext(ctx, url, nil); err != nil {
		return fmt.Errorf("cannot reach the browser's DevTools: %w", err)
	}
	go b.read()
	var target struct{ TargetID string }
	if err := b.call(ctx, "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := b.call(ctx, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if err := b.call(ctx, domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// read hands answers to who waits for them and keeps what the page did wrong.
func (b *browser) read() {
	defer close(b.done)
	for {
		var m struct {
			reply
			ID     int    `json:"id"`
			Method string `json:"method"`
			Params struct {
				Entry            struct{ Level, Source, Text string }
				ExceptionDetails struct {
					Text      string
					Exception struct{ Description string }
				}
			} `json:"params"`
		}
		if b.conn.ReadJSON(&m) != nil {
			return
		}
		b.mu.Lock()
		switch {
		case m.ID != 0:
			b.waiting[m.ID] <- m.reply
			delete(b.waiting, m.ID)
		case m.Method == "Runtime.exceptionThrown":
			b.errors = append(b.errors, m.Params.ExceptionDetails.Text+" "+m.Params.ExceptionDetails.Exception.Description)
		case m.Method == "Log.entryAdded" && m.Params.Entry.Level == "error" && m.Params.Entry.Source != "network":
			b.errors = append(b.errors, m.Params.Entry.Text)
		}
		b.mu.Unlock()
	}
}

// complaints are the errors that the page has caused so far.
func (b *browser) complaints() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) == 0 {
		return nil
	}
	return fmt.Errorf("the browser complains:\n%s", strings.Join(b.errors, "\n"))
}

// call sends a command and reads its answer into result, nil for none.
func (b *browser) call(ctx context.Context, method string, params any, result any) error {
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.next++
	b.waiting[b.next] = answer
	command := map[string]any{"id": b.next, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	err := b.conn.WriteJSON(command)
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-b.done:
		return fmt.Errorf("%s: the browser has gone", method)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// eval runs JavaScript in the page and reads its value into v, nil for none.
func (b *browser) eval(ctx context.Context, script string, v any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	err := b.call(ctx, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &r)
	switch {
	case err != nil:
		return err
	case r.ExceptionDetails != nil:
		return fmt.Errorf("%s: %s", script, r.ExceptionDetails.Exception.Description)
	case v == nil:
		return nil
	}
	return json.Unmarshal(r.Result.Value, v)
}

// close ends the browser and removes its profile.
func (b *browser) close() {
	if b.conn != nil {
		_ = b.conn.Close()
		<-b.done
	}
	_ = b.cmd.Process.Kill() // it may have ended by itself
	_ = b.cmd.Wait()
	// Its children write on for a moment.
	for end := time.Now().Add(5 * time.Second); os.RemoveAll(b.profile) != nil && time.Now().Before(end); {
		<-time.After(100 * time.Millisecond)
	}
}
