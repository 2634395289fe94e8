package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// Hold locks records by their numbers and returns them. See annona.LifeTx.
func (t *tx) Hold(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := tableOf(dataset.Name); err != nil {
		return nil, err
	}
	known, err := t.holdRecords(dataset, numbers)
	if err != nil {
		return nil, t.fault("find a record", err)
	}
	return known, nil
}

func (t *tx) holdRecords(dataset *annona.Dataset, numbers []annona.Number) ([]annona.Known, error) {
	tb, err := t.table(dataset.Name)
	if err != nil {
		return nil, err
	}
	if err := t.sendLater(); err != nil {
		return nil, err
	}
	known := make([]annona.Known, len(numbers))
	all, wanted := make([]*found, len(numbers)), map[annona.Number][]*found{}
	for i, n := range numbers {
		all[i] = &found{of: dataset, number: n, known: &known[i]}
		wanted[n] = append(wanted[n], all[i])
	}
	if err := t.lockWherever(tb, wanted); err != nil {
		return nil, err
	}
	var there []*found
	for _, f := range all {
		if f.version > 0 {
			there = append(there, f)
		}
	}
	if err := t.remember(tb, there); err != nil {
		return nil, err
	}
	others, err := otherKeys(t.conn, dataset, integers(numbers))
	for _, f := range there {
		f.known.OtherKeys = others[f.number]
	}
	return known, err
}

// lockWherever locks records that are on file or deleted. One may move from one place to the other
// between two looks, so that each place gets a second one.
func (t *tx) lockWherever(tb *table, wanted map[annona.Number][]*found) error {
	for range 2 {
		for _, deleted := range []bool{false, true} {
			sql := tb.lock
			if deleted {
				sql = tb.lockDeleted
			}
			for _, of := range wanted {
				for _, f := range of {
					f.deleted = deleted
				}
			}
			if err := t.lockRows(tb, sql, wanted); err != nil {
				return err
			}
		}
	}
	return nil
}

// selectMembers finds who belongs to households, one household after the other: see selectMemberships.
const selectMembers = `SELECT DISTINCT m.individual FROM unnest($1::bigint[]) h (number)
	CROSS JOIN LATERAL (SELECT individual FROM memberships WHERE household = h.number AND (end_date IS NULL OR end_date > $2) OFFSET 0) m
	ORDER BY m.individual`

// MembersOf returns who belongs to households. See annona.LifeTx.
func (t *tx) MembersOf(ctx context.Context, day annona.Date, households ...annona.Number) (members []annona.Number, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.sendLater(); err != nil {
		return nil, t.fault("find the members of households", err)
	}
	err = t.conn.each(selectMembers, func(r row) error {
		members = append(members, r.number(0))
		return nil
	}, integers(households), day)
	if err != nil {
		return nil, t.fault("find the members of households", err)
	}
	return members, nil
}

// Delete takes a record out of sight. See annona.LifeTx.
func (t *tx) Delete(ctx context.Context, by annona.Author, d annona.Deletion) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := tableOf(d.Dataset.Name)
	if err != nil {
		return err
	}
	if err := t.remove(by, tb, d); err != nil {
		return t.fault("delete a record", err)
	}
	return nil
}

func (t *tx) remove(by annona.Author, tb table, d annona.Deletion) error {
	if err := t.sendLater(); err != nil {
		return err
	}
	version, err := t.conn.integer("SELECT version FROM "+tb.dataset+" WHERE number = $1 FOR UPDATE", d.Number)
	switch {
	case err != nil:
		return err
	case version == 0:
		return annona.NotFound("the record is not on file")
	case version+1 != int64(d.Version):
		return annona.Internal("delete a record", errNotFound)
	}
	touched := touches{}
	if tb.dataset == "individuals" {
		err = t.partIndividual(d.Number, touched)
	} else {
		err = t.checkEmpty(d.Number)
	}
	if err == nil {
		err = t.moveAway(tb, d)
	}
	if err == nil {
		err = t.event(eventOf(by, tb.dataset, d.Number, d.Version, annona.EventDeleted, d.Before))
	}
	if err != nil {
		return err
	}
	return t.touchAll(touched, by)
}

