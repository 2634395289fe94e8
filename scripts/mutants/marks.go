package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mutant is one decision, taken away.
type mutant struct {
	number   int // from 1
	path     string
	line     int
	function string // that decides
	decision string // as it stands there
	change   string // what becomes of it
}

// key names a mutant as long as its decision stands in its function, wherever that moves in the file.
func (m *mutant) key() string {
	return fmt.Sprintf("%s %s: `%s` %s", m.path, m.function, m.decision, m.change)
}

// source is the files with all mutants in them.
type source struct {
	mutants []*mutant
	files   map[string][]byte
}

// wholly are the files in which each part of each condition is taken away: what is granted, who sees a matter,
// and how cases are referred and handed over, is decided there by much that refuses nothing.
var wholly = []string{"policy/decide.go", "policy/narrow.go", "exchange/transitions.go", "exchange/transition_answers.go", "store/sqlite/matterscope.go", "store/postgres/matterscope.go"}

// guards are the calls of the gate that refuse by an error alone.
var guards = []string{
	"operatorOnly", "mayDecide", "maySeeApprovals", "mayOversee", "recognize", "knows", "mayLoad", "MayFetch", "mayHave", "signedInWell", "unchanged", "overCeiling", "checkLockOut", "checkPolicyHas",
	"checkOffer", "onlyOne", "receives", "withinShare", "ownsCaseSource", "ownRequest", "isItself", "enoughAdministrators",
}

// asks are the calls of the gate to which a verb is given, to be decided.
var asks = []string{"inquire", "readSmall", "caseDesk", "inquireMatters", "decide", "groundsOf"}

// conditions are the calls of the stores that write a condition of their own behind the query.
var conditions = []string{"allowed", "householdVisible", "meets", "meetsAlone", "anyOf", "about"}

// opposites are what becomes of the operators of SQL.
var opposites = map[string]string{
	">=": "<", "<=": ">", " > ": " <= ", " = ANY (": " <> ALL (", " = ": " <> ", "IS NOT NULL": "IS NULL", "IS NULL": "IS NOT NULL", " IN (": " NOT IN (",
	" AND ": " OR ", " OR ": " AND ",
}

var operators = regexp.MustCompile(`>=|<=| > | = ANY \(| = |IS NOT NULL|IS NULL| IN \(| AND | OR `)

// markAll finds the decisions of all places.
func markAll() (*source, error) {
	s := &source{files: map[string][]byte{}}
	for _, place := range places {
		paths, err := filepath.Glob(place)
		if err != nil {
			return nil, err
		}
		paths = slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
		if err := s.markPackage(paths); err != nil {
			return nil, err
		}
	}
	s.tellApart()
	return s, s.checkNames()
}

func (s *source) markPackage(paths []string) error {
	set := token.NewFileSet()
	var files []*marking
	var words []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m := &marking{source: s, set: set, text: text, path: path, seen: map[ast.Expr]bool{}, wholly: slices.Contains(wholly, path)}
		if m.tree, err = parser.ParseFile(set, path, text, 0); err != nil {
			return err
		}
		files, words = append(files, m), append(words, m.refusals()...)
	}
	forbids := regexp.MustCompile(`annona\.(Forbidden|Unauthenticated)\(` + strings.Join(append([]string{""}, words...), "|"))
	for _, m := range files {
		m.forbids = forbids
		for _, d := range m.tree.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Body != nil {
				m.function = f
				m.mark()
			}
		}
		if len(m.inserts) > 0 {
			s.files[m.path] = m.applied()
		}
	}
	return nil
}

// tellApart numbers mutants of one key.
func (s *source) tellApart() {
	count := map[string]int{}
	for _, m := range s.mutants {
		key := m.key()
		if count[key]++; count[key] > 1 {
			m.change += fmt.Sprintf(" (%d)", count[key])
		}
	}
}

// checkNames refuses names in the lists above that stand nowhere.
func (s *source) checkNames() error {
	all := string(slices.Concat(slices.Collect(func(yield func([]byte) bool) {
		for _, text := range s.files {
			if !yield(text) {
				return
			}
		}
	})...))
	for _, name := range slices.Concat(guards, asks, conditions) {
		if !strings.Contains(all, name+"(") {
			return fmt.Errorf("the tool looks for calls of %s, and there are none", name)
		}
	}
	for _, path := range wholly {
		if s.files[path] == nil {
			return fmt.Errorf("the tool looks for conditions in %s, and there are none", path)
		}
	}
	return nil
}

