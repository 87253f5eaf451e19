package repo

import (
	"go/ast"
	"strconv"
	"strings"
	"testing"
)

// reasons says where a package gives a reason that becomes a metric's label, and which of its variables lists them all:
// what is listed is exported from the start, at zero, so that a rate shows the first one too.
var reasons = []struct {
	pkg, list string
	from      string // a function, a method (with a dot before it), or the type of a composite literal
	arg       int    // the reason's place there
}{
	{"router", "refusalReasons", "refuse", 1},
	{"router", "refusalReasons", ".refused", 0},
	{"gateway", "refusalReasons", "refuse", 1},
	{"gateway", "refusalReasons", ".busy", 0},
	{"gateway", "messageReasons", ".refuse", 0},
	{"gateway", "messageReasons", ".badMessage", 0},
	{"gateway", "messageReasons", "cableNo", 0},
	{"internal/admin", "refusalReasons", "refuse", 1},
	{"internal/admin", "refusalReasons", "refusal", 1},
	{"internal/httphead", "Reasons", "Problem", 1},
	{"internal/topic", "Reasons", "Error", 0},
	{"internal/wsframe", "Reasons", "ProtocolError", 1},
}

// The lists of reasons name all that the code gives, and nothing else.
func TestReasonLists(t *testing.T) {
	files := goFiles(t)
	ofTopics := words(files, "internal/topic", "Reasons")
	given := map[string]map[string]bool{}
	for _, r := range reasons {
		id := r.pkg + "." + r.list
		if given[id] == nil {
			given[id] = map[string]bool{}
		}
		listed, found := words(files, r.pkg, r.list), 0
		for _, f := range files {
			if f.pkg != r.pkg || f.test {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				e := argument(n, r.from, r.arg)
				word, ok := constant(files, r.pkg, e)
				if !ok {
					return true
				}
				found++
				given[id][word] = true
				if topics, ok := strings.CutPrefix(word, "topic_"); !listed[word] && !(ok && ofTopics[topics]) {
					t.Errorf("%s: %q is not in %s", f.set.Position(e.Pos()), word, id)
				}
				return true
			})
		}
		if found == 0 {
			t.Errorf("%s: found no reason in a %s: the search is wrong", r.pkg, r.from)
		}
	}
	for _, r := range reasons {
		for word := range words(files, r.pkg, r.list) {
			if !given[r.pkg+"."+r.list][word] {
				t.Errorf("%s: nothing in %s has the reason %q", r.list, r.pkg, word)
			}
		}
	}
}

// argument is the i-th argument of a call, or value of a composite literal; nil when n is neither.
func argument(n ast.Node, from string, i int) ast.Expr {
	var list []ast.Expr
	var what ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		what, list = n.Fun, n.Args
	case *ast.CompositeLit:
		what, list = n.Type, n.Elts
	}
	name := ""
	switch what := what.(type) {
	case *ast.Ident:
		name = what.Name
	case *ast.SelectorExpr:
		name = "." + what.Sel.Name
	}
	if name != from || i >= len(list) {
		return nil
	}
	if kv, ok := list[i].(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return list[i]
}

// constant is the text of a literal or of one of the package's constants.
func constant(files []goFile, pkg string, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Value[0] == '"'
	case *ast.Ident:
		if v := value(files, pkg, e.Name); v != nil {
			return constant(files, pkg, v)
		}
	}
	return "", false
}

// words are the elements of a package's list.
func words(files []goFile, pkg, list string) map[string]bool {
	set := map[string]bool{}
	if v, ok := value(files, pkg, list).(*ast.CompositeLit); ok {
		for _, e := range v.Elts {
			if word, ok := constant(files, pkg, e); ok {
				set[word] = true
			}
		}
	}
	return set
}

// value is what a package's constant or variable is declared with; nil when there is none of that name.
func value(files []goFile, pkg, name string) (found ast.Expr) {
	for _, f := range files {
		if f.pkg != pkg || f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if s, ok := s.(*ast.ValueSpec); ok && s.Names[0].Name == name && len(s.Values) == 1 {
					found = s.Values[0]
				}
			}
		}
	}
	return found
}
