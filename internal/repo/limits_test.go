package repo

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/ringside-edge/ringside/internal/config"
)

// limit is a row of a table of limits.
type limit struct {
	what               string
	settings, defaults []string
	metrics, tests     []string
	setting            string // as it stands
}

// limitTables are the documents with such a table: how it begins, and whether each row names its tests.
var limitTables = []struct {
	doc, head string
	tests     bool
	least     int // rows
}{
	{"docs/SECURITY.md", "| limit | setting | default | what happens | metric | test |", true, 40},
	{"docs/BOUNDS.md", "| what | setting | default | when it is reached | metric |", false, 8},
}

var quoted = regexp.MustCompile("`([^`]+)`")

// code are the words in backquotes.
func code(cell string) (words []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	return words
}

// readLimits reads the rows of a table.
func readLimits(t *testing.T, doc, head string) (rows []limit) {
	t.Helper()
	_, table, found := strings.Cut(read(t, doc), head+"\n")
	if !found {
		t.Fatalf("%s has no table that begins with %s", doc, head)
	}
	for i, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "|") {
			return rows
		}
		if i == 0 { // what separates the head from the rows
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != strings.Count(head, " | ")+1 {
			t.Errorf("%s: %.60s has %d cells", doc, line, len(cells))
			continue
		}
		l := limit{what: cells[0], setting: cells[1], settings: code(cells[1]), defaults: strings.Split(cells[2], ", "), metrics: code(cells[4])}
		if len(cells) > 5 {
			l.tests = code(cells[5])
		}
		rows = append(rows, l)
	}
	return rows
}

// defaults are the settings of routers and gateways, by name, with what they are when nobody has set them.
func defaults(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, role := range []any{&config.Router{}, &config.Gateway{}} {
		k, err := kong.New(role, config.Options(nil)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range k.Model.Flags {
			all[f.Name] = append(all[f.Name], f.Default)
		}
	}
	if len(all) < 80 {
		t.Fatalf("found %d settings: the search is wrong", len(all))
	}
	return all
}

// same reports whether a document's way to write a value means a setting's default: "131,072", "64 KiB", "3/s", "0 (from …)".
func same(written, set string) bool {
	written, _, _ = strings.Cut(written, " (")
	written, _, _ = strings.Cut(written, " × ")
	written = strings.TrimSuffix(strings.NewReplacer(",", "", " ", "", "min", "m").Replace(written), "/s")
	return written == set
}

func TestSame(t *testing.T) {
	f := func(written, set string, want bool) {
		t.Helper()
		if got := same(written, set); got != want {
			t.Errorf("%s and %s: got %v, want %v", written, set, got, want)
		}
	}
	f("131,072", "131072", true)
	f("64 KiB", "64KiB", true)
	f("3/s", "3", true)
	f("10 min", "10m", true)
	f("500 ms", "500ms", true)
	f("0 (from the descriptor limit)", "0", true)
	f("1.25 × the mean", "1.25", true)
	f("64 KiB", "64MiB", false)
	f("5 s", "50s", false)
	f("", "", true)
}

// Each row names settings that there are, with their defaults, metrics that are exported, with values that their labels have, and tests that
// are there.
func TestLimits(t *testing.T) {
	list := goFiles(t)
	settings, exported, tests, words := defaults(t), read(t, "docs/METRICS.md"), testNames(list), literals(list)
	for _, table := range limitTables {
		rows := readLimits(t, table.doc, table.head)
		if len(rows) < table.least {
			t.Errorf("%s: found %d rows: the table was not understood", table.doc, len(rows))
		}
		for _, l := range rows {
			where := table.doc + ": " + l.what
			switch {
			case len(l.settings) == 0 && l.setting != "–":
				t.Errorf("%s: the setting is %q: want names in backquotes, or –", where, l.setting)
			case len(l.settings) > 0 && len(l.settings) != len(l.defaults):
				t.Errorf("%s: settings %q have defaults %q", where, l.settings, l.defaults)
			case len(l.metrics) == 0:
				t.Errorf("%s has no metric", where)
			case table.tests && len(l.tests) == 0:
				t.Errorf("%s has no test", where)
			}
			for i, name := range l.settings {
				if settings[name] == nil {
					t.Errorf("%s: there is no setting %s", where, name)
				}
				for _, set := range settings[name] {
					if i < len(l.defaults) && !same(l.defaults[i], set) {
						t.Errorf("%s: the default of %s is %s, not %s", where, name, set, l.defaults[i])
					}
				}
			}
			for _, m := range l.metrics {
				checkMetric(t, where, m, exported, words)
			}
			for _, name := range l.tests {
				if !tests[name] {
					t.Errorf("%s: there is no test %s", where, name)
				}
			}
		}
	}
}

var metricText = regexp.MustCompile(`^(ringside_[a-z_]+)(?:\{([a-z_]+)="([a-z_]+)"\})?$`)

// checkMetric holds that a metric, as a row names it, is exported.
func checkMetric(t *testing.T, where, text, exported string, words map[string]bool) {
	t.Helper()
	m := metricText.FindStringSubmatch(text)
	if m == nil {
		t.Errorf("%s: %q is no metric", where, text)
		return
	}
	_, row, found := strings.Cut(exported, "\n| `"+m[1]+"` |")
	row, _, _ = strings.Cut(row, "\n")
	switch {
	case !found:
		t.Errorf("%s: there is no metric %s", where, m[1])
	case m[2] != "" && !strings.Contains(row, "`"+m[2]+"` ("):
		t.Errorf("%s: %s has no label %s", where, m[1], m[2])
	case m[3] != "" && !words[m[3]]:
		t.Errorf("%s: nothing in the code is called %q, of which %s is to be a value", where, m[3], m[2])
	}
}

// testNames are the tests that there are, as package.Test.
func testNames(list []goFile) map[string]bool {
	names := map[string]bool{}
	for _, f := range list {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names[f.pkg+"."+fn.Name.Name] = true
			}
		}
	}
	return names
}

// literals are the texts that stand in the code, tests left out.
func literals(list []goFile) map[string]bool {
	words := map[string]bool{}
	for _, f := range list {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					words[text] = true
				}
			}
			return true
		})
	}
	return words
}
