package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// RowBlocks returns the ids of the blocks of a source. See annona.KnownRows.
func (s *Store) RowBlocks(ctx context.Context, source string) (ids []int64, err error) {
	err = s.readers.read(ctx, "read what rows became", func(c *conn) error {
		return c.each("SELECT id FROM row_blocks WHERE source = ? ORDER BY id", func(r *sqlite.Stmt) error {
			ids = append(ids, r.ColumnInt64(0))
			return nil
		}, source)
	})
	return ids, err
}

// RowBlock returns the rows of a block. See annona.KnownRows.
func (s *Store) RowBlock(ctx context.Context, id int64) (rows []byte, err error) {
	err = s.readers.read(ctx, "read what rows became", func(c *conn) error {
		_, err := c.one("SELECT rows FROM row_blocks WHERE id = ?", func(r *sqlite.Stmt) { rows = columnBytes(r, 0) }, id)
		return err
	})
	return rows, err
}

// PutRowBlock writes a block. See annona.RowTx.
func (t *tx) PutRowBlock(ctx context.Context, b annona.RowBlock) (id int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	_, err = t.conn.one("INSERT INTO row_blocks (source, first_household, last_household, first_individual, last_individual, rows) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
		func(r *sqlite.Stmt) { id = r.ColumnInt64(0) }, b.Source, b.FirstHousehold, b.LastHousehold, b.FirstIndividual, b.LastIndividual, b.Rows)
	return id, fault("write what rows became", err)
}

// DropRowBlocks removes blocks. See annona.RowTx.
func (t *tx) DropRowBlocks(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.conn.exec("DELETE FROM row_blocks WHERE id = ?", id); err != nil {
			return fault("remove what rows became", err)
		}
	}
	return nil
}

// forgetRows removes the blocks that may tell of a record.
func (t *tx) forgetRows(tb *table, number annona.Number) error {
	return t.conn.exec("DELETE FROM row_blocks WHERE ? BETWEEN first_"+tb.noun+" AND last_"+tb.noun, number)
}
