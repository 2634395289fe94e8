package storetest

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// log returns the whole log after checking that it is gapless.
func (r *registry) log() []annona.Event {
	r.t.Helper()
	events, err := r.Events(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			r.t.Fatalf("event %d has the sequence number %d", i+1, e.Seq)
		}
	}
	return events
}

func (r *registry) lastEvents(n int) []annona.Event {
	events := r.log()
	return events[len(events)-n:]
}

// since describes the events after the first n: noun, number and kind.
func (r *registry) since(n int) []string {
	out := []string{}
	for _, e := range r.log()[n:] {
		out = append(out, e.Dataset+" "+strconv.Itoa(int(e.Record))+" "+string(e.Kind))
	}
	slices.Sort(out)
	return out
}

func testVersions(t *testing.T, r *registry) {
	h := r.household("h", values{"area_code": "XA"})
	p := r.person("p", values{"sex": "female"}, member("h", "head"))
	if got := r.load(h, p); got != (annona.Loaded{Created: 2}) {
		t.Fatalf("first: %+v", got)
	}
	if got := r.load(h, p); got != (annona.Loaded{Unchanged: 2}) {
		t.Fatalf("again: %+v", got)
	}
	if n := len(r.log()); n != 2 {
		t.Fatalf("%d events, want 2", n)
	}
	was := p
	p = r.person("p", values{"sex": "male"}, member("h", "head"))
	if got := r.load(h, p); got != (annona.Loaded{Changed: 1, Unchanged: 1}) {
		t.Fatalf("changed: %+v", got)
	}
	e := r.lastEvents(1)[0]
	if e.Kind != annona.EventChanged || e.Version != 2 || e.Actor != "tester" || e.Dataset != "individuals" || !e.At.Equal(Clock()) {
		t.Fatalf("event %+v", e)
	}
	before, err := annona.ParseFormer(e.Before)
	if err != nil || before.Version != 1 || string(before.Clear) != "before:"+string(was.Clear) || string(before.Sealed) != string(was.Sealed) {
		t.Fatalf("the event does not keep what the record was: %v", err)
	}
	if n, err := r.SubjectByKey(r.ctx, source, "p"); err != nil || n != 1 {
		t.Fatalf("the number has changed: %d, %v", n, err)
	}
	r.same("the new version is read", cells(r.all(annona.NewScope(r.shape(r.individuals, "sex"), nil, nil, terms())), 0), []string{"male"})
}

func testTouched(t *testing.T, r *registry) {
	r.load(r.household("h", values{"area_code": "XA-1", "status": "active"}),
		r.person("a", nil, member("h", "head")), r.person("b", nil, member("h", "child")), r.person("other", nil))
	n := len(r.log())
	r.load(r.household("h", values{"area_code": "XA-2", "status": "active"}))
	r.same("the household moves", r.since(n), []string{"households 1 changed", "individuals 1 touched", "individuals 2 touched"})
	r.same("and its members with it", cells(r.all(annona.NewScope(r.shape(r.individuals, "area_code"), nil, nil, terms())), 0), []string{"XA-2", "XA-2", ""})

	n = len(r.log())
	r.load(r.household("h", values{"area_code": "XA-2", "status": "active", "full_address": "elsewhere"}))
	r.same("nothing that filters use", r.since(n), []string{"households 1 changed"})

	n = len(r.log())
	r.load(r.household("h", values{"area_code": "XA-2"}), r.person("a", values{"sex": "female"}, member("h", "head")))
	r.same("those of the batch have their event already", r.since(n), []string{"households 1 changed", "individuals 1 changed", "individuals 2 touched"})

	n = len(r.log())
	r.load(r.person("a", values{"sex": "male"}, member("h", "spouse")))
	r.same("a membership changes", r.since(n), []string{"households 1 touched", "individuals 1 changed"})

	n = len(r.log())
	r.consent("other", "given")
	r.same("a consent", r.since(n), []string{"individuals 3 touched"})
}

