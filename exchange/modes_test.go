package exchange_test

import (
	"context"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// file is what a source sends at once.
type file struct {
	source   string
	mode     string
	day      int // of January 2026; 0: now
	guard    float64
	covers   map[string][]string
	match    []string
	rejected int
	rows     []annona.Record
	second   []annona.Record // what the second pass reads, when that is something else
}

// send loads a file and returns the load as it is on file.
func (r *registry) send(t *testing.T, f file) (exchange.LoadInfo, error) {
	t.Helper()
	order := exchange.LoadOrder{Source: f.source, Mode: f.mode, Guard: f.guard, Covers: f.covers, Match: f.match}
	if f.day > 0 {
		order.AsOf = january(f.day)
	}
	l, err := r.BeginLoad(t.Context(), operator, order)
	if err != nil {
		return exchange.LoadInfo{}, err
	}
	err = r.run(t.Context(), l, f)
	if err != nil {
		if err := l.Fail(t.Context(), err); err != nil {
			t.Fatal(err)
		}
	}
	info, shown := r.ShowLoad(t.Context(), operator, l.ID())
	if shown != nil {
		t.Fatal(shown)
	}
	return info, err
}

func (r *registry) run(ctx context.Context, l *exchange.Loading, f file) error {
	for i := range f.rows {
		f.rows[i].Source = f.source
	}
	houses, people := apart(f.rows)
	if f.mode == exchange.ModeFull {
		if err := l.Name(ctx, houses, people); err != nil {
			return err
		}
		if err := l.Decide(ctx); err != nil {
			return err
		}
	}
	if f.second != nil {
		houses, people = apart(f.second)
	}
	if _, err := l.Put(ctx, houses, people); err != nil {
		return err
	}
	l.Read(map[string]int{"rows": len(f.rows)}, f.rejected)
	_, err := l.Finish(ctx)
	return err
}

func apart(rows []annona.Record) (houses, people []annona.Record) {
	for _, row := range rows {
		if row.Dataset.Name == "households" {
			houses = append(houses, row)
		} else {
			people = append(people, row)
		}
	}
	return houses, people
}

// TestConfirmedWord sends an older file after one that had said the same as the one before it: what a
// source has said again is as young as when it said so last.
func TestConfirmedWord(t *testing.T) {
	for _, c := range []struct {
		name string
		undo bool // of the load that confirmed
		kept string
	}{{"confirmed", false, "one"}, {"the confirming load is undone", true, "two"}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t, 0)
			say := func(day int, name string) exchange.LoadInfo {
				t.Helper()
				info, err := r.send(t, file{source: "survey", day: day, rows: []annona.Record{row(t, "individuals", "p", "full_name", name)}})
				check(t, err)
				return info
			}
			say(1, "one")
			again := say(10, "one")
			if again.Report.Unchanged != 1 {
				t.Fatalf("said again: %+v", again.Report)
			}
			if c.undo {
				_, err := r.UndoLoad(t.Context(), operator, again.ID)
				check(t, err)
			}
			older := say(5, "two")
			if stale := older.Report.Stale == 1; stale == c.undo {
				t.Errorf("the older file: %+v", older.Report)
			}
			r.wantSeen(t, map[string]string{c.kept: ""})
		})
	}
}

