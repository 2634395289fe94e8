package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// usedEvery is how exactly the last use of a memory is noted.
const usedEvery = time.Hour

// ReadNumbers appends the rows of the scope that have one of those numbers.
func (s *Store) ReadNumbers(ctx context.Context, scope annona.Scope, numbers []annona.Number, page *annona.Page) error {
	if len(numbers) == 0 {
		return s.checkScope(scope)
	}
	return s.readRows(ctx, s.readers.read, scope, page, len(numbers), func(l *lowering, alias string) {
		l.write(" AND ", alias, ".number = ANY (")
		l.bind(integers(numbers))
		l.write(")")
	})
}

func integers(numbers []annona.Number) []int64 {
	out := make([]int64, len(numbers))
	for i, n := range numbers {
		out[i] = int64(n)
	}
	return out
}

// Follower returns the memory under that id, and begins one where there is none.
func (s *Store) Follower(ctx context.Context, id [16]byte) (f annona.Follower, err error) {
	now := s.clock()
	fresh := false
	find := func(c *conn) error {
		_, err := c.one("SELECT key, generation, used_at FROM followers WHERE id = $1", func(r row) {
			f = annona.Follower{Key: r.integer(0), Generation: r.integer(1)}
			fresh = now.Sub(r.time(2)) < usedEvery
		}, id[:])
		return err
	}
	if err := s.readers.ask(ctx, "find a follower", find); err != nil || fresh {
		return f, err
	}
	err = s.update(ctx, "note a follower", func(t *tx) error {
		err := t.conn.exec("INSERT INTO followers (id, generation, used_at) VALUES ($1, 0, $2) ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at", id[:], now)
		if err != nil {
			return err
		}
		return find(t.conn)
	})
	return f, err
}

// ViewsIn returns all views of records in a range of numbers.
func (s *Store) ViewsIn(ctx context.Context, follower int64, after, until annona.Number) (views []annona.View, err error) {
	in := func(v annona.View) {
		if v.Number > after && v.Number <= until {
			views = append(views, v)
		}
	}
	err = s.readers.read(ctx, "read remembered views", func(c *conn) error {
		err := c.packed("SELECT generation, views FROM follower_ranges WHERE follower = $1 AND first <= $2 AND last > $3", in, follower, until, after)
		if err != nil {
			return err
		}
		return c.unpacked("SELECT number, generation, tag FROM follower_views WHERE follower = $1 AND number > $2 AND number <= $3", in, follower, after, until)
	})
	return inOrderOfViews(views), err
}

// ViewsOf returns all views of records by their numbers.
func (s *Store) ViewsOf(ctx context.Context, follower int64, numbers []annona.Number) (views []annona.View, err error) {
	of := func(v annona.View) {
		if _, asked := slices.BinarySearch(numbers, v.Number); asked {
			views = append(views, v)
		}
	}
	list := integers(numbers)
	err = s.readers.read(ctx, "read remembered views", func(c *conn) error {
		err := c.packed(`WITH at AS MATERIALIZED (
				SELECT DISTINCT (SELECT max(first) FROM follower_ranges WHERE follower = $1 AND first <= n.number) AS first FROM unnest($2::bigint[]) n (number))
			SELECT r.generation, r.views FROM at JOIN follower_ranges r ON r.follower = $1 AND r.first = at.first`, of, follower, list)
		if err != nil {
			return err
		}
		return c.unpacked(`SELECT v.number, v.generation, v.tag FROM follower_views v WHERE v.follower = $1 AND v.number = ANY ($2)`, of, follower, list)
	})
	return inOrderOfViews(views), err
}

func (c *conn) packed(sql string, take func(annona.View), args ...any) error {
	return c.each(sql, func(r row) error { return annona.ParseViews(r[1], r.integer(0), take) }, args...)
}

func (c *conn) unpacked(sql string, take func(annona.View), args ...any) error {
	return c.each(sql, func(r row) error {
		take(annona.View{Number: r.number(0), Generation: r.integer(1), Tag: annona.ViewTag(r.integer(2))})
		return nil
	}, args...)
}

func inOrderOfViews(views []annona.View) []annona.View {
	slices.SortFunc(views, func(a, b annona.View) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Generation, b.Generation))
	})
	return views
}

