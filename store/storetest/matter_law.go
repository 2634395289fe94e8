package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// matterWorld is cases of all kinds, and what belongs to them:
//
//	h: a and b, of whom b was merged into a · k: c, who is restricted · j: d, who has consented; e is out of sight
type matterWorld struct {
	*matters
	cases, notes *annona.Dataset
	on           map[string][]annona.Matter // by dataset, in order of number
	shares       []annona.Share
}

// testMattersLaw holds the store to the reading below: for each partner, worker, clearance and choice it gives
// exactly the matters that may be seen, page by page.
func testMattersLaw(t *testing.T, r *registry) {
	store, ok := r.Store.(annona.Matters)
	if !ok {
		t.Skip("this store keeps no matters")
	}
	w := &matterWorld{matters: &matters{registry: r, Matters: store}, on: map[string][]annona.Matter{}}
	w.cases, _ = r.dictionary.Dataset("cases")
	w.notes, _ = r.dictionary.Dataset("case_notes")
	dice := rand.New(rand.NewPCG(1, 1))
	w.people()
	w.write(dice)
	seen := 0
	for range 400 {
		seen += w.compare(dice)
	}
	if seen < 1000 {
		t.Errorf("the law has seen %d matters only", seen)
	}
}

// people loads whom matters are about.
func (w *matterWorld) people() {
	w.load(w.household("h", values{"settlement_type": "urban"}), w.household("k", values{"settlement_type": "urban"}), w.household("j", values{"settlement_type": "rural"}),
		w.person("a", values{"nationality": "a"}, member("h", "head")), w.person("b", values{"nationality": "a"}, member("h", "child")),
		w.person("c", values{"nationality": "a"}, member("k", "head")), w.person("d", values{"nationality": "d"}, member("j", "head")),
		w.person("e", values{"nationality": "a"}, member("j", "child")))
	w.consent("d", "given")
	w.agree("d", "counselling", "us", Today.AddDays(-1), Today)
	w.agree("d", "counselling", "them", Today.AddDays(-2), Today.AddDays(-1)) // has ended
	w.agree("a", "schooling", "us", Today, "")
	withdrawn := w.agree("a", "schooling", "them", Today, "")
	withdrawn.Status, withdrawn.WithdrawnAt = "withdrawn", Clock()
	w.update(func(tx annona.Tx) error { return tx.PutConsent(w.ctx, withdrawn) })
	w.update(func(tx annona.Tx) error {
		return tx.PutRestriction(w.ctx, annona.Restriction{ID: annona.NewUID(), Subject: w.number("c"), Kind: annona.KindRestriction, RecordedAt: Clock()})
	})
}

// agree records that somebody agrees to what a partner is let see for a purpose.
func (w *matterWorld) agree(key, purpose, partner string, from, until annona.Date) annona.Consent {
	c := annona.Consent{ID: annona.NewUID(), Subject: w.number(key), Purposes: []string{"other", purpose}, Recipients: []string{partner, "another"},
		Status: "given", EffectiveDate: from, ExpiryDate: until, RecordedAt: Clock()}
	w.update(func(tx annona.Tx) error { return tx.PutConsent(w.ctx, c) })
	return c
}

// agrees reports whether those whom a matter is about have agreed to that today; a household cannot.
func (w *matterWorld) agrees(m *annona.Matter, purpose, partner string) bool {
	who, name := w.about(m)
	return who.Dataset == "individuals" && partner == "us" && (name == "d" && purpose == "counselling" || name == "a" && purpose == "schooling")
}

// list stands between the programs of a case.
const list = string(rune(annona.ListSeparator))

// one is one of some values.
func one[V any](dice *rand.Rand, of ...V) V { return of[dice.IntN(len(of))] }

