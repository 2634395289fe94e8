package sqlite

import (
	"strconv"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// memberReading follows the visible active members of the households of a page, all by one
// query, and derives what a household shows of them.
type memberReading struct {
	page   *annona.Page
	row    int // of the household whose members are read
	group  *annona.Group
	idOf   int // column household_id of the members
	head   int // column head_individual_id of the page
	count  int // column member_count of the page
	heads  int
	people int
	headID annona.UID
}

// members fills the group of members, the head and the member count of the rows from that
// row on.
func (r *reading) members(page *annona.Page, from int) error {
	m := &memberReading{page: page, row: from, head: page.Shape.Column("head_individual_id"), count: page.Shape.Column("member_count"), idOf: -1}
	shape := &annona.Shape{}
	if at := page.Shape.Group("members"); at >= 0 {
		m.group, shape = &page.Groups[at], page.Shape.Groups[at].Shape
		m.idOf = shape.Column("household_id")
	}
	if m.group == nil && m.head < 0 && m.count < 0 || page.Count == from {
		return nil
	}
	plan := newRecordPlan(shape, "i", memberColumns(r.low.homeOf(homeAlias)), "household_id")
	if m.group == nil {
		plan.unpacker, plan.clear, plan.sealed = nil, noPieces, noPieces
	}
	inner := 0
	if m.group != nil {
		inner = m.group.Page.Count
	}
	if err := r.readMembers(plan, m, page.Numbers[from:]); err != nil {
		return err
	}
	m.endTo(page.Count)
	if m.group == nil {
		return nil
	}
	return r.groups(m.group.Page, inner)
}

func (r *reading) readMembers(plan *rowPlan, m *memberReading, households []annona.Number) error {
	l := r.next()
	l.write("SELECT p.key, m.rank, ", plan.list(), " FROM json_each(")
	l.bind(numberList(households))
	l.write(") p CROSS JOIN memberships m ON m.household = p.value CROSS JOIN individuals i ON i.number = m.individual")
	member := memberView("i", "m")
	member.home = l.homeOf(homeAlias)
	l.joinHome(member)
	l.write(" WHERE TRUE")
	l.active("m")
	l.visible(member)
	if plan.shape.Column("role") < 0 {
		l.write(" ORDER BY p.key, m.number") // the head stands first only where everybody sees who it is
	} else if l.past != nil {
		l.write(" ORDER BY p.key, m.rank, m.number")
	}
	if l.err != nil {
		return l.err
	}
	first := m.row
	return r.inOrder(l, func(stmt *sqlite.Stmt, position int) error {
		m.endTo(first + position)
		return m.read(plan, stmt)
	})
}

// read takes one member of the current household.
func (m *memberReading) read(plan *rowPlan, stmt *sqlite.Stmt) error {
	m.people++
	if stmt.ColumnInt64(1) == 0 {
		m.heads++
		m.headID = columnUID(stmt, 3)
	}
	if m.group == nil {
		return nil
	}
	if m.idOf >= 0 {
		m.group.Page.Columns[m.idOf].Append(m.page.UIDs[m.row][:])
	}
	return plan.read(stmt, 2, m.group.Page)
}

// endTo ends the households before that row.
func (m *memberReading) endTo(row int) {
	for ; m.row < row; m.row++ {
		if m.group != nil {
			m.group.EndRow()
		}
		if m.count >= 0 {
			c := &m.page.Columns[m.count]
			c.Data = strconv.AppendInt(c.Data, int64(m.people), 10)
			c.EndCell()
		}
		if m.head >= 0 {
			c := &m.page.Columns[m.head]
			if m.heads == 1 {
				c.Data = append(c.Data, m.headID[:]...)
			}
			c.EndCell()
		}
		m.people, m.heads = 0, 0
	}
}

// memberColumns are the derived columns of an individual as seen through a membership.
func memberColumns(home string) map[string]string {
	columns := individualColumns("i", home)
	delete(columns, "household_id")
	for _, code := range []string{"role", "role_source_code", "relationship_to_head"} {
		columns[code] = "m." + code
	}
	return columns
}

// numberList writes numbers for json_each, which gives them back with their positions.
func numberList(numbers []annona.Number) string {
	b := make([]byte, 0, 2+8*len(numbers))
	b = append(b, '[')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(append(b, ']'))
}
