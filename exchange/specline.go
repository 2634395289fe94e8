package exchange

import (
	"context"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// A specification comes on file at once, unless it lies above the line of its agreement. Then it waits for a
// second person, who is told why.

// overTheLine says why a specification that was checked waits for a second person; nothing: it does not.
func (x *Exchange) overTheLine(ctx context.Context, spec *annona.ExportSpec) (why []string, err error) {
	grant, err := x.strongestGrant(ctx, spec)
	if err != nil {
		return nil, err
	}
	line := annona.ApprovalLine{}
	if grant.Agreement.Line != nil {
		line = *grant.Agreement.Line
	}
	d := x.CurrentDictionary()
	compiled, err := compileSpec(d, grant, spec, surroundings{})
	if err != nil {
		return nil, err
	}
	chosen, err := callersFilter(d, grant, questionOf(spec))
	if err != nil {
		return nil, err
	}
	if special := specialFields(compiled.read(compiled.shown), chosen); len(special) > 0 && !line.SpecialFields {
		why = append(why, fmt.Sprintf("it is made of special fields: %s", joined(special)))
	}
	if line.Rows == 0 {
		return why, nil
	}
	more, err := x.moreRows(ctx, grant, spec, chosen, line.Rows)
	if more {
		why = append(why, fmt.Sprintf("it has more than %d rows today", line.Rows))
	}
	return why, err
}

// specialFields names what is special of all that is read for an export, or by which its rows are chosen.
func specialFields(read *annona.Shape, chosen annona.Condition) (names []string) {
	for _, f := range read.Columns {
		if f.Sensitivity == annona.Special {
			names = append(names, f.Dataset+"."+f.Code)
		}
	}
	for _, g := range read.Groups {
		names = append(names, specialFields(g.Shape, nil)...)
	}
	if chosen == nil {
		return names
	}
	for p := range filter.Paths(chosen) {
		if p.Field.Sensitivity == annona.Special {
			names = append(names, p.Field.Dataset+"."+p.Field.Code)
		}
	}
	return names
}

// moreRows reports whether an export by a specification would have more rows than that today.
func (x *Exchange) moreRows(ctx context.Context, grant *annona.Grant, spec *annona.ExportSpec, chosen annona.Condition, than int64) (bool, error) {
	dataset, err := rootDataset(x.CurrentDictionary(), spec.Dataset)
	if err != nil {
		return false, err
	}
	asOf, err := x.asOf(spec.AsOf)
	if err != nil {
		return false, err
	}
	shape := &annona.Shape{Dataset: dataset}
	scope := annona.NewScope(shape, grant.Conditions[dataset.Name], grant.Conditions["individuals"], annona.ScopeTerms{
		Purpose: grant.Purpose.Code, Recipient: grant.Agreement.Partner.Name, Basis: grant.Purpose.Basis, AsOf: asOf, Today: x.today(x.Clock()),
	}).WithHouseholds(grant.Conditions["households"]).Choosing(chosen)
	page, rows, after := annona.NewPage(shape), int64(0), annona.Number(0)
	for more := true; more && rows <= than; {
		page.Reset()
		if more, err = x.Records.ReadPage(ctx, scope, after, 0, maxPageRows, page); err != nil {
			return false, err
		}
		if page.Count == 0 {
			break
		}
		rows, after = rows+int64(page.Count), page.Numbers[page.Count-1]
	}
	return rows > than, nil
}

// specShows says in plain words what a specification changes against the version before.
func specShows(last, spec *annona.ExportSpec) (shows []string) {
	before := annona.ExportSpec{}
	if last != nil {
		before = *last
	}
	for _, c := range CompareSpecs(&before, spec) {
		text := c.What
		for _, part := range []string{c.Field, c.Before, c.After} {
			if part != "" {
				text += " " + part
			}
		}
		if c.Discloses {
			text += " (newly disclosed)"
		}
		shows = append(shows, text)
	}
	return shows
}
