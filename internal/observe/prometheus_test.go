package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// prometheus is a server of the tests' own.
type prometheus struct {
	*testcluster.Process
	addr string
}

// scrapeEvery is how often it scrapes and evaluates: the test does not take as long as the shipped interval would.
const scrapeEvery = "1s"

// startPrometheus starts one with the shipped configuration, of which the targets are others and the intervals shorter.
func startPrometheus(t *testing.T, c *testcluster.Cluster) *prometheus {
	t.Helper()
	path, dir := tool(t, "prometheus"), t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	write(t, config, adapted(t, c))
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit())
	defer cancel()
	for try := 0; ; try++ {
		addr, err := testcluster.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		p := &prometheus{addr: addr}
		p.Process, err = testcluster.StartProcess("prometheus", path, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"+strconv.Itoa(try)),
			"--web.listen-address", addr, "--log.level", "warn")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				t.Logf("---- the last lines of prometheus\n%s", p.LogTail(25))
			}
		})
		err = testcluster.Poll(ctx, func() error {
			if p.Exited() {
				return nil
			}
			r, err := testcluster.Do(ctx, http.MethodGet, "http://"+addr+"/-/ready", "", nil)
			if err == nil && r.Status != http.StatusOK {
				err = errors.New(r.Body)
			}
			return err
		})
		if err == nil && !p.Exited() {
			return p
		}
		if try == 3 || !strings.Contains(p.Log(), "address already in use") {
			t.Fatalf("cannot start prometheus: %v\n%s", err, p.LogTail(25))
		}
	}
}

// adapted is the shipped configuration for the cluster.
func adapted(t *testing.T, c *testcluster.Cluster) []byte {
	t.Helper()
	var cfg map[string]any
	if err := yaml.Unmarshal(read(t, filepath.Join(configs, "prometheus", "prometheus.yml")), &cfg); err != nil {
		t.Fatal(err)
	}
	global := cfg["global"].(map[string]any)
	global["scrape_interval"], global["evaluation_interval"] = scrapeEvery, scrapeEvery
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg["rule_files"] = []string{rules}
	nodes := map[string][]string{}
	for _, n := range c.Nodes() {
		nodes["ringside-"+n.Role] = append(nodes["ringside-"+n.Role], n.Admin)
	}
	for _, job := range cfg["scrape_configs"].([]any) {
		job := job.(map[string]any)
		name := job["job_name"].(string)
		job["static_configs"].([]any)[0].(map[string]any)["targets"] = nodes[name]
		delete(nodes, name)
	}
	if len(nodes) > 0 {
		t.Fatalf("nothing in prometheus.yml scrapes %v", nodes)
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// get asks the API.
func (p *prometheus) get(path string, query url.Values, data any) error {
	r, err := testcluster.Do(context.Background(), http.MethodGet, "http://"+p.addr+"/api/v1/"+path+"?"+query.Encode(), "", nil)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal([]byte(r.Body), &answer); err != nil {
		return fmt.Errorf("%s: %w in %q", path, err, r.Body)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %d %s", path, r.Status, answer.Error)
	}
	return nil
}

// sample is an element of a query's result.
type sample struct {
	Labels map[string]string `json:"metric"`
	Value  [2]any            // seconds since the UNIX epoch, and the value as text
}

func (s sample) String() string { return fmt.Sprintf("%v %v", s.Labels, s.Value[1]) }

// query evaluates an expression at present.
func (p *prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.get("query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

// has is nil when the expression has a result at present, or else says that it has none.
func (p *prometheus) has(expr string) error {
	got, err := p.query(expr)
	if err == nil && len(got) == 0 {
		err = fmt.Errorf("%s has no result", expr)
	}
	return err
}

// hasNone is nil when the expression has no result at present, or else names it.
func (p *prometheus) hasNone(expr string) error {
	got, err := p.query(expr)
	if err == nil && len(got) > 0 {
		err = fmt.Errorf("%s: %v", expr, got)
	}
	return err
}

// await waits until f returns nil. It asks less often than [testcluster.Eventually], because the server answers more slowly than it
// scrapes.
func await(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.After(testcluster.Limit())
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}
