package exchange_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// TestAMergeTakenBackIsNone loads the same files into two registries. In one of them individuals are merged
// and, some loads later, taken apart again. While they are one, the survivor shows what the two
// show in the other registry. Afterwards a partner sees the same in both.
func TestAMergeTakenBackIsNone(t *testing.T) {
	t.Parallel()
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			law(t, func(rt *rapid.T) {
				merged, apart := newTwin(rt, g, t), newTwin(rt, g, t)
				defer merged.close(rt)
				defer apart.close(rt)
				w := &lawOfMerges{rt: rt, merged: merged, apart: apart}
				w.begin()
				w.loads()
				ids := w.merge()
				w.loads()
				w.compareOne()
				for len(ids) > 0 {
					last := len(ids) - 1
					_, err := merged.Unmerge(merged.ctx, operator, ids[last])
					check(rt, err)
					ids = ids[:last]
					w.forget()
					w.loads()
				}
				if a, b := merged.sees(rt), apart.sees(rt); !slices.Equal(a, b) {
					rt.Fatalf("a merge was taken back, and a partner sees\n%q\nwithout it\n%q", a, b)
				}
			})
		})
	}
}

// twin is one of the two registries.
type twin struct {
	*place
	caller annona.Caller
	last   annona.UID // load
}

func newTwin(rt *rapid.T, g ground, t *testing.T) *twin {
	p, err := g.open(t.Context())
	check(rt, err)
	p.now = time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	p.agree(t, func(a *annona.Agreement) {
		a.Purposes = []annona.PurposeTerms{{Code: purpose, Basis: annona.BasisPublicInterest}}
		grantIdentifiers(a)
		a.Datasets["quality_flags"] = a.Datasets["memberships"]
	})
	caller, err := p.admit("law")
	check(rt, err)
	return &twin{place: p, caller: caller}
}

func (w *twin) close(rt *rapid.T) { check(rt, w.store.Close()) }

var seenOfTwins = []string{
	"full_name", "occupation", "marital_status", "area_code", "role", "vital_status", "identifiers.scheme", "identifiers.value", "memberships.role", "memberships.start_date",
	"memberships.end_date", "memberships.is_primary", "relationships.type", "relationships.start_date", "relationships.end_date", "quality_flags.code", "quality_flags.field",
}

// sees returns what a partner sees, but for ids.
func (w *twin) sees(rt *rapid.T) (rows []string) {
	answer, err := w.Search(w.ctx, w.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: seenOfTwins, NilReasons: true}, 100, "", exchange.Form{})
	check(rt, err)
	if answer.Page == nil {
		return nil
	}
	for row := range answer.Page.Count() {
		rows = append(rows, rowUnordered(answer.Page.Page(), row))
	}
	slices.Sort(rows)
	return rows
}

// rowUnordered writes a row, its groups in no order: what comes back is told in a new order.
func rowUnordered(p *annona.Page, row int) string {
	text := ""
	for column, f := range p.Shape.Columns {
		if cell := p.Cell(column, row); len(cell) > 0 {
			text += f.Code + "=" + string(cell) + " "
		}
	}
	for i, g := range p.Shape.Groups {
		first, end := p.Groups[i].Rows(row)
		var items []string
		for at := first; at < end; at++ {
			items = append(items, rowUnordered(p.Groups[i].Page, at))
		}
		slices.Sort(items)
		text += fmt.Sprint(g.Field.Code, items)
	}
	return text
}

type lawOfMerges struct {
	rt            *rapid.T
	merged, apart *twin
	since         int // day from which files are: behind a merge none is of an earlier moment
}

// begin puts two households and three individuals on file.
func (w *lawOfMerges) begin() {
	w.load("survey", 1, func() []annona.Record {
		rows := []annona.Record{newRecord("households", "h1", "area_code", "XA-1"), newRecord("households", "h2", "area_code", "XA-2")}
		for p := 1; p <= 3; p++ {
			rows = append(rows, newRecord("individuals", fmt.Sprint("p", p), "full_name", fmt.Sprint("n", p)))
		}
		return rows
	})
	w.forget()
}

func (w *lawOfMerges) loads() {
	for range rapid.IntRange(0, 3).Draw(w.rt, "loads") {
		if w.merged.last != (annona.UID{}) && rapid.IntRange(0, 4).Draw(w.rt, "undo") == 0 {
			w.undo()
			continue
		}
		source := rapid.SampledFrom([]string{"survey", "program"}).Draw(w.rt, "source")
		people := rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 1, 3, rapid.ID[int]).Draw(w.rt, "people")
		var rows []func() annona.Record
		for _, p := range people {
			rows = append(rows, w.row(source, p))
		}
		w.load(source, w.day(), func() (all []annona.Record) {
			for _, row := range rows {
				all = append(all, row())
			}
			return all
		})
	}
}

// day draws the day of a file: before a merge any, behind it none that is earlier than another one's. What
// a load has confirmed is known of the record, not of each of its keys.
func (w *lawOfMerges) day() int {
	if w.since == 0 {
		return rapid.IntRange(1, 20).Draw(w.rt, "day")
	}
	w.since = min(w.since+rapid.IntRange(0, 1).Draw(w.rt, "days"), 31)
	return w.since
}

