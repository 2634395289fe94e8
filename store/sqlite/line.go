package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// line is the household line of an individual: what its row repeats of its primary membership,
// so that a page of individuals is read from one table. Without a household it is empty.
type line struct{ *membership }

// lineOf returns the line of somebody with these memberships: that of the first primary one
// which is active on the day.
func lineOf(memberships []membership, day annona.Date) line {
	for i := range memberships {
		if m := &memberships[i]; !m.NotPrimary && m.activeOn(day) {
			return line{m}
		}
	}
	return line{}
}

// bind binds lineColumns from that parameter on.
func (l line) bind(stmt *sqlite.Stmt, at int) {
	if l.membership == nil {
		for i := range lineColumns {
			stmt.BindNull(at + i)
		}
		return
	}
	stmt.BindInt64(at, int64(l.household.number))
	stmt.BindBytes(at+1, l.household.uid[:])
	bindText(stmt, at+2, l.Role)
	bindText(stmt, at+3, l.RoleSourceCode)
	bindText(stmt, at+4, l.RelationshipToHead)
	bindText(stmt, at+5, l.household.area)
}

// linesDay is the counter that keeps the day, in days since 1970, up to which all lines are
// right.
const linesDay = "lines_day"

// refreshLines rewrites the lines of those whose membership began or ended by date alone
// since the last time, with a touched event each: whoever selects by household or area has to
// look at them again.
func (t *tx) refreshLines() error {
	today := annona.DateOf(t.now)
	day := today.Time().Unix() / (24 * 60 * 60)
	last, err := t.conn.counter(linesDay)
	if err != nil || last >= day {
		return err
	}
	t.counters[linesDay] = day
	if last == 0 {
		return nil // a new registry
	}
	since := annona.Date("1970-01-01").AddDays(int(last))
	crossed, err := t.crossed(since, today)
	if err != nil {
		return err
	}
	for _, individual := range crossed {
		if err := t.refreshLine(individual, today); err != nil {
			return err
		}
	}
	return nil
}

// crossed returns those whose membership began or ended after since, up to today.
func (t *tx) crossed(since, today annona.Date) (individuals []annona.Number, err error) {
	err = t.conn.each(`SELECT individual FROM memberships WHERE ahead = 1 AND start_date > ?1 AND start_date <= ?2
		UNION SELECT individual FROM memberships WHERE ahead = 1 AND end_date > ?1 AND end_date <= ?2 ORDER BY 1`, func(s *sqlite.Stmt) error {
		individuals = append(individuals, annona.Number(s.ColumnInt64(0)))
		return nil
	}, since, today)
	return individuals, err
}

func (t *tx) refreshLine(individual annona.Number, today annona.Date) error {
	memberships, err := readMemberships(t.conn, individual, "")
	if err != nil {
		return err
	}
	if err := t.writeLine(individual, lineOf(memberships, today)); err != nil {
		return err
	}
	if err := t.waitName(individual); err != nil {
		return err
	}
	for _, m := range memberships {
		if err := t.touch(subject{"households", m.household.number}, annona.Author{}, "date"); err != nil {
			return err
		}
	}
	return t.touch(subject{"individuals", individual}, annona.Author{}, "date")
}

func (t *tx) writeLine(individual annona.Number, l line) error {
	stmt, err := t.conn.prepare(`UPDATE individuals SET household_number = ?, household_uid = ?, role = ?, role_source_code = ?,
		relationship_to_head = ?, area_code = ? WHERE number = ?`)
	if err != nil {
		return err
	}
	l.bind(stmt, 1)
	bind(stmt, len(lineColumns)+1, individual)
	t.dueName(individual)
	return step(stmt)
}

// refreshLines brings the lines up to today when the store is opened; every change does the
// same.
func (s *Store) refreshLines() error {
	return s.writer.update(context.Background(), "open the registry", func(*tx) error { return nil })
}
