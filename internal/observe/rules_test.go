package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// What is tested, from here.
var (
	configs    = filepath.Join("..", "..", "configs")
	rulesFile  = filepath.Join(configs, "prometheus", "alerts.yml")
	operations = filepath.Join("..", "..", "docs", "OPERATIONS.md")
	metricList = filepath.Join("..", "..", "docs", "METRICS.md")
)

// tool is the path of a program that the tests need.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing, and nothing is tested without it: scripts/setup prometheus (%v)", name, err)
	}
	return path
}

// The rules and the configuration are valid, and the rules' own tests pass.
func TestRules(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "alerts.yml"},
		append([]string{"test", "rules"}, rulesTests(t)...),
	} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = filepath.Dir(rulesFile)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// rulesTests are the names of the files that test the rules.
func rulesTests(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(configs, "prometheus", "alerts*_test.yml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no tests of the rules: %v", err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// rule is an alert as alerts.yml has it.
type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// rules are all alerts.
func rules(t *testing.T) (list []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(read(t, rulesFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 20 {
		t.Fatalf("found %d alerts: %s was not understood", len(list), rulesFile)
	}
	return list
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var (
	headings = regexp.MustCompile(`(?m)^#{2,} (.+)$`)
	links    = regexp.MustCompile(`\]\(#([^)]+)\)`)
	named    = regexp.MustCompile(`Ringside[A-Z][A-Za-z]+`)
)

// Every alert says how bad it is, what it is and, with its value, how much of it; and a section of the runbook, which names it, says
// what to do.
func TestRunbooks(t *testing.T) {
	sections := sections(string(read(t, operations)))
	alerts := map[string]bool{}
	for _, r := range rules(t) {
		alerts[r.Alert] = true
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q, want warning or critical", r.Alert, s)
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
		if d := r.Annotations["description"]; !strings.Contains(d, "$value") && !strings.Contains(d, "$labels.") {
			t.Errorf("%s: the description has no value: %q", r.Alert, d)
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook"], "docs/OPERATIONS.md#")
		text, found := sections[anchor]
		switch {
		case !ok || !found:
			t.Errorf("%s: there is no section %q", r.Alert, r.Annotations["runbook"])
		case !strings.Contains(text, r.Alert) || !strings.Contains(text, "Look:") || !strings.Contains(text, "Do:"):
			t.Errorf("%s: section %q does not name it, or not what to look at and to do:\n%s", r.Alert, anchor, text)
		}
	}
	for anchor, text := range sections {
		for _, link := range links.FindAllStringSubmatch(text, -1) {
			if _, ok := sections[link[1]]; !ok {
				t.Errorf("section %q: the link to #%s leads nowhere", anchor, link[1])
			}
		}
		for _, name := range named.FindAllString(text, -1) {
			if !alerts[name] {
				t.Errorf("section %q is about %s, which is no alert", anchor, name)
			}
		}
	}
}

// sections are the texts below each heading, by the anchor that GitHub gives the heading.
func sections(doc string) map[string]string {
	m := map[string]string{}
	at := headings.FindAllStringSubmatchIndex(doc, -1)
	for i, h := range at {
		end := len(doc)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		title := strings.ToLower(doc[h[2]:h[3]])
		title = strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, title)
		m[title] = doc[h[1]:end]
	}
	return m
}

// Every alert has a test of its own, in which it fires once and once does not.
func TestEveryRuleIsTested(t *testing.T) {
	type tested struct {
		Tests []struct {
			Name  string
			Alert []struct {
				Alertname string
				Exp       []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	var all tested
	for _, name := range rulesTests(t) {
		var file tested
		if err := yaml.Unmarshal(read(t, filepath.Join(configs, "prometheus", name)), &file); err != nil {
			t.Fatal(err)
		}
		all.Tests = append(all.Tests, file.Tests...)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range all.Tests {
		for _, a := range test.Alert {
			if len(a.Exp) > 0 {
				fires[a.Alertname] = true
			} else {
				silent[a.Alertname] = true
			}
		}
	}
	for _, r := range rules(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("the tests let %s fire: %v, and not fire: %v; want both", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}
