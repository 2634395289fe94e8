package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// usedEvery is how exactly the last use of a memory is noted.
const usedEvery = time.Hour

// ReadNumbers appends the rows of the scope that have one of those numbers.
func (s *Store) ReadNumbers(ctx context.Context, scope annona.Scope, numbers []annona.Number, page *annona.Page) error {
	if len(numbers) == 0 {
		return s.checkScope(scope)
	}
	return s.readRows(ctx, scope, page, len(numbers), func(l *lowering, alias string) {
		l.write(" AND ", alias, ".number IN (SELECT value FROM json_each(")
		l.bind(numberList(numbers))
		l.write("))")
	})
}

// Follower returns the memory under that id, and begins one where there is none.
func (s *Store) Follower(ctx context.Context, id [16]byte) (f annona.Follower, err error) {
	now := s.clock()
	fresh := false
	find := func(c *conn) error {
		_, err := c.one("SELECT key, generation, used_at FROM followers WHERE id = ?", func(stmt *sqlite.Stmt) {
			f = annona.Follower{Key: stmt.ColumnInt64(0), Generation: stmt.ColumnInt64(1)}
			fresh = now.Sub(columnTime(stmt, 2)) < usedEvery
		}, id[:])
		return err
	}
	if err := s.readers.read(ctx, "find a follower", find); err != nil || fresh {
		return f, err
	}
	err = s.writer.update(ctx, "note a follower", func(t *tx) error {
		err := t.conn.exec("INSERT INTO followers (id, generation, used_at) VALUES (?, 0, ?) ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at", id[:], now)
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
		err := c.packed("SELECT generation, views FROM follower_ranges WHERE follower = ? AND first <= ? AND last > ?", in, follower, until, after)
		if err != nil {
			return err
		}
		return c.unpacked("SELECT number, generation, tag FROM follower_views WHERE follower = ? AND number > ? AND number <= ?", in, follower, after, until)
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
	list := numberList(numbers)
	err = s.readers.read(ctx, "read remembered views", func(c *conn) error {
		err := c.packed(`WITH at (first) AS (SELECT DISTINCT (SELECT max(first) FROM follower_ranges WHERE follower = ?1 AND first <= n.value) FROM json_each(?2) n)
			SELECT r.generation, r.views FROM at CROSS JOIN follower_ranges r ON r.follower = ?1 AND r.first = at.first`, of, follower, list)
		if err != nil {
			return err
		}
		return c.unpacked(`SELECT v.number, v.generation, v.tag FROM json_each(?2) n CROSS JOIN follower_views v ON v.follower = ?1 AND v.number = n.value`, of, follower, list)
	})
	return inOrderOfViews(views), err
}

func (c *conn) packed(sql string, take func(annona.View), args ...any) error {
	return c.each(sql, func(s *sqlite.Stmt) error {
		return annona.ParseViews(columnBytes(s, 1), s.ColumnInt64(0), take)
	}, args...)
}

func (c *conn) unpacked(sql string, take func(annona.View), args ...any) error {
	return c.each(sql, func(s *sqlite.Stmt) error {
		take(annona.View{Number: annona.Number(s.ColumnInt64(0)), Generation: s.ColumnInt64(1), Tag: annona.ViewTag(s.ColumnInt64(2))})
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
		err := c.packed("SELECT generation, views FROM follower_ranges WHERE follower = ? AND first <= ? AND last > ? AND generation > ?", in, follower, until, after, generation)
		if err != nil {
			return err
		}
		return c.unpacked("SELECT number, generation, tag FROM follower_views INDEXED BY follower_views_generation WHERE follower = ? AND generation > ?", in, follower, generation)
	})
	slices.Sort(numbers)
	return slices.Compact(numbers), err
}

// Observe keeps an observation. Many views of records of whom nothing is packed yet are packed.
func (s *Store) Observe(ctx context.Context, f annona.Follower, o annona.Observation) (int64, error) {
	generation := f.Generation + 1
	err := s.Update(ctx, func(x annona.Tx) error {
		t := x.(*tx)
		err := t.conn.exec("UPDATE followers SET generation = ? WHERE key = ? AND generation = ?", generation, f.Key, f.Generation)
		if err != nil {
			return fault("remember what was shown", err)
		}
		if t.conn.Changes() == 0 {
			return annona.ErrViewsMoved
		}
		return fault("remember what was shown", t.observe(f.Key, generation, o))
	})
	return generation, err
}

func (t *tx) observe(follower, generation int64, o annona.Observation) error {
	if len(o.Views) >= annona.ManyViews {
		first, last := o.Views[0].Number, o.Views[len(o.Views)-1].Number
		taken, err := t.conn.integer("SELECT EXISTS (SELECT 1 FROM follower_ranges WHERE follower = ? AND first <= ? AND last >= ?)", follower, last, first)
		if err != nil {
			return err
		}
		if taken == 0 {
			return t.conn.exec("INSERT INTO follower_ranges (follower, first, last, generation, views) VALUES (?, ?, ?, ?, ?)",
				follower, first, last, generation, annona.AppendViews(nil, o.Views))
		}
	}
	for _, v := range o.Views {
		err := t.conn.exec("INSERT INTO follower_views (follower, number, generation, seq, tag) VALUES (?, ?, ?, ?, ?)", follower, v.Number, generation, o.Seq, int64(v.Tag))
		if err != nil {
			return err
		}
	}
	return nil
}

// Departed returns what is left of records by their numbers.
func (s *Store) Departed(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) (map[annona.Number]annona.Departed, error) {
	gone := make(map[annona.Number]annona.Departed, len(numbers))
	err := s.checkDataset(dataset)
	if err != nil {
		return nil, err
	}
	list := numberList(numbers)
	err = s.readers.read(ctx, "read the ids of records", func(c *conn) error {
		for _, of := range []struct {
			erased bool
			sql    string
		}{
			{true, "SELECT d.number, d.uid FROM json_each(?1) n CROSS JOIN departed d ON d.number = n.value AND d.dataset = ?2"},
			{false, "SELECT r.number, r.uid FROM json_each(?1) n CROSS JOIN " + dataset.Name + " r ON r.number = n.value AND ?2 <> ''"},
		} {
			err := c.each(of.sql, func(s *sqlite.Stmt) error {
				gone[annona.Number(s.ColumnInt64(0))] = annona.Departed{UID: columnUID(s, 1), Erased: of.erased}
				return nil
			}, list, dataset.Name)
			if err != nil {
				return err
			}
		}
		return c.each(`WITH RECURSIVE took (number, successor) AS (
				SELECT s.number, s.successor FROM json_each(?1) n CROSS JOIN successors s ON s.dataset = ?2 AND s.number = n.value
				UNION SELECT t.number, s.successor FROM took t CROSS JOIN successors s ON s.dataset = ?2 AND s.number = t.successor)
			SELECT t.number, r.uid FROM took t CROSS JOIN `+dataset.Name+` r ON r.number = t.successor ORDER BY 1, r.number`, func(s *sqlite.Stmt) error {
			d := gone[annona.Number(s.ColumnInt64(0))]
			d.Into = append(d.Into, columnUID(s, 1))
			gone[annona.Number(s.ColumnInt64(0))] = d
			return nil
		}, list, dataset.Name)
	})
	return gone, err
}

func (s *Store) checkDataset(dataset *annona.Dataset) error {
	if dataset.Name != "individuals" && dataset.Name != "households" {
		return annona.Invalid("unknown_dataset", "only households and individuals are records of their own").On(dataset.Name)
	}
	return nil
}
