package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

var errTokens = errors.New("tokens stand beside the individuals that they are of")

// dueName remembers that the names of an individual are to be indexed. Nothing is, while they are not
// kept.
func (t *tx) dueName(number annona.Number) {
	if !t.names {
		return
	}
	if t.due == nil {
		t.due = map[annona.Number]bool{}
	}
	t.due[number] = true
}

// DueNames returns those whose names are to be indexed. See annona.NameTx.
func (t *tx) DueNames(ctx context.Context) (due []annona.DueName, err error) {
	for _, number := range slices.Sorted(maps.Keys(t.due)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, err := t.conn.one("SELECT version, area_code, sealed, sealed_groups FROM individuals WHERE number = ?", func(r *sqlite.Stmt) {
			due = append(due, annona.DueName{
				Number: number, Version: r.ColumnInt(0), Area: r.ColumnText(1), Sealed: append(columnBytes(r, 2), columnBytes(r, 3)...),
			})
		}, number)
		if err != nil {
			return nil, fault("read whose names are to be indexed", err)
		}
	}
	t.due = nil
	return due, nil
}

// PutNames replaces tokens of names. See annona.NameTx.
func (t *tx) PutNames(ctx context.Context, due []annona.DueName, tokens [][]uint32) error {
	if len(due) != len(tokens) {
		return annona.Internal("write the index of names", errTokens)
	}
	for i, d := range due {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.putNames(d.Number, tokens[i]); err != nil {
			return fault("write the index of names", err)
		}
	}
	return nil
}

func (t *tx) putNames(number annona.Number, tokens []uint32) error {
	if err := t.forgetNames(number); err != nil {
		return err
	}
	for _, token := range tokens {
		if err := t.conn.exec("INSERT OR IGNORE INTO name_index (token, number) VALUES (?, ?)", int64(token), number); err != nil {
			return err
		}
	}
	return nil
}

// forgetNames removes what the index of names has of an individual.
func (t *tx) forgetNames(number annona.Number) error {
	if err := t.conn.exec("DELETE FROM name_index WHERE number = ?", number); err != nil {
		return err
	}
	return t.conn.exec("DELETE FROM name_waiting WHERE number = ?", number)
}

// TakeNames makes the names of individuals due. See annona.NameTx.
func (t *tx) TakeNames(ctx context.Context, numbers []annona.Number) error {
	for _, n := range numbers {
		t.dueName(n)
	}
	return ctx.Err()
}

// WaitNames has everybody in areas wait. See annona.NameTx.
func (t *tx) WaitNames(ctx context.Context, codes []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := json.Marshal(codes)
	if err != nil {
		return annona.Internal("write the index of names", err)
	}
	err = t.conn.exec("INSERT OR IGNORE INTO name_waiting (number) SELECT number FROM individuals WHERE area_code IN (SELECT value FROM json_each(?))", string(list))
	return fault("write the index of names", err)
}

// waitName has an individual wait, if names are kept.
func (t *tx) waitName(number annona.Number) error {
	return t.conn.exec("INSERT OR IGNORE INTO name_waiting (number) SELECT ? FROM indexes WHERE kind = ? AND kept", number, string(annona.IndexNames))
}

// TakeWaiting makes the names due of those who wait. See annona.NameTx.
func (t *tx) TakeWaiting(ctx context.Context, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var waiting []annona.Number
	err := t.conn.each("SELECT number FROM name_waiting ORDER BY number LIMIT ?", func(r *sqlite.Stmt) error {
		waiting = append(waiting, annona.Number(r.ColumnInt64(0)))
		return nil
	}, limit)
	if err != nil || len(waiting) == 0 {
		return 0, fault("read whose names are to be indexed", err)
	}
	err = t.conn.exec("DELETE FROM name_waiting WHERE number <= ?", waiting[len(waiting)-1])
	for _, n := range waiting {
		t.dueName(n)
	}
	return len(waiting), fault("write the index of names", err)
}

// DropNames removes rows of the index of names. See annona.NameTx.
func (t *tx) DropNames(ctx context.Context, limit int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := t.conn.exec("DELETE FROM name_waiting")
	if err == nil {
		err = t.conn.exec("DELETE FROM name_index WHERE (token, number) IN (SELECT token, number FROM name_index LIMIT ?)", limit)
	}
	t.erased = true // nothing of them stays in the write-ahead log
	return int64(t.conn.Changes()), fault("remove the index of names", err)
}

// FindNames returns who has a token of each list. See annona.Indexes.
func (s *Store) FindNames(ctx context.Context, tokens [][]uint32, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	var args []any
	var has []string
	for _, list := range tokens {
		body, err := json.Marshal(list)
		if err != nil {
			return nil, annona.Internal("search names", err)
		}
		args = append(args, string(body))
		has = append(has, "SELECT number FROM name_index WHERE token IN (SELECT value FROM json_each(?))")
	}
	sql := "SELECT number FROM (" + strings.Join(has, " INTERSECT ") + ") WHERE number > ? ORDER BY number LIMIT ?"
	err = s.readers.read(ctx, "search names", func(c *conn) error {
		numbers = nil
		return c.each(sql, func(r *sqlite.Stmt) error {
			numbers = append(numbers, annona.Number(r.ColumnInt64(0)))
			return nil
		}, append(args, after, limit)...)
	})
	return numbers, err
}

// CountNames counts the rows of the index of names. See annona.Indexes.
func (s *Store) CountNames(ctx context.Context) (rows, waiting int64, err error) {
	err = s.readers.read(ctx, "count the index of names", func(c *conn) error {
		if rows, err = c.integer("SELECT count(*) FROM name_index"); err != nil {
			return err
		}
		waiting, err = c.integer("SELECT count(*) FROM name_waiting")
		return err
	})
	return rows, waiting, err
}
