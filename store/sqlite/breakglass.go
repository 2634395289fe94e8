package sqlite

import (
	"context"
	"encoding/json"
	"errors"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// UnreviewedBreakGlass returns the emergency of a person that waits for its review. See annona.BreakGlasses.
func (s *Store) UnreviewedBreakGlass(ctx context.Context, person annona.UID) (found *annona.BreakGlass, err error) {
	err = s.readers.read(ctx, "read an emergency", func(c *conn) error {
		found, err = c.breakGlass("SELECT body FROM break_glass WHERE person = ? AND reviewed = 0", person)
		return err
	})
	return found, err
}

// BreakGlasses lists emergencies. See annona.BreakGlasses.
func (s *Store) BreakGlasses(ctx context.Context, limit int) (all []annona.BreakGlass, err error) {
	err = s.readers.read(ctx, "read the emergencies", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM break_glass ORDER BY opened_at DESC, id LIMIT ?", func(r *sqlite.Stmt) error {
			g, err := breakGlassOf(columnBytes(r, 0))
			all = append(all, g)
			return err
		}, limit)
	})
	return all, err
}

func (c *conn) breakGlass(query string, id annona.UID) (*annona.BreakGlass, error) {
	body := []byte(nil)
	is, err := c.one(query, func(r *sqlite.Stmt) { body = columnBytes(r, 0) }, id)
	if err != nil || !is {
		return nil, err
	}
	g, err := breakGlassOf(body)
	return &g, err
}

func breakGlassOf(body []byte) (g annona.BreakGlass, err error) {
	if err := json.Unmarshal(body, &g); err != nil {
		return g, annona.Internal("read an emergency", err)
	}
	return g, nil
}

// HoldBreakGlass returns an emergency as it is at this moment. There is one writer.
func (t *tx) HoldBreakGlass(ctx context.Context, id annona.UID) (*annona.BreakGlass, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g, err := t.conn.breakGlass("SELECT body FROM break_glass WHERE id = ?", id)
	return g, fault("read an emergency", err)
}

// PutBreakGlass writes an emergency by its ID.
func (t *tx) PutBreakGlass(ctx context.Context, g annona.BreakGlass) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(g)
	if err != nil {
		return annona.Internal("write an emergency", err)
	}
	other, err := t.conn.breakGlass("SELECT body FROM break_glass WHERE person = ? AND reviewed = 0", g.Person)
	if err == nil && other != nil && other.ID != g.ID {
		return annona.ErrGlassUnreviewed
	}
	return fault("write an emergency", errors.Join(err, t.conn.exec(`INSERT INTO break_glass (id, person, opened_at, reviewed, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET reviewed = excluded.reviewed, body = excluded.body`, g.ID, g.Person, g.OpenedAt, !g.ReviewedAt.IsZero(), body)))
}

// CountBreakGlass adds who has been seen in an emergency.
func (t *tx) CountBreakGlass(ctx context.Context, id annona.UID, seen []annona.SubjectRef) (total int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, s := range seen {
		if err := t.conn.exec("INSERT OR IGNORE INTO break_glass_seen (break_glass, dataset, number) VALUES (?, ?, ?)", id, s.Dataset, s.Number); err != nil {
			return 0, fault("count who was seen", err)
		}
	}
	_, err = t.conn.one("SELECT count(*) FROM break_glass_seen WHERE break_glass = ?", func(r *sqlite.Stmt) { total = r.ColumnInt(0) }, id)
	return total, fault("count who was seen", err)
}
