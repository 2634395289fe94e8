package exchange_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// town is a registry of two districts in which names are searched.
type town struct {
	*place
	t      *testing.T
	caller annona.Caller
}

func newTown(t *testing.T, g ground) *town {
	p, err := g.open(t.Context())
	check(t, err)
	t.Cleanup(func() { check(t, p.store.Close()) })
	p.Rotator = g.vault
	w := &town{place: p, t: t}
	area := func(code, parent string, level int) annona.Area {
		return annona.Area{Code: code, Parent: parent, Level: level}
	}
	_, err = p.ImportAreas(p.ctx, operator, []annona.Area{area("X", "", 0), area("X1", "X", 1), area("X11", "X1", 2), area("X111", "X11", 3), area("X112", "X11", 3), area("X12", "X1", 2), area("X121", "X12", 3)})
	check(t, err)
	w.agree(nil)
	return w
}

// agree puts the agreement in force, changed as a test likes, for a new client.
func (w *town) agree(change func(*annona.Agreement)) {
	w.t.Helper()
	classes := []annona.Sensitivity{annona.Public, annona.Personal}
	a := annona.Agreement{
		Name: "counter", Realm: "counter", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Counter", Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31", Purposes: []annona.PurposeTerms{{Code: purpose, Basis: annona.BasisPublicInterest}},
		Datasets:   map[string]annona.DatasetTerms{"individuals": {Sensitivities: classes}, "households": {Sensitivities: classes}, "other_names": {Sensitivities: classes}},
		NameSearch: true,
	}
	if change != nil {
		change(&a)
	}
	_, err := w.ApplyAgreement(w.ctx, operator, a)
	check(w.t, err)
	w.caller, err = w.admit(a.Name)
	check(w.t, err)
}

func (w *town) record(dataset, key string, pairs ...string) annona.Record {
	w.t.Helper()
	d, _ := annona.Standard().Dataset(dataset)
	r := annona.Record{Dataset: d, Source: "survey", Key: key}
	for i := 0; i < len(pairs); i += 2 {
		f, ok := d.Field(pairs[i])
		if !ok {
			w.t.Fatal("no field " + pairs[i])
		}
		r.Values = append(r.Values, annona.Value{Field: f, Text: pairs[i+1]})
	}
	return r
}

func (w *town) lives(household string, r annona.Record) annona.Record {
	r.Memberships = []annona.Membership{{HouseholdKey: household, StartDate: "2020-01-01"}}
	return r
}

func (w *town) load(records ...annona.Record) {
	w.t.Helper()
	l, err := w.StartLoad(w.ctx, operator, "survey", nil)
	check(w.t, err)
	_, err = l.Put(w.ctx, records)
	check(w.t, err)
	_, err = l.Finish(w.ctx)
	check(w.t, err)
}

// settleIndexes does all that is to be done to the indexes.
func (w *town) settleIndexes() {
	w.t.Helper()
	for more := true; more; w.now = w.now.Add(time.Second) {
		var err error
		more, err = w.Reindex(w.ctx, operator)
		check(w.t, err)
	}
}

func (w *town) switchNames(on bool) {
	w.t.Helper()
	_, err := w.SwitchNameSearch(w.ctx, operator, on)
	check(w.t, err)
	w.settleIndexes()
}

// ask searches and returns the names that come back, or the code of a refusal.
func (w *town) ask(area, name string) []string {
	w.t.Helper()
	w.now = w.now.Add(time.Minute) // nobody asks too often
	q := exchange.Question{Purpose: purpose, Fields: []string{"full_name"}}
	answer, err := w.NameSearch(w.ctx, w.caller, q, exchange.NameQuery{Name: name, Area: area}, exchange.Form{Format: "json"})
	if err != nil {
		return []string{annona.CodeOf(err)}
	}
	answer.Sent(int64(answer.Page.Count()), nil)
	return fields(answer)
}

func fields(answer *exchange.Answer) (names []string) {
	for row := range answer.Page.Count() {
		names = append(names, string(answer.Page.Page().Cell(0, row)))
	}
	return names
}

func (w *town) wants(area, name string, want ...string) {
	w.t.Helper()
	if got := w.ask(area, name); !slices.Equal(got, want) {
		w.t.Errorf("%q in %s: %q, want %q", name, area, got, want)
	}
}

