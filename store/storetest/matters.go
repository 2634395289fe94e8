package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// matters is a store under test that keeps matters.
type matters struct {
	*registry
	annona.Matters
	enrollments, benefits *annona.Dataset
	events                int // of the log before the first matter
	uids                  map[annona.Number]annona.UID
	counted               *annona.Shape // of what errands count up
}

// withMatters loads three people in two households, and what a program keeps about them:
//
//	a  in h: enrolled in cash (1), with a benefit (1); b in h: in school (2), under a key of its source
//	the household h: in cash (3); c in k: in cash, confidential (4); nobody: the clinic's (5)
func withMatters(t *testing.T, r *registry) *matters {
	store, ok := r.Store.(annona.Matters)
	if !ok {
		t.Skip("this store keeps no matters")
	}
	m := &matters{registry: r, Matters: store, uids: map[annona.Number]annona.UID{}}
	m.enrollments, _ = r.dictionary.Dataset("enrollments")
	m.counted = Shape(m.enrollments, "enrollment_id")
	m.benefits, _ = r.dictionary.Dataset("benefits")
	r.load(r.household("h", nil), r.household("k", nil), r.person("a", values{"nationality": "a"}, member("h", "head")),
		r.person("b", values{"nationality": "b"}, member("h", "child")), r.person("c", values{"nationality": "c"}, member("k", "head")))
	m.events = len(r.log())
	r.update(func(tx annona.Tx) error {
		w := tx
		found, err := w.FindMatters(r.ctx, m.enrollments, []annona.MatterKey{{Source: "mis", Key: "one"}, {Source: "mis", Key: "two"}})
		if err != nil {
			return err
		}
		fresh, err := w.NewMatters(r.ctx, m.enrollments, 3)
		if err != nil {
			return err
		}
		benefits, err := w.NewMatters(r.ctx, m.benefits, 1)
		if err != nil {
			return err
		}
		all := slices.Concat(found, fresh, benefits)
		for i, of := range []annona.Matter{
			{Subject: person(r, "a"), Program: "cash", State: "active", Owner: "mis"}, {Subject: person(r, "b"), Program: "school", State: "active", Owner: "school"},
			{Subject: annona.SubjectRef{Dataset: "households", Number: 1}, Program: "cash", State: "waitlisted", Owner: "mis"},
			{Subject: person(r, "c"), Program: "cash", State: "active", Owner: "mis", Confidentiality: "restricted"},
			{Owner: "clinic", State: "active"}, {Subject: person(r, "a"), Program: "cash", Parent: 1},
		} {
			of.Dataset, of.Number, of.UID, of.Version, of.Source, of.Key = all[i].Dataset, all[i].Number, all[i].UID, 1, all[i].Source, all[i].Key
			of.Clear, of.Sealed = m.image(of.Dataset, of.Program), annona.AppendItem(nil, annona.Image("sealed"))
			all[i] = of
		}
		return w.PutMatters(r.ctx, tester, all)
	})
	return m
}

func person(r *registry, key string) annona.SubjectRef {
	return annona.SubjectRef{Dataset: "individuals", Number: r.number(key)}
}

func (m *matters) image(d *annona.Dataset, program string) (image annona.Image) {
	f, _ := d.Field("program")
	return image.AppendText(f.ImageTag(), program)
}

// scope is that of a partner who may see the matters of programs about everybody.
func (m *matters) scope(d *annona.Dataset, terms annona.MatterTerms, columns ...string) annona.MatterScope {
	return m.scopeOf(Shape(d, columns...), terms)
}

func (m *matters) scopeOf(shape *annona.Shape, terms annona.MatterTerms) annona.MatterScope {
	terms.Said = seenTerms(terms.Said)
	people := annona.NewScope(Shape(m.individuals), nil, nil, terms.Said)
	households := annona.NewScope(Shape(m.households), nil, nil, terms.Said)
	return annona.NewMatterScope(shape, terms, people, households)
}

