package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// What a person can read of a command is made from two things: the fields of its struct, which are its flags, and its page below. --help,
// the manual page (man.go) and docs/CLI.md (held true by TestReference) are three ways to print them.

// entry is what there is to say of a command beside its flags.
type entry struct {
	about    string    // paragraphs, with an empty line between
	examples []example // each parses, and runs unless it says why not
	json     []field   // the top of what --json prints
	exits    string    // the codes that it ends with, beside 0
}

// example is a command line, and what it is for. alone is why a test can't run it: files that are not there, or a process that does not end.
type example struct{ line, why, alone string }

// field is one of a JSON document, and what it holds.
type field struct{ name, what string }

// detail is the page as kong prints it between the summary and the flags.
func (p *entry) detail() string {
	parts := []string{p.about}
	if len(p.examples) > 0 {
		var b strings.Builder
		b.WriteString("Examples:\n")
		for _, e := range p.examples {
			fmt.Fprintf(&b, "\n    # %s\n    %s", e.why, e.line)
		}
		parts = append(parts, b.String())
	}
	if len(p.json) > 0 {
		names := make([]string, len(p.json))
		for i, f := range p.json {
			names[i] = f.name
		}
		parts = append(parts, "JSON: "+strings.Join(names, ", ")+" (docs/CLI.md says what they hold).")
	}
	if p.exits != allCodes { // of all commands
		return strings.Join(append(parts, "Exit codes: "+p.codes()+"."), "\n\n")
	}
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "\n    %-4s %s", e.code, strings.Join(strings.SplitAfterN(e.meaning, ". ", 2)[:1], ""))
	}
	return strings.Join(append(parts, b.String()), "\n\n")
}

// codes are the exit codes of the page with a word each.
func (p *entry) codes() string {
	var list []string
	for _, e := range exits {
		if e.code == "0" || p.exits == allCodes || strings.Contains(" "+p.exits+" ", " "+e.code+" ") {
			word, _, _ := strings.Cut(e.meaning, ":")
			word, _, _ = strings.Cut(word, " by ")
			list = append(list, e.code+" "+strings.ToLower(strings.TrimSuffix(word, ".")))
		}
	}
	return strings.Join(list, ", ")
}

// addPages gives each command of the model its page. A command without one is a bug, which a test finds.
func addPages(k *kong.Kong) {
	root := pages[""]
	k.Model.Detail = root.detail()
	for _, n := range commands(k.Model.Node) {
		if p, ok := pages[commandName(n)]; ok {
			n.Detail = p.detail()
		}
	}
}

// commands are a node's commands that do something, in the order of --help.
func commands(n *kong.Node) []*kong.Node { return n.Leaves(true) }

// commandName is what a command is called by, with the names of those above it.
func commandName(n *kong.Node) string {
	var names []string
	for ; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		names = append([]string{n.Name}, names...)
	}
	return strings.Join(names, " ")
}

const (
	allCodes  = "*"
	askCodes  = "1 2 3 4"
	tellCodes = "1 2 3 4 5"
	nodeCodes = "1 2"
)

const nodeAbout = `Each flag can also stand in a YAML file that --config names, or in the environment; docs/OPERATIONS.md says what to set for what.

SIGTERM or SIGINT drains it and ends it with 0; a second one ends it at once, with 1.`

