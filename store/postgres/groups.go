package postgres

import (
	"errors"

	"github.com/annona-exchange/annona"
)

// groups fills the derived groups of individuals, for the rows of page from that row on.
func (r *pageReading) groups(page *annona.Page, from int) error {
	if page.Count == from {
		return nil
	}
	for i, g := range page.Shape.Groups {
		if !g.Field.Derived {
			continue
		}
		var err error
		switch g.Field.Code {
		case "memberships":
			err = r.membershipGroup(page, from, &page.Groups[i], g.Shape)
		case "relationships":
			err = r.relationshipGroup(page, from, &page.Groups[i], g.Shape)
		default:
			endRows(&page.Groups[i], from, page.Count)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// membershipGroup fills the active memberships of individuals in households that may be seen.
func (r *pageReading) membershipGroup(page *annona.Page, from int, group *annona.Group, shape *annona.Shape) error {
	plan := membershipPlan(shape)
	l := r.next()
	l.write("SELECT p.position, g.* FROM unnest(")
	l.bind(numberList(page.Numbers[from:]))
	l.write("::text::bigint[]) WITH ORDINALITY p (number, position) CROSS JOIN LATERAL (SELECT ", plan.some())
	l.fromMemberships("p.number")
	l.write(") g")
	return r.groupRows(l, plan, page, from, group, shape.Column("individual_id"))
}

func membershipPlan(shape *annona.Shape) *rowPlan {
	return newGroupPlan(shape, map[string]string{
		"membership_id": "m.uid", "household_id": "h.uid", "role": "m.role", "role_source_code": "m.role_source_code",
		"relationship_to_head": "m.relationship_to_head", "recipient_type": "m.recipient_type",
		"is_primary": "CASE WHEN m.is_primary THEN 'true' ELSE 'false' END", "start_date": "m.start_date", "end_date": "m.end_date",
	}, "individual_id")
}

// fromMemberships writes which memberships of an individual are shown, and in which order.
func (l *lowering) fromMemberships(individual string) {
	l.write(" FROM memberships m JOIN households h ON h.number = m.household WHERE m.individual = ", individual)
	l.active("m")
	l.meets(l.homes, householdView("h"))
	if l.day != l.terms.Today { // today, the individual makes it visible
		l.householdVisible(householdView("h"))
	}
	l.write(" ORDER BY m.number")
}

// relationshipGroup fills the relationships of individuals whose other end is visible too.
func (r *pageReading) relationshipGroup(page *annona.Page, from int, group *annona.Group, shape *annona.Shape) error {
	plan := relationshipPlan(shape)
	l := r.next()
	l.write("SELECT p.position, g.* FROM unnest(")
	l.bind(numberList(page.Numbers[from:]))
	l.write("::text::bigint[]) WITH ORDINALITY p (number, position) CROSS JOIN LATERAL (SELECT ", plan.some())
	l.fromRelationships("p.number")
	l.write(") g")
	return r.groupRows(l, plan, page, from, group, shape.Column("from_individual_id"))
}

func relationshipPlan(shape *annona.Shape) *rowPlan {
	plan := newGroupPlan(shape, map[string]string{
		"relationship_id": "r.uid", "to_individual_id": "i.uid", "type": "r.type", "start_date": "r.start_date",
		"end_date": "r.end_date", "end_reason": "r.end_reason", "source": "r.source",
	}, "from_individual_id")
	plan.pointsTo("to_individual_id", "i.number")
	return plan
}

// fromRelationships writes which relationships of an individual are shown, and in which order.
func (l *lowering) fromRelationships(individual string) {
	l.write(" FROM relationships r JOIN individuals i ON i.number = r.to_number WHERE r.from_number = ", individual)
	l.visible(individualView("i"))
	l.write(" ORDER BY r.number")
}

// groupRows runs the query of a group; owner is the column that repeats the outer row's id.
func (r *pageReading) groupRows(l *lowering, plan *rowPlan, page *annona.Page, from int, group *annona.Group, owner int) error {
	if l.err != nil {
		return l.err
	}
	at := from
	err := r.inOrder(l, func(values row, position int) error {
		endRows(group, at, from+position)
		at = from + position
		if owner >= 0 {
			group.Page.Columns[owner].Append(page.UIDs[at][:])
		}
		return plan.read(values[1:], group.Page)
	})
	endRows(group, at, page.Count)
	return err
}

var errOrder = errors.New("rows came out of order")

// inOrder calls take for each row of the query with its position in the list of numbers, which
// is the first column. The engine follows the list: what stands in a LATERAL with an order of
// its own is read for one number after the other.
func (r *pageReading) inOrder(l *lowering, take func(values row, position int) error) error {
	last := 0
	return r.conn.each(l.text(), func(values row) error {
		position := int(values.integer(0)) - 1
		if position < last {
			return annona.Internal("read a group of a page", errOrder)
		}
		last = position
		return take(values, position)
	}, l.args...)
}

// endRows ends the nested rows of the outer rows from that one up to another.
func endRows(g *annona.Group, from, to int) {
	for ; from < to; from++ {
		g.EndRow()
	}
}

// some is the list of a plan of which nothing but the number of rows may be wanted.
func (p *rowPlan) some() string {
	if len(p.selected) == 0 {
		return "NULL"
	}
	return p.list()
}
