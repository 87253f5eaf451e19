package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/conformance"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

var conformanceDoc = flag.Bool("conformance-doc", false, "write docs/CONFORMANCE.md, in TestForeignClients")

const conformanceIntro = `# RFC 6455, held against clients of others

Written by ` + "`make conformance`" + `. Clients as they come from their makers open sessions at a real router in front of real gateways, and at a
gateway directly, and do what their users do. ✓: as the case says. –: the client has no way to do it, or the case does not exist that way.

What no well-behaved client sends (frames without a mask, reserved bits and opcodes, wrong lengths, fragmented control frames, close codes
that must not be sent) is tested with frames of our own, below: each row through a router and at a gateway, in both subprotocols, as a whole
and byte by byte.
`

const conformanceNotes = `
## Where it differs, and why

- **No extension is ever negotiated** (9.1 leaves that to the server). ` + "`permessage-deflate`" + ` keeps a window for each connection, which could not move to
  another gateway with its session, and costs memory for each; a message is encoded once for all of its subscribers. A frame with RSV1 is an error then (5.2).
- **Unknown subprotocols are refused with 400.** 4.2.2 would let the server answer without one; the client would have a session in a language that it does not
  speak. Who offers none gets ` + "`ringside.v1`" + `, which the answer does not name, as 4.2.2 demands.
- **The reason of a client's close is not repeated** in the answer: 5.5.1 says that an endpoint typically echoes the status code, and no more.
- **Limits of our own**: a message above ` + "`max-frame`" + ` is closed with 1009 as soon as its length is known, not once it has come. In ` + "`ringside.raw`" + ` any
  message, and in ` + "`ringside.v1`" + ` a binary one, is closed with 1003.
- **The server ends the TCP connection first** only where the client has asked for the close (7.1.1). After a close of its own it half-closes, and
  gives the client up to 5 s to answer (7.1.1 wants a reasonable time). What comes from a client behind its own close, or behind one of the server's, is not looked at (5.5.1, 7.1.6).
- When **both close at once**, each gets the other's close frame in place of an answer; none is answered twice (5.5.1).
- A client that breaks the protocol is told why in a close frame before the connection ends, as 7.1.7 asks; the reason is the one that is counted.
`

// writeDoc writes the document, where that is asked for and everything held.
func (s *foreignStage) writeDoc(table string) {
	s.t.Helper()
	if !*conformanceDoc || s.t.Failed() {
		return
	}
	var b strings.Builder
	b.WriteString(conformanceIntro)
	b.WriteString("\n## Clients of others\n\n| RFC 6455 | case |")
	for _, c := range s.results.columns {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(s.results.columns)) + "\n")
	passed, none := 0, 0
	for _, r := range s.results.rows {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.rfc, r.name, strings.Join(r.cells, " | "))
		for _, c := range r.cells {
			switch c {
			case cellPass:
				passed++
			case cellNone:
				none++
			}
		}
	}
	fmt.Fprintf(&b, "\n%d cases: %d results as they should be, %d that can't be had, none that differs. coder/websocket chooses what its pings say and "+
		"sends no pong that nobody asked for; gorilla/websocket fragments what its buffer does not hold.\nBehind each session that ended, router and gateway had "+
		"counted it as begun and as ended once, and logged no error.\n", len(s.results.rows), passed, none)
	b.WriteString(table)
	b.WriteString(conformanceNotes)
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "CONFORMANCE.md"), []byte(b.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// ownTable runs the table of frames of our own where it is asked for, and says what came of it.
func ownTable(t *testing.T, nodes ...*testcluster.Node) string {
	t.Helper()
	if !*conformanceDoc {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n## Frames of our own\n\n| RFC 6455 | what | rows | runs | result |\n|---|---|---|---|---|\n")
	for _, g := range conformance.FrameGroups() {
		runs := 0
		ok := t.Run(g.Name, func(t *testing.T) {
			for _, n := range nodes {
				for _, fc := range g.Cases {
					runs += frameCases(t, n.Addr, "ringside.v1", fc, fc.V1) + frameCases(t, n.Addr, "ringside.raw", fc, fc.Raw)
				}
			}
		})
		result := "all as they should be"
		if !ok {
			result = "**fails**"
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %s |\n", g.RFC, g.Name, len(g.Cases), runs, result)
	}
	fmt.Fprintf(&b, "\n%d rows; what each sends and gets stands in `internal/conformance/frames.go`.\n", len(conformance.FrameCases()))
	return b.String()
}
