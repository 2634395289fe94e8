package sqlite

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Hold returns records by their numbers. Nobody else writes while the transaction lasts, so that
// there is nothing to lock. See annona.LifeTx.
func (t *tx) Hold(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Known, error) {
	tb, err := t.table(dataset)
	if err != nil {
		return nil, fault("find a record", err)
	}
	all := make([]annona.Known, len(numbers))
	for i, n := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if all[i], err = t.holdRecord(tb, n); err != nil {
			return nil, fault("find a record", err)
		}
	}
	return all, nil
}

func (t *tx) holdRecord(tb *table, number annona.Number) (known annona.Known, err error) {
	version, err := t.version(tb.dataset, number)
	if err != nil {
		return known, err
	}
	if version == 0 {
		deleted, err := t.conn.integer("SELECT count(*) FROM deleted_records WHERE dataset = ? AND number = ?", tb.dataset, number)
		if err != nil || deleted == 0 {
			return known, err
		}
		known.Deleted = true
	}
	known.Number = number
	if err := t.recall(tb, nil, &known); err != nil {
		return known, err
	}
	known.OtherKeys, err = otherKeys(t.conn, tb.of, number)
	return known, err
}

// MembersOf returns who belongs to households. See annona.LifeTx.
func (t *tx) MembersOf(ctx context.Context, day annona.Date, households ...annona.Number) (members []annona.Number, err error) {
	for _, household := range households {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err = t.conn.each("SELECT individual FROM memberships WHERE household = ? AND (end_date IS NULL OR end_date > ?)", func(s *sqlite.Stmt) error {
			members = append(members, annona.Number(s.ColumnInt64(0)))
			return nil
		}, household, day)
		if err != nil {
			return nil, fault("find the members of a household", err)
		}
	}
	slices.Sort(members)
	return slices.Compact(members), nil
}

// Delete takes a record out of sight. See annona.LifeTx.
func (t *tx) Delete(ctx context.Context, by annona.Author, d annona.Deletion) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := t.table(d.Dataset)
	if err != nil {
		return fault("delete a record", err)
	}
	version, err := t.version(tb.dataset, d.Number)
	switch {
	case err != nil || version == 0:
		return orNotOnFile("delete a record", err)
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
	if err == nil {
		err = t.touchAll(touched, by)
	}
	return fault("delete a record", err)
}

// partIndividual ends what ties an individual to others. The households that it was in are touched,
// and those who have a relationship to it, which waits.
func (t *tx) partIndividual(number annona.Number, touched touches) error {
	if err := t.touchTied(number, touched, string(annona.EventDeleted)); err != nil {
		return err
	}
	t.elsewhere.waiting = true
	for _, sql := range []string{
		"DELETE FROM memberships WHERE individual = ?", "DELETE FROM relationships WHERE from_number = ?",
		"UPDATE relationships SET to_number = NULL WHERE to_number = ?",
	} {
		if err := t.conn.exec(sql, number); err != nil {
			return err
		}
	}
	return nil
}

// checkEmpty refuses a household in which somebody lives, or is going to.
func (t *tx) checkEmpty(household annona.Number) error {
	n, err := t.conn.integer("SELECT count(*) FROM memberships WHERE household = ? AND (end_date IS NULL OR end_date > ?)", household, annona.DateOf(t.now))
	if err == nil && n > 0 {
		return annona.Conflict("household_has_members", "the household has members; it is deleted when nobody belongs to it any more")
	}
	return err
}

// moveAway puts the row of a record among the deleted ones. Its identifiers are not looked up there.
func (t *tx) moveAway(tb *table, d annona.Deletion) error {
	err := t.conn.exec(`INSERT INTO deleted_records (dataset, number, uid, source, source_key, digest, as_of, received_at, version, clear, sealed, clear_groups, sealed_groups, before, area_code)
		SELECT ?, number, uid, source, source_key, digest, as_of, received_at, ?, clear, sealed, clear_groups, sealed_groups, ?, `+standsIn(tb.dataset)+` FROM `+tb.dataset+` WHERE number = ?`,
		tb.dataset, d.Version, d.Stays(), d.Number)
	if err != nil {
		return err
	}
	if err := t.removeRow(tb, d.Number); err != nil {
		return err
	}
	for _, successor := range d.Into {
		if err := t.conn.exec("INSERT OR REPLACE INTO successors (dataset, number, successor) VALUES (?, ?, ?)", tb.dataset, d.Number, successor); err != nil {
			return err
		}
	}
	clear(t.known)
	delete(t.found, subject{tb.dataset, d.Number})
	t.elsewhere.deleted = true
	return nil
}

// standsIn is the area that a deleted record keeps: that of a household.
func standsIn(dataset string) string {
	if dataset == "households" {
		return "f_area_code"
	}
	return "NULL"
}

// removeRow removes the row of a record and what it is found by.
func (t *tx) removeRow(tb *table, number annona.Number) error {
	if err := t.forgetIdentifiers(tb, number); err != nil {
		return err
	}
	if err := t.forgetKey(tb.dataset, number); err != nil {
		return err
	}
	if tb.dataset == "individuals" {
		if err := t.forgetNames(number); err != nil {
			return err
		}
	}
	return t.conn.exec("DELETE FROM "+tb.dataset+" WHERE number = ?", number)
}

// restore brings a deleted record back, in its next version.
func (t *tx) restore(tb *table, r *annona.StoredRecord, f *found, l line, by annona.Author) error {
	if err := t.insertRow(tb, r, f, l, f.receivedAt); err != nil {
		return err
	}
	if err := t.forgetDeleted(tb, f.number); err != nil {
		return err
	}
	return t.event(eventOf(by, tb.dataset, f.number, r.Version, annona.EventRestored, r.Before))
}

// forgetDeleted removes what lies outside of the records because one is deleted.
func (t *tx) forgetDeleted(tb *table, number annona.Number) error {
	for _, from := range []string{"deleted_records", "successors", "departed"} {
		if err := t.conn.exec("DELETE FROM "+from+" WHERE dataset = ? AND number = ?", tb.dataset, number); err != nil {
			return err
		}
	}
	return nil
}

// resolveKeys joins the relationships that wait for a record to it, by each of its keys.
func (t *tx) resolveKeys(f *found, touched touches) error {
	if err := t.resolve(f.key.Source, f.key.Key, f.number, touched); err != nil || !f.deleted {
		return err
	}
	others, err := otherKeys(t.conn, f.key.Dataset, f.number)
	if err != nil {
		return err
	}
	for _, k := range others {
		if err := t.resolve(k.Source, k.Key, f.number, touched); err != nil {
			return err
		}
	}
	return nil
}

// touchTied touches the households of an individual, and those who have a relationship to it.
func (t *tx) touchTied(number annona.Number, touched touches, reason string) error {
	for _, of := range []struct{ dataset, query string }{
		{"households", "SELECT household FROM memberships WHERE individual = ?"},
		{"individuals", "SELECT from_number FROM relationships WHERE to_number = ?"},
	} {
		err := t.conn.each(of.query, func(s *sqlite.Stmt) error {
			touched[subject{of.dataset, annona.Number(s.ColumnInt64(0))}] = reason
			return nil
		}, number)
		if err != nil {
			return err
		}
	}
	delete(touched, subject{"individuals", number})
	return nil
}
