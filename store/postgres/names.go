package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

var errTokens = errors.New("tokens stand beside the individuals that they are of")

// dueNames remembers that the names of individuals are to be indexed. Nothing is, while they are not
// kept.
func (t *tx) dueNames(numbers ...annona.Number) {
	t.hashed = true
	if !t.names {
		return
	}
	if t.due == nil {
		t.due = map[annona.Number]bool{}
	}
	for _, n := range numbers {
		t.due[n] = true
	}
}

// DueNames returns those whose names are to be indexed. Their records are locked: they were written,
// or taken. See annona.NameTx.
func (t *tx) DueNames(ctx context.Context) (due []annona.DueName, err error) {
	if err := ctx.Err(); err != nil || len(t.due) == 0 {
		return nil, err
	}
	if err := t.sendLater(); err != nil {
		return nil, t.fault("write a record", err)
	}
	numbers := integers(slices.Sorted(maps.Keys(t.due)))
	err = t.conn.each("SELECT number, version, area_code, sealed, sealed_groups FROM individuals WHERE number = ANY ($1) ORDER BY number", func(r row) error {
		due = append(due, annona.DueName{
			Number: r.number(0), Version: int(r.integer(1)), Area: r.text(2), Sealed: append(r.bytes(3), r[4]...),
		})
		return nil
	}, numbers)
	if err != nil {
		return nil, t.fault("read whose names are to be indexed", err)
	}
	t.due = nil
	return due, nil
}

// PutNames replaces tokens of names. See annona.NameTx.
func (t *tx) PutNames(ctx context.Context, due []annona.DueName, tokens [][]uint32) error {
	if err := ctx.Err(); err != nil || len(due) == 0 {
		return err
	}
	if len(due) != len(tokens) {
		return annona.Internal("write the index of names", errTokens)
	}
	var numbers []int64
	rows := rowsFor("name_index", []string{"token", "number"})
	for i, d := range due {
		numbers = append(numbers, int64(d.Number))
		for _, token := range slices.Compact(slices.Sorted(slices.Values(tokens[i]))) {
			rows.add(int64(token), int64(d.Number))
		}
	}
	err := t.forgetNames(numbers)
	if err == nil {
		err = t.conn.copyIn(rows)
	}
	if err != nil {
		return t.fault("write the index of names", err)
	}
	return nil
}

// forgetNames removes what the index of names has of individuals.
func (t *tx) forgetNames(numbers []int64) error {
	if err := t.conn.exec("DELETE FROM name_index WHERE number = ANY ($1)", numbers); err != nil {
		return err
	}
	return t.conn.exec("DELETE FROM name_waiting WHERE number = ANY ($1)", numbers)
}

// TakeNames makes the names of individuals due. See annona.NameTx.
func (t *tx) TakeNames(ctx context.Context, numbers []annona.Number) error {
	if err := ctx.Err(); err != nil || len(numbers) == 0 {
		return err
	}
	err := t.conn.each("SELECT number FROM individuals WHERE number = ANY ($1) ORDER BY number FOR NO KEY UPDATE", func(r row) error {
		t.dueNames(r.number(0))
		return nil
	}, integers(numbers))
	if err != nil {
		return t.fault("read whose names are to be indexed", err)
	}
	return nil
}

// WaitNames has everybody in areas wait. See annona.NameTx.
func (t *tx) WaitNames(ctx context.Context, codes []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec("INSERT INTO name_waiting (number) SELECT number FROM individuals WHERE area_code = ANY ($1) ON CONFLICT DO NOTHING", codes)
	if err != nil {
		return t.fault("write the index of names", err)
	}
	return nil
}

// waitNames has individuals wait, if names are kept.
func (t *tx) waitNames(numbers []int64) error {
	return t.conn.exec(`INSERT INTO name_waiting (number) SELECT unnest($1::bigint[]) FROM indexes WHERE kind = $2 AND kept ON CONFLICT DO NOTHING`,
		numbers, string(annona.IndexNames))
}

// TakeWaiting makes the names due of those who wait. See annona.NameTx.
func (t *tx) TakeWaiting(ctx context.Context, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var waiting []annona.Number
	err := t.conn.each(`DELETE FROM name_waiting WHERE number IN (SELECT number FROM name_waiting ORDER BY number LIMIT $1) RETURNING number`, func(r row) error {
		waiting = append(waiting, r.number(0))
		return nil
	}, limit)
	if err != nil {
		return 0, t.fault("read whose names are to be indexed", err)
	}
	return len(waiting), t.TakeNames(ctx, waiting)
}

// DropNames removes rows of the index of names. See annona.NameTx.
func (t *tx) DropNames(ctx context.Context, limit int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var dropped int64
	err := t.conn.exec("DELETE FROM name_waiting")
	if err == nil {
		dropped, err = t.conn.changes("DELETE FROM name_index WHERE ctid = ANY (ARRAY (SELECT ctid FROM name_index LIMIT $1))", int64(limit))
	}
	if err != nil {
		return 0, t.fault("remove the index of names", err)
	}
	return dropped, nil
}

// FindNames returns who has a token of each list. See annona.Indexes.
func (s *Store) FindNames(ctx context.Context, tokens [][]uint32, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	args := []any{int64(after), int64(limit)}
	var has []string
	for _, list := range tokens {
		args = append(args, wide(list))
		has = append(has, fmt.Sprintf("SELECT number FROM name_index WHERE token = ANY ($%d)", len(args)))
	}
	sql := "SELECT number FROM (" + strings.Join(has, " INTERSECT ") + ") n WHERE number > $1 ORDER BY number LIMIT $2"
	err = s.readers.ask(ctx, "search names", func(c *conn) error {
		numbers = nil
		return c.each(sql, func(r row) error {
			numbers = append(numbers, r.number(0))
			return nil
		}, args...)
	})
	return numbers, err
}

func wide(tokens []uint32) []int64 {
	all := make([]int64, len(tokens))
	for i, t := range tokens {
		all[i] = int64(t)
	}
	return all
}

// CountNames counts the rows of the index of names. See annona.Indexes.
func (s *Store) CountNames(ctx context.Context) (rows, waiting int64, err error) {
	err = s.readers.ask(ctx, "count the index of names", func(c *conn) error {
		if rows, err = c.integer("SELECT count(*) FROM name_index"); err != nil {
			return err
		}
		waiting, err = c.integer("SELECT count(*) FROM name_waiting")
		return err
	})
	return rows, waiting, err
}
