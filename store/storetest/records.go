package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/annona-exchange/annona"
)

func testPages(t *testing.T, r *registry) {
	var records []annona.StoredRecord
	for i := range 25 {
		sex := "female"
		if i%2 == 1 {
			sex = "male"
		}
		records = append(records, r.person("p"+strconv.Itoa(i), values{"sex": sex}))
	}
	r.load(records...)
	women := r.is(r.individuals, annona.RootSelf, "sex", "female")
	scope := annona.NewScope(r.shape(r.individuals, "individual_id", "sex"), women, women, terms())
	page := annona.NewPage(scope.Shape())
	var seen []annona.Number
	for after, more := annona.Number(0), true; more; {
		page.Reset()
		var err error
		if more, err = r.ReadPage(r.ctx, scope, after, 0, 4, page); err != nil {
			t.Fatal(err)
		}
		if page.Count > 4 || more && page.Count != 4 {
			t.Fatalf("a page of %d rows, more: %v", page.Count, more)
		}
		seen = append(seen, page.Numbers...)
		if page.Count > 0 {
			after = page.Numbers[page.Count-1]
		}
	}
	if len(seen) != 13 {
		t.Fatalf("%d rows in all pages, want 13", len(seen))
	}
	for i, n := range seen {
		if i > 0 && n <= seen[i-1] {
			t.Fatalf("numbers do not ascend: %v", seen)
		}
	}
	page.Reset()
	more, err := r.ReadPage(r.ctx, scope, 3, 9, 100, page)
	if err != nil || more || page.Count != 3 {
		t.Fatalf("range 3 to 9: %d rows, more %v, %v; want 3 rows", page.Count, more, err)
	}
	if last, err := r.LastNumber(r.ctx, r.individuals); err != nil || last != 25 {
		t.Fatalf("last number %d, %v", last, err)
	}
}

func testZeroScope(t *testing.T, r *registry) {
	r.load(r.person("p", values{"sex": "female"}))
	page := annona.NewPage(r.shape(r.individuals, "sex"))
	_, err := r.ReadPage(r.ctx, annona.Scope{}, 0, 0, 10, page)
	_, empty := r.ReadPage(r.ctx, annona.Scope{}, 0, 0, 0, page)
	for _, err := range []error{
		err, empty,
		r.ReadOne(r.ctx, annona.Scope{}, annona.UID{}, page),
		r.Lookup(r.ctx, annona.Scope{}, annona.IdentifierIndex{Scheme: "national_id", Hash: []byte("x")}, page),
	} {
		if err == nil || page.Count != 0 {
			t.Fatalf("the zero scope is not refused: %v", err)
		}
	}
	memberships, _ := r.dictionary.Dataset("memberships")
	scope := annona.NewScope(r.shape(memberships, "role"), nil, nil, terms())
	if _, err := r.ReadPage(r.ctx, scope, 0, 0, 10, annona.NewPage(scope.Shape())); annona.KindOf(err) != annona.KindInvalid {
		t.Fatalf("a scope over no root dataset: %v", err)
	}
}

