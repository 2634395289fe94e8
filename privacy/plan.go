package privacy

import (
	"bytes"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Plan is the column plan of one shape under one grant: what happens to each column. It is
// compiled once and used for every page; one goroutine at a time.
type Plan struct {
	columns  []transform // nil: passes unaltered
	groups   []groupPlan
	noun     string
	mask     []string
	scratch  annona.Column
	shown    *annona.Shape // of the pages that come out; nil: that of those which go in
	realm    annona.Realm
	identify bool // rows are people or households, or point to people: they count as subjects
}

type groupPlan struct {
	plan  *Plan
	flags *flagRule // nil: every row of the group may be shown
}

// transform appends what may be shown of a cell to dst.
type transform func(dst, cell []byte) []byte

// Compile compiles the plan of a shape whose columns the grant has granted.
func Compile(shape *annona.Shape, grant *annona.Grant, realm annona.Realm) *Plan {
	p := &Plan{
		columns:  make([]transform, len(shape.Columns)),
		noun:     shape.Dataset.Noun,
		realm:    realm,
		identify: shape.Dataset.Root,
	}
	for i, f := range shape.Columns {
		p.columns[i] = transformOf(f, grant, realm)
		p.mask = append(p.mask, maskOf(shape.Dataset, f))
	}
	for _, g := range shape.Groups {
		nested := Compile(g.Shape, grant, realm)
		p.groups = append(p.groups, groupPlan{plan: nested, flags: flagRuleOf(shape.Dataset, g, grant)})
		if nested.identify {
			continue
		}
		for i, code := range nested.mask {
			nested.mask[i] = maskOf(shape.Dataset, g.Field) + "." + code
		}
		p.mask = append(p.mask, nested.mask...)
		nested.noun, nested.identify = "individual", g.Shape.Column("to_individual_id") >= 0
	}
	return p
}

// maskOf is how a field is called among those that leave of somebody: a field of a matter with its
// dataset, as cases.status.
func maskOf(of *annona.Dataset, f *annona.Field) string {
	if of.Matter {
		return of.Name + "." + f.Code
	}
	return f.Code
}

func transformOf(f *annona.Field, grant *annona.Grant, realm annona.Realm) transform {
	if f.Rule != nil {
		return derived(f.Rule, grant)
	}
	granted, ok := grant.Field(f)
	if !ok {
		return withhold // the gate never asks for it; nothing leaves if it did
	}
	if f.Type == annona.TypeID || f.Type == annona.TypeRef {
		return func(dst, cell []byte) []byte {
			if len(cell) == 0 {
				return dst
			}
			return realm.AppendID(dst, cell)
		}
	}
	if granted.Treatment == annona.TreatPseudonym {
		return pseudonym(f, realm)
	}
	return treatmentOf(granted.Treatment, granted.Band)
}

// derived lets a derived column pass when the grant gives all that its rule names for that.
func derived(rule *annona.Derivation, grant *annona.Grant) transform {
	for path := range filter.Paths(rule.Of) {
		if !grant.Derives(path.Field) {
			return withhold
		}
	}
	return nil
}

func treatmentOf(t annona.Treatment, band int64) transform {
	switch t {
	case annona.TreatPass:
		return nil
	case annona.TreatMask:
		return mask
	case annona.TreatYear:
		return toYear
	case annona.TreatMonth:
		return toMonth
	case annona.TreatBand:
		return toBand(band)
	default:
		return withhold
	}
}

// Redact turns a page into what may be shown, in place. The page must not be read any more
// except through the Disclosed.
func (p *Plan) Redact(page *annona.Page) *Disclosed {
	p.redact(page)
	d := &Disclosed{page: page}
	p.subjects(page, d)
	if p.shown != nil {
		d.page = view(page, p.shown)
	}
	return d
}

func (p *Plan) redact(page *annona.Page) {
	for i, change := range p.columns {
		if change != nil {
			p.rewrite(&page.Columns[i], change)
		}
	}
	for i, g := range p.groups {
		if g.flags != nil {
			g.flags.leaveOut(&page.Groups[i])
		}
		g.plan.redact(page.Groups[i].Page)
	}
}

// rewrite replaces every cell of a column; the column and the scratch swap their memory. A cell
// that repeats the one above it, as the household's id does for its members, becomes the same.
func (p *Plan) rewrite(c *annona.Column, change transform) {
	p.scratch.Reset()
	var above []byte
	shown := 0 // where what is shown of it starts
	for row := range c.Ends {
		cell, end := c.Cell(row), len(p.scratch.Data)
		if row > 0 && bytes.Equal(cell, above) {
			p.scratch.Data = append(p.scratch.Data, p.scratch.Data[shown:end]...)
		} else {
			p.scratch.Data = change(p.scratch.Data, cell)
		}
		p.scratch.EndCell()
		above, shown = cell, end
	}
	*c, p.scratch = p.scratch, *c
}

func (d *Disclosed) add(s Subjects) {
	i := slices.IndexFunc(d.subjects, func(o Subjects) bool { return o.Noun == s.Noun && slices.Equal(o.Fields, s.Fields) })
	if i < 0 {
		d.subjects = append(d.subjects, s)
		return
	}
	d.subjects[i].Numbers = slices.Concat(d.subjects[i].Numbers, s.Numbers)
}