func seenTerms(of annona.ScopeTerms) annona.ScopeTerms {
	if of == (annona.ScopeTerms{}) {
		return terms()
	}
	return of
}

// read reads a scope at once and, which must be the same, one by one.
func (m *matters) read(scope annona.MatterScope, choice annona.MatterChoice) *annona.Page {
	m.t.Helper()
	page, one := annona.NewPage(scope.Shape()), annona.NewPage(scope.Shape())
	all := &annona.MatterQuestion{Scope: scope, Choice: choice, Limit: 100, Page: page}
	if err := m.ReadMatters(m.ctx, all); err != nil || all.More {
		m.t.Fatalf("read: more %v, %v", all.More, err)
	}
	var rows []string
	for q := (&annona.MatterQuestion{Scope: scope, Choice: choice, Limit: 1, Page: one, More: true}); q.More; {
		one.Reset()
		if err := m.ReadMatters(m.ctx, q); err != nil {
			m.t.Fatal(err)
		}
		if one.Count > 0 {
			q.After = one.Numbers[0]
		}
		rows = append(rows, texts(one)...)
	}
	m.same("matters one by one", rows, texts(page))
	return page
}

// seen are the numbers of what a scope shows.
func (m *matters) seen(scope annona.MatterScope, choice annona.MatterChoice) (numbers []annona.Number) {
	m.t.Helper()
	return slices.Clone(m.read(scope, choice).Numbers)
}