func (w *town) rows() int64 {
	w.t.Helper()
	rows, waiting, err := w.store.CountNames(w.ctx)
	check(w.t, err)
	if waiting > 0 {
		w.t.Errorf("%d wait", waiting)
	}
	return rows
}

func inTown(t *testing.T, test func(t *testing.T, w *town)) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) { test(t, newTown(t, g)) })
	}
}

// C-17: off, there is no such thing; on, an area is required, 21 matches are 20, another area has
// none, of somebody who was erased there is no row, and each search is in the ledger.
func TestNameSearch(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.load(w.record("households", "h", "area_code", "X111"), w.record("households", "o", "area_code", "X121"), w.record("households", "r", "area_code", "X1"))
		w.load(w.lives("h", w.record("individuals", "1", "full_name", "Ama Mensah")))
		if w.wants("X11", "Ama", "not_found"); w.rows() != 0 {
			t.Error("names are indexed though the search is off")
		}
		w.switchNames(true)
		w.load(w.lives("h", w.record("individuals", "2", "full_name", "Mensah, Kofi", "given_name", "Kofi")),
			w.lives("o", w.record("individuals", "3", "full_name", "Abena Mensah")), w.lives("r", w.record("individuals", "4", "full_name", "Yaa Mensah")),
			w.record("individuals", "5", "full_name", "Esi Mensah"))
		w.wants("X11", "mensah", "Ama Mensah", "Mensah, Kofi")
		w.wants("X111", "MENSAH  áma", "Ama Mensah")
		w.wants("X112", "Mensah")
		w.wants("X12", "Mensah", "Abena Mensah")
		w.wants("X11", "mens ama", "Ama Mensah")
		w.wants("X11", "men")
		w.wants("X11", "mensahs")
		w.wants("X11", "Ama Kofi")
		w.wants("X12", "Esi")
		w.wants("X1", "Mensah", "area_too_large")
		w.wants("X", "Mensah", "area_too_large")
		w.wants("", "Mensah", "area_missing")
		w.wants("Y", "Mensah", "area_unknown")

		var people []annona.Record
		for i := range 21 {
			people = append(people, w.lives("o", w.record("individuals", fmt.Sprint("many", i), "full_name", fmt.Sprint("Owusu ", strings.Repeat("b", i+2)))))
		}
		w.load(people...)
		if got := w.ask("X12", "Owusu"); len(got) != exchange.MaxNameResults {
			t.Errorf("21 matches are %d", len(got))
		}
		w.wants("X12", "Owusu bb", "Owusu bb")

		before := w.rows()
		_, err := w.Erase(w.ctx, operator, exchange.Subject{Source: "survey", Key: "1"}, "consent_withdrawn")
		check(t, err)
		w.wants("X11", "Ama")
		if now := w.rows(); now != before-3 { // ama, mensah, mens
			t.Errorf("an erasure has removed %d rows", before-now)
		}
		w.load(w.lives("h", w.record("individuals", "2", "full_name", "Kwame Boateng")))
		w.wants("X11", "Mensah")
		w.wants("X11", "Boat", "Kwame Boateng")

		w.switchNames(false)
		if w.wants("X11", "Kwame", "not_found"); w.rows() != 0 {
			t.Error("rows are left")
		}
		w.searched(t)
	})
}

// searched checks that every search has an entry that says for what and whom, and none a name.
func (w *town) searched(t *testing.T) {
	t.Helper()
	w.Settle()
	check(t, w.settle())
	opener := audit.Opener{Vault: w.Vault, Ledger: w.store}
	releases, people, switches := 0, 0, 0
	check(t, w.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(t.Context(), row)
		if err != nil || e.Facts == nil {
			return err
		}
		if strings.Contains(strings.ToLower(fmt.Sprintf("%+v", e)), "mens") {
			t.Error("an entry has a name")
		}
		switch {
		case e.Facts.Verb == annona.VerbIndex:
			switches++
		case e.Facts.Verb == annona.VerbNameSearch && e.Facts.Page == 1:
			releases++
			if e.Facts.Purpose != purpose || !strings.Contains(e.Filter, "within") {
				t.Errorf("an entry says %+v, %q", e.Facts, e.Filter)
			}
			for _, s := range e.Subjects {
				people += len(s.Numbers)
			}
		}
		return nil
	}))
	if releases != 14 || people != 27 || switches != 4 {
		t.Errorf("the ledger has %d searches with %d people, and %d entries about the index", releases, people, switches)
	}
}

