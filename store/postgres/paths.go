package postgres

import (
	"strconv"

	"github.com/annona-exchange/annona"
)

func itoa(n int) string { return strconv.Itoa(n) }

// column writes the expression of the field that a path names.
func (l *lowering) column(p annona.Path, v view) {
	if p.Field == nil || p.Field.Filter != annona.FilterRange && !isFlags(p.Field) {
		l.fail(annona.Invalid("field_not_filterable", "the field cannot be used in a filter"))
		return
	}
	switch {
	case p.Root == annona.RootMember && v.member != nil:
		l.individualColumn(p.Field, *v.member)
	case p.Root == annona.RootHead:
		l.headColumn(p.Field, v)
	case p.Root == annona.RootSelf && v.self != "":
		l.householdColumn(p.Field, v, v.self)
	case p.Root == annona.RootSelf:
		l.individualColumn(p.Field, v)
	case p.Root == annona.RootHousehold && v.self == "":
		l.primaryHouseholdColumn(p.Field, v)
	default:
		l.fail(annona.Invalid("filter_unsupported", "the condition names something that these records do not have"))
	}
}

// individualColumn writes a field of an individual. Seen through a membership, role and
// relationship are those of that membership.
func (l *lowering) individualColumn(f *annona.Field, v view) {
	switch {
	case !f.Derived:
		l.write(v.individual, ".", indexColumn(f))
	case v.membership != "" && (f.Code == "role" || f.Code == "relationship_to_head"):
		l.write(v.membership, ".", f.Code)
	default:
		l.derivedColumn(f, individualColumns(v.individual, v.home))
	}
}

func (l *lowering) householdColumn(f *annona.Field, v view, alias string) {
	switch {
	case !f.Derived:
		l.write(alias, ".", indexColumn(f))
	case f.Code == "member_count":
		l.memberCount(v)
	default:
		l.derivedColumn(f, householdColumns(alias))
	}
}

// primaryHouseholdColumn writes a field of an individual's one primary active household.
func (l *lowering) primaryHouseholdColumn(f *annona.Field, v view) {
	if f.Derived && f.Code == "member_count" {
		number := v.household
		if v.home != "" {
			number = v.home + ".number"
		}
		l.write("CASE WHEN ", number, " IS NOT NULL THEN ")
		l.memberCount(v)
		l.write(" END")
		return
	}
	if v.home != "" {
		l.householdColumn(f, v, v.home)
		return
	}
	h := l.alias("h")
	l.write("(SELECT ")
	l.householdColumn(f, v, h)
	l.write(" FROM households ", h, " WHERE ", h, ".number = ", v.household, ")")
}

func (l *lowering) memberCount(v view) {
	l.write("(SELECT count(*) ")
	l.members(v, nil)
	l.write(")")
}

// headColumn writes a field of a household's head: absent when none or several are visible.
func (l *lowering) headColumn(f *annona.Field, v view) {
	l.ofHead(v, func(head view) { l.individualColumn(f, head) })
}

// ofHead writes an expression about a household's one visible head.
func (l *lowering) ofHead(v view, expression func(head view)) {
	m, i := l.alias("m"), l.alias("i")
	head := memberView(i, m)
	if l.choosing {
		head.home = l.homeOf(l.alias("h"))
	}
	l.write("(SELECT max(")
	expression(head)
	l.write(") FROM memberships ", m, " JOIN individuals ", i, " ON ", i, ".number = ", m, ".individual")
	l.joinHome(head)
	l.write(" WHERE ", m, ".household = ", v.household, " AND ", m, ".rank = 0")
	l.active(m)
	l.visible(head)
	l.write(" HAVING count(*) = 1)")
}

// householdNumber writes the number of the household whose area a path leads to.
func (l *lowering) householdNumber(p annona.Path, v view) {
	switch {
	case p.Root == annona.RootMember && v.member != nil:
		l.write(v.member.individual, ".household_number")
	case p.Root == annona.RootHead:
		l.ofHead(v, func(head view) { l.write(head.individual, ".household_number") })
	case p.Root == annona.RootSelf && v.self == "":
		l.write(v.individual, ".household_number")
	default:
		l.write(v.household)
	}
}

// derivedColumn writes a field that the store derives by a column of the record itself.
func (l *lowering) derivedColumn(f *annona.Field, columns map[string]string) {
	expression, ok := columns[f.Code]
	if !ok {
		l.fail(annona.Invalid("field_not_filterable", "the field cannot be used in a filter").On(f.Code))
		return
	}
	l.write(expression)
}

// individualColumns are the expressions of derived fields of an individual. What comes through
// its household is absent where home, the household as it may be seen, is.
func individualColumns(alias, home string) map[string]string {
	columns := map[string]string{
		"individual_id": "uid", "source_system": "source", "last_updated": "updated_at", "received_at": "received_at",
	}
	qualify(alias, columns)
	for code, name := range map[string]string{
		"household_id": "household_uid", "role": "role", "role_source_code": "role_source_code",
		"relationship_to_head": "relationship_to_head", "area_code": "area_code",
	} {
		columns[code] = alias + "." + name
		if home != "" {
			columns[code] = "CASE WHEN " + home + ".number IS NOT NULL THEN " + alias + "." + name + " END"
		}
	}
	return columns
}

// householdColumns are the expressions of derived fields of a household.
func householdColumns(alias string) map[string]string {
	return qualify(alias, map[string]string{
		"household_id": "uid", "source_system": "source", "last_updated": "updated_at", "received_at": "received_at",
	})
}
