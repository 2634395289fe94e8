package postgres

import (
	"strconv"

	"github.com/annona-exchange/annona"
)

// memberReading follows the visible active members of the households of a page and derives what a
// household shows of them.
type memberReading struct {
	page   *annona.Page
	plan   *rowPlan
	row    int // of the household whose members are read
	group  *annona.Group
	idOf   int // column household_id of the members
	head   int // column head_individual_id of the page
	count  int // column member_count of the page
	heads  int
	people int
	headID annona.UID
}

// newMemberReading returns the reading of the members of households from that row on; nil when the page
// shows nothing of them.
func newMemberReading(page *annona.Page, from int) *memberReading {
	m := &memberReading{page: page, row: from, head: page.Shape.Column("head_individual_id"), count: page.Shape.Column("member_count"), idOf: -1}
	if at := page.Shape.Group("members"); at >= 0 {
		m.group, m.idOf = &page.Groups[at], page.Shape.Groups[at].Shape.Column("household_id")
	}
	if m.group == nil && m.head < 0 && m.count < 0 {
		return nil
	}
	return m
}

// recordPlan plans the rows of members; of those who are only counted nothing but who they are.
func (m *memberReading) recordPlan(alias, home string) *rowPlan {
	if m.group != nil {
		return newRecordPlan(m.group.Page.Shape, alias, memberColumns(alias, home), "household_id")
	}
	plan := newRecordPlan(&annona.Shape{}, alias, memberColumns(alias, home), "household_id")
	plan.unpacker, plan.clear, plan.sealed = nil, noPieces, noPieces
	return plan
}

// members fills the group of members, the head and the member count of the rows from that
// row on.
func (r *pageReading) members(page *annona.Page, from int) error {
	m := newMemberReading(page, from)
	if m == nil || page.Count == from {
		return nil
	}
	m.plan = m.recordPlan("i", r.low.homeOf(homeAlias))
	inner := 0
	if m.group != nil {
		inner = m.group.Page.Count
	}
	if err := r.readMembers(m, page.Numbers[from:]); err != nil {
		return err
	}
	m.endTo(page.Count)
	if m.group == nil {
		return nil
	}
	return r.groups(m.group.Page, inner)
}

func (r *pageReading) readMembers(m *memberReading, households []annona.Number) error {
	l := r.next()
	l.write("SELECT p.position, g.* FROM unnest(")
	l.bind(numberList(households))
	l.write("::text::bigint[]) WITH ORDINALITY p (number, position) CROSS JOIN LATERAL (SELECT m.rank, ", m.plan.list())
	l.shownMembers(m.plan.shape, "i", "p.number")
	l.write(") g")
	if l.err != nil {
		return l.err
	}
	first := m.row
	return r.inOrder(l, func(values row, position int) error {
		m.endTo(first + position)
		return m.read(values.integer(1), values[2:])
	})
}

// shownMembers writes which members of a household are shown, and in which order.
func (l *lowering) shownMembers(shape *annona.Shape, individual, household string) {
	member := memberView(individual, "m")
	member.home = l.homeOf(homeAlias)
	l.write(" FROM memberships m JOIN individuals ", individual, " ON ", individual, ".number = m.individual")
	l.joinHome(member)
	l.write(" WHERE m.household = ", household)
	l.active("m")
	l.visible(member)
	if shape.Column("role") < 0 {
		l.write(" ORDER BY m.number") // the head stands first only where everybody sees who it is
	} else {
		l.write(" ORDER BY m.rank, m.number")
	}
}

// read takes one member of the current household; the one of rank 0 is its head.
func (m *memberReading) read(rank int64, values row) error {
	m.people++
	if rank == 0 {
		m.heads++
		m.headID = values.uid(1)
	}
	if m.group == nil {
		return nil
	}
	if m.idOf >= 0 {
		m.group.Page.Columns[m.idOf].Append(m.page.UIDs[m.row][:])
	}
	return m.plan.read(values, m.group.Page)
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
func memberColumns(individual, home string) map[string]string {
	columns := individualColumns(individual, home)
	delete(columns, "household_id")
	for _, code := range []string{"role", "role_source_code", "relationship_to_head"} {
		columns[code] = "m." + code
	}
	return columns
}

// numberList is a parameter: the numbers of a page as the text of an array, which costs no
// allocation for each of them.
func numberList(numbers []annona.Number) string {
	b := make([]byte, 0, 2+8*len(numbers))
	b = append(b, '{')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(append(b, '}'))
}
