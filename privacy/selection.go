package privacy

import "github.com/annona-exchange/annona"

// Selection gathers rows of pages that one plan has redacted, when only some of them are to
// leave. Its subjects are those of the rows that were chosen and of nobody else.
type Selection struct {
	plan *Plan
	page *annona.Page
}

// Select begins an empty selection of pages of that shape.
func (p *Plan) Select(shape *annona.Shape) *Selection {
	return &Selection{plan: p, page: annona.NewPage(shape)}
}

// Add copies one row of a page. The page may be reset behind it.
func (s *Selection) Add(d *Disclosed, row int) { s.page.AppendRow(d.page, row) }

// Count returns how many rows were chosen so far.
func (s *Selection) Count() int { return s.page.Count }

// Disclosed returns the rows that were chosen, in the order in which they were.
func (s *Selection) Disclosed() *Disclosed {
	d := &Disclosed{page: s.page}
	s.plan.subjects(s.page, d)
	return d
}

// subjects adds everybody in a page to the subjects of d.
func (p *Plan) subjects(page *annona.Page, d *Disclosed) {
	if p.identify && len(page.Numbers) > 0 {
		d.add(Subjects{Noun: p.noun, Fields: p.mask, Numbers: page.Numbers})
	}
	p.about(page, d)
	for i, g := range p.groups {
		g.plan.subjects(page.Groups[i].Page, d)
	}
}

// about adds those whom the matters of a page are about: what leaves of a matter leaves of them.
func (p *Plan) about(page *annona.Page, d *Disclosed) {
	of := map[string][]annona.Number{}
	for _, s := range page.Subjects {
		if !s.IsZero() {
			of[s.Dataset] = append(of[s.Dataset], s.Number)
		}
	}
	for _, noun := range []struct{ dataset, noun string }{{"individuals", "individual"}, {"households", "household"}} {
		if numbers := of[noun.dataset]; len(numbers) > 0 {
			d.add(Subjects{Noun: noun.noun, Fields: p.mask, Numbers: numbers})
		}
	}
}