// write writes cases, notes and shares of chance, and takes b and e out of sight.
func (w *matterWorld) write(dice *rand.Rand) {
	subjects := []annona.SubjectRef{{}, {Dataset: "households", Number: 1}, {Dataset: "households", Number: 2}, {Dataset: "households", Number: 3}}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		subjects = append(subjects, person(w.registry, key))
	}
	// Numbers of the two datasets, and of people and households, are the same ones: none is taken for the other.
	for _, d := range []*annona.Dataset{w.cases, w.notes} {
		w.update(func(tx annona.Tx) error {
			fresh, err := tx.NewMatters(w.ctx, d, 160)
			if err != nil {
				return err
			}
			for i := range fresh {
				m := &fresh[i]
				m.Version, m.Subject, m.Owner, m.Worker = 1, one(dice, subjects...), one(dice, "us", "us", "them"), one(dice, "", "worker", "other")
				m.Confidentiality, m.Program = one(dice, "", "normal", "restricted", "named_persons"), one(dice, "", "cash", "school", "cash"+list+"school", "cashew")
				m.State, m.Due = one(dice, "open", "closed"), one(dice, "", Today.AddDays(-1), Today, Today.AddDays(1))
				if d == w.notes {
					m.Parent, m.Owner = one(dice, annona.Number(0), 1, 1, 1)*w.on["cases"][dice.IntN(160)].Number, one(dice, "", "", m.Owner)
				}
				m.Sealed = annona.AppendItem(nil, annona.Image("sealed"))
			}
			w.on[d.Name] = fresh
			return tx.PutMatters(w.ctx, tester, fresh)
		})
	}
	for range 240 {
		s := annona.Share{Consent: one(dice, "", "", "counselling", "schooling", "school"), Dataset: one(dice, "cases", "case_notes"), Number: annona.Number(1 + dice.IntN(160)), Partner: one(dice, "us", "them"), By: annona.NewUID(),
			Until: one(dice, "", Today.AddDays(-1), Today, Today.AddDays(1)), Fields: one(dice, nil, []string{"programs"}, []string{"status"}, []string{"team", "due_date", "status"}, []string{"programs_of_others"})}
		w.shares = append(w.shares, s)
	}
	w.update(func(tx annona.Tx) error {
		for _, s := range w.shares {
			if err := tx.PutShare(w.ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	a, b := w.number("a"), w.number("b")
	w.update(func(tx annona.Tx) error {
		parts := []annona.Part{{Number: a, Version: 2, Own: []byte("a")}, {Number: b, Version: 1, Own: []byte("b")}}
		return tx.PutParts(w.ctx, w.individuals, a, parts)
	})
	w.delete(w.individuals, b, a)
	w.delete(w.individuals, w.number("e"))
}

// glance is one reading: the scope, and what the scope over people and households asks.
type glance struct {
	terms             annona.MatterTerms
	people, homes     bool   // are seen at all
	nationality, kind string // of those who are seen; empty: any
	choice            annona.MatterChoice
}

func (w *matterWorld) glance(dice *rand.Rand) glance {
	said := terms()
	said.Basis = one(dice, annona.BasisPublicInterest, annona.BasisPublicInterest, annona.BasisConsent)
	g := glance{
		terms: annona.MatterTerms{
			Programs: one(dice, nil, nil, []string{"cash"}, []string{"cash", "school"}), Owner: one(dice, "", "us", "us", "them", "nobody"),
			Cleared: one(dice, nil, []string{"restricted"}, []string{"restricted", "named_persons"}), Worker: one(dice, "", "worker"), Said: said,
		},
		people: dice.IntN(4) > 0, homes: dice.IntN(4) > 0, nationality: one(dice, "", "", "a", "d"), kind: one(dice, "", "", "urban", "rural"),
	}
	if dice.IntN(3) == 0 {
		return g
	}
	cases := w.on["cases"]
	some := []annona.Number{1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144}
	g.choice = one(dice, annona.MatterChoice{Numbers: some}, annona.MatterChoice{UIDs: []annona.UID{cases[3].UID, cases[4].UID, w.on["case_notes"][5].UID, cases[6].UID}},
		annona.MatterChoice{Subjects: []annona.SubjectRef{person(w.registry, "a")}}, annona.MatterChoice{Subjects: []annona.SubjectRef{{Dataset: "individuals", Number: 2}, {Dataset: "households", Number: 1}}},
		annona.MatterChoice{Subjects: []annona.SubjectRef{{Dataset: "households", Number: 3}}},
		annona.MatterChoice{Parents: some}, annona.MatterChoice{Programs: []string{"school"}}, annona.MatterChoice{States: []string{"open"}}, annona.MatterChoice{Owner: "them"},
		annona.MatterChoice{Concerns: "cash"}, annona.MatterChoice{Concerns: "cash", Asked: []string{"programs"}}, annona.MatterChoice{Asked: []string{"status", "due_date"}},
		annona.MatterChoice{Worker: "other"}, annona.MatterChoice{DueUntil: Today}, annona.MatterChoice{DueFrom: Today}, annona.MatterChoice{DueFrom: Today, DueUntil: Today}, annona.MatterChoice{Since: Clock()}, annona.MatterChoice{Since: Clock().AddDate(0, 0, 1)},
		annona.MatterChoice{States: []string{"open", "closed"}, Worker: "worker", Programs: []string{"cash", "school"}})
	return g
}

// compare reads one glance of chance from the store and here, and returns how much is seen.
func (w *matterWorld) compare(dice *rand.Rand) int {
	w.t.Helper()
	g, d := w.glance(dice), one(dice, w.cases, w.notes)
	var want []annona.Number
	for i := range w.on[d.Name] {
		if m := &w.on[d.Name][i]; w.chosen(m, g.choice) && w.shows(m, g) && (w.bySubject(m, g) || w.byOwner(m, g)) {
			want = append(want, m.Number)
		}
	}
	columns := []string{d.Key}
	if d == w.notes {
		columns = append(columns, "case_id")
	}
	page := annona.NewPage(Shape(d, columns...))
	for q := (&annona.MatterQuestion{Scope: w.scopeOf(page.Shape, g), Choice: g.choice, Limit: 25, Page: page, More: true}); q.More; {
		if err := w.ReadMatters(w.ctx, q); err != nil {
			w.t.Fatal(err)
		}
		if page.Count > 0 {
			q.After = page.Numbers[page.Count-1]
		}
	}
	if !slices.Equal(page.Numbers, want) {
		w.t.Fatalf("of %s, %+v shows\n%v, want\n%v", d.Name, g, page.Numbers, want)
	}
	for row, number := range page.Numbers {
		w.checkRow(page, row, &w.on[d.Name][number-1])
	}
	w.checkShares(page, g)
	return len(want)
}

// checkShares compares what of a page is shared with the partner today.
func (w *matterWorld) checkShares(page *annona.Page, g glance) {
	w.t.Helper()
	var got, want []string
	for _, s := range page.Shares {
		got = append(got, fmt.Sprint(s.Number, s.By, s.Until, s.Consent))
	}
	asked, err := w.MatterShares(w.ctx, page.Shape.Dataset, page.Numbers, g.terms.Owner, g.terms.Said.Today)
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.EqualFunc(asked, page.Shares, func(a, b annona.Share) bool { return a.By == b.By && a.Number == b.Number }) {
		w.t.Fatalf("of %s, %d are shared when the page is read, and %d when they are asked for", page.Shape.Dataset.Name, len(page.Shares), len(asked))
	}
	for _, s := range w.shares {
		if g.terms.Owner != "" && w.holds(s, page.Shape.Dataset, g) && slices.Contains(page.Numbers, s.Number) {
			want = append(want, fmt.Sprint(s.Number, s.By, s.Until, s.Consent))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Fatalf("of %s, %+v is shared\n%q, want\n%q", page.Shape.Dataset.Name, g, got, want)
	}
}

// checkRow compares a row with its matter: its id, whose it is, and whom it is about.
func (w *matterWorld) checkRow(page *annona.Page, row int, m *annona.Matter) {
	w.t.Helper()
	if string(page.Cell(0, row)) != string(m.UID[:]) {
		w.t.Fatalf("%s %d has another id", m.Dataset.Name, m.Number)
	}
	if m.Dataset == w.notes {
		want := ""
		if m.Parent > 0 {
			want = string(w.on["cases"][m.Parent-1].UID[:])
		}
		if string(page.Cell(1, row)) != want {
			w.t.Fatalf("note %d is of another case", m.Number)
		}
	}
	if who, _ := w.about(m); page.Subjects[row] != who {
		w.t.Fatalf("%s %d is about %v, want %v", m.Dataset.Name, m.Number, page.Subjects[row], who)
	}
}

func (w *matterWorld) scopeOf(shape *annona.Shape, g glance) annona.MatterScope {
	var people, homes annona.Scope
	if g.people {
		var c annona.Condition
		if g.nationality != "" {
			c = w.registry.is(w.individuals, annona.RootSelf, "nationality", g.nationality)
		}
		people = annona.NewScope(Shape(w.individuals), c, c, g.terms.Said)
	}
	if g.homes {
		var c annona.Condition
		if g.kind != "" {
			c = w.registry.is(w.households, annona.RootSelf, "settlement_type", g.kind)
		}
		homes = annona.NewScope(Shape(w.households), c, nil, g.terms.Said)
	}
	return annona.NewMatterScope(shape, g.terms, people, homes)
}

// about returns whom a matter is about, into whom they may have been merged, and by which letter people say so.
func (w *matterWorld) about(m *annona.Matter) (who annona.SubjectRef, name string) {
	who = m.Subject
	switch {
	case who.Dataset == "households":
		return who, map[annona.Number]string{1: "h", 2: "k", 3: "j"}[who.Number]
	case who == annona.SubjectRef{Dataset: "individuals", Number: 2}: // b is part of a
		who.Number = 1
	case who == annona.SubjectRef{Dataset: "individuals", Number: 5}: // e is out of sight
		return annona.SubjectRef{}, ""
	}
	return who, map[annona.Number]string{1: "a", 3: "c", 4: "d"}[who.Number]
}

// unopposed reports whether nobody whom a matter is about has said anything against its being seen; of a
// household, somebody in it has not.
func unopposed(name string, said annona.ScopeTerms) bool {
	if said.Basis == annona.BasisConsent {
		return name == "d" || name == "j"
	}
	return name == "a" || name == "d" || name == "h" || name == "j"
}

func (w *matterWorld) bySubject(m *annona.Matter, g glance) bool {
	who, name := w.about(m)
	if !slices.Contains(g.terms.Programs, m.Program) || confidentiality(m) != "normal" || !unopposed(name, g.terms.Said) {
		return false
	}
	if who.Dataset == "individuals" {
		return g.people && (g.nationality == "" || g.nationality == name)
	}
	return g.homes && (g.kind == "" || g.kind == map[string]string{"h": "urban", "j": "rural"}[name])
}

// byOwner reports whether a matter is the partner's own or shared with it, and is walled by nothing.
func (w *matterWorld) byOwner(m *annona.Matter, g glance) bool {
	if g.terms.Owner == "" {
		return false
	}
	held := w.held(m, g)
	named := g.terms.Worker != "" && confidentiality(m) == "named_persons" && m.Worker == g.terms.Worker
	_, name := w.about(m)
	free := m.Subject.IsZero() && m.Owner == g.terms.Owner || unopposed(name, g.terms.Said)
	if m.Parent > 0 {
		of := &w.on["cases"][m.Parent-1]
		held = held || m.Owner == "" && w.held(of, g) && cleared(of, g)
		free = free || m.Subject.IsZero() && of.Owner == g.terms.Owner
		if !named && !cleared(of, g) {
			return false
		}
	}
	return held && cleared(m, g) && free
}

func (w *matterWorld) held(m *annona.Matter, g glance) bool {
	return m.Owner == g.terms.Owner || slices.ContainsFunc(w.shares, func(s annona.Share) bool {
		return s.Number == m.Number && w.holds(s, m.Dataset, g)
	})
}

// holds reports whether something of a dataset is shared with the partner today.
func (w *matterWorld) holds(s annona.Share, of *annona.Dataset, g glance) bool {
	return s.Dataset == of.Name && s.Partner == g.terms.Owner && (s.Until == "" || s.Until >= g.terms.Said.Today) &&
		(s.Consent == "" || w.agrees(&w.on[of.Name][s.Number-1], s.Consent, s.Partner))
}

func cleared(m *annona.Matter, g glance) bool {
	code := confidentiality(m)
	named := g.terms.Worker != "" && code == "named_persons" && m.Worker == g.terms.Worker
	return named || code == "normal" || slices.Contains(g.terms.Cleared, code)
}

func confidentiality(m *annona.Matter) string {
	if m.Confidentiality == "" {
		return "normal"
	}
	return m.Confidentiality
}

// chosen reports whether a choice picks a matter.
func (w *matterWorld) chosen(m *annona.Matter, c annona.MatterChoice) bool {
	about := func(s annona.SubjectRef) bool {
		merged := m.Subject == annona.SubjectRef{Dataset: "individuals", Number: 2} && s == annona.SubjectRef{Dataset: "individuals", Number: 1}
		return m.Subject == s || merged
	}
	return among(c.Numbers, m.Number) && among(c.UIDs, m.UID) && among(c.Parents, m.Parent) && among(c.Programs, m.Program) && among(c.States, m.State) &&
		(len(c.Subjects) == 0 || slices.ContainsFunc(c.Subjects, about)) && (c.Owner == "" || m.Owner == c.Owner) && (c.Worker == "" || m.Worker == c.Worker) &&
		(c.DueFrom == "" || m.Due >= c.DueFrom) && (c.DueUntil == "" || m.Due != "" && m.Due <= c.DueUntil) && !c.Since.After(Clock()) &&
		(c.Concerns == "" || slices.Contains(strings.Split(m.Program, list), c.Concerns))
}

// shows reports whether the partner has a matter, or is let see each field by which it picks.
func (w *matterWorld) shows(m *annona.Matter, g glance) bool {
	owns := g.terms.Owner != "" && m.Owner == g.terms.Owner
	return owns || !slices.ContainsFunc(g.choice.Asked, func(field string) bool {
		return !slices.ContainsFunc(w.shares, func(s annona.Share) bool {
			return s.Number == m.Number && w.holds(s, m.Dataset, g) && (len(s.Fields) == 0 || slices.Contains(s.Fields, field))
		})
	})
}

func among[V comparable](some []V, v V) bool { return len(some) == 0 || slices.Contains(some, v) }