// Bad input is refused, and says nothing of what was sent.
func TestNameSearchRefusals(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.load(w.record("households", "h", "area_code", "X11"), w.lives("h", w.record("individuals", "1", "full_name", "Ama Mensah")))
		w.switchNames(true)
		for _, name := range []string{"", " ", "A", "a b c", "12 34", strings.Repeat("a", 10_000), "Ama\x00", "Ama\nMensah", "\xff\xfe", strings.Repeat("ab ", 60), "́̂"} {
			w.wants("X11", name, "name_malformed")
		}
		for _, area := range []string{strings.Repeat("X", 10_000), "X\x0011", "\xff", "'"} {
			w.wants(area, "Ama", "area_unknown")
		}
		w.agree(func(a *annona.Agreement) { a.NameSearch = false })
		w.wants("X11", "Ama", "name_search_not_granted")
		w.agree(func(a *annona.Agreement) {
			a.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"individual_id", "area_code"}}
		})
		w.wants("X11", "Ama", "field_not_granted")
		w.agree(func(a *annona.Agreement) {
			a.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"full_name", "area_code"}, Treatments: map[string]annona.Treatment{"full_name": annona.TreatMask}}
		})
		w.wants("X11", "Ama", "filter_not_granted")
		w.agree(func(a *annona.Agreement) {
			a.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"full_name"}}
		})
		w.wants("X11", "Ama", "filter_not_granted")
		w.agree(nil)
		q := exchange.Question{Purpose: purpose, Fields: []string{"full_name"}}
		var last error
		for range 32 {
			_, last = w.NameSearch(w.ctx, w.caller, q, exchange.NameQuery{Name: "Ama", Area: "X11"}, exchange.Form{})
		}
		if annona.CodeOf(last) != "searches_too_many" {
			t.Errorf("32 searches at once: %v", last)
		}
		w.wants("X11", "Ama", "Ama Mensah")
	})
}

// Only names that the grant shows are compared, whatever the index has.
func TestNameSearchByNamesThatAreShown(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		other := w.lives("h", w.record("individuals", "1", "full_name", "Ama Mensah", "family_name_at_birth", "Asante"))
		names, _ := annona.Standard().Dataset("other_names")
		group, _ := other.Dataset.Field("other_names")
		alias, _ := names.Field("full_name")
		other.Groups = []annona.GroupItems{{Field: group, Items: [][]annona.Value{{{Field: alias, Text: "Ἀμαλία Ндиай"}}}}}
		w.load(w.record("households", "h", "area_code", "X11"), other)
		w.switchNames(true)
		w.wants("X11", "asante", "Ama Mensah")
		w.wants("X11", "αμαλια ндиаи", "Ama Mensah")
		w.agree(func(a *annona.Agreement) {
			terms := a.Datasets["individuals"]
			terms.Except = []string{"family_name_at_birth", "other_names"}
			a.Datasets["individuals"] = terms
		})
		w.wants("X11", "asante")
		w.wants("X11", "αμαλια")
		w.wants("X11", "ama", "Ama Mensah")
		ama, err := w.store.SubjectByKey(w.ctx, "survey", w.Vault.RecordKey("individuals", "survey", "1"))
		check(t, err)
		check(t, w.Writer.Update(w.ctx, func(tx annona.Tx) error {
			return tx.PutRestriction(w.ctx, annona.Restriction{ID: annona.NewUID(), Subject: ama, Kind: annona.KindRestriction, RecordedAt: w.now})
		}))
		w.wants("X11", "ama")
	})
}

