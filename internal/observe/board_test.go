package observe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// target is a query of a panel.
type target struct {
	RefID      string `json:"refId"`
	Expr       string
	Legend     string `json:"legendFormat"`
	Datasource struct{ Type, UID string }
}

// panel is a panel of the board, or a row.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ H, W, X, Y int }
	Targets []target
}

// board is what a dashboard of Grafana has, as far as the tests go by it.
type board struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func readBoard(t *testing.T) (b board) {
	t.Helper()
	if err := json.Unmarshal(read(t, filepath.Join(configs, "grafana", "ringside.json")), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// The board is whole: panels that don't cover each other, with a title and a query each, from the data source that is chosen.
func TestBoard(t *testing.T) {
	b := readBoard(t)
	variables := map[string]string{}
	for _, v := range b.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["instance"] != "query" || variables["cluster"] != "query" {
		t.Errorf("the variables are %v", variables)
	}
	ids, taken, queries := map[int]bool{}, map[[2]int]string{}, 0
	for _, p := range b.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: want an ID of its own and a title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies outside, or over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			queries++
			if q.RefID == "" || refs[q.RefID] || q.Legend == "" || q.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q: query %+v lacks something", p.Title, q)
			}
			refs[q.RefID] = true
			if !strings.Contains(q.Expr, `cluster=~"$cluster",instance=~"$instance"`) {
				t.Errorf("panel %q: %s does not go by the variables", p.Title, q.Expr)
			}
		}
	}
	if queries < 50 {
		t.Errorf("found %d queries: the board was not understood", queries)
	}
}

// Every query of the board has an answer.
func (w *world) testBoard(t *testing.T) {
	expand := strings.NewReplacer("$cluster", "ringside", "$instance", ".*", "$__rate_interval", "1m").Replace
	for _, p := range readBoard(t).Panels {
		for _, q := range p.Targets {
			await(t, fmt.Sprintf("panel %q", p.Title), func() error {
				got, err := w.prom.query(expand(q.Expr))
				if err != nil || len(got) == 0 {
					return fmt.Errorf("%s: got %d series, %v", q.Expr, len(got), err)
				}
				if !slices.ContainsFunc(got, func(s sample) bool { return s.Value[1] != "NaN" }) {
					return fmt.Errorf("%s: %v", q.Expr, got)
				}
				return nil
			})
		}
	}
	for _, v := range readBoard(t).Templating.List {
		if v.Type != "query" {
			continue
		}
		selector, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", ")
		if err := w.prom.has(fmt.Sprintf(`count by (%s) (%s{%s!=""})`, label, strings.Split(selector, "{")[0], label)); err != nil {
			t.Errorf("variable %s: %v", v.Name, err)
		}
	}
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
