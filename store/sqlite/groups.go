package sqlite

import (
	"errors"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// groups fills the derived groups of individuals, for the rows of page from that row on.
func (r *reading) groups(page *annona.Page, from int) error {
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
func (r *reading) membershipGroup(page *annona.Page, from int, group *annona.Group, shape *annona.Shape) error {
	plan := newGroupPlan(shape, map[string]string{
		"membership_id": "m.uid", "household_id": "h.uid", "role": "m.role", "role_source_code": "m.role_source_code",
		"relationship_to_head": "m.relationship_to_head", "recipient_type": "m.recipient_type",
		"is_primary": "iif(m.is_primary, 'true', 'false')", "start_date": "m.start_date", "end_date": "m.end_date",
	}, "individual_id")
	l := r.next()
	l.write("SELECT p.key", plan.more(), " FROM json_each(")
	l.bind(numberList(page.Numbers[from:]))
	l.write(") p CROSS JOIN memberships m ON m.individual = p.value CROSS JOIN households h ON h.number = m.household WHERE TRUE")
	l.active("m")
	l.meets(l.homes, householdView("h"))
	if l.day != l.terms.Today { // today, the individual makes it visible
		l.householdVisible(householdView("h"))
	}
	if l.past != nil {
		l.write(" ORDER BY p.key, m.number")
	}
	return r.groupRows(l, plan, page, from, group, shape.Column("individual_id"))
}

// relationshipGroup fills the relationships of individuals whose other end is visible too.
func (r *reading) relationshipGroup(page *annona.Page, from int, group *annona.Group, shape *annona.Shape) error {
	plan := newGroupPlan(shape, map[string]string{
		"relationship_id": "r.uid", "to_individual_id": "i.uid", "type": "r.type", "start_date": "r.start_date",
		"end_date": "r.end_date", "end_reason": "r.end_reason", "source": "r.source",
	}, "from_individual_id")
	plan.pointsTo("to_individual_id", "i.number")
	l := r.next()
	l.write("SELECT p.key", plan.more(), " FROM json_each(")
	l.bind(numberList(page.Numbers[from:]))
	l.write(") p CROSS JOIN relationships r ON r.from_number = p.value CROSS JOIN individuals i ON i.number = r.to_number WHERE TRUE")
	l.visible(individualView("i"))
	if l.past != nil {
		l.write(" ORDER BY p.key, r.number")
	}
	return r.groupRows(l, plan, page, from, group, shape.Column("from_individual_id"))
}

// groupRows runs the query of a group; owner is the column that repeats the outer row's id.
func (r *reading) groupRows(l *lowering, plan *rowPlan, page *annona.Page, from int, group *annona.Group, owner int) error {
	if l.err != nil {
		return l.err
	}
	row := from
	err := r.inOrder(l, func(stmt *sqlite.Stmt, position int) error {
		endRows(group, row, from+position)
		row = from + position
		if owner >= 0 {
			group.Page.Columns[owner].Append(page.UIDs[row][:])
		}
		return plan.read(stmt, 1, group.Page)
	})
	endRows(group, row, page.Count)
	return err
}

var errOrder = errors.New("rows came out of order")

// inOrder calls row for each row of the query with its position in the list of numbers, which
// is the first column. The engine visits the tables in the order of a CROSS JOIN.
func (r *reading) inOrder(l *lowering, row func(stmt *sqlite.Stmt, position int) error) error {
	last := 0
	return r.conn.each(l.sql.String(), func(stmt *sqlite.Stmt) error {
		position := int(stmt.ColumnInt64(0))
		if position < last {
			return annona.Internal("read a group of a page", errOrder)
		}
		last = position
		return row(stmt, position)
	}, l.args...)
}

// endRows ends the nested rows of the outer rows from that one up to another.
func endRows(g *annona.Group, from, to int) {
	for ; from < to; from++ {
		g.EndRow()
	}
}

// more is the list of a plan behind other columns.
func (p *rowPlan) more() string {
	if len(p.selected) == 0 {
		return ""
	}
	return ", " + p.list()
}
