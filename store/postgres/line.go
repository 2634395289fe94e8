package postgres

import (
	"context"

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

// values appends those of lineColumns.
func (l line) values(dst []any) []any {
	if l.membership == nil {
		return append(dst, make([]any, len(lineColumns))...)
	}
	uid := l.household.uid
	return append(dst, int64(l.household.number), uid[:], orNull(l.Role), orNull(l.RoleSourceCode), orNull(l.RelationshipToHead), orNull(l.household.area))
}

// refreshLines rewrites the lines of those whose membership began or ended by date alone since
// the last time, when the store is opened and before the first change of a day.
func (s *Store) refreshLines(ctx context.Context) error {
	day := annona.DateOf(s.clock()).Time().Unix() / (24 * 60 * 60)
	if s.linesDay.Load() >= day {
		return nil
	}
	err := s.transaction(ctx, func(t *tx) error { return t.refreshLines(day) })
	if err != nil {
		return fault("bring the household lines up to today", err)
	}
	s.linesDay.Store(day)
	return nil
}

// refreshLines does so once for all nodes, with a touched event for each line: whoever selects
// by household or area has to look again. The counter holds the day, in days since 1970, up to
// which all lines are right.
func (t *tx) refreshLines(day int64) error {
	var last int64
	moves, err := t.conn.one(`UPDATE counters c SET value = $1 FROM counters former WHERE c.name = 'lines_day' AND former.name = c.name
		AND c.value < $1 RETURNING former.value`, func(r row) { last = r.integer(0) }, day)
	if err != nil || !moves || last == 0 { // 0: a new registry
		return err
	}
	epoch := annona.Date("1970-01-01")
	today := epoch.AddDays(int(day))
	crossed, err := t.crossed(epoch.AddDays(int(last)), today)
	if err != nil || len(crossed) == 0 {
		return err
	}
	if err := t.waitNames(crossed); err != nil {
		return err
	}
	memberships, err := readMemberships(t.conn, crossed)
	if err != nil {
		return err
	}
	touched := touches{}
	for _, individual := range crossed {
		if err := t.refreshLine(annona.Number(individual), memberships[annona.Number(individual)], today, touched); err != nil {
			return err
		}
	}
	return t.touchAll(touched, annona.Author{})
}

// crossed locks and returns those whose membership began or ended after since, up to today.
func (t *tx) crossed(since, today annona.Date) (individuals []int64, err error) {
	err = t.conn.each(`SELECT number FROM individuals WHERE number = ANY (ARRAY (
			SELECT individual FROM memberships WHERE ahead AND start_date > $1 AND start_date <= $2
			UNION SELECT individual FROM memberships WHERE ahead AND end_date > $1 AND end_date <= $2)) ORDER BY number FOR NO KEY UPDATE`, func(r row) error {
		individuals = append(individuals, r.integer(0))
		return nil
	}, since, today)
	return individuals, err
}

func (t *tx) refreshLine(individual annona.Number, memberships []membership, today annona.Date, touched touches) error {
	err := t.writeLine(individual, lineOf(memberships, today))
	touched[subject{"individuals", individual}] = "date"
	for _, m := range memberships {
		touched[subject{"households", m.household.number}] = "date"
	}
	return err
}

func (t *tx) writeLine(individual annona.Number, l line) error {
	t.dueNames(individual)
	_, err := t.conn.db.Exec(t.conn.ctx, `UPDATE individuals SET household_number = $2, household_uid = $3, role = $4, role_source_code = $5,
		relationship_to_head = $6, area_code = $7 WHERE number = $1`, l.values([]any{int64(individual)})...)
	return err
}