func january(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

// a row makes a record of fields and their texts in turn.
func row(t *testing.T, dataset, key string, cells ...string) annona.Record {
	t.Helper()
	d, _ := annona.Standard().Dataset(dataset)
	r := annona.Record{Dataset: d, Source: "survey", Key: key}
	for i := 0; i < len(cells); i += 2 {
		switch cells[i] {
		case "in":
			r.Memberships = append(r.Memberships, annona.Membership{HouseholdKey: cells[i+1], Role: "head"})
		case "national_id":
			r.Groups = append(r.Groups, nationalID(cells[i+1]))
		default:
			f, ok := d.Field(cells[i])
			if !ok {
				t.Fatal("no field " + cells[i])
			}
			r.Values = append(r.Values, annona.Value{Field: f, Text: cells[i+1]})
		}
	}
	return r
}

func nationalID(number string) annona.GroupItems {
	d := annona.Standard()
	people, _ := d.Dataset("individuals")
	group, _ := people.Field("identifiers")
	ids, _ := d.Dataset("identifiers")
	scheme, _ := ids.Field("scheme")
	value, _ := ids.Field("value")
	return annona.GroupItems{Field: group, Items: [][]annona.Value{{{Field: scheme, Text: "national_id_number"}, {Field: value, Text: number}}}}
}

// sees returns name and occupation of everybody whom the partner sees.
func (r *registry) sees(t *testing.T) map[string]string {
	t.Helper()
	answer, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name", "occupation"}}, 100, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	if answer.Page == nil {
		return seen
	}
	p := answer.Page.Page()
	for row := range p.Count {
		seen[string(p.Cell(0, row))] = string(p.Cell(1, row))
	}
	return seen
}

func (r *registry) wantSeen(t *testing.T, want map[string]string) {
	t.Helper()
	seen := r.sees(t)
	if len(seen) != len(want) {
		t.Errorf("the partner sees %v, want %v", seen, want)
	}
	for name, occupation := range want {
		if got, there := seen[name]; !there || got != occupation {
			t.Errorf("%s is %q, want %q", name, got, occupation)
		}
	}
}

type counts struct{ created, changed, unchanged, deleted, restored, stale int }

