package identity

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestHashesAreComparedInConstantTime holds the source to it: hashes meet in
// ConstantTimeCompare and nowhere else.
func TestHashesAreComparedInConstantTime(t *testing.T) {
	var constant []string
	for name, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				if x == nil {
					break
				}
				switch x.Name + "." + n.Sel.Name {
				case "subtle.ConstantTimeCompare":
					constant = append(constant, name)
				case "bytes.Equal", "bytes.Compare", "slices.Equal", "slices.Compare", "reflect.DeepEqual":
					t.Errorf("%s compares by %s.%s", name, x.Name, n.Sel.Name)
				}
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					for _, side := range []ast.Expr{n.X, n.Y} {
						if shown := spelled(side); strings.Contains(shown, "hash") || strings.Contains(shown, "Hash") {
							t.Errorf("%s compares %s by %s", name, shown, n.Op)
						}
					}
				}
			}
			return true
		})
	}
	if !slices.Equal(constant, []string{"keys.go"}) {
		t.Errorf("ConstantTimeCompare is called in %v, want keys.go once", constant)
	}
}

func spelled(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		var all []string
		for _, a := range e.Args {
			all = append(all, spelled(a))
		}
		if s := spelled(e.Fun); s != "ConstantTimeCompare" {
			return s + " " + strings.Join(all, " ")
		}
	}
	return ""
}

func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = file
		}
	}
	return files
}
