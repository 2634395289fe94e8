package vault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestOneFunctionReadsRandomness holds the source to the rule of one nonce source: crypto/rand
// is read by fresh alone, an AEAD seals in seal alone, and no other source of randomness is
// imported.
func TestOneFunctionReadsRandomness(t *testing.T) {
	var readers, sealers []string
	for name, file := range sources(t) {
		for _, i := range file.Imports {
			if strings.HasPrefix(i.Path.Value, `"math/rand`) {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
		for _, d := range file.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				switch selected(n) {
				case "rand.Read", "rand.Text", "rand.Reader", "rand.Int", "rand.Prime":
					readers = append(readers, declared(d))
				case "aead.Seal":
					sealers = append(sealers, declared(d))
				default:
					if call, ok := n.(*ast.CallExpr); ok {
						if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Seal" && declared(d) != "seal" {
							t.Errorf("%s seals in %s", name, declared(d))
						}
					}
				}
				return true
			})
		}
	}
	if !slices.Equal(readers, []string{"fresh"}) {
		t.Errorf("crypto/rand is read in %v, want fresh alone", readers)
	}
	if !slices.Equal(sealers, []string{"seal"}) {
		t.Errorf("an AEAD seals in %v, want seal alone", sealers)
	}
}

func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = file
	}
	return files
}

// selected returns x.name of a selector, empty for anything else.
func selected(n ast.Node) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := s.X.(*ast.Ident); ok {
		return x.Name + "." + s.Sel.Name
	}
	return ""
}

// declared returns the name of a function's declaration.
func declared(d ast.Decl) string {
	if f, ok := d.(*ast.FuncDecl); ok {
		return f.Name.Name
	}
	return "a variable"
}