func wantCounts(t *testing.T, info exchange.LoadInfo, state string, want counts) {
	t.Helper()
	r := info.Report
	if got := (counts{r.Created, r.Changed, r.Unchanged, r.Deleted, r.Restored, r.Stale}); info.State != state || got != want {
		t.Errorf("the load is %s with %+v, want %s with %+v", info.State, got, state, want)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestAnOlderFileChangesNothing loads a file of January 5, then one of January 3.
func TestAnOlderFileChangesNothing(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	ok(r.send(t, file{source: "survey", day: 5, rows: []annona.Record{person(t, "a", "Ama", "baker")}}))
	late := ok(r.send(t, file{source: "survey", day: 3, rows: []annona.Record{person(t, "a", "Ama", "smith"), person(t, "b", "Kofi", "smith")}}))
	wantCounts(t, late, exchange.StateFinished, counts{created: 1, stale: 1})
	r.wantSeen(t, map[string]string{"Ama": "baker", "Kofi": "smith"})
}

// TestAFullLoadDeletes whom it does not name, within the guard; whoever is named again comes back.
func TestAFullLoadDeletes(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	house := row(t, "households", "h")
	ama, kofi := row(t, "individuals", "a", "full_name", "Ama", "in", "h"), row(t, "individuals", "b", "full_name", "Kofi", "in", "h")
	full := file{source: "survey", mode: exchange.ModeFull, guard: 60, day: 1, rows: []annona.Record{house, ama, kofi}}
	ok(r.send(t, full))
	full.day, full.rows = 2, []annona.Record{house, ama}
	wantCounts(t, ok(r.send(t, full)), exchange.StateFinished, counts{unchanged: 2, deleted: 1})
	r.wantSeen(t, map[string]string{"Ama": ""})
	wantCounts(t, ok(r.send(t, file{source: "survey", day: 1, rows: []annona.Record{house, kofi}})), exchange.StateFinished, counts{unchanged: 1, stale: 1})
	full.day, full.rows = 3, []annona.Record{house, ama, kofi}
	wantCounts(t, ok(r.send(t, full)), exchange.StateFinished, counts{unchanged: 2, changed: 1, restored: 1})
	r.wantSeen(t, map[string]string{"Ama": "", "Kofi": ""})
}

// TestTheGuardHolds: nothing at all of a file is applied when it would delete too many.
func TestTheGuardHolds(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	all := []annona.Record{person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"), person(t, "c", "Esi", "smith")}
	ok(r.send(t, file{source: "survey", day: 1, rows: all}))
	full := file{source: "survey", mode: exchange.ModeFull, guard: 50, day: 2, rows: []annona.Record{person(t, "a", "Ama", "miller")}}
	info, err := r.send(t, full)
	if annona.CodeOf(err) != "delete_guard" || info.Report.Missing["individuals"] != 2 || info.Report.Live["individuals"] != 3 || info.Report.Code != "delete_guard" {
		t.Errorf("%v, %+v", err, info.Report)
	}
	wantCounts(t, info, exchange.StateRefused, counts{})
	r.wantSeen(t, map[string]string{"Ama": "baker", "Kofi": "smith", "Esi": "smith"})

	full.rows = nil
	if info, err = r.send(t, full); annona.CodeOf(err) != "full_load_empty" || info.State != exchange.StateRefused {
		t.Errorf("an empty file: %v, %s", err, info.State)
	}
	full.guard, full.rows = 90, []annona.Record{person(t, "a", "Ama", "miller")}
	full.second = []annona.Record{person(t, "a", "Ama", "miller"), person(t, "d", "Yaw", "smith")}
	if info, err = r.send(t, full); annona.CodeOf(err) != "input_changed" || info.State != exchange.StateFailed || info.Report.Deleted != 0 {
		t.Errorf("a file that grows: %v, %s", err, info.State)
	}
	full.second, full.rejected = nil, 1
	if info, err = r.send(t, full); err != nil || info.Report.Deleted != 0 || info.Report.Held != 3 {
		t.Errorf("a file with a refused row: %v, %+v", err, info.Report)
	}
	r.wantSeen(t, map[string]string{"Ama": "miller", "Kofi": "smith", "Esi": "smith", "Yaw": "smith"})
}

// TestTwoSourcesOfOnePerson: the second finds the first by an identifier. Each takes back its own words
// only, and nobody is deleted whom another one reports.
func TestTwoSourcesOfOnePerson(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	match := []string{"national_id_number"}
	survey := row(t, "individuals", "a", "full_name", "Ama", "national_id", "GHA-1")
	other := row(t, "individuals", "o", "full_name", "Esi", "national_id", "GHA-2")
	ok(r.send(t, file{source: "survey", day: 1, rows: []annona.Record{survey, other}}))
	info := ok(r.send(t, file{source: "program", day: 2, match: match, mode: exchange.ModeFull, rows: []annona.Record{
		row(t, "individuals", "p-9", "occupation", "baker", "national_id", "gha 1"), row(t, "individuals", "p-8", "full_name", "Yaw", "national_id", "GHA-3")}}))
	wantCounts(t, info, exchange.StateFinished, counts{created: 1, changed: 1})
	if info.Report.Attached != 1 {
		t.Errorf("%d keys were attached", info.Report.Attached)
	}
	r.wantSeen(t, map[string]string{"Ama": "baker", "Esi": "", "Yaw": ""})
	gone := ok(r.send(t, file{source: "program", day: 3, match: match, mode: exchange.ModeFull, guard: 50, rows: []annona.Record{
		row(t, "individuals", "p-8", "full_name", "Yaw", "national_id", "GHA-3")}}))
	wantCounts(t, gone, exchange.StateFinished, counts{changed: 1, unchanged: 1})
	if gone.Report.TakenBack != 1 {
		t.Errorf("%+v", gone.Report)
	}
	r.wantSeen(t, map[string]string{"Ama": "", "Esi": "", "Yaw": ""})
	again := ok(r.send(t, file{source: "program", day: 4, match: match, rows: []annona.Record{
		row(t, "individuals", "p-9", "occupation", "baker", "national_id", "gha 1")}}))
	wantCounts(t, again, exchange.StateFinished, counts{changed: 1})
	first := ok(r.send(t, file{source: "survey", day: 5, mode: exchange.ModeFull, guard: 50, rows: []annona.Record{other}}))
	wantCounts(t, first, exchange.StateFinished, counts{unchanged: 1, changed: 1})
	r.wantSeen(t, map[string]string{"": "baker", "Esi": "", "Yaw": ""})
	back := ok(r.send(t, file{source: "survey", day: 6, rows: []annona.Record{survey}}))
	wantCounts(t, back, exchange.StateFinished, counts{changed: 1})
	r.wantSeen(t, map[string]string{"Ama": "baker", "Esi": "", "Yaw": ""})
}

// TestUndo takes a load back, and the undo too.
func TestUndo(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	one, two := row(t, "households", "1"), row(t, "households", "2")
	ama := func(home, work string) annona.Record {
		return row(t, "individuals", "a", "full_name", "Ama", "occupation", work, "in", home)
	}
	gone := row(t, "individuals", "g", "full_name", "Gone", "in", "1")
	late := row(t, "individuals", "l", "full_name", "Late", "in", "1")
	ok(r.send(t, file{source: "survey", day: 1, rows: []annona.Record{one, ama("1", "baker"), gone, late}}))
	before := r.sees(t)
	load := ok(r.send(t, file{source: "survey", day: 2, mode: exchange.ModeFull, guard: 50, rows: []annona.Record{
		one, two, ama("2", "smith"), row(t, "individuals", "n", "full_name", "New", "in", "2"), row(t, "individuals", "l", "full_name", "Later", "in", "1")}}))
	wantCounts(t, load, exchange.StateFinished, counts{created: 2, changed: 2, unchanged: 1, deleted: 1})
	after := r.sees(t)
	ok(r.send(t, file{source: "survey", day: 3, rows: []annona.Record{row(t, "individuals", "l", "full_name", "Latest", "in", "1")}}))

	undo, err := r.UndoLoad(t.Context(), operator, load.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n := undo.Report; undo.State != exchange.StateFinished || n.Deleted != 2 || n.Restored != 1 || n.ChangedSince != 1 || undo.Undoes != load.ID {
		t.Errorf("%+v", undo)
	}
	delete(before, "Late")
	before["Latest"] = ""
	r.wantSeen(t, before)
	if _, err := r.UndoLoad(t.Context(), operator, load.ID); annona.CodeOf(err) != "load_undone" {
		t.Errorf("twice: %v", err)
	}
	again, err := r.UndoLoad(t.Context(), operator, undo.ID)
	if err != nil {
		t.Fatal(err)
	}
	if again.Report.ChangedSince != 0 {
		t.Errorf("%+v", again.Report)
	}
	delete(after, "Later")
	after["Latest"] = ""
	r.wantSeen(t, after)
	if info := ok(r.ShowLoad(t.Context(), operator, load.ID)); info.State != exchange.StateFinished {
		t.Errorf("the load is %s after its undo was undone", info.State)
	}
	same := ok(r.send(t, file{source: "survey", day: 4, rows: []annona.Record{one, two, ama("2", "smith")}}))
	wantCounts(t, same, exchange.StateFinished, counts{unchanged: 3})
}

// TestAuthorities declares that the civil registry decides dates of birth.
func TestAuthorities(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	rule := annona.Extension{Country: "GH", Authorities: []annona.Authority{{Dataset: "individuals", Field: "date_of_birth", Source: "civil"}}}
	declared, err := r.Declare(t.Context(), operator, rule)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Declare(t.Context(), operator, rule); err != nil || again.Version != declared.Version {
		t.Errorf("declared twice it is version %d, %v", again.Version, err)
	}
	match := []string{"national_id_number"}
	born := func(key, day string) []annona.Record {
		return []annona.Record{row(t, "individuals", key, "date_of_birth", day, "national_id", "GHA-1")}
	}
	ok(r.send(t, file{source: "survey", day: 1, rows: born("a", "1990-01-01")}))
	ok(r.send(t, file{source: "civil", day: 2, match: match, rows: born("c", "1991-01-01")}))
	lost := ok(r.send(t, file{source: "survey", day: 3, rows: born("a", "1990-02-02")}))
	if lost.Report.OutsideAuthority["individuals.date_of_birth"] != 1 {
		t.Errorf("%+v", lost.Report)
	}
	r.partner(t, func(a *annona.Agreement) {
		terms := a.Datasets["individuals"]
		terms.Fields = []string{"provenance"}
		a.Datasets["individuals"] = terms
		a.Datasets["provenance"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public}}
		a.Datasets["quality_flags"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Personal}}
	})
	answer, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"date_of_birth", "provenance.field", "provenance.source", "quality_flags.code", "quality_flags.field"}}, 10, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	p := answer.Page.Page()
	if got := string(p.Cell(0, 0)); got != "1991-01-01" {
		t.Errorf("born on %s", got)
	}
	for _, g := range p.Groups {
		for i := range g.Page.Count {
			t.Log(string(g.Page.Cell(0, i)), string(g.Page.Cell(1, i)))
		}
	}
	sources := p.Groups[p.Shape.Group("provenance")].Page
	if sources.Count == 0 || string(sources.Cell(0, 0)) != "date_of_birth" || string(sources.Cell(1, 0)) != "civil" {
		t.Error("provenance does not say who decided")
	}
	flags := p.Groups[p.Shape.Group("quality_flags")].Page
	if flags.Count != 1 || string(flags.Cell(0, 0)) != "outside_authority" {
		t.Errorf("%d flags", flags.Count)
	}
}

