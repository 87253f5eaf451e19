package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// nodeClient is the package ws, in a process of Node.
type nodeClient struct {
	versions string
	stdin    io.Writer

	mu     sync.Mutex // also for writing
	last   int        // guarded by mu
	events map[int]func(what, payload string)
}

// startNodeClient starts it. Without Node and its package the test fails: nothing would be tested.
func startNodeClient(t *testing.T) *nodeClient {
	t.Helper()
	if _, err := os.Stat("testdata/wsclient/node_modules/ws"); err != nil {
		t.Fatalf("the client's packages are missing: scripts/setup node-wsclient (%v)", err)
	}
	cmd := exec.Command("node", "client.js")
	cmd.Dir = "testdata/wsclient"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n := &nodeClient{events: map[int]func(string, string){}}
	if n.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			n.tell(line, ready)
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-over
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("---- Node: %s", stderr.Bytes())
		}
	})
	select {
	case <-ready:
	case <-over:
		t.Fatalf("the client does not start: %s", stderr.Bytes())
	}
	return n
}

// tell hands on a line of what has happened.
func (n *nodeClient) tell(line []byte, ready chan struct{}) {
	var e [3]any
	if json.Unmarshal(line, &e) != nil {
		return
	}
	id, _ := e[0].(float64)
	what, _ := e[1].(string)
	text, _ := e[2].(string)
	payload, _ := base64.StdEncoding.DecodeString(text)
	if id == 0 {
		n.versions = string(payload)
		close(ready)
		return
	}
	n.mu.Lock()
	f := n.events[int(id)]
	n.mu.Unlock()
	if f != nil {
		f(what, string(payload))
	}
}

func (n *nodeClient) name() string { return n.versions }

func (n *nodeClient) do(command map[string]any) error {
	b, err := json.Marshal(command)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err = n.stdin.Write(append(b, '\n'))
	return err
}

func (n *nodeClient) open(url string, opts dialOptions, events func(what, payload string)) foreignSession {
	n.mu.Lock()
	n.last++
	s := nodeSession{n, n.last}
	n.events[s.id] = events
	n.mu.Unlock()
	headers := map[string]string{}
	if opts.origin != "" {
		headers["Origin"] = opts.origin
	}
	protocols := opts.protocols
	if protocols == nil {
		protocols = []string{}
	}
	if err := s.do("open", map[string]any{"url": url, "protocols": protocols, "deflate": opts.deflate, "headers": headers}); err != nil {
		events("error", err.Error())
	}
	return s
}

// nodeSession is one of its sessions.
type nodeSession struct {
	n  *nodeClient
	id int
}

func (s nodeSession) do(what string, with map[string]any) error {
	with["do"], with["id"] = what, s.id
	return s.n.do(with)
}

func parts(list ...string) (coded []string) {
	for _, p := range list {
		coded = append(coded, base64.StdEncoding.EncodeToString([]byte(p)))
	}
	return coded
}

func (s nodeSession) send(binary bool, list ...string) error {
	return s.do("send", map[string]any{"binary": binary, "parts": parts(list...)})
}

func (s nodeSession) interrupt(first, rest string) error {
	return s.do("interrupt", map[string]any{"parts": parts(first, rest)})
}

func (s nodeSession) ping(payload string) error {
	return s.do("ping", map[string]any{"parts": parts(payload)})
}

func (s nodeSession) pong(payload string) error {
	return s.do("pong", map[string]any{"parts": parts(payload)})
}

func (s nodeSession) close(code int, reason string) error {
	return s.do("close", map[string]any{"code": code, "reason": reason})
}

func (s nodeSession) terminate() error { return s.do("terminate", map[string]any{}) }
