package storetest

import (
	"maps"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

func testRestrictions(t *testing.T, r *registry) {
	r.load(r.household("h", nil), r.household("alone", nil),
		r.person("a", values{"nationality": "a"}, member("h", "head")), r.person("b", values{"nationality": "b"}, member("h", "child")),
		r.person("c", values{"nationality": "c"}, member("alone", "head")))
	put := func(x annona.Restriction) {
		t.Helper()
		r.update(func(tx annona.Tx) error { return tx.PutRestriction(r.ctx, x) })
	}
	households := func(ts annona.ScopeTerms) []string {
		t.Helper()
		return cells(r.all(annona.NewScope(r.shape(r.households, "member_count"), nil, nil, ts)), 0)
	}
	consent, other, tomorrow := terms(), terms(), terms()
	consent.Basis, other.Recipient = annona.BasisConsent, "clinic"
	tomorrow.Today = Today.AddDays(1)
	r.same("before", r.people(nil, terms()), []string{"a", "b", "c"})

	objection := annona.Restriction{ID: annona.NewUID(), Subject: r.number("a"), Kind: annona.KindObjection,
		Purposes: []string{"research", "eligibility"}, Recipients: []string{"program"}, EffectiveDate: Today, ExpiryDate: Today, RecordedAt: Clock()}
	put(objection)
	r.same("objection", r.people(nil, terms()), []string{"b", "c"})
	r.same("objection, elsewhere", r.people(nil, other), []string{"a", "b", "c"})
	r.same("objection, after its last day", r.people(nil, tomorrow), []string{"a", "b", "c"})
	r.same("objection, counted", households(terms()), []string{"1", "1"})

	restriction := annona.Restriction{ID: annona.NewUID(), Subject: r.number("c"), Kind: annona.KindRestriction, RecordedAt: Clock()}
	put(restriction)
	r.same("restriction for all", r.people(nil, other), []string{"a", "b"})
	r.same("a household whose only member is restricted", households(terms()), []string{"1"})
	for _, subject := range []string{"a", "b", "c"} {
		r.consent(subject, "given")
	}
	r.same("restriction stops consent, objection does not", r.people(nil, consent), []string{"a", "b"})

	restriction.LiftedAt = Clock()
	put(restriction)
	objection.EffectiveDate, objection.ExpiryDate = Today.AddDays(1), ""
	put(objection)
	r.same("lifted, and not yet effective", r.people(nil, terms()), []string{"a", "b", "c"})
	kept, err := r.Restrictions(r.ctx, objection.Subject)
	if err != nil || len(kept) != 1 || kept[0].ID != objection.ID || kept[0].Purposes[1] != "eligibility" || !kept[0].RecordedAt.Equal(Clock()) {
		t.Errorf("restrictions on file: %+v, %v", kept, err)
	}
	err = r.Update(r.ctx, func(tx annona.Tx) error {
		return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: 999, Kind: annona.KindRestriction})
	})
	if annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("a restriction of nobody: %v", err)
	}
}

// consent records a consent to eligibility by the program.
func (r *registry) consent(key, status string) annona.Consent {
	r.t.Helper()
	c := annona.Consent{ID: annona.NewUID(), Subject: r.number(key), Purposes: []string{"eligibility"}, Recipients: []string{"program"},
		Status: status, EffectiveDate: Today, ExpiryDate: Today, RecordedAt: Clock()}
	r.update(func(tx annona.Tx) error { return tx.PutConsent(r.ctx, c) })
	return c
}

func testConsents(t *testing.T, r *registry) {
	r.load(r.household("h", nil), r.household("silent", nil), r.household("nobody", nil),
		r.person("a", values{"nationality": "a"}, member("h", "head")), r.person("b", values{"nationality": "b"}, member("h", "child")),
		r.person("c", values{"nationality": "c"}, member("silent", "head")))
	consent := terms()
	consent.Basis = annona.BasisConsent
	households := func(ts annona.ScopeTerms) int {
		return r.all(annona.NewScope(r.shape(r.households, "status"), nil, nil, ts)).Count
	}
	r.same("nobody has said anything", r.people(nil, consent), []string{})
	if n := households(consent); n != 0 {
		t.Errorf("%d households although nobody consented", n)
	}
	if n := households(terms()); n != 2 {
		t.Errorf("%d households without consent as the basis, want those of somebody", n)
	}
	given := r.consent("a", "given")
	r.consent("b", "withdrawn")
	r.same("given and withdrawn", r.people(nil, consent), []string{"a"})
	if n := households(consent); n != 1 {
		t.Errorf("%d households, want that of the one who consented", n)
	}
	for name, change := range map[string]func(*annona.ScopeTerms){
		"another purpose":    func(x *annona.ScopeTerms) { x.Purpose = "research" },
		"part of a purpose":  func(x *annona.ScopeTerms) { x.Purpose = "eligi" },
		"no purpose":         func(x *annona.ScopeTerms) { x.Purpose = "" },
		"another recipient":  func(x *annona.ScopeTerms) { x.Recipient = "clinic" },
		"after its last day": func(x *annona.ScopeTerms) { x.Today = Today.AddDays(1) },
		"before its day":     func(x *annona.ScopeTerms) { x.Today = Today.AddDays(-1) },
	} {
		ts := consent
		change(&ts)
		r.same(name, r.people(nil, ts), []string{})
	}
	given.WithdrawnAt = Clock()
	r.update(func(tx annona.Tx) error { return tx.PutConsent(r.ctx, given) })
	r.same("withdrawn since", r.people(nil, consent), []string{})
	kept, err := r.Consents(r.ctx, given.Subject)
	if err != nil || len(kept) != 1 || !kept[0].WithdrawnAt.Equal(Clock()) {
		t.Errorf("consents on file: %+v, %v", kept, err)
	}
}

