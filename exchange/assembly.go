package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// assembly reads what is kept about records that were read, and releases it with them.
type assembly struct {
	x    *Exchange
	of   *inquiry    // of the records
	verb annona.Verb // by which enrollments and benefits are read
	most int         // rows of a part of one record
	told bool        // eligibility decisions are a part
}

// assemble reads what is kept about each record of a page. Which parts the caller may see is decided from
// remembered standings, as small requests are, and confirmed by the epoch beside the parts; where it is not,
// from the store. A part that is not granted is not there, and no denial: nobody has asked for it by name.
func (g *assembly) assemble(ctx context.Context, records *annona.Page) ([]assembled, error) {
	remembered, err := g.x.Remembered.under(ctx)
	if err != nil {
		return nil, err
	}
	all, parts, err := g.readUnder(ctx, remembered, records)
	switch {
	case err == nil && remembered.confirmsAll(parts):
		return all, nil
	case isFailure(err):
		return nil, err
	}
	all, _, err = g.readUnder(ctx, g.x.Standings, records)
	return all, err
}

// readUnder decides about each part and reads it. The parts come last: their epoch is that of all decisions.
func (g *assembly) readUnder(ctx context.Context, from annona.Standings, records *annona.Page) ([]assembled, []*partReading, error) {
	all, whom := make([]assembled, records.Count), make([]annona.SubjectRef, records.Count)
	for row := range all {
		all[row].record = oneRow(records, row)
		whom[row] = annona.SubjectRef{Dataset: g.of.question.Dataset, Number: records.Numbers[row]}
	}
	if err := g.decided(ctx, from, all, whom, records); err != nil {
		return nil, nil, err
	}
	parts, err := g.granted(ctx, from, whom)
	if err != nil {
		return nil, nil, err
	}
	homes, granted, err := g.homes(ctx, from, records)
	if err != nil {
		return nil, nil, err
	}
	if granted {
		ofHomes(parts, homes)
	}
	if err := g.read(ctx, parts); err != nil {
		return nil, nil, err
	}
	addTo(all, parts)
	return all, parts, nil
}

// oneRow is a row of a page by itself: the page, when it has no other.
func oneRow(p *annona.Page, row int) *annona.Page {
	if p.Count == 1 {
		return p
	}
	one := annona.NewPage(p.Shape)
	one.AppendRow(p, row)
	return one
}

