package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// RowBlocks returns the ids of the blocks of a source. See annona.KnownRows.
func (s *Store) RowBlocks(ctx context.Context, source string) (ids []int64, err error) {
	err = s.readers.ask(ctx, "read what rows became", func(c *conn) error {
		ids = nil
		return c.each("SELECT id FROM row_blocks WHERE source = $1 ORDER BY id", func(r row) error {
			ids = append(ids, r.integer(0))
			return nil
		}, source)
	})
	return ids, err
}

// RowBlock returns the rows of a block. See annona.KnownRows.
func (s *Store) RowBlock(ctx context.Context, id int64) (rows []byte, err error) {
	err = s.readers.ask(ctx, "read what rows became", func(c *conn) error {
		_, err := c.one("SELECT rows FROM row_blocks WHERE id = $1", func(r row) { rows = r.bytes(0) }, id)
		return err
	})
	return rows, err
}

// PutRowBlock writes a block. See annona.RowTx.
func (t *tx) PutRowBlock(ctx context.Context, b annona.RowBlock) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	id, err := t.conn.integer("INSERT INTO row_blocks (source, first_household, last_household, first_individual, last_individual, rows) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
		b.Source, b.FirstHousehold, b.LastHousehold, b.FirstIndividual, b.LastIndividual, b.Rows)
	return id, t.fault("write what rows became", err)
}

// DropRowBlocks removes blocks. See annona.RowTx.
func (t *tx) DropRowBlocks(ctx context.Context, ids []int64) error {
	if err := ctx.Err(); err != nil || len(ids) == 0 {
		return err
	}
	return t.fault("remove what rows became", t.conn.exec("DELETE FROM row_blocks WHERE id = ANY ($1)", ids))
}

// forgetRows removes the blocks that may tell of a record.
func (t *tx) forgetRows(tb table, number annona.Number) error {
	return t.conn.exec("DELETE FROM row_blocks WHERE $1 BETWEEN first_"+tb.noun+" AND last_"+tb.noun, number)
}
