package repo

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

const (
	// maxLines is how long a file may be, tests included: they are read as often.
	maxLines = 600
	// maxFunc is how long a function may be, from its first line to its last. Tests may be longer: a table is.
	maxFunc = 60
)

func TestFileLength(t *testing.T) {
	files(t, func(name string) {
		switch path.Ext(name) {
		case ".go", ".js", ".ts", ".css", ".html", ".md", ".sh", ".yaml", ".yml":
		default:
			return
		}
		if n := strings.Count(read(t, name), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, %d are the most: split it", name, n, maxLines)
		}
	})
}

func TestFunctionLength(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; n > maxFunc {
				t.Errorf("%s: %s has %d lines, %d are the most", f.set.Position(fn.Pos()), fn.Name.Name, n, maxFunc)
			}
		}
	}
}

// Every package says what it is for, in one of its files.
func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		doc := f.ast.Doc.Text()
		documented[f.pkg] = documented[f.pkg] || len(doc) > 60
		if doc != "" && f.ast.Name.Name != "main" && !strings.HasPrefix(doc, "Package "+f.ast.Name.Name+" ") {
			t.Errorf("%s: the package comment begins with %.40q", f.name, doc)
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

// wellKnown are methods whose contract is that of an interface that everybody knows.
var wellKnown = map[string]bool{"Error": true, "String": true, "Unwrap": true, "Read": true, "Write": true, "ServeHTTP": true}

// Everything exported has a sentence of contract. In a group of constants or variables, one for the group does, and so
// does one behind the name.
func TestExportedDocs(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !wellKnown[d.Name.Name] {
					t.Errorf("%s: %s has no comment", f.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				checkSpecs(t, f, d)
			}
		}
	}
}

func checkSpecs(t *testing.T, f goFile, d *ast.GenDecl) {
	t.Helper()
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				t.Errorf("%s: %s has no comment", f.set.Position(s.Pos()), s.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					t.Errorf("%s: %s has no comment", f.set.Position(s.Pos()), name.Name)
				}
			}
		}
	}
}

// exportedReceiver reports whether a function is none of a type that nobody outside can name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

// Collectors are registered by who wires the process, never globally.
func TestNoGlobalMetrics(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && (pkg.Name == "promauto" || pkg.Name == "prometheus" && (sel.Sel.Name == "MustRegister" || sel.Sel.Name == "Register" || sel.Sel.Name == "DefaultRegisterer")) {
				t.Errorf("%s: %s.%s: hand the collector to who wires the process", f.set.Position(sel.Pos()), pkg.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

// A metric is called after its package: ringside_<package>_<what>.
func TestMetricNames(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || path.Base(f.name) != "metrics.go" || f.pkg == "internal/metrics" {
			continue
		}
		prefix := "ringside_" + path.Base(f.pkg) + "_"
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if ok && strings.HasPrefix(lit.Value, `"ringside_`) && !strings.HasPrefix(lit.Value, `"`+prefix) {
				t.Errorf("%s: %s does not begin with %s", f.set.Position(lit.Pos()), lit.Value, prefix)
			}
			return true
		})
	}
}