func (m *matters) is(what string, got []annona.Number, want ...annona.Number) {
	m.t.Helper()
	if !slices.Equal(got, want) {
		m.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// byKey asks for the UIDs of records by their keys.
func (m *matters) byKey() {
	m.t.Helper()
	uids, err := m.UIDsByKey(m.ctx, m.households, source, []string{"h", "nobody", "a"})
	if err != nil || len(uids) != 1 || uids["h"] == (annona.UID{}) {
		m.t.Errorf("the household by its key: %v, %v", uids, err)
	}
	people, err := m.UIDsByKey(m.ctx, m.individuals, source, []string{"a", "b"})
	if number, _ := m.SubjectByUID(m.ctx, people["b"]); err != nil || len(people) != 2 || number != m.number("b") {
		m.t.Errorf("individuals by their keys: %v, %v", people, err)
	}
	if none, err := m.UIDsByKey(m.ctx, m.individuals, "elsewhere", []string{"a"}); err != nil || len(none) != 0 {
		m.t.Errorf("of another source: %v, %v", none, err)
	}
}

func testMatters(t *testing.T, r *registry) {
	m := withMatters(t, r)
	m.byKey()
	r.same("the log", r.since(m.events), []string{"benefits 1 created", "enrollments 1 created", "enrollments 2 created", "enrollments 3 created", "enrollments 4 created", "enrollments 5 created"})
	both := annona.MatterTerms{Programs: []string{"cash", "school"}}
	shape := Shape(m.enrollments, "enrollment_id", "individual_id", "household_id", "program", "source_system")
	shape.Columns = slices.Insert(shape.Columns, 4, annona.MatterVersion())
	page := m.read(m.scopeOf(shape, both), annona.MatterChoice{})
	m.is("those of the programs", page.Numbers, 1, 2, 3)
	r.same("their programs", cells(page, 3), []string{"cash", "school", "cash"})
	r.same("their versions", cells(page, 4), []string{"1", "1", "1"})
	r.same("who reported them", cells(page, 5), []string{"mis", "mis", ""})
	if want := []annona.SubjectRef{person(r, "a"), person(r, "b"), {Dataset: "households", Number: 1}}; !slices.Equal(page.Subjects, want) {
		t.Errorf("whom they are about: %v", page.Subjects)
	}
	if string(page.Cell(0, 1)) != string(page.UIDs[1][:]) || len(page.Cell(1, 1)) != 16 || len(page.Cell(2, 1)) != 0 || len(page.Cell(2, 2)) != 16 {
		t.Errorf("ids %q", texts(page))
	}
	benefit := m.read(m.scope(m.benefits, both, "benefit_id", "enrollment_id"), annona.MatterChoice{Parents: []annona.Number{1}})
	m.is("a benefit", benefit.Numbers, 1)
	r.same("its enrollment", cells(benefit, 1), []string{string(page.UIDs[0][:])})

	all := m.scope(m.enrollments, both)
	for name, c := range map[string]struct {
		choice annona.MatterChoice
		want   []annona.Number
	}{
		"by id":       {annona.MatterChoice{UIDs: []annona.UID{page.UIDs[2], annona.NewUID()}}, []annona.Number{3}},
		"by subject":  {annona.MatterChoice{Subjects: []annona.SubjectRef{person(r, "b"), {Dataset: "households", Number: 1}}}, []annona.Number{2, 3}},
		"by parent":   {annona.MatterChoice{Parents: []annona.Number{1}}, nil},
		"by program":  {annona.MatterChoice{Programs: []string{"cash"}}, []annona.Number{1, 3}},
		"by state":    {annona.MatterChoice{States: []string{"waitlisted", "closed"}}, []annona.Number{3}},
		"by owner":    {annona.MatterChoice{Owner: "school"}, []annona.Number{2}},
		"since then":  {annona.MatterChoice{Since: Clock()}, []annona.Number{1, 2, 3}},
		"since later": {annona.MatterChoice{Since: Clock().Add(time.Second)}, nil},
		"due":         {annona.MatterChoice{DueUntil: Today}, nil},
	} {
		m.is(name, m.seen(all, c.choice), c.want...)
	}
	if err := m.ReadMatters(r.ctx, &annona.MatterQuestion{Limit: 1, Page: annona.NewPage(Shape(m.enrollments))}); err == nil {
		t.Error("matters were read without a scope")
	}
	if err := m.ReadMatters(r.ctx, &annona.MatterQuestion{Scope: m.scope(m.individuals, both), Limit: 1, Page: annona.NewPage(Shape(m.individuals))}); err == nil {
		t.Error("individuals were read as matters")
	}
}

// testMattersTogether asks for pages of several scopes at once: each is what it is alone, one that is appended to
// too, and a limit of one does not end another.
func testMattersTogether(t *testing.T, r *registry) {
	m := withMatters(t, r)
	both := annona.MatterTerms{Programs: []string{"cash", "school"}}
	questions := []*annona.MatterQuestion{
		{Scope: m.scope(m.enrollments, both, "enrollment_id", "program"), Limit: 2},
		{Scope: m.scope(m.benefits, both, "benefit_id"), Limit: 100},
		{Scope: m.scope(m.enrollments, annona.MatterTerms{}, "enrollment_id"), Limit: 100},
		{Scope: m.scope(m.enrollments, annona.MatterTerms{Owner: "mis", Cleared: []string{"restricted"}}, "enrollment_id"), After: 1, Limit: 100},
		{Scope: m.scope(m.enrollments, both), Choice: annona.MatterChoice{UIDs: []annona.UID{annona.NewUID()}}, Limit: 1},
		{Scope: m.scope(m.enrollments, both), Limit: 0},
	}
	ask := func() {
		t.Helper()
		if err := m.ReadMatters(r.ctx, questions...); err != nil {
			t.Fatal(err)
		}
	}
	wants, more := [][]annona.Number{{1, 2}, {1}, nil, {3, 4}, nil, nil}, []bool{true, false, false, false, false, true}
	check := func() {
		t.Helper()
		for i, q := range questions {
			m.is(fmt.Sprint("question ", i), q.Page.Numbers, wants[i]...)
			if q.More != more[i] || q.Page.Epoch != r.epoch() {
				t.Errorf("question %d: more %v, epoch %d of %d", i, q.More, q.Page.Epoch, r.epoch())
			}
		}
	}
	for _, q := range questions {
		q.Page = annona.NewPage(q.Scope.Shape())
	}
	ask()
	check()
	questions[0].After, questions[0].Limit, wants[0], more[0] = 2, 3, []annona.Number{1, 2, 3}, false // as many in all, one of them now
	for _, q := range questions[1:] {
		q.Page.Reset()
	}
	ask()
	check()
	if err := m.ReadMatters(r.ctx); err != nil {
		t.Error("nothing was asked: ", err)
	}
	if err := m.ReadMatters(r.ctx, questions[1], &annona.MatterQuestion{Limit: 1, Page: annona.NewPage(Shape(m.enrollments))}); err == nil {
		t.Error("matters were read without a scope")
	}
}

// testMattersWalled reads matters as several partners may.
func testMattersWalled(t *testing.T, r *registry) {
	m := withMatters(t, r)
	sees := func(what string, of annona.MatterTerms, want ...annona.Number) {
		t.Helper()
		m.is(what, m.seen(m.scope(m.enrollments, of), annona.MatterChoice{}), want...)
	}
	cash := annona.MatterTerms{Programs: []string{"cash"}}
	sees("of a program", cash, 1, 3)
	sees("of no program", annona.MatterTerms{})
	sees("an owner, not cleared", annona.MatterTerms{Owner: "mis"}, 1, 3)
	sees("an owner, cleared", annona.MatterTerms{Owner: "mis", Cleared: []string{"restricted"}}, 1, 3, 4)
	sees("the owner of what is about nobody", annona.MatterTerms{Owner: "clinic"}, 5)
	nobody := annona.NewMatterScope(Shape(m.enrollments), annona.MatterTerms{Programs: []string{"cash"}, Said: terms()}, annona.Scope{}, annona.Scope{})
	m.is("where nobody may be seen", m.seen(nobody, annona.MatterChoice{}))
	only := annona.NewScope(Shape(m.individuals), m.registry.is(r.individuals, annona.RootSelf, "nationality", "b"), nil, terms())
	narrow := annona.NewMatterScope(Shape(m.enrollments), annona.MatterTerms{Programs: []string{"cash", "school"}, Said: terms()}, only, annona.Scope{})
	m.is("where one may be seen", m.seen(narrow, annona.MatterChoice{}), 2)
	for condition, want := range map[annona.Condition][]annona.Number{nil: {3}, m.registry.is(r.households, annona.RootSelf, "settlement_type", "urban"): nil} {
		homes := annona.NewScope(Shape(m.households), condition, nil, terms())
		only := annona.NewMatterScope(Shape(m.enrollments), annona.MatterTerms{Programs: []string{"cash"}, Said: terms()}, annona.Scope{}, homes)
		m.is("where households may be seen", m.seen(only, annona.MatterChoice{}), want...)
	}

	share := annona.Share{Dataset: "enrollments", Number: 2, Partner: "clinic", By: annona.NewUID(), Until: Today, Fields: []string{"status", "cycle"}, Edit: true}
	epoch := r.epoch()
	r.update(func(tx annona.Tx) error { return tx.PutShare(r.ctx, share) })
	if r.epoch() == epoch {
		t.Error("sharing has not moved the epoch")
	}
	sees("what is shared until today", annona.MatterTerms{Owner: "clinic"}, 2, 5)
	if page := m.read(m.scope(m.enrollments, annona.MatterTerms{Owner: "clinic"}), annona.MatterChoice{}); len(page.Shares) != 1 || !reflect.DeepEqual(page.Shares[0], share) {
		t.Errorf("shares beside the page: %+v", page.Shares)
	}
	shares, err := m.MatterShares(r.ctx, m.enrollments, []annona.Number{1, 2, 5}, "clinic", Today)
	if err != nil || len(shares) != 1 || !reflect.DeepEqual(shares[0], share) {
		t.Errorf("shares %+v, %v", shares, err)
	}
	for day, partner := range map[annona.Date]string{Today.AddDays(1): "clinic", Today: "school"} {
		if none, err := m.MatterShares(r.ctx, m.enrollments, []annona.Number{2}, partner, day); err != nil || len(none) > 0 {
			t.Errorf("shares of %s on %s: %+v, %v", partner, day, none, err)
		}
	}
	tomorrow := terms()
	tomorrow.Today = Today.AddDays(1)
	sees("tomorrow", annona.MatterTerms{Owner: "clinic", Said: tomorrow}, 5)
	r.update(func(tx annona.Tx) error { return tx.EndShare(r.ctx, share) })
	sees("when it has ended", annona.MatterTerms{Owner: "clinic"}, 5)

	r.update(func(tx annona.Tx) error {
		return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: r.number("a"), Kind: annona.KindRestriction, RecordedAt: Clock()})
	})
	sees("of somebody who is restricted", cash, 3)
	sees("and for the owner", annona.MatterTerms{Owner: "mis"}, 3)
	r.delete(r.individuals, 2)
	sees("of somebody out of sight", annona.MatterTerms{Programs: []string{"school"}})
	sees("of a household of which nobody may be seen", cash)
	sees("and for its owner", annona.MatterTerms{Owner: "mis"})
}

