package observe

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

var update = flag.Bool("update", false, "write the list of metrics in docs/METRICS.md anew")

// family is a metric as nodes export it.
type family struct {
	name, kind, help string
	roles            map[string]bool
	labels           map[string]map[string]bool // values by label
}

// areas are the parts of the list, in their order; a metric belongs to the one that its name begins with.
var areas = []struct{ prefix, title string }{
	{"ringside_router_", "Routers: clients' connections, and the gateways behind them."},
	{"ringside_gateway_", "Gateways: sessions, and what they are handed."},
	{"ringside_stream_", "Redis: publishing on every node, tails on gateways."},
	{"ringside_auth_", "Authentication, of each gateway: see docs/SECURITY.md."},
	{"ringside_gossip_", "Membership, as each node sees it."},
	{"ringside_admin_", "The admin port of each node."},
	{"ringside_bridge_", "TLS connections that are carried for sessions: of clients on routers, of legs on both."},
	{"ringside_tlscert_", "Certificates."},
	{"ringside_safelog_", "The log of each node."},
	{"ringside_build_", "The program."},
}

// open are the labels that have no closed set of values, or one that does not show at once, and how many they can have.
var open = map[string]string{
	"slot":    "at most 256",
	"handler": "at most 11",
	"code":    "HTTP statuses",
}

// exported is what a node serves at /metrics.
func exported(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	r, err := n.Get(context.Background(), "/metrics")
	if err != nil || r.Status != 200 {
		t.Fatalf("%s: %d, %v", n.Name, r.Status, err)
	}
	return r.Body
}

// families are the metrics of ours that the nodes export.
func families(t *testing.T, nodes []*testcluster.Node) map[string]*family {
	t.Helper()
	all := map[string]*family{}
	for _, n := range nodes {
		var f *family
		for line := range strings.Lines(exported(t, n)) {
			line = strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
				name, help, _ := strings.Cut(rest, " ")
				if f = all[name]; f == nil {
					f = &family{name: name, roles: map[string]bool{}, labels: map[string]map[string]bool{}}
					all[name] = f
				}
				f.help, f.roles[n.Role] = help, true
			} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
				f.kind = strings.TrimPrefix(rest, f.name+" ")
			} else {
				f.series(line)
			}
		}
	}
	maps.DeleteFunc(all, func(name string, _ *family) bool { return !strings.HasPrefix(name, "ringside_") })
	return all
}

var label = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)

// series takes in the labels of one of the metric's series.
func (f *family) series(line string) {
	for _, m := range label.FindAllStringSubmatch(line[:strings.LastIndexByte(line, ' ')], -1) {
		if f.labels[m[1]] == nil {
			f.labels[m[1]] = map[string]bool{}
		}
		f.labels[m[1]][m[2]] = true
	}
}

// row is the metric's line in the list.
func (f *family) row() string {
	kind := f.kind
	var labels []string
	for _, l := range slices.Sorted(maps.Keys(f.labels)) {
		number := fmt.Sprint(len(f.labels[l]))
		if n, ok := open[l]; ok {
			number = n
		}
		if l == "le" {
			kind += ", " + number + " buckets"
		} else {
			labels = append(labels, "`"+l+"` ("+number+")")
		}
	}
	on := "all"
	if len(f.roles) == 1 {
		on = slices.Collect(maps.Keys(f.roles))[0] + "s"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", f.name, kind, on, strings.Join(labels, ", "), f.help)
}

// list is the list of all metrics, as the document has it.
func list(t *testing.T, all map[string]*family) string {
	t.Helper()
	var b strings.Builder
	listed := 0
	for _, a := range areas {
		fmt.Fprintf(&b, "\n**%s**\n\n| metric | kind | on | labels (values) | meaning |\n|---|---|---|---|---|\n", a.title)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if strings.HasPrefix(name, a.prefix) {
				b.WriteString(all[name].row())
				listed++
			}
		}
	}
	if listed != len(all) {
		t.Fatalf("%d of %d metrics belong to no area", len(all)-listed, len(all))
	}
	b.WriteString("\n")
	return b.String()
}

// The list stands between these lines.
const (
	listBegins = "<!-- Written by: go test ./internal/observe -run TestCluster/metrics -update -->\n"
	listEnds   = "<!-- The end of what is written. -->\n"
)

// The document lists exactly what a real router and real gateways export, and nothing that is written elsewhere names another.
func (w *world) testMetrics(t *testing.T) {
	await(t, "the gateways have looked at their streams", func() (err error) {
		for _, n := range w.c.Running(testcluster.Gateway) {
			for _, name := range []string{"ringside_stream_lag_entries", "ringside_stream_window_entries"} {
				if !strings.Contains(exported(t, n), "\n"+name+"{") {
					err = fmt.Errorf("%s has no %s", n.Name, name)
				}
			}
		}
		return err
	})
	all := families(t, w.c.Nodes())
	if len(all) < 80 {
		t.Fatalf("found %d metrics: /metrics was not understood", len(all))
	}
	before, rest, ok1 := strings.Cut(string(read(t, metricList)), listBegins)
	got, after, ok2 := strings.Cut(rest, listEnds)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the list: want %q and %q", metricList, listBegins, listEnds)
	}
	want := list(t, all)
	if *update {
		write(t, metricList, []byte(before+listBegins+want+listEnds+after))
		got = want
	}
	for _, line := range difference(want, got) {
		t.Errorf("%s lacks a line, or has another (-update writes it):\n%s", metricList, line)
	}
	for _, line := range difference(got, want) {
		t.Errorf("%s lists what is not exported like that (-update writes it):\n%s", metricList, line)
	}
	testNames(t, all)
}

// difference are the lines of a that b does not have.
func difference(a, b string) (lines []string) {
	have := map[string]bool{}
	for line := range strings.Lines(b) {
		have[line] = true
	}
	for line := range strings.Lines(a) {
		if !have[line] {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

var metricName = regexp.MustCompile(`\bringside_[a-z_]*[a-z]\b`)

// testNames looks for names of metrics in everything that goes by them.
func testNames(t *testing.T, all map[string]*family) {
	t.Helper()
	var names []string
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md", "*.md", "configs/prometheus/*.yml", "configs/grafana/*.json"} {
		found, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	seen := 0
	for _, name := range names {
		for _, metric := range metricName.FindAllString(string(read(t, name)), -1) {
			seen++
			base := metric
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, part)
			}
			if f := all[base]; all[metric] == nil && (f == nil || f.kind != "histogram") {
				t.Errorf("%s names %s, which no node exports", name, metric)
			}
		}
	}
	if seen < 200 {
		t.Errorf("found %d names in %v: the search is wrong", seen, names)
	}
}