// ViewedSince returns the numbers of a range that have a view of a later generation.
func (s *Store) ViewedSince(ctx context.Context, follower, generation int64, after, until annona.Number) (numbers []annona.Number, err error) {
	in := func(v annona.View) {
		if v.Number > after && v.Number <= until {
			numbers = append(numbers, v.Number)
		}
	}
	err = s.readers.read(ctx, "read remembered views", func(c *conn) error {
		err := c.packed("SELECT generation, views FROM follower_ranges WHERE follower = $1 AND first <= $2 AND last > $3 AND generation > $4", in, follower, until, after, generation)
		if err != nil {
			return err
		}
		return c.unpacked("SELECT number, generation, tag FROM follower_views WHERE follower = $1 AND generation > $2", in, follower, generation)
	})
	slices.Sort(numbers)
	return slices.Compact(numbers), err
}

// Observe keeps an observation. Many views of records of whom nothing is packed yet are packed.
func (s *Store) Observe(ctx context.Context, f annona.Follower, o annona.Observation) (int64, error) {
	generation := f.Generation + 1
	err := s.Update(ctx, func(x annona.Tx) error {
		t := x.(*tx)
		n, err := t.conn.changes("UPDATE followers SET generation = $1 WHERE key = $2 AND generation = $3", generation, f.Key, f.Generation)
		if err != nil {
			return t.fault("remember what was shown", err)
		}
		if n == 0 {
			return annona.ErrViewsMoved
		}
		if err := t.observe(f.Key, generation, o); err != nil {
			return t.fault("remember what was shown", err)
		}
		return nil
	})
	return generation, err
}

func (t *tx) observe(follower, generation int64, o annona.Observation) error {
	if len(o.Views) >= annona.ManyViews {
		first, last := o.Views[0].Number, o.Views[len(o.Views)-1].Number
		taken, err := t.conn.one("SELECT FROM follower_ranges WHERE follower = $1 AND first <= $2 AND last >= $3 LIMIT 1", func(row) {}, follower, last, first)
		if err != nil {
			return err
		}
		if !taken {
			return t.conn.exec("INSERT INTO follower_ranges (follower, first, last, generation, views) VALUES ($1, $2, $3, $4, $5)",
				follower, first, last, generation, annona.AppendViews(nil, o.Views))
		}
	}
	rows := rowsFor("follower_views", []string{"follower", "number", "generation", "seq", "tag"})
	for _, v := range o.Views {
		rows.add(follower, int64(v.Number), generation, o.Seq, int64(v.Tag))
	}
	return t.conn.copyIn(rows)
}

// Departed returns what is left of records by their numbers.
func (s *Store) Departed(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) (map[annona.Number]annona.Departed, error) {
	if dataset.Name != "individuals" && dataset.Name != "households" {
		return nil, errDataset(dataset.Name)
	}
	gone := make(map[annona.Number]annona.Departed, len(numbers))
	err := s.readers.read(ctx, "read the ids of records", func(c *conn) error {
		for _, of := range []struct {
			erased bool
			sql    string
		}{
			{true, "SELECT number, uid FROM departed WHERE number = ANY ($1) AND dataset = $2"},
			{false, "SELECT number, uid FROM " + dataset.Name + " WHERE number = ANY ($1) AND $2 <> ''"},
		} {
			err := c.each(of.sql, func(r row) error {
				gone[r.number(0)] = annona.Departed{UID: r.uid(1), Erased: of.erased}
				return nil
			}, integers(numbers), dataset.Name)
			if err != nil {
				return err
			}
		}
		return c.each(`WITH RECURSIVE took (number, successor) AS (
				SELECT number, successor FROM successors WHERE dataset = $2 AND number = ANY ($1)
				UNION SELECT t.number, s.successor FROM took t JOIN successors s ON s.dataset = $2 AND s.number = t.successor)
			SELECT t.number, r.uid FROM took t JOIN `+dataset.Name+` r ON r.number = t.successor ORDER BY t.number, r.number`, func(r row) error {
			d := gone[r.number(0)]
			d.Into = append(d.Into, r.uid(1))
			gone[r.number(0)] = d
			return nil
		}, integers(numbers), dataset.Name)
	})
	return gone, err
}
