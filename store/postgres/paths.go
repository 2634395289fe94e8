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
		l.derivedColumn(f, v.individual, individualColumns())
	}
}

func (l *lowering) householdColumn(f *annona.Field, v view, alias string) {
	switch {
	case !f.Derived:
		l.write(alias, ".", indexColumn(f))
	case f.Code == "member_count":
		l.memberCount(v)
	default:
		l.derivedColumn(f, alias, householdColumns())
	}
}

// primaryHouseholdColumn writes a field of an individual's one primary active household.
func (l *lowering) primaryHouseholdColumn(f *annona.Field, v view) {
	if f.Derived && f.Code == "member_count" {
		l.write("CASE WHEN ", v.household, " IS NOT NULL THEN ")
		l.memberCount(v)
		l.write(" END")
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
	m, i := l.alias("m"), l.alias("i")
	head := memberView(i, m)
	l.write("(SELECT max(")
	l.individualColumn(f, head)
	l.write(") FROM memberships ", m, " JOIN individuals ", i, " ON ", i, ".number = ", m, ".individual WHERE ", m, ".household = ", v.household, " AND ", m, ".rank = 0")
	l.active(m)
	l.visible(head)
	l.write(" HAVING count(*) = 1)")
}

// derivedColumn writes a field that the store derives by a column of the record itself.
func (l *lowering) derivedColumn(f *annona.Field, alias string, columns map[string]string) {
	name, ok := columns[f.Code]
	if !ok {
		l.fail(annona.Invalid("field_not_filterable", "the field cannot be used in a filter").On(f.Code))
		return
	}
	l.write(alias, ".", name)
}

// individualColumns are the columns of derived fields of an individual.
func individualColumns() map[string]string {
	return map[string]string{
		"individual_id": "uid", "household_id": "household_uid", "role": "role", "role_source_code": "role_source_code",
		"relationship_to_head": "relationship_to_head", "area_code": "area_code",
		"source_system": "source", "last_updated": "updated_at", "received_at": "received_at",
	}
}

// householdColumns are the columns of derived fields of a household.
func householdColumns() map[string]string {
	return map[string]string{
		"household_id": "uid", "source_system": "source", "last_updated": "updated_at", "received_at": "received_at",
	}
}
