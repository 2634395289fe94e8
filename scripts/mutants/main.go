// Command mutants takes the decisions of the gate away, one at a time, and tells which test fails for it. One
// without which every test passes is a decision that nobody would miss: it ends with exit code 1.
//
// It changes no file. The mutants are compiled into one test program by an overlay, and an environment
// variable chooses which of them is alive. `make mutate-gate` runs it.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// suite is one package of tests that may miss a decision: first the tests that are made for it.
type suite struct {
	folder, first string
}

// suites are tried in this order, for a decision of package policy its own one first.
var suites = []suite{
	{"exchange", "TestEveryOperationIsDecided"},
	{"policy", "."},
	{"exchange", "TestOneFactor|TestPolic|TestApprov|TestAPolicy|TestThoseWhoAct|TestBulkByHand|TestBreakGlass|TestWhoMay|TestAnApprover|TestRolesEnd|TestAnExportKeeps"},
	{"rest", "TestEveryRouteIsDecided|TestTheMatrix|TestRefusals"},
	{"exchange", "."},
}

// mutant is one decision that can be taken away.
type mutant struct {
	number   int
	where    string // file:line
	function string // that decides
	decision string // as it stands there
	fails    string // the test that misses it
}

func main() {
	log.SetFlags(0)
	work := flag.String("dir", "build/mutants", "folder for the test programs")
	only := flag.String("only", ".", "regexp of functions")
	long := flag.Duration("timeout", 10*time.Minute, "how long one run of tests may take")
	quick := flag.Bool("quick", false, "run only the tests that are made for decisions, and not all of them for what they miss")
	flag.Parse()
	tried := suites
	if *quick {
		tried = suites[:len(suites)-1]
	}
	survived, err := run(*work, regexp.MustCompile(*only), tried, *long)
	if err != nil {
		log.Fatal(err)
	}
	if survived > 0 {
		log.Fatalf("%d decisions are missed by no test", survived)
	}
}

func run(work string, only *regexp.Regexp, tried []suite, long time.Duration) (survived int, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return 0, err
	}
	var all []*mutant
	overlay := map[string]string{}
	for _, folder := range []string{"exchange", "policy"} {
		if all, err = mutate(folder, work, all, overlay); err != nil {
			return 0, err
		}
	}
	programs, err := build(work, overlay)
	if err != nil {
		return 0, err
	}
	fmt.Println("| Where | Function | Decision that is taken away | Test that fails |\n|---|---|---|---|")
	for _, m := range all {
		if !only.MatchString(m.function) {
			continue
		}
		if err := m.try(programs, tried, long); err != nil {
			return survived, err
		}
		if m.fails == "" {
			survived++
		}
		fmt.Printf("| %s | %s | `%s` | %s |\n", m.where, m.function, strings.ReplaceAll(m.decision, "|", `\|`), cmp.Or(m.fails, "**none**"))
	}
	return survived, nil
}

// try runs the tests with one mutant alive until one fails.
func (m *mutant) try(programs map[string]string, tried []suite, long time.Duration) error {
	order := tried
	if strings.HasPrefix(m.where, "policy/") {
		order = append([]suite{suites[1]}, tried...)
	}
	for _, s := range order {
		failed, err := fails(programs[s.folder], s, m.number, long)
		if err != nil || failed != "" {
			m.fails = failed
			return err
		}
	}
	return nil
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)

// fails returns the name of the first test that fails; empty: none does.
func fails(program string, s suite, number int, long time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	c := exec.CommandContext(ctx, program, "-test.run", s.first, "-test.failfast", "-test.timeout", long.String(), "-rapid.nofailfile")
	c.Dir = s.folder
	c.Env = append(os.Environ(), fmt.Sprint(variable, "=", number))
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	if ctx.Err() != nil || strings.Contains(string(out), "panic: test timed out") {
		return "", fmt.Errorf("the tests of %s take longer than %s: this says nothing about a decision; run it on a machine with less to do, or with a longer -timeout", s.folder, long)
	}
	if found := failure.FindSubmatch(out); found != nil {
		return s.folder + "." + string(found[1]), nil
	}
	return s.folder + " (" + lastLine(out) + ")", nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// build compiles the tests with all mutants in them.
func build(work string, overlay map[string]string) (map[string]string, error) {
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	programs := map[string]string{}
	for _, s := range suites {
		if programs[s.folder] != "" {
			continue
		}
		program, err := filepath.Abs(filepath.Join(work, s.folder+".test"))
		if err != nil {
			return nil, err
		}
		c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", file, "-o", program, "./"+s.folder)
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the tests of %s: %w\n%s", s.folder, err, out)
		}
		programs[s.folder] = program
	}
	return programs, nil
}

const variable = "ANNONA_MUTANT"

// alive is what stands beside the mutants: whether one is alive, and for the verbs, whether the role of the
// next request is asked.
const alive = `package %s

import (
	"strconv"
	"sync/atomic"
	"syscall"
)

var mutant = func() int {
	text, _ := syscall.Getenv("` + variable + `")
	n, _ := strconv.Atoi(text)
	return n
}()

var mutantLax atomic.Bool

func mutantSound(n int) bool { return mutant != n }

func mutantAsked[V any](n int, verb V) V {
	if mutant == n {
		mutantLax.Store(true)
	}
	return verb
}
`

// edit puts a text between two offsets of a file.
type edit struct {
	from, to int
	text     string
}