// testMattersOfParents reads what belongs to matters of other partners.
func testMattersOfParents(t *testing.T, r *registry) {
	m := withMatters(t, r)
	sees := func(what string, owner string, want ...annona.Number) {
		t.Helper()
		m.is(what, m.seen(m.scope(m.benefits, annona.MatterTerms{Owner: owner}), annona.MatterChoice{}), want...)
	}
	sees("of the enrollment's owner", "mis", 1)
	sees("of somebody else", "clinic")
	share := annona.Share{Dataset: "enrollments", Number: 1, Partner: "clinic", By: annona.NewUID()}
	r.update(func(tx annona.Tx) error { return tx.PutShare(r.ctx, share) })
	sees("when the enrollment is shared", "clinic", 1)
	r.update(func(tx annona.Tx) error {
		held, err := tx.HoldMatters(r.ctx, m.enrollments, []annona.Number{1})
		if err != nil {
			return err
		}
		held[0].Version, held[0].Owner, held[0].Confidentiality = 2, "school", "restricted"
		return tx.PutMatters(r.ctx, tester, held)
	})
	sees("of the former owner", "mis")
	sees("of the owner, who is not cleared", "school")
	m.is("of the owner, who is", m.seen(m.scope(m.benefits, annona.MatterTerms{Owner: "school", Cleared: []string{"restricted"}}), annona.MatterChoice{}), 1)
}