// may decides about a part; nil: it is not granted.
func (g *assembly) may(ctx context.Context, from annona.Standings, verb annona.Verb, q Question) (*inquiry, error) {
	i, err := g.x.decideAndNarrow(ctx, from, g.of.caller, verb, q)
	if annona.KindOf(err) == annona.KindForbidden {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g.x.use(i)
	i.form = g.of.form
	return i, nil
}

// partReading is the reading of what one dataset keeps about all records, and about the households of individuals.
type partReading struct {
	*inquiry
	shown []shownPart
	page  *annona.Page
	more  map[annona.SubjectRef]bool // of whom there is more than most
	kept  map[annona.SubjectRef]int
	most  int
	next  annona.MatterQuestion
}

// shownPart is a part of all records: what is kept about those who stand in the place of each.
type shownPart struct {
	name string
	whom []annona.SubjectRef // the zero SubjectRef: nobody
}

// granted are the readings of datasets that the caller may see.
func (g *assembly) granted(ctx context.Context, from annona.Standings, whom []annona.SubjectRef) (parts []*partReading, err error) {
	for _, dataset := range []string{partEnrollments, partBenefits, partCases} {
		verb := g.verb
		if dataset == partCases {
			verb = annona.VerbReadCases
		}
		i, err := g.may(ctx, from, verb, Question{Dataset: dataset, Purpose: g.of.question.Purpose, NilReasons: g.of.question.NilReasons, matters: true, atMost: atMost(g.most)})
		if err != nil {
			return nil, err
		}
		if i == nil {
			continue
		}
		p := &partReading{
			inquiry: i, shown: []shownPart{{dataset, whom}}, page: annona.NewPage(i.shape), most: min(g.most, i.most()),
			more: map[annona.SubjectRef]bool{}, kept: map[annona.SubjectRef]int{},
		}
		p.next = annona.MatterQuestion{Choice: annona.MatterChoice{Subjects: known(whom)}, Limit: MaxLimit, Page: annona.NewPage(i.shape)}
		if p.next.Scope, err = g.scopeOf(ctx, p); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// ofHomes has enrollments and benefits read of households as well: who may see them of individuals may see them of
// households.
func ofHomes(parts []*partReading, homes []annona.SubjectRef) {
	of := map[string]string{partEnrollments: partHouseholdEnrollments, partBenefits: partHouseholdBenefits}
	for _, p := range parts {
		if name := of[p.shown[0].name]; name != "" {
			p.shown = append(p.shown, shownPart{name, homes})
			p.next.Choice.Subjects = known(slices.Concat(p.shown[0].whom, homes))
		}
	}
}

// scopeOf is what of a part the caller may see: cases are their partner's, all else is the programs'.
func (g *assembly) scopeOf(ctx context.Context, p *partReading) (annona.MatterScope, error) {
	if p.shown[0].name != partCases {
		return g.x.programScope(p.inquiry, p.shape), nil
	}
	worker, err := g.x.signedInWorker(ctx, p.caller, p.partner())
	return p.ownScope(g.x, p.shape, worker), err
}

// known are those of a list who are somebody, each once.
func known(whom []annona.SubjectRef) (those []annona.SubjectRef) {
	for _, s := range whom {
		if !s.IsZero() && !slices.Contains(those, s) {
			those = append(those, s)
		}
	}
	return those
}

// read reads parts side by side, until each has all or the most of everybody.
func (g *assembly) read(ctx context.Context, parts []*partReading) error {
	for {
		parts = slices.DeleteFunc(slices.Clone(parts), func(p *partReading) bool { return len(p.next.Choice.Subjects) == 0 })
		if len(parts) == 0 {
			return nil
		}
		questions, pages := make([]*annona.MatterQuestion, len(parts)), make([]*annona.Page, len(parts))
		for n, p := range parts {
			p.next.Page.Reset()
			questions[n], pages[n] = &p.next, p.next.Page
		}
		err := g.x.readOpenAll(ctx, pages, func() error { return g.x.Matters.ReadMatters(ctx, questions...) })
		if err != nil {
			return err
		}
		for _, p := range parts {
			p.take()
		}
	}
}

// take keeps what was read of each, and asks next for the rest of those of whom there may be more.
func (p *partReading) take() {
	some := p.next.Page
	cutShared(some)
	if p.page.Count == 0 && !p.next.More && some.Count <= p.most { // all of everybody came at once
		p.page, p.next.Page, p.next.Choice.Subjects = some, p.page, nil
		return
	}
	p.page.Epoch = some.Epoch
	for row, about := range some.Subjects {
		p.next.After = some.Numbers[row]
		if p.kept[about] == p.most {
			p.more[about] = true
			continue
		}
		p.kept[about]++
		p.page.AppendRow(some, row)
	}
	left := p.next.Choice.Subjects
	if !p.next.More {
		left = nil
	}
	p.next.Choice.Subjects = slices.DeleteFunc(left, func(s annona.SubjectRef) bool { return p.more[s] })
}

// addTo adds to each record its parts, those of its household last.
func addTo(all []assembled, parts []*partReading) {
	for n := range 2 {
		for _, p := range parts {
			if n < len(p.shown) {
				p.add(all, p.shown[n])
			}
		}
	}
}

// add adds to each record a part.
func (p *partReading) add(all []assembled, part shownPart) {
	rows := map[annona.SubjectRef][]int{}
	for row, about := range p.page.Subjects {
		rows[about] = append(rows[about], row)
	}
	for n, of := range part.whom {
		one := partOfOne{name: part.name, i: p.inquiry, more: p.more[of]}
		if len(rows[of]) == p.page.Count && p.isOnce(of) {
			one.page = p.page
		} else {
			one.page = annona.NewPage(p.page.Shape)
			for _, row := range rows[of] {
				one.page.AppendRow(p.page, row)
			}
		}
		all[n].parts = append(all[n].parts, one)
	}
}

// isOnce reports whether somebody stands in one place only, so that what was read about them is shown once.
func (p *partReading) isOnce(about annona.SubjectRef) bool {
	times := 0
	for _, part := range p.shown {
		for _, of := range part.whom {
			if of == about {
				times++
			}
		}
	}
	return times == 1
}

// homes are the households in which the caller sees individuals, in the order of the page: the zero SubjectRef
// where there is none. granted: the caller sees in which household an individual lives, and households.
func (g *assembly) homes(ctx context.Context, from annona.Standings, records *annona.Page) (homes []annona.SubjectRef, granted bool, err error) {
	of := g.of.shape.Dataset
	lives, ok := of.Field(memberHousehold)
	if of.Name != "individuals" || !ok || !g.of.grant.Passes(of, memberHousehold) || len(g.of.grant.Fields["households"]) == 0 {
		return nil, false, nil
	}
	i, err := g.may(ctx, from, annona.VerbGet, Question{Dataset: "households", Purpose: g.of.question.Purpose, Fields: []string{memberHousehold}})
	if i == nil || err != nil {
		return nil, false, err
	}
	living, column, err := g.living(ctx, records, lives)
	if err != nil {
		return nil, false, err
	}
	scope := i.scope(i.shape, g.x.today(g.x.Clock()))
	homes, seen := make([]annona.SubjectRef, records.Count), map[string]annona.SubjectRef{}
	for row, number := range living.Numbers {
		uid := living.Cell(column, row)
		if len(uid) != len(annona.UID{}) {
			continue
		}
		home, ok := seen[string(uid)]
		if !ok {
			if home, err = g.home(ctx, scope, annona.UID(uid)); err != nil {
				return nil, false, err
			}
			seen[string(uid)] = home
		}
		if at, there := slices.BinarySearch(records.Numbers, number); there {
			homes[at] = home
		}
	}
	return homes, true, nil
}

// living says in a column of a page in which household individuals live: in their own, where it was read.
func (g *assembly) living(ctx context.Context, records *annona.Page, lives *annona.Field) (*annona.Page, int, error) {
	if column := records.Shape.Column(lives.Code); column >= 0 {
		return records, column, nil
	}
	shape := &annona.Shape{Dataset: records.Shape.Dataset, Columns: []*annona.Field{lives}}
	page := annona.NewPage(shape)
	err := g.x.Records.ReadNumbers(ctx, g.of.scope(shape, g.x.today(g.x.Clock())), records.Numbers, page)
	return page, 0, err
}

// home finds a household of the scope; the zero SubjectRef: it is not in it.
func (g *assembly) home(ctx context.Context, scope annona.Scope, uid annona.UID) (home annona.SubjectRef, err error) {
	page := annona.NewPage(scope.Shape())
	if err := g.x.Records.ReadOne(ctx, scope, uid, page); err != nil || page.Count == 0 {
		return home, err
	}
	return annona.SubjectRef{Dataset: "households", Number: page.Numbers[0]}, nil
}

// decided adds to each record the decisions about it that the caller's agreement has sent, if it sends any.
func (g *assembly) decided(ctx context.Context, from annona.Standings, all []assembled, whom []annona.SubjectRef, records *annona.Page) error {
	q := Question{Dataset: g.of.question.Dataset, Purpose: g.of.question.Purpose, Fields: []string{g.of.shape.Dataset.Key}}
	i, err := g.may(ctx, from, annona.VerbDecideEligibility, q)
	if g.told = i != nil; !g.told {
		return err
	}
	for n := range all {
		found, err := g.x.Decisions.DecisionsAbout(ctx, i.caller.Agreement, whom[n], min(g.most, i.most()))
		if err != nil {
			return err
		}
		shown := string(i.realm.AppendID(nil, records.UIDs[n][:]))
		for _, d := range found {
			one := Decided{ID: d.ID, RecordedAt: annona.Instant(d.At)}
			if err := json.Unmarshal(d.Body, &one.EligibilityDecision); err != nil {
				return annona.Internal("read an eligibility decision", err)
			}
			if q.Dataset == "households" {
				one.HouseholdID = shown
			} else {
				one.IndividualID = shown
			}
			all[n].about = append(all[n].about, one)
		}
	}
	return nil
}

// release takes the last two steps, redact and record, for records and their parts at once. view is what is
// shown of the parts.
func (g *assembly) release(ctx context.Context, all []assembled) (shown []Beneficiary, rows int64, view []byte, err error) {
	x, i := g.x, g.of
	facts := i.facts()
	var subjects []audit.Subjects
	var named []string
	shown = make([]Beneficiary, len(all))
	for n := range all {
		b := &shown[n]
		b.Page, b.About, b.Told = i.redact(all[n].record), all[n].about, g.told
		subjects = append(subjects, subjectsOf(b.Page)...)
		for _, p := range all[n].parts {
			part := BeneficiaryPart{Name: p.name, Page: p.i.redact(p.page)}
			b.Parts = append(b.Parts, part)
			facts.Rows += int64(part.Page.Count())
			subjects = append(subjects, subjectsOf(part.Page)...)
			view = slices.Grow(view, sizeOfView(part.Page.Page()))
			view = appendView(appendTexts(view, p.name, strconv.Itoa(part.Page.Count())), part.Page.Page())
			if p.more {
				b.More = append(b.More, p.name)
			}
		}
		for _, d := range b.About {
			view = appendTexts(view, d.ID.String())
		}
		facts.Rows += 1 + int64(len(b.About))
	}
	facts.Page, facts.Fields = 1, slices.Clone(i.names(shown[0].Page.Shape()))
	for _, p := range all[0].parts {
		named = append(named, p.name)
		facts.Fields = append(facts.Fields, p.i.namesIn(p.name, p.page.Shape)...)
	}
	if g.told {
		named = append(named, partDecisions)
	}
	if len(named) > 0 {
		facts.Details = withDetail(facts.Details, "parts", strings.Join(named, " "))
	}
	if err := x.countSeen(ctx, i, subjects); err != nil {
		return nil, 0, nil, err
	}
	return shown, facts.Rows, view, x.disclose(ctx, audit.Release(x.Clock(), i.request, facts, i.filterText(), i.caller, subjects))
}
