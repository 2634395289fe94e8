package exchange_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

// TestTheLawOfFollowers: from any position that was ever given out, applying what Follow answers
// makes what a fresh search answers, and every change changes something. The world moves between
// any two answers; answers are lost, positions asked again, and several read with one key.
func TestTheLawOfFollowers(t *testing.T) {
	t.Parallel()
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			worlds := 0
			t.Cleanup(func() { t.Logf("%d worlds", worlds) })
			law(t, func(rt *rapid.T) {
				worlds++
				w := newWorld(rt, g)
				defer func() { check(rt, w.place.store.Close()) }()
				rt.Repeat(map[string]func(*rapid.T){
					"records": w.records,
					"one":     w.oneRecord,
					"another": w.oneRecord,
					"right":   w.right,
					"rights":  w.right,
					"all":     w.everything,
					"erase":   w.erase,
					"merge":   w.merge,
					"follow":  w.follow,
					"begin":   w.begin,
					"":        w.followLatest,
				})
				for _, r := range w.readers { // from every position, to the end
					for _, at := range r.kept {
						w.catchUp(rt, r, at, exchange.MaxLimit)
					}
				}
			})
		})
	}
}

// The bounds of a law in the suite, on each store. make laws goes further.
const (
	lawTime      = 6 * time.Second
	fewestWorlds = 5 // however slow the machine is
)

// law holds the worlds that rapid draws to a law. Without -rapid.checks it ends after lawTime; a failure
// is made small, however long that takes.
func law(t *testing.T, holds func(*rapid.T)) {
	t.Helper()
	lawWithin(t, lawTime, holds)
}

func lawWithin(t *testing.T, limit time.Duration, holds func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	asked, began, worlds := checks.Value.String() != checks.DefValue, time.Now(), 0
	rapid.Check(t, func(rt *rapid.T) {
		if worlds++; !asked && worlds > fewestWorlds && time.Since(began) > limit {
			return
		}
		defer func() { asked = asked || rt.Failed() }()
		holds(rt)
	})
}

// moving is a registry in which things happen, and its readers.
type moving struct {
	place   *place
	parents map[string]string
	readers []*reader
	merges  []annona.UID
}

// reader asks one question under one key.
type reader struct {
	caller   annona.Caller
	question exchange.Question
	kept     []kept // every position that it was given, with what it has then
}

type kept struct {
	token string
	has   map[string]string // records, by id
}

const lawPurpose = "eligibility-assessment"

func newWorld(rt *rapid.T, g ground) *moving {
	p, err := g.open(rt.Context())
	check(rt, err)
	w := &moving{place: p, parents: map[string]string{"XA": "", "XA-1": "XA", "XA-2": "XA", "XA-1-1": "XA-1"}}
	w.areas(rt)
	w.agreement(rt)
	w.settlers(rt)
	w.begin(rt)
	return w
}

func (w *moving) areas(rt *rapid.T) {
	var areas []annona.Area
	for _, code := range slices.Sorted(maps.Keys(w.parents)) {
		areas = append(areas, annona.Area{Code: code, Parent: w.parents[code], Level: strings.Count(code, "-")})
	}
	l, err := w.place.StartLoad(w.place.ctx, operator, "law", areas)
	check(rt, err)
	_, err = l.Finish(w.place.ctx)
	check(rt, err)
}

// everything moves what many views depend on: the agreement, the areas, the day.
func (w *moving) everything(rt *rapid.T) {
	rapid.SampledFrom([]func(*rapid.T){w.agreement, w.moveArea, w.pass, w.pass}).Draw(rt, "what")(rt)
}

// moveArea puts a district into another region.
func (w *moving) moveArea(rt *rapid.T) {
	w.parents["XA-1-1"] = rapid.SampledFrom([]string{"XA-1", "XA-2"}).Draw(rt, "parent")
	w.areas(rt)
}

func (w *moving) pass(rt *rapid.T) {
	w.place.now = w.place.now.AddDate(0, 0, rapid.IntRange(1, 3).Draw(rt, "days"))
}

// dayNear draws a day around today, or none.
func (w *moving) dayNear(rt *rapid.T, label string) annona.Date {
	return rapid.SampledFrom([]annona.Date{"", "", annona.DateOf(w.place.now), annona.DateOf(w.place.now).AddDays(1), annona.DateOf(w.place.now).AddDays(2), annona.DateOf(w.place.now).AddDays(-1)}).Draw(rt, label)
}