// marking is the mutants of one file.
type marking struct {
	*source
	set      *token.FileSet
	text     []byte
	path     string
	tree     *ast.File
	wholly   bool
	forbids  *regexp.Regexp // what a refusal looks like in this package
	function *ast.FuncDecl
	inserts  []insert
	seen     map[ast.Expr]bool
}

// insert is a text that is put in front of an offset of a file.
type insert struct {
	at   int
	text string
}

// refusals lists the names of the file that stand for a refusal: variables that hold one, and functions that do
// nothing but make one.
func (m *marking) refusals() (names []string) {
	made := func(e ast.Node) bool { return directRefusal.MatchString(m.at(e)) }
	for _, d := range m.tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil && len(d.Body.List) == 1 && made(d.Body.List[0]) {
				names = append(names, `\b`+d.Name.Name+`\(`)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, is := spec.(*ast.ValueSpec); is && len(v.Values) == 1 && made(v.Values[0]) {
					names = append(names, `\b`+v.Names[0].Name+`\b`)
				}
			}
		}
	}
	return names
}

var directRefusal = regexp.MustCompile(`^(return )?annona\.(Forbidden|Unauthenticated)\(`)

// mark finds the decisions in the function.
func (m *marking) mark() {
	laxly := m.path == "exchange/exchange.go" && m.function.Name.Name == "requestOf"
	if laxly {
		m.put(m.function.Body.Lbrace+1, " laxly := mutantLaxly(); ")
	}
	otherwise := m.refusesAtLast()
	ast.Inspect(m.function.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			m.markIf(n, otherwise)
		case *ast.SwitchStmt:
			if n.Tag == nil {
				m.markCases(n)
			}
		case *ast.BinaryExpr:
			if m.wholly && !m.seen[n] {
				m.condition(n, false, false)
			}
		case *ast.BasicLit:
			m.markSQL(n)
		case *ast.ExprStmt:
			m.markCall(n)
		case *ast.CallExpr:
			if slices.Contains(asks, nameOf(n.Fun)) {
				m.markVerbs(n.Args)
			}
		case *ast.AssignStmt:
			m.markVerbs(n.Rhs)
		case *ast.ReturnStmt:
			if laxly {
				m.put(n.Pos(), `if laxly(r.Role != "" || r.Person != nil) { r.Role, r.Person = "", nil }; `)
			}
		}
		return true
	})
}

// refusesAtLast reports whether the function refuses whatever it has not let pass.
func (m *marking) refusesAtLast() bool {
	list := m.function.Body.List
	return len(list) > 1 && m.refuses(list[len(list)-1:])
}

// markIf marks what refuses, and in a function that refuses whatever it has not let pass, what lets pass.
func (m *marking) markIf(n *ast.IfStmt, otherwise bool) {
	refuses := m.refuses(n.Body.List) || m.isGuard(n)
	switch {
	case m.wholly && !m.isGuard(n):
		m.condition(n.Cond, true, true)
	case refuses:
		m.wrap(n.Cond, m.head(n), true, false)
	case otherwise && m.passes(n.Body.List):
		m.wrap(n.Cond, m.head(n), false, true)
	}
}

// head is an if as it stands there, up to its block.
func (m *marking) head(n *ast.IfStmt) string {
	return string(m.text[m.offset(n.Pos()):m.offset(n.Body.Lbrace)])
}

func (m *marking) markCases(n *ast.SwitchStmt) {
	for _, c := range n.Body.List {
		clause := c.(*ast.CaseClause)
		for _, e := range clause.List {
			switch {
			case m.wholly:
				m.condition(e, true, true)
			case m.refuses(clause.Body):
				m.wrap(e, "case "+m.at(e), true, false)
			}
		}
	}
}

// isGuard reports whether an if refuses by the error of a guard.
func (m *marking) isGuard(n *ast.IfStmt) bool {
	init, is := n.Init.(*ast.AssignStmt)
	if !is || len(init.Rhs) != 1 {
		return false
	}
	call, is := init.Rhs[0].(*ast.CallExpr)
	return is && slices.Contains(guards, nameOf(call.Fun))
}

// refuses reports whether a block makes a refusal.
func (m *marking) refuses(block []ast.Stmt) bool {
	return slices.ContainsFunc(block, func(s ast.Stmt) bool {
		switch s.(type) {
		case *ast.ReturnStmt, *ast.AssignStmt:
			return m.forbids.MatchString(m.at(s))
		}
		return false
	})
}