// pages are what there is to say, by the name of the command; the first is of all.
//
//nolint:gochecknoglobals // a constant in all but name
var pages = map[string]entry{
	"": {
		about: `Commands that ask (ring, pins, policy, drain, publish, ...) talk to the admin port of any node: --of or --to, by default http://127.0.0.1:8081. subscribe talks to the port for clients, as every client does.

A flag --some-name is also the environment variable RINGSIDE_SOME_NAME, of router, gateway and dev also the key some-name of the YAML file that --config names. The flag wins over the variable, the variable over the file. NO_COLOR, TERM=dumb and CI are heeded: without a terminal there is no colour and no bar.

What was asked for goes to the standard output; progress, warnings and errors go to the error output.`,
		examples: []example{
			{"ringside dev", "a whole cluster in this terminal, and a page to try it on", "it runs until it is stopped"},
			{"ringside subscribe ws://127.0.0.1:8080/t/finals --once", "follow a topic", ""},
			{`ringside publish finals '{"score":"2:1"}'`, "tell everybody", ""},
		},
		exits: allCodes,
	},
	"dev": {
		about: `Nothing else has to be installed: without --redis, messages live in this process. The page has a live match, its viewers, and a button that kills a gateway.

Ctrl-C ends it at once, with 0.`,
		examples: []example{
			{"ringside dev", "three gateways, a router, a page at http://127.0.0.1:8081/", "it runs until it is stopped"},
			{"ringside dev --gateways 5 --no-match --listen 127.0.0.1:9000 --admin 127.0.0.1:9001", "other ports, and only what you publish", "it runs until it is stopped"},
		},
		exits: nodeCodes,
	},
	"router": {
		about: "Clients connect to it. It finds the gateway of each topic, and another one when that leaves. Start as many as you like.\n\n" + nodeAbout,
		examples: []example{
			{"ringside router --listen 0.0.0.0:8080 --join seeds.example:7946 --redis redis://redis.internal:6379", "one that joins a cluster", "it runs until it is stopped"},
			{"ringside router --config configs/router.yaml", "with its settings in a file", "it runs until it is stopped"},
		},
		exits: nodeCodes,
	},
	"gateway": {
		about: "It holds the sessions of its topics and hands them what is published. --id is its name on the ring: keep it over restarts.\n\n" + nodeAbout,
		examples: []example{
			{"ringside gateway --id g1 --listen 10.0.0.8:9101 --join seeds.example:7946 --redis redis://redis.internal:6379", "one that joins a cluster", "it runs until it is stopped"},
			{"ringside gateway --config configs/gateway.yaml", "with its settings in a file", "it runs until it is stopped"},
		},
		exits: nodeCodes,
	},
	"publish": {
		about: `The answer comes when Redis has the message: every session that follows the topic gets it, or is told of a gap. With --id it can be repeated after a failure, and is there once.`,
		examples: []example{
			{`ringside publish finals '{"score":"2:1"}'`, "a message", ""},
			{`echo '{"score":"3:1"}' | ringside publish finals -`, "from standard input", ""},
			{`ringside publish finals goal --id goal-17`, "once, however often it is tried", ""},
			{`ringside publish --to http://10.0.0.8:8081 --token-file publisher.token finals goal`, "at a port that wants a token", "there is no such node"},
		},
		json: []field{
			{"topic", "as given"}, {"slot", "the topic's slot, from 0 to 255"}, {"position", "of the message: to begin behind it, --since of subscribe"},
			{"duplicate", "true when the key was there already; the position is then that of the first"},
		},
		exits: tellCodes,
	},
	"subscribe": {
		about: `It prints a line for each message: its position and the payload. When the connection ends it comes back as the cluster asks, behind the last position, so that each message comes once. Gaps and reconnections are told on the error output.

--json prints each event as the server sent it (docs/PROTOCOL.md), one JSON object per line.`,
		examples: []example{
			{"ringside subscribe ws://127.0.0.1:8080/t/finals --count 3", "three messages", ""},
			{"ringside subscribe ws://127.0.0.1:8080/t/finals --json --once", "events, for a program", ""},
			{"ringside subscribe ws://127.0.0.1:8080/t/finals --since <position>", "everything behind a position", "it runs until it is stopped"},
			{"ringside subscribe wss://live.example/t/finals --tls-ca ringside-ca.pem --token-file viewer.token", "over TLS, with a token", "there is no such host"},
		},
		exits: "1 2 3 4 130",
	},
	"bench steady": {
		about: `Latency counts from when a message was due, also when it was sent late (no coordinated omission). docs/BENCH.md says how to read it, and how to measure servers of others.`,
		examples: []example{
			{"ringside bench ws://127.0.0.1:8080 --subscribers 1000 --topics 20 --rate 200", "ten seconds of 200 messages per second", benchAlone},
			{"ringside bench ws://127.0.0.1:8080 --rate 50 --duration 1m --pid router=41 --fail-p99 200ms --json", "for a pipeline, with the CPU time of a process", benchAlone},
		},
		json:  benchJSON,
		exits: "1 2 130",
	},
	"bench ramp": {
		about:    `A rate is held while p99 is below --limit, nothing is lost and everything is taken.`,
		examples: []example{{"ringside bench ramp ws://127.0.0.1:8080 --subscribers 5000 --rate 5 --html ramp.html", "where is the knee? with plots", benchAlone}},
		json:     benchJSON,
		exits:    "1 2 130",
	},
	"bench storm": {
		about:    `What is published meanwhile must reach everybody all the same: whoever comes back goes on where it was, as far as the template can.`,
		examples: []example{{"ringside bench storm ws://127.0.0.1:8080 --subscribers 5000", "how long until all are back, when they listen and when they don't?", benchAlone}},
		json:     benchJSON,
		exits:    "1 2 130",
	},
	"bench handshakes": {
		about:    `How many connections per second, and how long each takes until its subscription is confirmed.`,
		examples: []example{{"ringside bench handshakes ws://127.0.0.1:8080 --subscribers 2000 --connect-rate 500 --duration 20s", "500 per second", benchAlone}},
		json:     benchJSON,
		exits:    "1 2 130",
	},
	"ring": {
		about: `Every node has the same ring when they agree: the version says so. With --topic: its slot, who owns it, who serves it when that one can't, how far back its stream reaches, and how far the node that is asked has read it.`,
		examples: []example{
			{"ringside ring", "who is there, in which state, with how many sessions", ""},
			{"ringside ring --topic finals", "where a topic is", ""},
			{`ringside ring --json | jq -r '.members[] | select(.state != "active") | .id'`, "who is not active", ""},
		},
		json: []field{
			{"node", "whose view it is"}, {"version", "of the ring: equal on nodes that agree"}, {"slots", "how many there are"},
			{"members", "id, role, state, slots (owned), load (sessions), weight, zone, addr, admin, gossip, static, dedicated"},
		},
		exits: askCodes,
	},
	"status": {
		about: `The node that is asked asks all others. BEHIND is the age of what a gateway can vouch for, at the slot that is furthest behind; MOVING are sessions on their way to another gateway. It ends with 1 when a node is not well, and names it.`,
		examples: []example{
			{"ringside status", "is everything well?", ""},
			{"ringside status --topics", "what are they busy with?", ""},
			{"ringside status --json", "all that the dashboard shows", ""},
		},
		json: []field{
			{"self", "the node that was asked"}, {"version", "of its ring"}, {"slots", "how many there are"}, {"owners", "the gateway of each slot"},
			{"every", "how often nodes ask each other, in ms"}, {"pins", "topic, shards"},
			{"members", "as of ring, and node (what it says of itself: sessions, limit, checks, counts, refused, and router or gateway), problem (why there is none), age (ms)"},
		},
		exits: askCodes,
	},
	"drain": {
		about: `The gateway's sessions move to others, at its pace (drain-window); no client's connection closes. Then it leaves the cluster and its process ends with 0. The wait shows how many sessions are left, how many move per second, and how long it will take; on a terminal as a bar, elsewhere as lines on the error output. To interrupt the wait does not stop the drain.`,
		examples: []example{
			{"ringside drain g2", "empty g2, and wait until it has left", ""},
			{"ringside drain g3 --no-wait", "only ask", ""},
			{"ringside drain g1 --timeout 2m --json", "for a program", ""},
		},
		json: []field{
			{"shard", "which gateway"}, {"outcome", "left, back (it has left and was started again), asked (--no-wait), timeout, interrupted, or unknown (nobody could be asked any more)"},
			{"sessions", "left, when last seen"}, {"seconds", "that it took"},
		},
		exits: tellCodes + " 130",
	},
	"policy show": {
		about:    `How clients wait before they come back: at least min, longer by factor each time up to max, and spread by jitter.`,
		examples: []example{{"ringside policy", "what every client does", ""}, {"ringside policy show --json", "for a program", ""}},
		json:     []field{{"backoff", "min and max in ms, factor, jitter"}, {"unremembered", "settings that Redis is not known to have yet"}},
		exits:    askCodes,
	},
	"policy set": {
		about:    `It is for the whole cluster, and stays over restarts. What is not named keeps its value.`,
		examples: []example{{"ringside policy set backoff min=1s max=60s", "have clients come back more slowly", ""}},
		json:     []field{{"backoff", "min and max in ms, factor, jitter, as they are now"}, {"unremembered", "settings that Redis is not known to have yet"}},
		exits:    tellCodes,
	},
	"pin": {
		about:    `The shards share the topic's sessions; others serve it only when none of them can. Pinned shards that are dedicated too serve nothing else.`,
		examples: []example{{"ringside pin finals g1,g2", "both share the topic, g1 first", ""}},
		json:     wishesFields,
		exits:    tellCodes,
	},
	"unpin": {
		about:    `Its sessions move back to where the ring places them.`,
		examples: []example{{"ringside unpin finals", "as before", ""}},
		json:     wishesFields,
		exits:    tellCodes,
	},
	"pins": {
		about:    `They are the same on every node within seconds.`,
		examples: []example{{"ringside pins", "what is pinned and dedicated", ""}, {"ringside pins --json", "for a program", ""}},
		json:     wishesFields,
		exits:    askCodes,
	},
	"dedicate": {
		about:    `Its slots go to others at once; it serves only topics that are pinned to it.`,
		examples: []example{{"ringside dedicate g3", "keep g3 for pinned topics", ""}, {"ringside dedicate g3 --off", "let it own slots again", ""}},
		json:     wishesFields,
		exits:    tellCodes,
	},
	"version": {
		about:    `It is the tag that the program was built from, or one made of commit and date.`,
		examples: []example{{"ringside version", "for people", ""}, {"ringside version --json", "for programs", ""}},
		json:     []field{{"version", "of the program"}, {"go", "version that it was built with"}, {"os", "that it is for"}, {"arch", "that it is for"}},
		exits:    "2",
	},
	"completion": {
		about:    `It prints the line that a shell has to run. Without a shell's name it looks which one is yours.`,
		examples: []example{{"ringside completion bash", "what to put into .bashrc", ""}},
		exits:    "2",
	},
	"man": {
		about:    `It says of all commands what --help says of each.`,
		examples: []example{{"ringside man | man -l -", "read it", ""}},
		exits:    "2",
	},
	"check-config": {
		about: `Variables of the environment count, as they would for the node. --json stands before the role: what comes behind the file are the node's own flags.`,
		examples: []example{
			{"ringside check-config router configs/router.yaml", "before a deployment", ""},
			{"ringside check-config --json gateway configs/gateway.yaml --id g1", "for a program, with a flag that the node gets beside the file", ""},
		},
		json:  []field{{"role", "as given"}, {"file", "as given"}, {"ok", "whether a node would take it"}, {"error", "what is wrong, when something is"}},
		exits: "1 2",
	},
	"healthcheck": {
		about: `It is for containers whose image has no curl. 1 is a node that is not well, 3 one that does not answer.`,
		examples: []example{
			{"ringside healthcheck", "does it answer?", ""},
			{"ringside healthcheck --ready", "can it do its work?", ""},
		},
		json:  []field{{"status", "ok; with --ready instead: ready, and checks (name, ready, message)"}},
		exits: askCodes,
	},
}

// wishesFields are what all commands about pins print.
//
//nolint:gochecknoglobals // a constant in all but name
var wishesFields = []field{
	{"pins", "topic, shards (the preferred one first)"}, {"dedicated", "IDs of shards"}, {"warnings", "sentences, after a change that looks wrong"},
	{"unremembered", "settings that Redis is not known to have yet"},
}
