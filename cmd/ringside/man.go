package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/ringside-edge/ringside/internal/config"
)

// manCmd prints what --help says, for all commands in one, as man(1) reads it.
type manCmd struct{}

// Run prints the page: `ringside man | man -l -`.
func (manCmd) Run(k *kong.Context, std stdio) error {
	r := &roff{}
	r.line(`.TH RINGSIDE 1 "" "ringside %s" "Ringside"`, version())
	r.section("NAME")
	r.text("ringside - " + k.Model.Help[:strings.IndexByte(k.Model.Help, '\n')])
	r.section("SYNOPSIS")
	r.line(`.B ringside`)
	r.line(`.I command`)
	r.text("[argument...] [--flag=value...]")
	r.section("DESCRIPTION")
	root := pages[""]
	r.text(root.about)
	r.examples(root.examples)
	r.section("COMMANDS")
	for _, n := range commands(k.Model.Node) {
		r.command(n)
	}
	r.section("ENVIRONMENT")
	r.item("RINGSIDE_SOME_NAME", "is read where --some-name is not given.")
	for _, v := range variables {
		r.item(v[0], v[1])
	}
	r.section("EXIT STATUS")
	for _, e := range exits {
		r.item(e.code, e.meaning)
	}
	_, err := io.WriteString(std.out, r.b.String())
	return err
}

// variables are those of the environment that are not a flag's.
//
//nolint:gochecknoglobals // a constant in all but name
var variables = [][2]string{
	{"NO_COLOR", "With any value: no colours, unless --color=always."},
	{"TERM", "dumb: no colours, and plain lines in place of a bar."},
	{"CI", "With any value: plain lines in place of a bar."},
	{"HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "The proxy that commands talk to nodes by."},
}

// roff is a manual page in the making.
type roff struct{ b strings.Builder }

func (r *roff) line(format string, args ...any) { fmt.Fprintf(&r.b, format+"\n", args...) }

func (r *roff) section(name string) { r.line(".SH %s", name) }

// text writes paragraphs.
func (r *roff) text(paragraphs string) {
	for i, p := range strings.Split(paragraphs, "\n\n") {
		if i > 0 {
			r.line(".PP")
		}
		r.line("%s", escapeRoff(strings.ReplaceAll(p, "\n", " ")))
	}
}

// item writes a word and what it means below it.
func (r *roff) item(name, meaning string) {
	r.line(".TP")
	r.line(`\fB%s\fR`, escapeRoff(name))
	r.line("%s", escapeRoff(meaning))
}

func (r *roff) examples(list []example) {
	for _, e := range list {
		r.line(".PP")
		r.line("%s:", escapeRoff(strings.ToUpper(e.why[:1])+e.why[1:]))
		r.line(".PP\n.RS 4\n.nf\n%s\n.fi\n.RE", escapeRoff(e.line))
	}
}

func (r *roff) command(n *kong.Node) {
	p := pages[commandName(n)]
	r.line(".SS %s", escapeRoff("ringside "+n.Summary()))
	r.text(n.Help + "\n\n" + p.about)
	for _, a := range n.Positional {
		r.item(a.Summary(), a.Help)
	}
	for _, f := range flagsOf(n) {
		r.item(flagName(f), config.Describe(f.Value))
	}
	for _, f := range p.json {
		r.item("JSON "+f.name, f.what)
	}
	r.examples(p.examples)
	r.line(".PP")
	r.text("Exit status: " + p.codes() + ".")
}

// escapeRoff is text that man(1) takes as it is.
func escapeRoff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// flagsOf are a command's flags, its own and those above it, without --help.
func flagsOf(n *kong.Node) (flags []*kong.Flag) {
	for _, level := range n.AllFlags(true) {
		for _, f := range level {
			if f.Name != "help" {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

// flagName is a flag as it is typed.
func flagName(f *kong.Flag) string {
	name := "--" + f.Name
	switch {
	case f.Tag.Negatable != "":
		return "--[no-]" + f.Name
	case f.IsBool():
		return name
	case f.PlaceHolder != "":
		return name + "=" + f.PlaceHolder
	case f.Default != "":
		return name + "=" + f.Default
	}
	return name + "=" + strings.ToUpper(f.Name)
}