// mutate finds the decisions of a package and writes its files with all mutants in them.
func mutate(folder, work string, all []*mutant, overlay map[string]string) ([]*mutant, error) {
	files, err := filepath.Glob(folder + "/*.go")
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		m := &marking{set: token.NewFileSet(), source: source, path: path, all: all}
		tree, err := parser.ParseFile(m.set, path, source, 0)
		if err != nil {
			return nil, err
		}
		for _, d := range tree.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Body != nil {
				m.mark(f)
			}
		}
		all = m.all
		if len(m.edits) == 0 {
			continue
		}
		if err := put(work, overlay, path, m.applied()); err != nil {
			return nil, err
		}
	}
	return all, put(work, overlay, folder+"/mutants_alive.go", fmt.Appendf(nil, alive, folder))
}

func put(work string, overlay map[string]string, path string, content []byte) error {
	real, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	to, err := filepath.Abs(filepath.Join(work, strings.ReplaceAll(path, "/", "_")+".txt")) // no package of its own
	if err != nil {
		return err
	}
	overlay[real] = to
	return os.WriteFile(to, content, 0o644)
}

// marking is the mutants of one file.
type marking struct {
	set    *token.FileSet
	source []byte
	path   string
	all    []*mutant
	edits  []edit
}

// guards are the calls of the gate that refuse by an error alone.
var guards = []string{
	"operatorOnly", "mayDecide", "maySeeApprovals", "recognize", "knows", "mayLoad", "MayFetch", "signedInWell", "unchanged", "overCeiling", "checkLockOut", "checkPolicyHas",
}

// asks are the calls of the gate to which a verb is given, to be decided.
var asks = []string{"inquire", "readSmall", "caseDesk", "inquireMatters", "decide", "groundsOf"}

// mark finds the decisions in one function.
func (m *marking) mark(f *ast.FuncDecl) {
	laxly := m.path == "exchange/exchange.go" && f.Name.Name == "requestOf"
	if laxly {
		m.insert(f.Body.Lbrace+1, " laxly := mutantLax.Swap(false); ")
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			if m.isGuard(n) {
				condition := m.text(n.Cond.Pos(), n.Cond.End())
				m.add(f, n.Cond.Pos(), n.Cond.End(), strings.TrimSpace(m.text(n.Pos(), n.Body.Lbrace)), "("+condition+") && mutantSound(%d)")
			}
		case *ast.CallExpr:
			if slices.Contains(asks, nameOf(n.Fun)) {
				m.markVerbs(f, n.Args)
			}
		case *ast.AssignStmt:
			m.markVerbs(f, n.Rhs)
		case *ast.ReturnStmt:
			if laxly {
				m.insert(n.Pos(), `if laxly { r.Role, r.Person = "", nil }; `)
			}
		}
		return true
	})
}

// markVerbs lets the verbs among some expressions be decided as those of somebody with the role partner.
func (m *marking) markVerbs(f *ast.FuncDecl, among []ast.Expr) {
	for _, a := range among {
		if isVerb(a) {
			verb := m.text(a.Pos(), a.End())
			m.add(f, a.Pos(), a.End(), "the role for "+strings.TrimPrefix(verb, "annona."), "mutantAsked(%d, "+verb+")")
		}
	}
}

func (m *marking) insert(at token.Pos, text string) {
	m.edits = append(m.edits, edit{m.offset(at), m.offset(at), text})
}

// isGuard reports whether an if refuses: by the error of a guard, or in package policy by itself.
func (m *marking) isGuard(n *ast.IfStmt) bool {
	if init, is := n.Init.(*ast.AssignStmt); is && len(init.Rhs) == 1 {
		call, is := init.Rhs[0].(*ast.CallExpr)
		return is && slices.Contains(guards, nameOf(call.Fun))
	}
	if !strings.HasPrefix(m.path, "policy/") || n.Init != nil || len(n.Body.List) != 1 {
		return false
	}
	back, is := n.Body.List[0].(*ast.ReturnStmt)
	return is && strings.Contains(m.text(back.Pos(), back.End()), "annona.Forbidden(")
}

func nameOf(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.Ident:
		return of.Name
	case *ast.SelectorExpr:
		return of.Sel.Name
	}
	return ""
}

func isVerb(of ast.Expr) bool {
	s, is := of.(*ast.SelectorExpr)
	return is && strings.HasPrefix(s.Sel.Name, "Verb") && nameOf(s.X) == "annona"
}

func (m *marking) offset(p token.Pos) int { return m.set.Position(p).Offset }

func (m *marking) text(from, to token.Pos) string {
	return string(m.source[m.offset(from):m.offset(to)])
}

// add notes a mutant that replaces the text between two places; %d in it is the number of the mutant.
func (m *marking) add(f *ast.FuncDecl, from, to token.Pos, shown, becomes string) {
	one := &mutant{number: len(m.all) + 1, where: fmt.Sprintf("%s:%d", m.path, m.set.Position(from).Line), function: f.Name.Name, decision: shown}
	m.all = append(m.all, one)
	m.edits = append(m.edits, edit{m.offset(from), m.offset(to), strings.ReplaceAll(becomes, "%d", fmt.Sprint(one.number))})
}

// applied is the file with its mutants.
func (m *marking) applied() (out []byte) {
	slices.SortFunc(m.edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	at := 0
	for _, e := range m.edits {
		out = append(append(out, m.source[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, m.source[at:]...)
}