// Names follow a household to another area, and an area into another one.
func TestNamesMove(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.switchNames(true)
		w.load(w.record("households", "h", "area_code", "X111"), w.lives("h", w.record("individuals", "1", "full_name", "Ama Mensah")),
			w.record("households", "o", "area_code", "X112"), w.lives("o", w.record("individuals", "2", "full_name", "Kofi Mensah")))
		w.wants("X11", "Mensah", "Ama Mensah", "Kofi Mensah")
		w.load(w.record("households", "h", "area_code", "X121"))
		w.wants("X11", "Mensah", "Kofi Mensah")
		w.wants("X12", "Mensah", "Ama Mensah")
		reorganize := func(change annona.AreaChange) {
			t.Helper()
			_, err := w.Reorganize(w.ctx, operator, annona.Reorganization{Effective: annona.DateOf(w.now), Changes: []annona.AreaChange{change}})
			check(t, err)
			w.settleIndexes()
		}
		reorganize(annona.AreaChange{Kind: annona.AreaMove, From: []string{"X112"}, Parent: "X12"})
		w.wants("X11", "Mensah")
		w.wants("X12", "Mensah", "Ama Mensah", "Kofi Mensah")
		reorganize(annona.AreaChange{Kind: annona.AreaRename, From: []string{"X12"}, Into: []annona.Area{{Code: "X13"}}})
		w.wants("X13", "Mensah", "Ama Mensah", "Kofi Mensah")
		w.wants("X12", "Mensah", "Ama Mensah", "Kofi Mensah")
		reorganize(annona.AreaChange{Kind: annona.AreaSplit, From: []string{"X121"}, Into: []annona.Area{{Code: "X122", Parent: "X11"}, {Code: "X123"}}})
		_, err := w.AssignAreas(w.ctx, operator, "survey", []annona.AreaAssignment{{Key: "h", Area: "X122"}})
		check(t, err)
		w.settleIndexes()
		w.wants("X11", "Mensah", "Ama Mensah")
		w.wants("X13", "Mensah", "Kofi Mensah")
		if rows := w.rows(); rows != 6 {
			t.Errorf("%d rows", rows)
		}
	})
}

// A rebuild goes on where it was broken off, while people come and change, and ends with one key.
func TestNamesRebuilt(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.switchNames(true)
		people := []annona.Record{w.record("households", "h", "area_code", "X11")}
		for i := range 450 {
			people = append(people, w.lives("h", w.record("individuals", fmt.Sprint(i), "full_name", fmt.Sprint("Nii ", letters(i)))))
		}
		w.load(people...)
		check(t, w.RenewIndex(w.ctx, operator, annona.IndexNames))
		w.wants("X11", "Nii "+letters(3), "name_index_unfinished")
		for range 2 {
			w.now = w.now.Add(5 * time.Second)
			_, err := w.Reindex(w.ctx, operator)
			check(t, err)
		}
		s, err := w.IndexStatus(w.ctx, operator, annona.IndexNames)
		check(t, err)
		if s.Whole || s.After < 300 {
			t.Errorf("after two steps: %+v", s.IndexState)
		}
		w.load(w.lives("h", w.record("individuals", "0", "full_name", "Nii Changed")), w.lives("h", w.record("individuals", "449", "full_name", "Nii Last")))
		w.settleIndexes()
		w.wants("X11", "Nii Changed", "Nii Changed")
		w.wants("X11", "Nii Last", "Nii Last")
		w.wants("X11", "Nii "+letters(77), "Nii "+letters(77))
		w.wants("X11", "Nii "+letters(0))
		if n := len(w.Vault.NameTokens("X11", "nii")); n != 1 {
			t.Errorf("%d keys are left", n)
		}
		if changed, err := w.SwitchNameSearch(w.ctx, operator, true); changed || err != nil {
			t.Errorf("switched on again: %t, %v", changed, err)
		}
	})
}

// letters writes a number by letters, so that no one begins like another one.
func letters(n int) string {
	return string([]rune{rune('a' + n%26), rune('a' + n/26%26), 'x', 'y'}) + "z"
}

func (w *town) holds(key, value string) annona.Record {
	r := w.record("individuals", key, "full_name", "Ama "+key)
	d, _ := annona.Standard().Dataset("identifiers")
	group, _ := r.Dataset.Field("identifiers")
	scheme, _ := d.Field("scheme")
	number, _ := d.Field("value")
	r.Groups = []annona.GroupItems{{Field: group, Items: [][]annona.Value{{{Field: scheme, Text: "passport_number"}, {Field: number, Text: value}}}}}
	return r
}