func testMove(t *testing.T, r *registry) {
	r.load(r.household("old", values{"area_code": "XA-1"}), r.household("new", values{"area_code": "XA-2"}),
		r.person("p", nil, member("old", "head"), annona.Membership{HouseholdKey: "old", Role: "child"}))
	n := len(r.log())
	r.load(r.person("p", nil, annona.Membership{HouseholdKey: "old", Role: "head", EndDate: Today}, annona.Membership{HouseholdKey: "new", Role: "child", StartDate: Today}))
	r.same("both households are touched", r.since(n), []string{"households 1 touched", "households 2 touched", "individuals 1 changed"})
	shape := r.withGroup(r.shape(r.individuals, "area_code", "role"), "memberships", "role")
	page := r.all(annona.NewScope(shape, nil, nil, terms()))
	r.same("the line is that of the new household", []string{string(page.Cell(0, 0)), string(page.Cell(1, 0))}, []string{"XA-2", "child"})
	r.same("one active membership", cells(page.Groups[0].Page, 0), []string{"child"})
	r.same("the old household is nobody's", cells(r.all(annona.NewScope(r.shape(r.households, "area_code", "member_count"), nil, nil, terms())), 0), []string{"XA-2"})
	r.load(r.person("p", nil))
	page = r.all(annona.NewScope(shape, nil, nil, terms()))
	r.same("no household any more", []string{string(page.Cell(0, 0)), string(page.Cell(1, 0))}, []string{"", ""})
}

// testMembershipIDs changes a membership and a household within one transaction.
func testMembershipIDs(t *testing.T, r *registry) {
	shape := r.withGroup(r.shape(r.individuals, "area_code"), "memberships", "membership_id", "role")
	read := func() *annona.Page { return r.all(annona.NewScope(shape, nil, nil, terms())) }
	r.update(func(tx annona.Tx) error {
		for _, batch := range [][]annona.StoredRecord{
			{r.household("h", values{"area_code": "XA-1"}), r.person("a", nil, member("h", "head"))},
			{r.household("h", values{"area_code": "XA-2"}), r.person("b", nil, member("h", "child"))},
		} {
			if _, err := Load(r.ctx, tx, "tester", batch); err != nil {
				return err
			}
		}
		return nil
	})
	before := read()
	r.same("both stand in the household's area", cells(before, 0), []string{"XA-2", "XA-2"})
	r.load(r.person("b", nil, member("h", "head")))
	after := read()
	r.same("a membership that changes keeps its id", cells(after.Groups[0].Page, 0), cells(before.Groups[0].Page, 0))
	r.same("and has its new role", cells(after.Groups[0].Page, 1), []string{"head", "head"})
}

func testUnknownHousehold(t *testing.T, r *registry) {
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{r.person("secret-key", nil, member("no-such-household", "head"))})
		return err
	})
	if annona.CodeOf(err) != "unknown_household" {
		t.Fatalf("%v", err)
	}
	if text := err.Error(); strings.Contains(text, "secret-key") || strings.Contains(text, "no-such-household") {
		t.Errorf("the error names a key: %s", text)
	}
	if n, err := r.SubjectByKey(r.ctx, source, "secret-key"); err != nil || n != 0 {
		t.Errorf("something was kept: %d, %v", n, err)
	}
}