// agreement amends the agreement of everybody.
func (w *moving) agreement(rt *rapid.T) {
	draw := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(rt, label) }
	terms := func(condition string, except ...string) annona.DatasetTerms {
		d := annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}, Condition: condition}
		if len(except) > 0 && rapid.Bool().Draw(rt, "except") {
			d.Except = except
		}
		return d
	}
	withInstants := func(d annona.DatasetTerms) annona.DatasetTerms {
		d.Fields = []string{"last_updated", "received_at"} // they are granted by name only
		return d
	}
	a := annona.Agreement{
		Name: "law", Realm: "law", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Program", Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31",
		Purposes: []annona.PurposeTerms{{Code: lawPurpose, Basis: rapid.SampledFrom([]annona.Basis{annona.BasisPublicInterest, annona.BasisPublicInterest, annona.BasisPublicInterest, annona.BasisConsent}).Draw(rt, "basis")}},
		Datasets: map[string]annona.DatasetTerms{
			"individuals": withInstants(terms(draw("people", "", "", "", "", "individual.sex == 'female'", "age_on(individual.date_of_birth, as_of) >= 18", "household.poverty_score < 30", "within(individual.area_code, 'XA-1')"), "marital_status")),
			"households":  terms(draw("homes", "", "", "", "", "household.poverty_score < 50", "members.exists(m, m.sex == 'female')", "household.member_count >= 2", "within(household.area_code, 'XA-1')")),
			"memberships": terms(""), "relationships": terms(""),
		},
		APIKey: &annona.CredentialTerms{Reason: "tests read everything"},
	}
	if rapid.IntRange(0, 3).Draw(rt, "in areas") == 0 {
		a.Areas = []string{draw("area", "XA-1", "XA-2")}
	}
	_, err := w.place.ApplyAgreement(w.place.ctx, operator, a)
	check(rt, err)
}

const (
	lawHomes  = 5
	lawPeople = 9
)

func (w *moving) records(rt *rapid.T) {
	var homes, people []annona.Record
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, lawHomes-1), 1, lawHomes, rapid.ID[int]).Draw(rt, "homes") {
		homes = append(homes, w.home(rt, n))
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, lawPeople-1), 1, lawPeople, rapid.ID[int]).Draw(rt, "people") {
		people = append(people, w.person(rt, n))
	}
	w.load(rt, homes, people)
}

// settlers are there from the beginning.
func (w *moving) settlers(rt *rapid.T) {
	var homes, people []annona.Record
	for n := range lawHomes {
		homes = append(homes, w.home(rt, n))
	}
	homes = append(homes, w.home(rt, lawHomes))
	for n := range lawPeople {
		people = append(people, w.person(rt, n))
	}
	people[0].Memberships = []annona.Membership{{HouseholdKey: fmt.Sprint("h", lawHomes), Role: "head"}}
	w.load(rt, homes, people)
}

// oneRecord changes one record and nothing else: what it concerns has to be found.
func (w *moving) oneRecord(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "home") {
		w.load(rt, []annona.Record{w.home(rt, rapid.IntRange(0, lawHomes-1).Draw(rt, "n"))}, nil)
		return
	}
	w.load(rt, nil, []annona.Record{w.person(rt, rapid.IntRange(0, lawPeople-1).Draw(rt, "n"))})
}

func (w *moving) load(rt *rapid.T, records ...[]annona.Record) {
	l, err := w.place.StartLoad(w.place.ctx, operator, "law", nil)
	check(rt, err)
	_, err = l.Put(w.place.ctx, records...)
	check(rt, err)
	_, err = l.Finish(w.place.ctx)
	check(rt, err)
}

func (w *moving) home(rt *rapid.T, n int) annona.Record {
	return newRecord("households", fmt.Sprint("h", n),
		"area_code", rapid.SampledFrom([]string{"XA-1", "XA-2", "XA-1-1"}).Draw(rt, "area"),
		"poverty_score", rapid.SampledFrom([]string{"10", "40", "60"}).Draw(rt, "score"))
}

func (w *moving) person(rt *rapid.T, n int) annona.Record {
	r := newRecord("individuals", fmt.Sprint("p", n),
		"sex", rapid.SampledFrom([]string{"female", "male"}).Draw(rt, "sex"),
		"date_of_birth", rapid.SampledFrom([]string{"2006-02-28", "2006-03-03", "1990-01-01"}).Draw(rt, "birth"),
		"marital_status", rapid.SampledFrom([]string{"single", "married"}).Draw(rt, "status"))
	for i := range rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(rt, "memberships") {
		m := annona.Membership{
			HouseholdKey: fmt.Sprint("h", rapid.IntRange(0, lawHomes-1).Draw(rt, "in")), NotPrimary: i > 0,
			Role:      rapid.SampledFrom([]string{"", "head", "child"}).Draw(rt, "role"),
			StartDate: w.dayNear(rt, "from"), EndDate: w.dayNear(rt, "until"),
		}
		if m.EndDate == "" || m.StartDate <= m.EndDate {
			r.Memberships = append(r.Memberships, m)
		}
	}
	if rapid.IntRange(0, 2).Draw(rt, "related") == 0 {
		r.Relationships = []annona.Relationship{{ToKey: fmt.Sprint("p", rapid.IntRange(0, lawPeople-1).Draw(rt, "to")), Type: "parent"}}
	}
	return r
}

