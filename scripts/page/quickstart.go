package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/internal/docs"
)

// quickstart opens the page of docs/QUICKSTART.md from a file, as its reader does. Its topic is not the one of the match.
func (c *check) quickstart() {
	c.step("quick start: its page follows a topic", func() {
		file, err := c.pageOf("docs/QUICKSTART.md")
		if err != nil {
			c.err = err
			return
		}
		defer os.RemoveAll(filepath.Dir(file))
		const said = "[...document.querySelectorAll('#messages li')].map((li) => li.textContent).join(' | ')"
		c.open((&url.URL{Scheme: "file", Path: file}).String())
		c.is(said, "connected")
		c.publish("quickstart", `{"score":"1:0"}`)
		c.is(said, `connected | {"score":"1:0"}`)
	})
}

// pageOf writes the page that a document shows into a folder of its own, with this cluster's address. The working directory is the tree's root.
func (c *check) pageOf(doc string) (string, error) {
	text, err := os.ReadFile(doc)
	if err != nil {
		return "", err
	}
	blocks := docs.Parse(doc, string(text))
	i := slices.IndexFunc(blocks, func(b docs.Block) bool { return b.Lang == "html" })
	if i < 0 {
		return "", fmt.Errorf("%s shows no page", doc)
	}
	const address = "127.0.0.1:8080/t/finals"
	if !strings.Contains(blocks[i].Text, address) {
		return "", fmt.Errorf("the page of %s does not connect to %s", doc, address)
	}
	dir, err := os.MkdirTemp("", "ringside-page-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "page.html")
	return file, os.WriteFile(file, []byte(strings.ReplaceAll(blocks[i].Text, address, c.node.Addr+"/t/quickstart")), 0o600)
}