// testMattersChange changes matters, and refuses what was not found as it is.
func testMattersChange(t *testing.T, r *registry) {
	m := withMatters(t, r)
	var held []annona.Matter
	r.update(func(tx annona.Tx) (err error) {
		w := tx
		if held, err = w.HoldMatters(r.ctx, m.enrollments, []annona.Number{1, 2, 99}); err != nil || len(held) != 2 {
			return fmt.Errorf("held %d: %w", len(held), err)
		}
		next := held[0]
		next.Version, next.State, next.Before = 2, "suspended", annona.Former{Version: 1, Clear: []byte("clear")}.Append(nil)
		return w.PutMatters(r.ctx, tester, []annona.Matter{next})
	})
	if h := held[0]; h.Source != "mis" || h.Key != "one" || h.State != "active" || h.Owner != "mis" || h.Version != 1 || h.Subject != person(r, "a") ||
		string(h.Clear) != string(m.image(m.enrollments, "cash")) || string(h.Sealed) != string(annona.AppendItem(nil, annona.Image("sealed"))) || !h.RegisteredAt.Equal(Clock()) {
		t.Errorf("held: %+v", h)
	}
	m.is("suspended", m.seen(m.scope(m.enrollments, annona.MatterTerms{Programs: []string{"cash"}}), annona.MatterChoice{States: []string{"suspended"}}), 1)
	events, err := m.MatterEvents(r.ctx, m.enrollments, []annona.Number{1}, 0, 10)
	if err != nil || len(events) != 2 || events[0].Kind != annona.EventCreated || events[1].Kind != annona.EventChanged || events[1].Version != 2 ||
		len(events[1].Before) == 0 || events[1].Actor != "tester" || !events[1].At.Equal(Clock()) {
		t.Errorf("events %+v, %v", events, err)
	}
	if later, err := m.MatterEvents(r.ctx, m.enrollments, []annona.Number{1, 2}, events[0].Seq, 1); err != nil || len(later) != 1 || later[0].Seq <= events[0].Seq {
		t.Errorf("a page of events: %+v, %v", later, err)
	}
	again := held[0]
	again.Version = 2
	stranger := annona.Matter{Dataset: m.enrollments, Number: 77, UID: annona.NewUID(), Version: 1, Subject: annona.SubjectRef{Dataset: "individuals", Number: 999}}
	for name, bad := range map[string]annona.Matter{"another version is on file": again, "about nobody": stranger, "a matter of people": {Dataset: r.individuals, Number: 1, Version: 2}} {
		if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutMatters(r.ctx, tester, []annona.Matter{bad}) }); err == nil {
			t.Errorf("%s: it was written", name)
		}
	}
	for name, keys := range map[string][]annona.MatterKey{"twice": {{Source: "s", Key: "k"}, {Source: "s", Key: "k"}}, "without a key": {{Source: "s"}}, "without a source": {{Key: "k"}}} {
		err := r.Update(r.ctx, func(tx annona.Tx) error {
			_, err := tx.FindMatters(r.ctx, m.enrollments, keys)
			return err
		})
		if err == nil {
			t.Errorf("%s: found", name)
		}
	}
	if numbers := r.concerned(r.individuals, annona.Moment{Seq: int64(m.events), Day: Today}, Today); len(numbers) > 0 {
		t.Errorf("a matter concerns %v", numbers)
	}
}