func testContent(t *testing.T, r *registry) {
	r.load(r.household("h", values{"area_code": "XA-1"}),
		r.person("p", values{"sex": "female", "full_name": "Ama", "date_of_birth": "1990-05-01"},
			annona.Membership{HouseholdKey: "h", Role: "head", RoleSourceCode: "1", RelationshipToHead: "self", StartDate: "2020-01-01"}))
	shape := r.shape(r.individuals, "individual_id", "household_id", "full_name", "date_of_birth", "sex", "role", "role_source_code",
		"relationship_to_head", "area_code", "source_system", "last_updated", "received_at", "date_of_death")
	r.withGroup(shape, "memberships", "household_id", "individual_id", "role", "is_primary", "start_date", "end_date")
	page := r.all(annona.NewScope(shape, nil, nil, terms()))
	if page.Count != 1 || string(page.Sealed.Cell(0)[1:8]) != "sealed:" || !slices.Equal(page.Versions, []int64{1}) {
		t.Fatalf("%d rows; the sealed image or the version that it is bound to is not there", page.Count)
	}
	// full_name is sealed: the vault fills its column
	want := map[string]string{
		"individual_id": string(page.UIDs[0][:]), "date_of_birth": "1990-05-01", "sex": "female", "role": "head", "role_source_code": "1",
		"relationship_to_head": "self", "area_code": "XA-1", "source_system": source, "date_of_death": "",
		"last_updated": annona.Instant(Clock()), "received_at": annona.Instant(Clock()),
	}
	for code, text := range want {
		if got := string(page.Cell(shape.Column(code), 0)); got != text {
			t.Errorf("%s: %q, want %q", code, got, text)
		}
	}
	group := page.Groups[0]
	if from, to := group.Rows(0); from != 0 || to != 1 {
		t.Fatalf("memberships from %d to %d", from, to)
	}
	household := string(page.Cell(1, 0))
	r.same("membership", []string{
		string(group.Page.Cell(0, 0)), string(group.Page.Cell(1, 0)), string(group.Page.Cell(2, 0)),
		string(group.Page.Cell(3, 0)), string(group.Page.Cell(4, 0)), string(group.Page.Cell(5, 0)),
	}, []string{household, string(page.UIDs[0][:]), "head", "true", "2020-01-01", ""})
	r.readOne(t, shape, page)
}

// readOne reads the same record by its id.
func (r *registry) readOne(t *testing.T, shape *annona.Shape, page *annona.Page) {
	one := annona.NewPage(shape)
	scope := annona.NewScope(shape, nil, nil, terms())
	if err := r.ReadOne(r.ctx, scope, page.UIDs[0], one); err != nil || one.Count != 1 || one.Numbers[0] != page.Numbers[0] {
		t.Fatalf("read one: %d rows, %v", one.Count, err)
	}
	one.Reset()
	if err := r.ReadOne(r.ctx, scope, annona.NewUID(), one); err != nil || one.Count != 0 {
		t.Fatalf("an unknown id: %d rows, %v", one.Count, err)
	}
	men := r.is(r.individuals, annona.RootSelf, "sex", "male")
	if err := r.ReadOne(r.ctx, annona.NewScope(shape, men, men, terms()), page.UIDs[0], one); err != nil || one.Count != 0 {
		t.Fatalf("an id outside the scope: %d rows, %v", one.Count, err)
	}
}

func testMembers(t *testing.T, r *registry) {
	r.load(r.household("one", nil), r.household("empty", nil), r.household("men", nil), r.household("two heads", nil),
		r.person("child", values{"sex": "female", "nationality": "child"}, member("one", "child")),
		r.person("father", values{"sex": "male", "nationality": "father"}, member("one", "spouse")),
		r.person("mother", values{"sex": "female", "nationality": "mother"}, member("one", "head"), annona.Membership{HouseholdKey: "two heads", NotPrimary: true, Role: "other"}),
		r.person("gone", values{"sex": "female", "nationality": "gone"}, annona.Membership{HouseholdKey: "one", EndDate: Today}),
		r.person("later", values{"sex": "female", "nationality": "later"}, annona.Membership{HouseholdKey: "one", StartDate: Today.AddDays(1)}),
		r.person("last day", values{"sex": "female", "nationality": "last day"}, annona.Membership{HouseholdKey: "one", StartDate: Today, EndDate: Today.AddDays(1)}),
		r.person("man", values{"sex": "male", "nationality": "man"}, member("men", "head")),
		r.person("a", values{"sex": "female", "nationality": "a"}, member("two heads", "head")),
		r.person("b", values{"sex": "female", "nationality": "b"}, member("two heads", "head")))
	shape := r.withGroup(r.shape(r.households, "household_id", "head_individual_id", "member_count"),
		"members", "household_id", "nationality", "role", "individual_id", "full_name")
	women := r.is(r.individuals, annona.RootSelf, "sex", "female")
	page := r.all(annona.NewScope(shape, nil, women, terms()))
	r.same("member counts", cells(page, 2), []string{"3", "3"}) // men: nobody visible; empty: nobody at all, which looks the same
	members := page.Groups[0].Page
	r.same("members", cells(members, 1), []string{"mother", "child", "last day", "a", "b", "mother"})
	r.same("roles", cells(members, 2), []string{"head", "child", "", "head", "head", "other"})
	if members.Count != 6 || len(members.Numbers) != 6 || len(members.Sealed.Ends) != 6 || !slices.Equal(members.Versions, []int64{1, 1, 1, 1, 1, 1}) {
		t.Fatalf("members: %d rows, %d numbers, %d sealed", members.Count, len(members.Numbers), len(members.Sealed.Ends))
	}
	for row := range page.Count {
		from, to := page.Groups[0].Rows(row)
		for m := from; m < to; m++ {
			if string(members.Cell(0, m)) != string(page.Cell(0, row)) {
				t.Errorf("member %d does not name the household that it is shown in", m)
			}
		}
	}
	r.same("heads", cells(page, 1), []string{string(members.UIDs[0][:]), ""})
	head := r.is(r.individuals, annona.RootHead, "sex", "female")
	r.same("one head, none, several", cells(r.all(annona.NewScope(r.shape(r.households, "member_count"), head, nil, terms())), 0), []string{"4"})
	without := r.all(annona.NewScope(r.shape(r.households, "member_count", "head_individual_id"), nil, women, terms()))
	r.same("member counts without members", cells(without, 0), []string{"3", "3"})
	r.same("heads without members", cells(without, 1), cells(page, 1))
}