func testRollback(t *testing.T, r *registry) {
	r.load(r.person("a", nil))
	sentinel := errors.New("stop")
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		if _, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{r.person("b", nil), r.person("a", values{"sex": "male"})}); err != nil {
			return err
		}
		if err := tx.AppendEntry(r.ctx, entry(annona.EntryChange, annona.NewUID())); err != nil {
			return err
		}
		return sentinel
	})
	if !errors.Is(err, sentinel) {
		t.Fatalf("%v instead of the function's own error", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic was swallowed")
			}
		}()
		r.Update(r.ctx, func(tx annona.Tx) error {
			Load(r.ctx, tx, "tester", []annona.StoredRecord{r.person("c", nil)})
			panic("stop")
		})
	}()
	if size, _, err := r.LedgerTree(r.ctx); err != nil || size != 0 {
		t.Errorf("the ledger has %d entries, %v", size, err)
	}
	if n := len(r.log()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	r.load(r.person("d", nil))
	if n := r.number("d"); n < 2 { // a number that was given out and not used may stay unused
		t.Errorf("the next number is %d, want one that nobody has", n)
	}
	if err := r.Append(r.ctx, entry(annona.EntryChange, annona.NewUID())); err != nil {
		t.Error(err)
	}
}

func testStandings(t *testing.T, r *registry) {
	if a, err := r.Agreement(r.ctx, "eligibility"); a != nil || err != nil {
		t.Fatalf("an agreement nobody made: %v, %v", a, err)
	}
	before := r.epoch()
	for want := 1; want <= 2; want++ {
		r.update(func(tx annona.Tx) error {
			got, err := tx.PutAgreement(r.ctx, annona.Agreement{Name: "eligibility", RowCeiling: int64(want), Areas: []string{"XA"}})
			if got != want {
				t.Errorf("version %d, want %d", got, want)
			}
			return err
		})
	}
	a, err := r.Agreement(r.ctx, "eligibility")
	if err != nil || a.Version != 2 || a.RowCeiling != 2 || a.Areas[0] != "XA" {
		t.Fatalf("latest agreement: %+v, %v", a, err)
	}
	old := annona.Client{ID: annona.NewUID(), KeyID: "old", Hash: []byte("hash"), Agreement: "eligibility", CreatedAt: Clock().Add(-time.Hour), ExpiresAt: Clock().Add(time.Hour)}
	fresh := annona.Client{ID: annona.NewUID(), KeyID: "fresh", Hash: []byte("hash"), Agreement: "eligibility", Demo: true, Label: "a label",
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, CreatedAt: Clock()}
	r.update(func(tx annona.Tx) error { return errors.Join(tx.PutClient(r.ctx, old), tx.PutClient(r.ctx, fresh)) })
	if now := r.epoch(); now < before+4 {
		t.Errorf("the policy epoch moved from %d to %d", before, now)
	}
	r.checkEpochBesideRecords(t)
	got, err := r.ClientByKeyID(r.ctx, "fresh")
	if err != nil || got == nil || got.ID != fresh.ID || !got.Demo || len(got.Networks) != 2 || !got.CreatedAt.Equal(fresh.CreatedAt) || !got.RevokedAt.IsZero() {
		t.Fatalf("client: %+v, %v", got, err)
	}
	old.RevokedAt = Clock()
	r.update(func(tx annona.Tx) error { return tx.PutClient(r.ctx, old) })
	if got, err := r.ClientByID(r.ctx, old.ID); err != nil || !got.RevokedAt.Equal(Clock()) {
		t.Fatalf("revoked client: %+v, %v", got, err)
	}
	if all, err := r.Clients(r.ctx); err != nil || len(all) != 2 || all[0].KeyID != "fresh" {
		t.Fatalf("clients: %+v, %v", all, err)
	}
	if none, err := r.ClientByKeyID(r.ctx, "none"); none != nil || err != nil {
		t.Fatalf("a client nobody made: %v, %v", none, err)
	}
}