// row draws what a source says of a person; what it returns makes the record, for each registry.
func (w *lawOfMerges) row(source string, person int) func() annona.Record {
	var pairs []string
	for _, of := range []struct {
		field string
		texts []string
	}{
		{"full_name", []string{"", "n1", "n2"}}, {"occupation", []string{"", "baker", "smith"}},
		{"marital_status", []string{"", "single", "married"}}, {"vital_status", []string{"", "", "", "alive", "deceased"}},
	} {
		if text := rapid.SampledFrom(of.texts).Draw(w.rt, of.field); text != "" {
			pairs = append(pairs, of.field, text)
		}
	}
	card := rapid.SampledFrom([]string{"own", "other", ""}).Draw(w.rt, "card")
	home := rapid.SampledFrom([]string{"", "h1", "h2"}).Draw(w.rt, "home")
	parent := rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(w.rt, "parent of")
	return func() annona.Record {
		r := newRecord("individuals", fmt.Sprint("p", person), pairs...)
		switch card {
		case "own":
			r.Groups = append(r.Groups, nationalID(fmt.Sprint("ID", person)))
		case "other":
			r.Groups = append(r.Groups, nationalID(fmt.Sprint(source, person)))
		}
		if home != "" && source == "survey" {
			r.Memberships = []annona.Membership{{HouseholdKey: home, Role: "head"}}
		}
		if parent != 0 && parent != person {
			r.Relationships = []annona.Relationship{{ToKey: fmt.Sprint("p", parent), Type: "parent"}}
		}
		return r
	}
}

// load loads the same file into both registries.
func (w *lawOfMerges) load(source string, day int, file func() []annona.Record) {
	for _, in := range []*twin{w.merged, w.apart} {
		in.now = in.now.Add(time.Second)
		l, err := in.BeginLoad(in.ctx, operator, exchange.LoadOrder{Source: source, AsOf: january(day), Match: []string{"national_id_number"}})
		check(w.rt, err)
		rows := file()
		for i := range rows {
			rows[i].Source = source
		}
		houses, people := apart(rows)
		_, err = l.Put(in.ctx, houses, people)
		check(w.rt, err)
		_, err = l.Finish(in.ctx)
		check(w.rt, err)
		in.last = l.ID()
	}
}

// undo takes the last load back, in both.
func (w *lawOfMerges) undo() {
	for _, in := range []*twin{w.merged, w.apart} {
		_, err := in.UndoLoad(in.ctx, operator, in.last)
		check(w.rt, err)
		in.last = annona.UID{}
	}
}

// merge merges two of the three, or all.
func (w *lawOfMerges) merge() (ids []annona.UID) {
	order := rapid.Permutation([]int{1, 2, 3}).Draw(w.rt, "order")
	w.since = 20
	pairs := [][2]int{{order[0], order[1]}}
	switch rapid.IntRange(0, 2).Draw(w.rt, "third") {
	case 1: // two into one
		pairs = append(pairs, [2]int{order[0], order[2]})
	case 2: // the survivor into the third
		pairs = append(pairs, [2]int{order[2], order[0]})
	}
	for _, pair := range pairs {
		m, err := w.merged.Merge(w.merged.ctx, operator, lawPerson(pair[0]), lawPerson(pair[1]), "same_card")
		check(w.rt, err)
		ids = append(ids, m.ID)
		w.merged.now = w.merged.now.Add(time.Second)
	}
	w.forget()
	return ids
}

// forget forgets the last load. Across a merge an undo is another thing: the records have changed since.
func (w *lawOfMerges) forget() { w.merged.last, w.apart.last = annona.UID{}, annona.UID{} }

func lawPerson(n int) exchange.Subject {
	return exchange.Subject{Source: "survey", Key: fmt.Sprint("p", n)}
}

// compareOne holds the survivors against the records that they consist of: each value that only one of them
// has is shown.
func (w *lawOfMerges) compareOne() {
	shown, own := w.merged.values(w.rt), w.apart.values(w.rt)
	for value := range own {
		if !shown[value] && !w.disputed(value, own) {
			w.rt.Fatalf("the merged records do not show %s\n%v\n%v", value, shown, own)
		}
	}
	for value := range shown {
		if !own[value] {
			w.rt.Fatalf("the merged records show %s, which nobody says", value)
		}
	}
}

// disputed reports whether somebody says otherwise of the field.
func (w *lawOfMerges) disputed(value string, own map[string]bool) bool {
	for other := range own {
		if other != value && other[:4] == value[:4] && other[:3] != "id:" {
			return true
		}
	}
	return false
}

// values returns which values of fields and which cards are shown of anybody.
func (w *twin) values(rt *rapid.T) map[string]bool {
	answer, err := w.Search(w.ctx, w.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name", "occupation", "marital_status", "identifiers.value"}}, 100, "", exchange.Form{})
	check(rt, err)
	all := map[string]bool{}
	page := answer.Page.Page()
	for row := range page.Count {
		for column, f := range page.Shape.Columns {
			if text := string(page.Cell(column, row)); text != "" {
				all[f.Code[:4]+":"+text] = true
			}
		}
		first, end := page.Groups[0].Rows(row)
		for at := first; at < end; at++ {
			all["id:"+string(page.Groups[0].Page.Cell(0, at))] = true
		}
	}
	return all
}