func testRelationships(t *testing.T, r *registry) {
	child := r.person("child", values{"nationality": "child"})
	mother := r.person("mother", values{"nationality": "mother"})
	mother.Relationships = []annona.Relationship{{ToKey: "child", Type: "parent", StartDate: "2015-01-01"}, {ToKey: "sister", Type: "guardian"}}
	if loaded := r.load(mother, child); loaded.Unresolved != 1 || loaded.Created != 2 {
		t.Fatalf("loaded %+v, want one unresolved relationship", loaded)
	}
	shape := r.withGroup(r.shape(r.individuals, "nationality"), "relationships", "from_individual_id", "to_individual_id", "type", "start_date", "source", "relationship_id")
	read := func(c annona.Condition) []string {
		return cells(r.all(annona.NewScope(shape, c, c, terms())).Groups[0].Page, 2)
	}
	page := r.all(annona.NewScope(shape, nil, nil, terms()))
	group := page.Groups[0].Page
	r.same("resolved", []string{string(group.Cell(0, 0)), string(group.Cell(1, 0)), string(group.Cell(3, 0)), string(group.Cell(4, 0))},
		[]string{string(page.UIDs[0][:]), string(page.UIDs[1][:]), "2015-01-01", source})
	if !slices.Equal(group.Numbers, page.Numbers[1:2]) {
		t.Errorf("the other end of a relationship has the number %v, want that of the child, %v", group.Numbers, page.Numbers[1:2])
	}
	if unnamed := r.all(annona.NewScope(r.withGroup(r.shape(r.individuals, "nationality"), "relationships", "type"), nil, nil, terms())).Groups[0].Page; len(unnamed.Numbers) > 0 {
		t.Error("a relationship that does not show its other end numbers it")
	}
	r.load(r.person("sister", values{"nationality": "sister"}))
	r.same("resolved later", read(nil), []string{"parent", "guardian"})
	if last := r.lastEvents(2); last[1].Kind != annona.EventTouched || last[1].Record != page.Numbers[0] {
		t.Errorf("whoever waited for the relationship is not touched: %+v", last)
	}
	notChild := annona.Not{Of: r.is(r.individuals, annona.RootSelf, "nationality", "child")}
	r.same("the other end is outside the scope", read(notChild), []string{"guardian"})
	ids := func() []string { return cells(r.all(annona.NewScope(shape, nil, nil, terms())).Groups[0].Page, 5) }
	before := ids()
	mother = r.person("mother", values{"nationality": "mother", "sex": "female"})
	mother.Relationships = []annona.Relationship{{ToKey: "sister", Type: "guardian", StartDate: "2020-01-01"}, {ToKey: "child", Type: "caregiver"}}
	r.load(mother)
	r.same("replaced", read(nil), []string{"guardian", "caregiver"})
	if after := ids(); after[0] != before[1] || after[1] == before[0] {
		t.Error("a relationship that goes on does not keep its id, or one that is another has it")
	}
}

// testLeftOut counts whom a scope takes in and does not show, by what they have said.
func testLeftOut(t *testing.T, r *registry) {
	r.load(r.household("h", nil), r.household("alone", nil),
		r.person("a", values{"nationality": "a"}, member("h", "head")), r.person("b", values{"nationality": "b"}, member("h", "child")),
		r.person("c", values{"nationality": "c"}, member("alone", "head")), r.person("d", values{"nationality": "d"}))
	put := func(key string, kind annona.RestrictionKind) {
		t.Helper()
		x := annona.Restriction{ID: annona.NewUID(), Subject: r.number(key), Kind: kind, RecordedAt: Clock()}
		r.update(func(tx annona.Tx) error { return tx.PutRestriction(r.ctx, x) })
	}
	put("a", annona.KindObjection)
	put("a", annona.KindRestriction)
	put("c", annona.KindRestriction)
	put("d", annona.KindObjection)
	r.consent("b", "given")
	consent := terms()
	consent.Basis = annona.BasisConsent
	is := func(what string, scope annona.Scope, want map[annona.LeftOut]int64) {
		t.Helper()
		got, err := r.CountLeftOut(r.ctx, scope)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	people, homes := r.shape(r.individuals), r.shape(r.households)
	notC := annona.Not{Of: r.is(r.individuals, annona.RootSelf, "nationality", "c")}
	is("people", annona.NewScope(people, nil, nil, terms()), map[annona.LeftOut]int64{annona.LeftByRestriction: 2, annona.LeftByObjection: 2})
	is("people by consent", annona.NewScope(people, nil, nil, consent), map[annona.LeftOut]int64{annona.LeftByRestriction: 2, annona.LeftWithoutConsent: 3})
	is("some people", annona.NewScope(people, notC, notC, terms()), map[annona.LeftOut]int64{annona.LeftByRestriction: 1, annona.LeftByObjection: 2})
	is("chosen people", annona.NewScope(people, nil, nil, terms()).Choosing(notC), map[annona.LeftOut]int64{annona.LeftByRestriction: 1, annona.LeftByObjection: 2})
	is("in households", annona.NewScope(homes, nil, nil, terms()), map[annona.LeftOut]int64{annona.LeftByRestriction: 2, annona.LeftByObjection: 1})
	is("in households, some people", annona.NewScope(homes, nil, notC, consent), map[annona.LeftOut]int64{annona.LeftByRestriction: 1, annona.LeftWithoutConsent: 1})
	if _, err := r.CountLeftOut(r.ctx, annona.Scope{}); err == nil {
		t.Error("the zero scope counts somebody")
	}
}