// passes reports whether a block ends the function without an error.
func (m *marking) passes(block []ast.Stmt) bool {
	if len(block) == 0 {
		return false
	}
	last, is := block[len(block)-1].(*ast.ReturnStmt)
	return is && len(last.Results) > 0 && m.at(last.Results[len(last.Results)-1]) == "nil"
}

// condition marks a condition: that it never holds, that it always does, and each part of it as if it were
// not there.
func (m *marking) condition(e ast.Expr, never, always bool) {
	m.seen[e] = true
	if inner, is := e.(*ast.ParenExpr); is {
		m.condition(inner.X, never, always)
		return
	}
	b, is := e.(*ast.BinaryExpr)
	if !is || b.Op != token.LAND && b.Op != token.LOR {
		if isError := is && b.Op == token.NEQ && nameOf(b.X) == "err"; (never || always) && !isError {
			m.wrap(e, m.at(e), never, always)
		}
		return
	}
	closed := func() {}
	if never || always {
		closed = m.open(e, m.at(e), never, always)
	}
	m.condition(b.X, b.Op == token.LOR, b.Op == token.LAND)
	m.condition(b.Y, b.Op == token.LOR, b.Op == token.LAND)
	closed()
}

func (m *marking) wrap(e ast.Expr, shown string, never, always bool) {
	m.open(e, shown, never, always)()
}

// open puts in front of an expression what may take it away; what it returns puts the end behind it.
func (m *marking) open(e ast.Expr, shown string, never, always bool) func() {
	var one, other int
	if never {
		one = m.add(e.Pos(), shown, "never")
	}
	if always {
		other = m.add(e.Pos(), shown, "always")
	}
	m.put(e.Pos(), fmt.Sprintf("mutantIf(%d, %d, ", one, other))
	return func() { m.put(e.End(), ")") }
}

// markVerbs lets the verbs among some expressions be decided as those of somebody with the role partner.
func (m *marking) markVerbs(among []ast.Expr) {
	for _, a := range among {
		if isVerb(a) {
			n := m.add(a.Pos(), m.at(a), "whatever the role")
			m.put(a.Pos(), fmt.Sprintf("mutantAsked(%d, ", n))
			m.put(a.End(), ")")
		}
	}
}

// markCall leaves out a condition that a store writes by a call.
func (m *marking) markCall(n *ast.ExprStmt) {
	call, is := n.X.(*ast.CallExpr)
	if !is || !m.wholly || !slices.Contains(conditions, nameOf(call.Fun)) {
		return
	}
	m.put(n.Pos(), fmt.Sprintf("if mutantIf(%d, 0, true) { ", m.add(n.Pos(), m.at(n), "left out")))
	m.put(n.End(), " }")
}

// markSQL turns each operator of a piece of SQL over.
func (m *marking) markSQL(n *ast.BasicLit) {
	if !m.wholly || !strings.HasPrefix(m.path, "store/") || n.Kind != token.STRING {
		return
	}
	text, err := strconv.Unquote(n.Value)
	if err != nil {
		return
	}
	var first int
	var changed strings.Builder
	for _, at := range operators.FindAllStringIndex(text, -1) {
		operator := text[at[0]:at[1]]
		number := m.add(n.Pos(), text, strings.TrimSpace(operator)+" turned over")
		first = cmp.Or(first, number)
		fmt.Fprintf(&changed, ", %q", text[:at[0]]+opposites[operator]+text[at[1]:])
	}
	if first > 0 {
		m.put(n.Pos(), fmt.Sprintf("mutantText(%d, ", first))
		m.put(n.End(), changed.String()+")")
	}
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

func (m *marking) at(n ast.Node) string { return string(m.text[m.offset(n.Pos()):m.offset(n.End())]) }

func (m *marking) put(at token.Pos, text string) {
	m.inserts = append(m.inserts, insert{m.offset(at), text})
}

// add notes a mutant and returns its number.
func (m *marking) add(at token.Pos, shown, change string) int {
	m.mutants = append(m.mutants, &mutant{
		number: len(m.mutants) + 1, path: m.path, line: m.set.Position(at).Line, function: m.function.Name.Name,
		decision: strings.Join(strings.Fields(shown), " "), change: change,
	})
	return len(m.mutants)
}

// applied is the file with its mutants.
func (m *marking) applied() (out []byte) {
	slices.SortStableFunc(m.inserts, func(a, b insert) int { return cmp.Compare(a.at, b.at) })
	at := 0
	for _, i := range m.inserts {
		out = append(append(out, m.text[at:i.at]...), i.text...)
		at = i.at
	}
	return append(out, m.text[at:]...)
}
