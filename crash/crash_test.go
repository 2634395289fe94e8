package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

var (
	seedFlag    = flag.Uint64("seed", 1, "of the plan; 0: a fresh one")
	programFlag = flag.String("program", "", "a built annona; without it, one is built")
	brokenFlag  = flag.Bool("broken", false, "build programs that break a promise, and watch each of them being found out")
)

// built is the program that these tests kill.
var built struct {
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	folder, err := os.MkdirTemp("", "annona-crash")
	if err != nil {
		panic(err)
	}
	built.path = filepath.Join(folder, "annona")
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	if *programFlag != "" {
		return *programFlag
	}
	built.once.Do(func() { built.err = build(built.path) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build(path string, more ...string) error {
	args := append([]string{"build", "-o", path}, more...)
	cmd := exec.Command("go", append(args, "./cmd/annona")...)
	cmd.Dir = ".."
	_, err := output(cmd)
	return err
}

// try returns the options of a short run.
func try(t *testing.T, store string) options {
	t.Helper()
	if testing.Short() {
		t.Skip("kills take a while")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	o := options{root: root, program: program(t), folder: t.TempDir(), store: store, seed: *seedFlag, people: 1200}
	if o.seed == 0 {
		o.seed = freshSeed()
	}
	t.Logf("seed %d", o.seed)
	return o
}

// judge fails the test when a run found something.
func judge(t *testing.T, r *report, err error) {
	t.Helper()
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil || r.failure() != nil {
		t.Errorf("%v\n%s", err, r)
		return
	}
	t.Logf("\n%s", r)
}

func TestKills(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			o := try(t, store)
			o.kills = 6
			r, err := killing(t.Context(), o)
			judge(t, r, err)
		})
	}
}

func TestCutsOfPower(t *testing.T) {
	t.Parallel()
	needStrace(t)
	o := try(t, "sqlite")
	o.people, o.cuts = 600, 6
	r, err := cutting(t.Context(), o)
	judge(t, r, err)
}

// needStrace skips a test where nothing can be traced.
func needStrace(t *testing.T) {
	t.Helper()
	if err := exec.Command("strace", "-f", "--seccomp-bpf", "-o", os.DevNull, "true").Run(); err != nil {
		t.Skip("strace is missing or may not trace here; make tools installs it: ", err)
	}
}

// broken are programs that break a promise, and the checks one of which must find each of them
// out.
var broken = []struct {
	name    string
	power   bool // found out when the power is cut; otherwise when processes are killed
	checks  []string
	changes []edit
}{
	{"a page is recorded when it has left", false, []string{checkCovered}, []edit{
		{"exchange/pass.go", "return p.x.record(ctx, p.i, f.disclosed, p.sent.Pages+1)", "return nil"},
		{"exchange/pass.go", "\tp.sent.Pages++\n", "\ttime.Sleep(20 * time.Millisecond)\n\tif err := p.x.record(context.Background(), p.i, f.disclosed, p.sent.Pages+1); err != nil {\n\t\treturn err\n\t}\n\tp.sent.Pages++\n"},
	}},
	{"a record names not everybody", false, []string{checkCovered}, []edit{
		{"exchange/answer.go", "Fields: s.Fields, Numbers: s.Numbers}", "Fields: s.Fields, Numbers: s.Numbers[:len(s.Numbers)-1]}"},
	}},
	{"a wish is acknowledged before it is written", false, []string{checkLost, checkEntries}, []edit{
		{"exchange/subject.go", "return x.Writer.Update(ctx, func(tx annona.Tx) error {\n\t\tif err := put(tx)", "go x.Writer.Update(context.WithoutCancel(ctx), func(tx annona.Tx) error {\n\t\tif err := put(tx)"},
		{"exchange/subject.go", "return tx.AppendEntry(ctx, entry)\n\t})\n}\n", "return tx.AppendEntry(ctx, entry)\n\t})\n\treturn nil\n}\n"},
	}},
	{"a batch is recorded after its change", false, []string{checkEntries}, []edit{
		{"exchange/load.go", "return tx.AppendEntry(ctx, l.entry(step, wrote.Loaded))", "return nil"},
		{"exchange/load.go", "\tl.add(wrote)\n\treturn wrote.Loaded, nil", "\ttime.Sleep(100 * time.Millisecond)\n\terr = l.x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.AppendEntry(ctx, l.entry(\"batch\", wrote.Loaded)) })\n\tl.add(wrote)\n\treturn wrote.Loaded, err"},
	}},
	{"a batch is written in parts", false, []string{checkHalf, checkEntries}, []edit{
		{"exchange/load.go", "func (l *Loading) Write(ctx context.Context, batches ...*Batch) (annona.Loaded, error) {",
			"func (l *Loading) Write(ctx context.Context, batches ...*Batch) (annona.Loaded, error) {\n\tif b := batches[0]; len(b.records) > 2 {\n\t\tpart, rest := *b, *b\n\t\tat := len(b.records) - 2\n\t\tpart.records, part.keys, rest.records, rest.keys = b.records[:at], b.keys[:at], b.records[at:], b.keys[at:]\n\t\tif _, err := l.Write(ctx, &part); err != nil {\n\t\t\treturn annona.Loaded{}, err\n\t\t}\n\t\ttime.Sleep(100 * time.Millisecond)\n\t\treturn l.Write(ctx, &rest)\n\t}"},
	}},
	{"requests stay open", false, []string{checkOutcome}, []edit{
		{"exchange/administer.go", "for _, request := range open {", "for _, request := range open[:0] {"},
	}},
	{"an export is complete before it ends", false, []string{checkOutcome}, []edit{
		{"exchange/export.go", "sent, err := e.send(ctx, parts, to)", "e.x.outcome(ctx, e.i, audit.Complete, 0, 0, \"\")\n\tsent, err := e.send(ctx, parts, to)"},
	}},
	{"a restriction is forgotten", false, []string{checkLost}, []edit{
		{"exchange/subject.go", "func(tx annona.Tx) error { return tx.PutRestriction(ctx, r) })\n}\n\n// Lift", "func(tx annona.Tx) error { return nil })\n}\n\n// Lift"},
	}},
	{"the ledger loses a node of its tree", false, []string{checkLedger, checkStart}, []edit{
		{"store/sqlite/ledger.go", "if failed == nil {\n\t\t\tfailed = t.conn.exec(\"INSERT INTO ledger_nodes", "if failed == nil && (id.Level == 0 || index%7 > 0) {\n\t\t\tfailed = t.conn.exec(\"INSERT INTO ledger_nodes"},
	}},
	{"commits are not synced", true, anyCheck, []edit{
		{"store/sqlite/store.go", "\"synchronous = full\"", "\"synchronous = off\""},
		{"store/sqlite/store.go", "level < 2", "level < 0"},
	}},
	{"commits are synced now and then", true, anyCheck, []edit{
		{"store/sqlite/store.go", "\"synchronous = full\"", "\"synchronous = normal\""},
		{"store/sqlite/store.go", "level < 2", "level < 0"},
	}},
}

// anyCheck are the checks that a registry may fail which has lost what was not synced.
var anyCheck = []string{checkLost, checkHalf, checkBytes, checkCovered, checkEntries, checkOutcome, checkLedger, checkStart}

// edit replaces a piece of a source file.
type edit struct{ file, was, is string }

// TestBrokenPrograms shows that each check fails when it must. It builds a program for each
// promise, which takes minutes, so that it runs only when it is asked for.
func TestBrokenPrograms(t *testing.T) {
	if !*brokenFlag {
		t.Skip("run with -args -broken")
	}
	for _, b := range broken {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			o := try(t, "sqlite")
			o.program = buildBroken(t, b.changes)
			var r *report
			var err error
			if b.power {
				needStrace(t)
				o.people, o.cuts = 600, 100
				r, err = cutting(t.Context(), o)
			} else {
				o.kills = 100
				r, err = killing(t.Context(), o)
			}
			said := r.String()
			if err != nil {
				said += err.Error()
			}
			for _, check := range b.checks {
				if strings.Contains(said, check+": ") {
					t.Logf("found out after %d kills:\n%s", r.blows, said[strings.Index(said, "failures"):])
					return
				}
			}
			t.Errorf("not found out: %s", said)
		})
	}
}

// buildBroken builds the program with some files changed, which on disk stay as they are.
func buildBroken(t *testing.T, changes []edit) string {
	t.Helper()
	folder, texts := t.TempDir(), map[string]string{}
	for _, c := range changes {
		path, err := filepath.Abs(filepath.Join("..", c.file))
		if err != nil {
			t.Fatal(err)
		}
		if texts[path] == "" {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(source)
		}
		if strings.Count(texts[path], c.was) != 1 {
			t.Fatalf("%s has changed: what was to be broken is not there any more: %s", c.file, c.was)
		}
		texts[path] = strings.Replace(texts[path], c.was, c.is, 1)
		if strings.Contains(c.is, "time.") && !strings.Contains(texts[path], "\t\"time\"\n") {
			texts[path] = strings.Replace(texts[path], "import (\n", "import (\n\t\"time\"\n", 1)
		}
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for path, text := range texts {
		overlay.Replace[path] = filepath.Join(folder, strings.ReplaceAll(strings.Trim(path, "/"), "/", "-"))
		write(t, overlay.Replace[path], text)
	}
	listed, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "overlay.json"), string(listed))
	out := filepath.Join(folder, "annona")
	if err := build(out, "-overlay", filepath.Join(folder, "overlay.json")); err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