func newRecord(dataset, key string, pairs ...string) annona.Record {
	d, _ := annona.Standard().Dataset(dataset)
	r := annona.Record{Dataset: d, Source: "law", Key: key}
	for i := 0; i < len(pairs); i += 2 {
		f, _ := d.Field(pairs[i])
		r.Values = append(r.Values, annona.Value{Field: f, Text: pairs[i+1]})
	}
	return r
}

// right lets somebody restrict, object, consent or take that back.
func (w *moving) right(rt *rapid.T) {
	who := exchange.Subject{Source: "law", Key: fmt.Sprint("p", rapid.IntRange(0, lawPeople-1).Draw(rt, "who"))}
	var err error
	switch rapid.SampledFrom([]string{"restrict", "lift", "consent", "withdraw", "consent"}).Draw(rt, "act") {
	case "restrict":
		_, err = w.place.Restrict(w.place.ctx, operator, who, annona.Restriction{Kind: annona.KindRestriction, EffectiveDate: w.dayNear(rt, "from"), ExpiryDate: annona.DateOf(w.place.now).AddDays(2)})
	case "lift":
		_, err = w.place.Lift(w.place.ctx, operator, who, annona.KindRestriction)
	case "consent":
		c := annona.Consent{Purposes: []string{lawPurpose}, Recipients: []string{"Program"}, EffectiveDate: w.dayNear(rt, "from")}
		if rapid.Bool().Draw(rt, "expires") {
			c.ExpiryDate = annona.DateOf(w.place.now).AddDays(2)
		}
		_, err = w.place.GiveConsent(w.place.ctx, operator, who, c)
	default:
		_, err = w.place.WithdrawConsent(w.place.ctx, operator, who, "")
	}
	if annona.KindOf(err) != annona.KindNotFound && err != nil {
		check(rt, err)
	}
}

// erase removes a person or a household, for good.
func (w *moving) erase(rt *rapid.T) {
	who := exchange.Subject{Source: "law", Household: rapid.IntRange(0, 3).Draw(rt, "household") == 0}
	who.Key = fmt.Sprint("p", rapid.IntRange(0, lawPeople-1).Draw(rt, "who"))
	if who.Household {
		who.Key = fmt.Sprint("h", lawHomes) // a home that nobody moves to any more
	}
	if _, err := w.place.Erase(w.place.ctx, operator, who, "not_necessary"); annona.KindOf(err) != annona.KindNotFound && annona.KindOf(err) != annona.KindGone && err != nil {
		check(rt, err)
	}
}

// merge makes one of two people, or takes that back.
func (w *moving) merge(rt *rapid.T) {
	if len(w.merges) > 0 && rapid.Bool().Draw(rt, "take back") {
		if _, err := w.place.Unmerge(w.place.ctx, operator, rapid.SampledFrom(w.merges).Draw(rt, "merge")); annona.KindOf(err) != annona.KindConflict && annona.KindOf(err) != annona.KindNotFound && err != nil {
			check(rt, err)
		}
		return
	}
	of := rapid.SliceOfNDistinct(rapid.IntRange(0, lawPeople-1), 2, 2, rapid.ID[int]).Draw(rt, "two")
	m, err := w.place.Merge(w.place.ctx, operator, inLaw(fmt.Sprint("p", of[0])), inLaw(fmt.Sprint("p", of[1])), "same_card")
	switch annona.KindOf(err) {
	case annona.KindConflict, annona.KindNotFound, annona.KindGone:
		return
	}
	check(rt, err)
	w.merges = append(w.merges, m.ID)
}

// begin lets a reader begin; sometimes it is one more who reads the same with the same key.
func (w *moving) begin(rt *rapid.T) {
	if len(w.readers) > 3 {
		return
	}
	if len(w.readers) > 0 && rapid.IntRange(0, 2).Draw(rt, "twin") == 0 {
		twin := *w.readers[0]
		twin.kept = []kept{{has: map[string]string{}}}
		w.readers = append(w.readers, &twin)
		return
	}
	caller, err := w.place.admit("law")
	check(rt, err)
	q := rapid.SampledFrom([]exchange.Question{
		{Dataset: "individuals"},
		{Dataset: "households"},
		{Dataset: "households", Fields: []string{"household_id", "members.individual_id", "members.relationships", "members.area_code"}},
		{Dataset: "individuals", Fields: []string{"individual_id", "sex", "household_id", "area_code"}},
		{Dataset: "individuals", Filter: "individual.sex == 'female'"},
		{Dataset: "individuals", Fields: []string{"individual_id", "sex"}, Filter: "household.poverty_score < 50 && age_on(individual.date_of_birth, as_of) >= 18"},
		{Dataset: "individuals", Fields: []string{"individual_id", "relationships", "memberships"}, Filter: "household.member_count >= 2"},
		{Dataset: "households", Fields: []string{"household_id", "member_count", "head_individual_id"}},
		{Dataset: "households", Filter: "members.exists(m, m.sex == 'male') && household.poverty_score < 50"},
		{Dataset: "households", Fields: []string{"household_id", "area_code"}, Filter: "members.exists(m, m.area_code == 'XA-1')"},
	}).Draw(rt, "question")
	q.Purpose, q.NilReasons = lawPurpose, true
	w.readers = append(w.readers, &reader{caller: caller, question: q, kept: []kept{{has: map[string]string{}}}})
}

