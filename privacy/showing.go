package privacy

import (
	"bytes"

	"github.com/annona-exchange/annona"
)

// Change is what an export specification does to a column, behind what the grant does to it.
type Change struct {
	Treatment annona.Treatment
	Band      int64                    // the width, for annona.TreatBand, TreatRound and TreatAge
	AsOf      annona.Date              // for annona.TreatAge
	Area      func(code string) string // for annona.TreatArea; empty: it is not shown
	Codes     map[string]string        // the recipient's code for each, in place of a treatment; nil: they stay
}

// Show makes pages look as a specification says: their columns have the names of shape, which has the
// columns and groups of the plan in the same order, and are changed once more. A change stands under
// the field of shape that it is about.
func (p *Plan) Show(shape *annona.Shape, changes map[*annona.Field]Change) {
	p.shown = shape
	for i, f := range shape.Columns {
		if change, ok := changes[f]; ok {
			p.columns[i] = both(p.columns[i], change.transform(f.Shows(), p.realm))
		}
	}
	for i, g := range shape.Groups {
		p.groups[i].plan.Show(g.Shape, changes)
	}
}

func (c Change) transform(f *annona.Field, realm annona.Realm) transform {
	if c.Codes != nil {
		return c.recode
	}
	switch c.Treatment {
	case annona.TreatPseudonym:
		return pseudonym(f, realm)
	case annona.TreatRound:
		return toMultiple(c.Band)
	case annona.TreatAge:
		return toAge(c.AsOf, c.Band)
	case annona.TreatArea:
		return func(dst, cell []byte) []byte { return append(dst, c.Area(string(cell))...) }
	}
	return treatmentOf(c.Treatment, c.Band)
}

// recode writes the recipient's codes. A code that they do not have does not leave.
func (c Change) recode(dst, cell []byte) []byte {
	if len(cell) == 0 {
		return dst
	}
	begun := len(dst)
	for code := range bytes.SplitSeq(cell, []byte{annona.ListSeparator}) {
		theirs, known := c.Codes[string(code)]
		if !known {
			continue
		}
		if len(dst) > begun {
			dst = append(dst, annona.ListSeparator)
		}
		dst = append(dst, theirs...)
	}
	return dst
}

// both does one thing after the other; nil is nothing.
func both(first, second transform) transform {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	var between []byte
	return func(dst, cell []byte) []byte {
		between = first(between[:0], cell)
		return second(dst, between)
	}
}

// view is a page with the names of a shape. It shares its cells.
func view(page *annona.Page, shape *annona.Shape) *annona.Page {
	v := *page
	v.Shape, v.Groups = shape, make([]annona.Group, len(page.Groups))
	for i, g := range page.Groups {
		v.Groups[i] = annona.Group{Page: view(g.Page, shape.Groups[i].Shape), Ends: g.Ends}
	}
	return &v
}