// partIndividual ends what ties an individual to others. The households that it was in are touched,
// and those who have a relationship to it, which waits.
func (t *tx) partIndividual(number annona.Number, touched touches) error {
	if err := t.touchTied(number, touched, string(annona.EventDeleted)); err != nil {
		return err
	}
	for _, sql := range []string{
		"DELETE FROM memberships WHERE individual = $1", "DELETE FROM relationships WHERE from_number = $1",
		"UPDATE relationships SET to_number = NULL WHERE to_number = $1",
	} {
		if err := t.conn.exec(sql, number); err != nil {
			return err
		}
	}
	return nil
}

// checkEmpty refuses a household in which somebody lives, or is going to.
func (t *tx) checkEmpty(household annona.Number) error {
	n, err := t.conn.integer("SELECT count(*) FROM memberships WHERE household = $1 AND (end_date IS NULL OR end_date > $2)", household, annona.DateOf(t.now))
	if err == nil && n > 0 {
		return annona.Conflict("household_has_members", "the household has members; it is deleted when nobody belongs to it any more")
	}
	return err
}

// moveAway puts the row of a record among the deleted ones. Its identifiers are not looked up there.
func (t *tx) moveAway(tb table, d annona.Deletion) error {
	err := t.conn.exec(`INSERT INTO deleted_records (dataset, number, uid, source, source_key, digest, as_of, received_at, version, clear, sealed, clear_groups, sealed_groups, before, area_code)
		SELECT $1, number, uid, source, source_key, digest, as_of, received_at, $2, clear, sealed, clear_groups, sealed_groups, $3, `+standsIn(tb.dataset)+` FROM `+tb.dataset+` WHERE number = $4`,
		tb.dataset, d.Version, d.Stays(), d.Number)
	if err != nil {
		return err
	}
	if err := t.removeRow(tb, d.Number); err != nil {
		return err
	}
	clear(t.known)
	clear(t.homes)
	delete(t.found, subject{tb.dataset, d.Number})
	t.beside = true
	if len(d.Into) == 0 {
		return nil
	}
	return t.conn.exec("INSERT INTO successors (dataset, number, successor) SELECT $1, $2, s.number FROM unnest($3::bigint[]) s (number) ON CONFLICT DO NOTHING",
		tb.dataset, d.Number, integers(d.Into))
}

// standsIn is the area that a deleted record keeps: that of a household.
func standsIn(dataset string) string {
	if dataset == "households" {
		return "f_area_code"
	}
	return "NULL"
}

// removeRow removes the row of a record and what leads to it by its identifiers.
func (t *tx) removeRow(tb table, number annona.Number) error {
	had, err := t.identifiersOf(tb, number)
	if err != nil {
		return err
	}
	var gone entries
	gone.add(number, identifierPlaces(tb.noun, had)...)
	t.queueGone(&gone)
	if tb.dataset == "individuals" {
		t.later.Queue("DELETE FROM name_index WHERE number = $1", int64(number))
		t.later.Queue("DELETE FROM name_waiting WHERE number = $1", int64(number))
	}
	return t.conn.exec("DELETE FROM "+tb.dataset+" WHERE number = $1", number)
}

// forgetDeleted removes what lies outside of the records because they were deleted, at the end.
func (t *tx) forgetDeleted(dataset string, numbers []int64) {
	if len(numbers) == 0 {
		return
	}
	for _, from := range []string{"deleted_records", "successors", "departed"} {
		t.later.Queue("DELETE FROM "+from+" WHERE dataset = $1 AND number = ANY ($2)", dataset, numbers)
	}
}

// touchTied touches the households of an individual, and those who have a relationship to it.
func (t *tx) touchTied(number annona.Number, touched touches, reason string) error {
	for _, of := range []struct{ dataset, query string }{
		{"households", "SELECT household FROM memberships WHERE individual = $1"},
		{"individuals", "SELECT from_number FROM relationships WHERE to_number = $1"},
	} {
		err := t.conn.each(of.query, func(r row) error {
			touched[subject{of.dataset, r.number(0)}] = reason
			return nil
		}, number)
		if err != nil {
			return err
		}
	}
	delete(touched, subject{"individuals", number})
	return nil
}