// testMattersErased erases somebody with what is kept about them.
func testMattersErased(t *testing.T, r *registry) {
	m := withMatters(t, r)
	r.update(func(tx annona.Tx) error {
		w := tx
		held, err := w.HoldMatters(r.ctx, m.enrollments, []annona.Number{1})
		if err != nil {
			return err
		}
		held[0].Version, held[0].Before = 2, []byte("before")
		return w.PutMatters(r.ctx, tester, held)
	})
	n := len(r.log())
	r.update(func(tx annona.Tx) error {
		gone, err := tx.EraseMatters(r.ctx, tester, person(r, "a"))
		slices.SortFunc(gone, func(a, b annona.MatterRef) int { return len(a.Dataset) - len(b.Dataset) })
		if want := []annona.MatterRef{{Dataset: "benefits", Number: 1}, {Dataset: "enrollments", Number: 1}}; !slices.Equal(gone, want) {
			t.Errorf("gone: %v", gone)
		}
		return err
	})
	r.same("the log", r.since(n), []string{"benefits 1 erased", "enrollments 1 erased"})
	all := annona.MatterTerms{Programs: []string{"cash", "school"}}
	m.is("what is left", m.seen(m.scope(m.enrollments, all), annona.MatterChoice{}), 2, 3)
	m.is("of benefits", m.seen(m.scope(m.benefits, all), annona.MatterChoice{}))
	events, err := m.MatterEvents(r.ctx, m.enrollments, []annona.Number{1}, 0, 10)
	if err != nil || len(events) != 3 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if len(e.Before) > 0 {
			t.Errorf("the event %d keeps an image", e.Seq)
		}
	}
}