func testLookup(t *testing.T, r *registry) {
	id := func(hash string) annona.IdentifierIndex {
		return annona.IdentifierIndex{Scheme: "national_id", Hash: []byte(hash)}
	}
	holder := func(key, sex string, hashes ...string) annona.StoredRecord {
		p := r.person(key, values{"sex": sex})
		for _, h := range hashes {
			p.Identifiers = append(p.Identifiers, id(h))
		}
		return p
	}
	h := r.household("h", nil)
	h.Identifiers = append(h.Identifiers, id("one"))
	r.load(h, holder("a", "female", "one", "shared"), holder("b", "male", "shared"), holder("c", "male", "shared"))
	find := func(c annona.Condition, hash string) int {
		t.Helper()
		page := annona.NewPage(r.shape(r.individuals, "sex"))
		if err := r.Lookup(r.ctx, annona.NewScope(page.Shape, c, c, terms()), id(hash), page); err != nil {
			t.Fatal(err)
		}
		return page.Count
	}
	women := r.is(r.individuals, annona.RootSelf, "sex", "female")
	for _, c := range []struct {
		scope annona.Condition
		hash  string
		want  int
	}{{nil, "one", 1}, {nil, "none", 0}, {nil, "shared", 2}, {women, "shared", 1}, {annona.Not{Of: women}, "one", 0}} {
		if got := find(c.scope, c.hash); got != c.want {
			t.Errorf("look-up of %s: %d rows, want %d", c.hash, got, c.want)
		}
	}
	r.load(holder("a", "female", "new"))
	if find(nil, "one") != 0 || find(nil, "new") != 1 {
		t.Error("an identifier that the source no longer reports is still found, or the new one is not")
	}
}

func testCancel(t *testing.T, r *registry) {
	r.load(r.person("p", nil))
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	scope := annona.NewScope(r.shape(r.individuals, "sex"), nil, nil, terms())
	if _, err := r.ReadPage(ctx, scope, 0, 0, 10, annona.NewPage(scope.Shape())); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if err := r.Append(ctx, entry(annona.EntryRelease, annona.UID{})); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	ctx, cancel = context.WithCancel(r.ctx)
	err := r.Update(ctx, func(tx annona.Tx) error {
		_, err := Load(ctx, tx, "tester", []annona.StoredRecord{r.person("q", nil)})
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("update: %v", err)
	}
	if n, err := r.SubjectByKey(r.ctx, source, "q"); err != nil || n != 0 {
		t.Errorf("a canceled transaction has left a record: %d, %v", n, err)
	}
	r.load(r.person("q", nil))
}