// follow asks once from any position that some reader was given.
func (w *moving) follow(rt *rapid.T) {
	r := rapid.SampledFrom(w.readers).Draw(rt, "reader")
	at := rapid.SampledFrom(r.kept).Draw(rt, "at")
	w.ask(rt, r, at, rapid.IntRange(1, 6).Draw(rt, "limit"))
}

// followLatest goes on from the newest one to the end. Sometimes nobody does.
func (w *moving) followLatest(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "nobody") == 0 {
		return
	}
	r := rapid.SampledFrom(w.readers).Draw(rt, "reader")
	w.catchUp(rt, r, r.kept[len(r.kept)-1], rapid.IntRange(1, 6).Draw(rt, "limit"))
}

func (w *moving) catchUp(rt *rapid.T, r *reader, at kept, limit int) {
	for rounds := 0; ; rounds++ {
		next, more := w.ask(rt, r, at, limit)
		if !more {
			w.compare(rt, r, next)
			return
		}
		if at = next; rounds > 100 {
			rt.Fatal("a follower does not come to the end")
		}
	}
}

// ask applies one answer and keeps the position behind it.
func (w *moving) ask(rt *rapid.T, r *reader, at kept, limit int) (next kept, more bool) {
	check(rt, w.place.settle())
	changes, err := w.place.Follow(w.place.ctx, r.caller, r.question, at.token, limit, 0, exchange.Form{Format: "json"})
	check(rt, err)
	if len(changes.List) > limit || changes.More && len(changes.List) < limit {
		rt.Fatalf("%d changes where %d were asked for, more: %v", len(changes.List), limit, changes.More)
	}
	next = kept{token: changes.Next, has: maps.Clone(at.has)}
	for _, c := range changes.List {
		if c.Kind.Gone() {
			id := string(changes.IDs.Page().Cell(0, c.Row))
			if _, had := next.has[id]; !had {
				rt.Fatalf("%s of a record that the reader does not have", c.Kind)
			}
			delete(next.has, id)
			continue
		}
		id, text := rowText(changes.Records, c.Row)
		was, had := next.has[id]
		if was == text || c.Kind == exchange.ChangeEntered && had {
			rt.Fatalf("%s of a record that the reader has like this already (%v):\n%s", c.Kind, had, text)
		}
		next.has[id] = text
	}
	r.kept = append(r.kept, next)
	return next, changes.More
}

// compare holds what a reader has against a fresh search.
func (w *moving) compare(rt *rapid.T, r *reader, at kept) {
	fresh := map[string]string{}
	for after, more := "", true; more; more = after != "" {
		answer, err := w.place.Search(w.place.ctx, r.caller, r.question, 4, after, exchange.Form{})
		check(rt, err)
		for row := range answer.Page.Count() {
			id, text := rowText(answer.Page, row)
			fresh[id] = text
		}
		after = answer.Next
	}
	if diff := cmp.Diff(fresh, at.has); diff != "" {
		rt.Fatalf("%+v: what a search finds (-) and what following has made (+) differ:\n%s", r.question, diff)
	}
}

// rowText is a record as text: its id, and all of it.
func rowText(d *privacy.Disclosed, row int) (id, text string) {
	p := d.Page()
	return string(p.Cell(p.Shape.Column(p.Shape.Dataset.Key), row)), pageText(p, row)
}

func pageText(p *annona.Page, row int) string {
	var b strings.Builder
	for i, f := range p.Shape.Columns {
		if cell := p.Cell(i, row); len(cell) > 0 {
			fmt.Fprintf(&b, "%s=%s ", f.Code, cell)
		}
	}
	for i, g := range p.Shape.Groups {
		from, to := p.Groups[i].Rows(row)
		for inner := from; inner < to; inner++ {
			fmt.Fprintf(&b, "%s{%s} ", g.Field.Code, pageText(p.Groups[i].Page, inner))
		}
	}
	return b.String()
}