// TestTheDeadLiveNowhere: a death that the first report tells ends memberships as one that a later
// report tells.
func TestTheDeadLiveNowhere(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	houses := func() (n int) {
		answer, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"member_count"}}, 100, "", exchange.Form{})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Page != nil {
			n = answer.Page.Page().Count
		}
		return n
	}
	one, other := row(t, "households", "h"), row(t, "households", "g")
	ama := row(t, "individuals", "a", "full_name", "Ama", "vital_status", "deceased", "in", "h")
	ok(r.send(t, file{source: "survey", day: 1, rows: []annona.Record{one, other, ama, row(t, "individuals", "b", "full_name", "Kofi", "in", "g")}}))
	if n := houses(); n != 1 {
		t.Errorf("%d households have somebody in them after the first report", n)
	}
	kofi := row(t, "individuals", "b", "full_name", "Kofi", "vital_status", "deceased", "in", "g")
	ok(r.send(t, file{source: "survey", day: 2, rows: []annona.Record{kofi}}))
	if n := houses(); n != 0 {
		t.Errorf("%d households have somebody in them after the second report", n)
	}
}

// A load brought somebody back who had been deleted, was undone, and its undo is undone: they are what the
// load had made of them, and not what they were before.
func TestUndoOfAnUndoThatDeleted(t *testing.T) {
	r := newRegistry(t, 0)
	ok := must[exchange.LoadInfo](t)
	ama := func(name string) []annona.Record {
		return []annona.Record{row(t, "individuals", "a", "full_name", name)}
	}
	undo := func(id annona.UID) annona.UID {
		t.Helper()
		info, err := r.UndoLoad(t.Context(), operator, id)
		if err != nil {
			t.Fatal(err)
		}
		return info.ID
	}
	undo(ok(r.send(t, file{source: "survey", day: 1, rows: ama("Ama")})).ID)
	back := ok(r.send(t, file{source: "survey", day: 9, rows: ama("Ama Mensah")}))
	seen := r.sees(t)
	undo(undo(back.ID))
	r.wantSeen(t, seen)
	older := ok(r.send(t, file{source: "survey", day: 7, mode: exchange.ModeFull, guard: 100, rows: []annona.Record{row(t, "individuals", "b", "full_name", "Other")}}))
	if older.Report.Deleted != 0 {
		t.Errorf("an older full load deleted what the younger one had said: %+v", older.Report)
	}
}