// testMattersMerged reads what is kept about somebody who was merged into another.
// testAttachments writes contents part by part, and removes one attachment: what it contains goes, and nothing
// of another one.
func testAttachments(t *testing.T, r *registry) {
	m := withMatters(t, r)
	store := r.Store.(annona.Attachments)
	attachments, _ := r.dictionary.Dataset("case_attachments")
	parts := func(of annona.Number) (all []string) {
		for part := 1; ; part++ {
			sealed, err := store.AttachmentPart(r.ctx, of, part)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) == 0 {
				return all
			}
			all = append(all, string(sealed))
		}
	}
	r.update(func(tx annona.Tx) error {
		some, err := tx.NewMatters(r.ctx, attachments, 2)
		if err != nil {
			return err
		}
		for n := range some {
			some[n].Version, some[n].Subject = 1, person(r, []string{"a", "b"}[n])
			some[n].Sealed = annona.AppendItem(nil, annona.Image("sealed"))
		}
		if err := tx.PutMatters(r.ctx, tester, some); err != nil {
			return err
		}
		for part, content := range []string{"one", "two", "three"} {
			if err := tx.PutAttachmentPart(r.ctx, some[part%2].Number, part/2+1, []byte(content)); err != nil {
				return err
			}
		}
		return nil
	})
	r.same("the first one", parts(1), []string{"one", "three"})
	r.same("the second one", parts(2), []string{"two"})
	r.same("one of nobody", parts(3), nil)
	erase := func() (gone []annona.MatterRef) {
		r.update(func(tx annona.Tx) (err error) {
			gone, err = tx.EraseMatter(r.ctx, tester, annona.MatterRef{Dataset: "case_attachments", Number: 1})
			return err
		})
		return gone
	}
	if gone := erase(); !slices.Equal(gone, []annona.MatterRef{{Dataset: "case_attachments", Number: 1}}) {
		t.Errorf("gone: %v", gone)
	}
	if again := erase(); len(again) > 0 {
		t.Errorf("again: %v", again)
	}
	r.same("what is left of it", parts(1), nil)
	r.same("and of the other one", parts(2), []string{"two"})
	r.update(func(tx annona.Tx) error {
		_, err := tx.EraseMatters(r.ctx, tester, person(r, "b"))
		return err
	})
	r.same("behind the erasure of whom it is about", parts(2), nil)
	all := annona.MatterTerms{Programs: []string{"cash", "school"}}
	m.is("enrollments of the others", m.seen(m.scope(m.enrollments, all), annona.MatterChoice{}), 1, 3)
}

func testMattersMerged(t *testing.T, r *registry) {
	m := withMatters(t, r)
	a, b := person(r, "a"), person(r, "b")
	r.update(func(tx annona.Tx) error {
		parts := []annona.Part{{Number: a.Number, Version: 2, Own: []byte("a")}, {Number: b.Number, Version: 1, Own: []byte("b")}}
		return tx.PutParts(r.ctx, r.individuals, a.Number, parts)
	})
	r.delete(r.individuals, b.Number, a.Number)
	page := m.read(m.scope(m.enrollments, annona.MatterTerms{Programs: []string{"school"}}, "individual_id"), annona.MatterChoice{Subjects: []annona.SubjectRef{a}})
	m.is("of the one that stays", page.Numbers, 2)
	taking := annona.NewPage(Shape(r.individuals))
	scope := annona.NewScope(taking.Shape, nil, nil, terms()).TakingPart(annona.Participating{Programs: []string{"school"}})
	if _, err := r.ReadPage(r.ctx, scope, 0, 0, 10, taking); err != nil || !slices.Equal(taking.Numbers, []annona.Number{a.Number}) {
		t.Errorf("who takes part by somebody merged into them: %v, %v", taking.Numbers, err)
	}
	if len(page.Subjects) != 1 || page.Subjects[0] != a || len(page.Cell(0, 0)) != 16 {
		t.Errorf("about %v", page.Subjects)
	}
}