// checkEpochBesideRecords reads nobody in every way: the policy epoch comes all the same.
func (r *registry) checkEpochBesideRecords(t *testing.T) {
	t.Helper()
	for _, d := range []*annona.Dataset{r.individuals, r.households} {
		scope := annona.NewScope(&annona.Shape{Dataset: d}, nil, nil, terms())
		for how, read := range map[string]func(*annona.Page) error{
			"one": func(p *annona.Page) error { return r.ReadOne(r.ctx, scope, annona.NewUID(), p) },
			"look-up": func(p *annona.Page) error {
				return r.Lookup(r.ctx, scope, annona.IdentifierIndex{Scheme: "x", Hash: []byte{1}}, p)
			},
			"few":  func(p *annona.Page) error { _, err := r.ReadPage(r.ctx, scope, 0, 0, 5, p); return err },
			"many": func(p *annona.Page) error { _, err := r.ReadPage(r.ctx, scope, 0, 0, 5000, p); return err },
		} {
			page := annona.NewPage(scope.Shape())
			if err := read(page); err != nil || page.Epoch != r.epoch() {
				t.Errorf("%s of %s: epoch %d, want %d; %v", how, d.Name, page.Epoch, r.epoch(), err)
			}
		}
	}
}

func testDeclare(t *testing.T, r *registry) {
	x := annona.Extension{Country: "GH", Fields: []annona.Field{
		{Dataset: "households", Code: "herd_size", Type: annona.TypeInt, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterRange},
	}}
	extended, err := r.dictionary.Extend(x)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Declare(r.ctx, x, extended, entry(annona.EntryAdministration, annona.UID{})); err != nil {
		t.Fatal(err)
	}
	r.dictionary = extended
	r.households, _ = extended.Dataset("households")
	herd, _ := r.households.Field("herd_size")
	r.load(r.household("few", values{"herd_size": "2"}), r.household("many", values{"herd_size": "10"}), r.household("none", nil),
		r.person("a", nil, member("few", "head")), r.person("b", nil, member("many", "head")), r.person("c", nil, member("none", "head")))
	c := annona.Compare{Path: annona.Path{Field: herd}, Op: annona.Greater, Value: annona.Constant{Text: "3", Int: 3}}
	r.same("filtered by it", cells(r.all(annona.NewScope(r.shape(r.households, "herd_size"), c, nil, terms())), 0), []string{"10"})
	kept, err := r.Extensions(r.ctx)
	if err != nil || len(kept) != 1 || kept[0].Country != "GH" || kept[0].Fields[0].Tag != herd.Tag {
		t.Fatalf("extensions: %+v, %v", kept, err)
	}
	if size, _, err := r.LedgerTree(r.ctx); err != nil || size != 1 {
		t.Errorf("the declaration has no entry in the ledger: %d, %v", size, err)
	}
}

func testAreas(t *testing.T, r *registry) {
	r.update(func(tx annona.Tx) error {
		return tx.PutAreas(r.ctx, []annona.Area{{Code: "XA"}, {Code: "XA-1", Parent: "XA", Level: 1}, {Code: "XA-1-1", Parent: "XA-1", Level: 2}, {Code: "XB"}})
	})
	got, err := r.AreaExists(r.ctx, []string{"XA", "XC"})
	if err != nil || !got["XA"] || got["XC"] {
		t.Fatalf("areas: %v, %v", got, err)
	}
	r.load(r.household("a", values{"area_code": "XA-1-1"}), r.household("b", values{"area_code": "XB"}), r.household("c", values{"area_code": "XA"}), r.household("d", nil),
		r.person("somebody", nil, member("a", ""), member("b", ""), member("c", ""), member("d", "")))
	area, _ := r.households.Field("area_code")
	within := annona.Within{Path: annona.Path{Field: area}, Area: "XA"}
	read := func(c annona.Condition) []string {
		return cells(r.all(annona.NewScope(r.shape(r.households, "area_code"), c, nil, terms())), 0)
	}
	r.same("within", read(within), []string{"XA-1-1", "XA"})
	r.same("not within", read(annona.Not{Of: within}), []string{"XB", ""})
	r.update(func(tx annona.Tx) error { // an area moves, and a circle does not hang the store
		return tx.PutAreas(r.ctx, []annona.Area{{Code: "XA-1", Parent: "XB"}, {Code: "XB", Parent: "XA-1"}})
	})
	r.same("within, after the move", read(within), []string{"XA"})
}
