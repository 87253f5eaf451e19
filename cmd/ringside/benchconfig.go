package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
)

// spareDescriptors are those of a process of subscribers that are no subscribers.
const spareDescriptors = 64

// config fills in what all modes have.
func (b *benchCrowd) config(cfg *bench.Config, press *benchPress) error {
	t, err := load.FindTemplate(b.Template)
	if err != nil {
		return err
	}
	token, err := b.token()
	if err != nil {
		return err
	}
	cfg.Spec.Template = t
	if err := b.handshake(&cfg.Spec, token); err != nil {
		return err
	}
	cfg.Spec.Rate, cfg.Spec.Dialers, cfg.Spec.Patience, cfg.Spec.Hot = b.ConnectRate, b.Dialers, b.Patience, b.Hot
	if b.Back != "never" && cfg.Mode != bench.Handshakes {
		cfg.Spec.Back, cfg.Spec.Retry = load.Back(b.Back), time.Second
	}
	cfg.Spec.Topics = []string{b.Topic}
	if b.Topics > 1 {
		cfg.Spec.Topics = make([]string, b.Topics)
		for i := range cfg.Spec.Topics {
			cfg.Spec.Topics[i] = b.Topic + "-" + strconv.Itoa(i)
		}
	}
	if cfg.Spec.Source, err = b.source(cfg.Spec.Targets); err != nil {
		return err
	}
	cfg.Command, cfg.Subscribers, cfg.Processes, cfg.Spawn, cfg.FailP99 = commandLine(os.Args), b.Subscribers, b.Processes, benchSpawn, b.FailP99
	cfg.OpenLimit = b.OpenLimit
	for _, name := range slices.Sorted(maps.Keys(b.Pid)) {
		cfg.Watched = append(cfg.Watched, bench.Process{Name: name, PID: b.Pid[name]})
	}
	if press != nil {
		cfg.Publish, cfg.Rate, cfg.Size, cfg.Token = press.url(t.Name), press.Rate, press.Size, token
		cfg.Connections, cfg.Batch, cfg.Warmup, cfg.Settle = press.Connections, press.Batch, press.Warmup, press.Settle
	}
	return b.checkLimit(cfg.Processes)
}

// url is where to publish; only Ringside has a default.
func (p *benchPress) url(template string) string {
	if p.Publish == "" && strings.HasPrefix(template, "ringside") {
		return "http://127.0.0.1:8081"
	}
	return p.Publish
}

// handshake reads the URLs, and has the flags change the template.
func (b *benchCrowd) handshake(spec *load.Spec, token string) error {
	t := &spec.Template
	for _, s := range b.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is no URL of a server: want for example ws://127.0.0.1:8080", s)
		}
		if u.Scheme != "ws" && u.Scheme != "http" {
			return fmt.Errorf("%s: only ws:// and http:// are spoken: a subscriber is a descriptor without a TLS connection around it. Measure the port behind what ends TLS", s)
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "80")
		}
		spec.Targets = append(spec.Targets, host)
		_, rest, _ := strings.Cut(s, "://") // as it was typed: {topic} is no URL's
		if i := strings.IndexByte(rest, '/'); i >= 0 && rest[i:] != "/" {
			t.Path = rest[i:]
		}
	}
	if b.Subprotocol != "" {
		t.Subprotocol = b.Subprotocol
	}
	headers := maps.Clone(t.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	maps.Copy(headers, b.Header)
	if token != "" {
		headers["Authorization"] = "Bearer " + token
	}
	t.Headers = headers
	return t.Validate()
}

// mostPorts is how many connections an address of this machine has to one other, by the system's defaults, with some to spare.
const mostPorts = 25000

// source is where subscribers come from. Those of a server on this machine need more than one address when they are many.
func (b *benchCrowd) source(targets []string) (load.Source, error) {
	if b.From != "" {
		p, err := netip.ParsePrefix(b.From)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(b.From); err == nil {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil {
			return load.Source{}, fmt.Errorf("--from: %q is neither an address nor a prefix", b.From)
		}
		return load.Source{Prefix: p, PerAddress: b.PerAddress}, nil
	}
	for _, t := range targets {
		host, _, err := net.SplitHostPort(t)
		if ip := net.ParseIP(host); err == nil && ip != nil && ip.To4() != nil && ip.IsLoopback() && b.Subscribers > mostPorts {
			return load.Loopback(b.PerAddress), nil
		}
	}
	return load.Source{}, nil
}

// checkLimit says early that a process could not hold its subscribers.
func (b *benchCrowd) checkLimit(processes int) error {
	if processes == 0 {
		processes = load.Processes(b.Subscribers)
	}
	each := (b.Subscribers + processes - 1) / processes
	if limit := eventloop.RaiseDescriptorLimit(); limit < each+spareDescriptors {
		return fmt.Errorf("%d subscribers in a process need %d open files, and it may have %d (ulimit -Hn): take --processes %d",
			each, each+spareDescriptors, limit, (b.Subscribers+limit-spareDescriptors-1)/max(1, limit-spareDescriptors))
	}
	return nil
}

// commandLine is what was typed, without what may be secret: tokens, the values of headers, and who logs in by a URL.
func commandLine(args []string) string {
	words := []string{"ringside"}
	last := ""
	for _, a := range args[min(1, len(args)):] {
		name, value, ok := strings.Cut(a, "=")
		switch {
		case last == "--token":
			a = "…"
		case last == "--header":
			a = name + "=…"
		case name == "--token" && ok:
			a = "--token=…"
		case name == "--header" && ok:
			header, _, _ := strings.Cut(value, "=")
			a = name + "=" + header + "=…"
		default:
			a = userinfo.ReplaceAllString(a, "://…@")
		}
		last = name
		if strings.ContainsAny(a, " '\"{}*") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

var userinfo = regexp.MustCompile(`://[^/@]+@`)