// testHolders asks who holds identifiers, and whether they take part.
func testHolders(t *testing.T, r *registry) {
	m := withMatters(t, r)
	a, b, c := person(r, "a").Number, person(r, "b").Number, person(r, "c").Number
	id := func(name string) annona.IdentifierIndex {
		hash := make([]byte, 32)
		copy(hash, name)
		return annona.IdentifierIndex{Scheme: "national_id", Hash: hash}
	}
	r.update(func(tx annona.Tx) error {
		if _, err := tx.Hold(r.ctx, r.individuals, []annona.Number{a, b, c}); err != nil {
			return err
		}
		for number, names := range map[annona.Number][]string{a: {"a", "both"}, b: {"b", "both"}, c: {"c"}} {
			var ids []annona.IdentifierIndex
			for _, name := range names {
				ids = append(ids, id(name))
			}
			if err := tx.PutIdentifiers(r.ctx, r.individuals, number, ids); err != nil {
				return err
			}
		}
		return nil
	})
	everybody := annona.NewScope(Shape(r.individuals), nil, nil, terms())
	ask := func(what string, scope annona.Scope, in annona.Participating, want []annona.Holder, names ...string) {
		t.Helper()
		var ids []annona.IdentifierIndex
		for _, name := range names {
			ids = append(ids, id(name))
		}
		got, epoch, err := m.Holders(r.ctx, scope, in, ids)
		slices.SortFunc(got, func(a, b annona.Holder) int { return (a.At-b.At)*100 + int(a.Number-b.Number) })
		if err != nil || !slices.Equal(got, want) || epoch != r.epoch() {
			t.Errorf("%s: %+v at epoch %d, %v", what, got, epoch, err)
		}
	}
	active := func(programs ...string) annona.Participating {
		return annona.Participating{Programs: programs, States: []string{"active", "suspended"}}
	}
	ask("a program", everybody, active("cash"), []annona.Holder{{At: 0, Number: a, Takes: true}, {At: 1, Number: b}, {At: 3, Number: a, Takes: true}, {At: 3, Number: b}, {At: 4, Number: c}}, "a", "b", "nobody", "both", "c")
	ask("two programs", everybody, active("cash", "school"), []annona.Holder{{At: 0, Number: b, Takes: true}}, "b")
	ask("through the household", everybody, annona.Participating{Programs: []string{"cash"}, States: []string{"waitlisted"}}, []annona.Holder{{At: 0, Number: b, Takes: true}}, "b")
	unseen := everybody.WithHouseholds(r.is(r.households, annona.RootSelf, "settlement_type", "urban"))
	ask("through a household that is not seen", unseen, annona.Participating{Programs: []string{"cash"}, States: []string{"waitlisted"}}, []annona.Holder{{At: 0, Number: b}}, "b")
	only := annona.NewScope(Shape(r.individuals), r.is(r.individuals, annona.RootSelf, "nationality", "b"), nil, terms())
	ask("of one who may be seen", only, active("cash"), []annona.Holder{{At: 1, Number: b}}, "a", "both")
	ask("of nobody", everybody, active("cash"), nil)
	listed := func(what string, scope annona.Scope, in annona.Participating, want ...annona.Number) {
		t.Helper()
		page := annona.NewPage(scope.Shape())
		if more, err := r.ReadPage(r.ctx, scope.TakingPart(in), 0, 0, 10, page); err != nil || more || !slices.Equal(page.Numbers, want) {
			t.Errorf("%s: %v of %v, %v", what, page.Numbers, want, err)
		}
	}
	listed("who takes part", everybody, active("cash"), a)
	listed("who takes part in whatever state", everybody, annona.Participating{Programs: []string{"cash"}}, a)
	listed("in one of two", everybody, active("cash", "school"), a, b)
	listed("in none", everybody, annona.Participating{States: []string{"active"}})
	listed("not through the household", everybody, annona.Participating{Programs: []string{"cash"}, States: []string{"waitlisted"}})
	homes := annona.NewScope(Shape(r.households), nil, nil, terms())
	listed("a household itself", homes, annona.Participating{Programs: []string{"cash"}, States: []string{"waitlisted"}}, 1)
	listed("a household, of another state", homes, active("cash"))
	r.update(func(tx annona.Tx) error {
		return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: a, Kind: annona.KindRestriction, Ground: "contested", RecordedAt: Clock()})
	})
	ask("of one who is restricted", everybody, active("cash"), nil, "a")
	if _, _, err := m.Holders(r.ctx, annona.Scope{}, active("cash"), []annona.IdentifierIndex{id("a")}); err == nil {
		t.Error("holders were found without a scope")
	}
}
