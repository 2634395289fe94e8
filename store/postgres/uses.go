package postgres

import (
	"cmp"
	"context"

	"github.com/annona-exchange/annona"
)

// PutUses writes what clients have used. See annona.Uses. Nodes write rows in the same order, so that none waits
// for another one in a circle.
func (s *Store) PutUses(ctx context.Context, uses []annona.Use) error {
	return s.update(ctx, "write what clients use", func(t *tx) error {
		for _, u := range uses {
			err := t.conn.exec(`INSERT INTO uses (client, verb, purpose, dataset, field, used_at) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (client, verb, purpose, dataset, field) DO UPDATE SET used_at = greatest(uses.used_at, excluded.used_at)`,
				u.Client, string(u.Verb), orNone(u.Purpose), orNone(u.Dataset), orNone(u.Field), u.At)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// UsesOf returns what a client has used. See annona.Uses.
func (s *Store) UsesOf(ctx context.Context, client annona.UID) (uses []annona.Use, err error) {
	err = s.lookups.ask(ctx, "read what a client uses", func(c *conn) error {
		uses = nil
		return c.each("SELECT verb, purpose, dataset, field, used_at FROM uses WHERE client = $1 ORDER BY verb, purpose, dataset, field", func(r row) error {
			uses = append(uses, annona.Use{
				Client: client, Verb: annona.Verb(r.text(0)), Purpose: unlessNone(r.text(1)), Dataset: unlessNone(r.text(2)), Field: unlessNone(r.text(3)), At: r.time(4),
			})
			return nil
		}, client)
	})
	return uses, err
}

// AddHabits adds to what clients do day by day. See annona.Uses.
func (s *Store) AddHabits(ctx context.Context, habits []annona.Habit, forget annona.Date) error {
	return s.update(ctx, "write what clients do day by day", func(t *tx) error {
		for _, h := range habits {
			err := t.conn.exec(`INSERT INTO habits (client, day, kind, value, count) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (client, day, kind, value) DO UPDATE SET count = habits.count + excluded.count`,
				h.Client, string(h.Day), string(h.Kind), h.Value, h.Count)
			if err != nil {
				return err
			}
		}
		return t.conn.exec("DELETE FROM habits WHERE day < $1", string(forget))
	})
}

// HabitsOf returns what a client did day by day. See annona.Uses.
func (s *Store) HabitsOf(ctx context.Context, client annona.UID) (habits []annona.Habit, err error) {
	err = s.lookups.ask(ctx, "read what a client does day by day", func(c *conn) error {
		habits = nil
		return c.each("SELECT day, kind, value, count FROM habits WHERE client = $1 ORDER BY day, kind, value", func(r row) error {
			habits = append(habits, annona.Habit{Client: client, Day: annona.Date(r.text(0)), Kind: annona.HabitKind(r.text(1)), Value: r.text(2), Count: r.integer(3)})
			return nil
		}, client)
	})
	return habits, err
}

// none stands for what a use does not have: a part of a key is never absent.
const none = "-"

func orNone(name string) string { return cmp.Or(name, none) }

func unlessNone(name string) string {
	if name == none {
		return ""
	}
	return name
}
