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

// assemble reads what is kept about each record of a page: one query for a part of all of them.
func (g *assembly) assemble(ctx context.Context, records *annona.Page) ([]assembled, error) {
	all, whom := make([]assembled, records.Count), make([]annona.SubjectRef, records.Count)
	for row := range all {
		all[row].record = annona.NewPage(records.Shape)
		all[row].record.AppendRow(records, row)
		whom[row] = annona.SubjectRef{Dataset: g.of.question.Dataset, Number: records.Numbers[row]}
	}
	for _, part := range []string{partEnrollments, partBenefits, partCases} {
		if err := g.part(ctx, all, part, part, whom); err != nil {
			return nil, err
		}
	}
	homes, granted, err := g.homes(ctx, records)
	if err != nil {
		return nil, err
	}
	if granted {
		for _, part := range []struct{ name, dataset string }{{partHouseholdEnrollments, partEnrollments}, {partHouseholdBenefits, partBenefits}} {
			if err := g.part(ctx, all, part.name, part.dataset, homes); err != nil {
				return nil, err
			}
		}
	}
	return all, g.decided(ctx, all, whom, records)
}

// part adds a part to each record: what the dataset keeps about those who stand in the place of the record. A
// part that is not granted is added to none.
func (g *assembly) part(ctx context.Context, all []assembled, name, dataset string, whom []annona.SubjectRef) error {
	read, verb := g.x.programPart, g.verb
	if dataset == partCases {
		read, verb = g.x.casePart, annona.VerbReadCases
	}
	q := Question{Dataset: dataset, Purpose: g.of.question.Purpose, NilReasons: g.of.question.NilReasons, matters: true}
	var more map[annona.SubjectRef]bool
	i, page, err := g.x.readSmall(ctx, g.of.caller, verb, q, g.of.form, func(i *inquiry, page *annona.Page) (err error) {
		more, err = readKept(ctx, i, page, known(whom), min(g.most, i.most()), read)
		return err
	})
	if annona.KindOf(err) == annona.KindForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	rows := map[annona.SubjectRef][]int{}
	for row, about := range page.Subjects {
		rows[about] = append(rows[about], row)
	}
	for n := range all {
		one := partOfOne{name: name, i: i, page: annona.NewPage(page.Shape), more: more[whom[n]]}
		for _, row := range rows[whom[n]] {
			one.page.AppendRow(page, row)
		}
		all[n].parts = append(all[n].parts, one)
	}
	return nil
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

// partReader reads a page of what is kept about people.
type partReader func(ctx context.Context, i *inquiry, page *annona.Page, choice annona.MatterChoice, after annona.Number, limit int) (more bool, err error)

// readKept appends what is kept about each of those, at most so many rows, and says of whom there is more.
func readKept(ctx context.Context, i *inquiry, page *annona.Page, whom []annona.SubjectRef, most int, read partReader) (more map[annona.SubjectRef]bool, err error) {
	more, kept := map[annona.SubjectRef]bool{}, map[annona.SubjectRef]int{}
	for after, left := annona.Number(0), len(whom) > 0; left; {
		some := annona.NewPage(page.Shape)
		if left, err = read(ctx, i, some, annona.MatterChoice{Subjects: whom}, after, MaxLimit); err != nil {
			return nil, err
		}
		page.Epoch = some.Epoch
		for row, about := range some.Subjects {
			after = some.Numbers[row]
			if kept[about] == most {
				more[about] = true
				continue
			}
			kept[about]++
			page.AppendRow(some, row)
		}
		whom = slices.DeleteFunc(whom, func(s annona.SubjectRef) bool { return more[s] })
		left = left && len(whom) > 0
	}
	return more, nil
}

// programPart reads what programs keep about those whom the caller may see.
func (x *Exchange) programPart(ctx context.Context, i *inquiry, page *annona.Page, choice annona.MatterChoice, after annona.Number, limit int) (more bool, err error) {
	err = x.readOpen(ctx, page, func() (err error) {
		more, err = x.readMatters(ctx, x.programScope(i, page.Shape), choice, after, limit, page)
		return err
	})
	return more, err
}

func (x *Exchange) casePart(ctx context.Context, i *inquiry, page *annona.Page, choice annona.MatterChoice, after annona.Number, limit int) (more bool, err error) {
	return x.readOwn(ctx, i, page, choice, after, limit)
}

// homes are the households in which the caller sees individuals, in the order of the page: the zero SubjectRef
// where there is none. granted: the caller sees in which household an individual lives, and households.
func (g *assembly) homes(ctx context.Context, records *annona.Page) (homes []annona.SubjectRef, granted bool, err error) {
	of := g.of.shape.Dataset
	lives, ok := of.Field(memberHousehold)
	if of.Name != "individuals" || !ok || !g.of.grant.Passes(of, memberHousehold) || len(g.of.grant.Fields["households"]) == 0 {
		return nil, false, nil
	}
	i, err := g.x.inquire(ctx, g.x.Standings, g.of.caller, annona.VerbGet, Question{Dataset: "households", Purpose: g.of.question.Purpose, Fields: []string{memberHousehold}})
	if annona.KindOf(err) == annona.KindForbidden {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	today := g.x.today(g.x.Clock())
	shape := &annona.Shape{Dataset: of, Columns: []*annona.Field{lives}}
	page := annona.NewPage(shape)
	if err := g.x.Records.ReadNumbers(ctx, g.of.scope(shape, today), records.Numbers, page); err != nil {
		return nil, false, err
	}
	homes, seen := make([]annona.SubjectRef, records.Count), map[string]annona.SubjectRef{}
	for row, number := range page.Numbers {
		uid := page.Cell(0, row)
		if len(uid) != len(annona.UID{}) {
			continue
		}
		home, ok := seen[string(uid)]
		if !ok {
			if home, err = g.home(ctx, i.scope(i.shape, today), annona.UID(uid)); err != nil {
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

// home finds a household of the scope; the zero SubjectRef: it is not in it.
func (g *assembly) home(ctx context.Context, scope annona.Scope, uid annona.UID) (home annona.SubjectRef, err error) {
	page := annona.NewPage(scope.Shape())
	if err := g.x.Records.ReadOne(ctx, scope, uid, page); err != nil || page.Count == 0 {
		return home, err
	}
	return annona.SubjectRef{Dataset: "households", Number: page.Numbers[0]}, nil
}

// decided adds to each record the decisions about it that the caller's agreement has sent, if it sends any.
func (g *assembly) decided(ctx context.Context, all []assembled, whom []annona.SubjectRef, records *annona.Page) error {
	q := Question{Dataset: g.of.question.Dataset, Purpose: g.of.question.Purpose, Fields: []string{g.of.shape.Dataset.Key}}
	i, err := g.x.inquire(ctx, g.x.Standings, g.of.caller, annona.VerbDecideEligibility, q)
	if annona.KindOf(err) == annona.KindForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	g.told = true
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
		for _, field := range p.i.names(p.page.Shape) {
			facts.Fields = append(facts.Fields, p.name+"."+field)
		}
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
