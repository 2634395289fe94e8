package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
)

// manyConcerned is from how many records on all are looked at instead.
const manyConcerned = 50_000

// Concerned returns the records that may look otherwise. See annona.Log.
func (s *Store) Concerned(ctx context.Context, dataset *annona.Dataset, since, until annona.Moment) (numbers []annona.Number, all bool, err error) {
	err = s.readers.read(ctx, "read the log", func(c *conn) error {
		f := &affected{conn: c, sets: map[string]map[annona.Number]bool{"households": {}, "individuals": {}}}
		if err := f.find(since, until); err != nil {
			return err
		}
		numbers, all = slices.Sorted(maps.Keys(f.sets[dataset.Name])), f.many()
		return nil
	})
	if all {
		return nil, true, err
	}
	return numbers, false, err
}

// affected gathers who is concerned by changes.
type affected struct {
	conn *conn
	sets map[string]map[annona.Number]bool // by dataset
}

func (f *affected) many() bool {
	return len(f.sets["households"])+len(f.sets["individuals"]) > manyConcerned
}

// find gathers those of the events and days, and then twice who lives with them and where: a
// household shows its members, and each of them shows the household that he lives in.
func (f *affected) find(since, until annona.Moment) error {
	if err := f.events(since.Seq, until.Seq); err != nil || f.many() {
		return err
	}
	if err := f.days(since.Day, until.Day); err != nil || f.many() {
		return err
	}
	people, homes := slices.Collect(maps.Keys(f.sets["individuals"])), slices.Collect(maps.Keys(f.sets["households"]))
	for range 2 {
		more, err := f.spread("households", "SELECT household FROM memberships WHERE individual = ANY ($1)", people)
		if err != nil || f.many() {
			return err
		}
		homes = append(homes, more...)
		related, err := f.spread("individuals", "SELECT from_number FROM relationships WHERE to_number = ANY ($1)", people)
		if err != nil || f.many() {
			return err
		}
		if more, err = f.spread("individuals", "SELECT individual FROM memberships WHERE household = ANY ($1)", homes); err != nil || f.many() {
			return err
		}
		people, homes = append(more, related...), nil
	}
	return nil
}

func (f *affected) events(since, until int64) error {
	if since >= until {
		return nil
	}
	return f.conn.each("SELECT DISTINCT e.dataset, e.record FROM log l JOIN events e ON e.event = l.event WHERE l.seq > $1 AND l.seq <= $2 AND e.dataset IN ('individuals', 'households') LIMIT $3", func(r row) error {
		f.sets[r.text(0)][r.number(1)] = true
		return nil
	}, since, until, manyConcerned+1)
}

// days gathers those whom something begins or ends for by date. The last day of a right is the
// day before it ends, that of a membership is not.
func (f *affected) days(since, until annona.Date) error {
	if since >= until {
		return nil
	}
	_, err := f.spread("individuals", `SELECT individual FROM memberships WHERE ahead AND start_date > $1 AND start_date <= $2
		UNION SELECT individual FROM memberships WHERE ahead AND end_date > $1 AND end_date <= $2
		UNION SELECT subject FROM restrictions WHERE effective_date > $1 AND effective_date <= $2 OR expiry_date >= $1 AND expiry_date < $2
		UNION SELECT subject FROM consents WHERE effective_date > $1 AND effective_date <= $2 OR expiry_date >= $1 AND expiry_date < $2`, nil, since, until)
	return err
}

// spread adds the records that a query finds to those of a dataset and returns the new ones. of
// is its parameter when it has one.
func (f *affected) spread(dataset, sql string, of []annona.Number, args ...any) (added []annona.Number, err error) {
	if of == nil && len(args) == 0 {
		return nil, nil
	}
	if of != nil {
		args = []any{integers(of)}
	}
	set := f.sets[dataset]
	err = f.conn.each(sql, func(r row) error {
		n := r.number(0)
		if !set[n] {
			set[n] = true
			added = append(added, n)
		}
		return nil
	}, args...)
	return added, err
}