// holder looks a passport up: the name of who holds it, or the code of a refusal.
func (w *town) holder(value string) string {
	w.t.Helper()
	answer, _, err := w.Lookup(w.ctx, w.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name"}},
		[]exchange.Identifier{{Type: "passport_number", Value: value}}, exchange.Form{Format: "json"})
	if err != nil {
		return annona.CodeOf(err)
	}
	answer.Sent(1, nil)
	return fields(answer)[0]
}

// After a rotation of the index, rows are made anew while people are looked up and loaded; then one
// key is left, and everybody is found by it.
func TestIdentifiersReindexed(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.agree(grantIdentifiers)
		var people []annona.Record
		for i := range 450 {
			people = append(people, w.holds(fmt.Sprint(i), fmt.Sprint("G", 10_000+i)))
		}
		house := w.record("households", "h")
		w.load(append(people, house)...)
		before, err := w.StartLoad(w.ctx, operator, "survey", nil)
		check(t, err)
		ready, err := before.MakeReady([]annona.Record{w.holds("late", "G20000"), w.holds("7", "G20007")})
		check(t, err)

		if version, err := w.RotateClass(w.ctx, operator, "index"); err != nil || version < 2 {
			t.Fatalf("rotated to %d, %v", version, err)
		}
		keys := func() int { return len(w.Vault.BlindIndexes("passport_number", "", "X")) }
		if keys() != 2 {
			t.Errorf("%d keys while rows are made anew", keys())
		}
		everybody := func(when string) {
			t.Helper()
			for i := range 450 {
				want, number := fmt.Sprint("Ama ", i), fmt.Sprint("G", 10_000+i)
				if i == 7 {
					number = "G20007"
				}
				if got := w.holder(number); got != want {
					t.Fatalf("%s: %s is held by %s, not %s", when, number, got, want)
				}
			}
			if got := w.holder("G20000"); got != "Ama late" {
				t.Errorf("%s: a passport that came on file since is held by %s", when, got)
			}
			if got := w.holder("G10007"); got != "not_found" {
				t.Errorf("%s: a former passport is held by %s", when, got)
			}
		}
		_, err = before.Write(w.ctx, ready) // made ready before
		check(t, err)
		everybody("at first")
		w.now = w.now.Add(time.Minute)
		_, err = w.Reindex(w.ctx, operator)
		check(t, err)
		everybody("on the way")
		w.settleIndexes()
		if keys() != 1 {
			t.Errorf("%d keys are left", keys())
		}
		everybody("in the end")
		s, err := w.IndexStatus(w.ctx, operator, annona.IndexIdentifiers)
		if err != nil || !s.Whole || !s.On {
			t.Errorf("in the end: %+v, %v", s, err)
		}
	})
}

// Rows that lag behind their key, as after a restore from an older backup, are made anew.
func TestIndexCatchesUp(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.agree(grantIdentifiers)
		w.load(w.holds("1", "G4711"))
		w.settleIndexes()
		_, err := w.Rotator.RotateClass("index")
		check(t, err)
		check(t, w.Rotator.DestroyClass("index"))
		if got := w.holder("G4711"); got != "not_found" {
			t.Errorf("found without its key: %s", got)
		}
		w.settleIndexes()
		if got := w.holder("G4711"); got != "Ama 1" {
			t.Errorf("in the end: %s", got)
		}
	})
}

// A load of another source matches people by identifiers that were indexed before a rotation.
func TestMatchedDuringARotation(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.agree(grantIdentifiers)
		w.load(w.holds("1", "G4711"))
		_, err := w.RotateClass(w.ctx, operator, "index")
		check(t, err)
		l, err := w.BeginLoad(w.ctx, operator, exchange.LoadOrder{Source: "cases", Match: []string{"passport_number"}})
		check(t, err)
		other := w.holds("c1", "G4711")
		other.Source = "cases"
		done, err := l.Put(w.ctx, []annona.Record{other})
		if err != nil || done.Created != 0 || done.Changed != 1 {
			t.Errorf("%+v, %v", done, err)
		}
		w.settleIndexes()
	})
}
