package sqlite

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// sparse is how many blocks of a range may go unused before they are looked up one by one: a step
// along the range costs about a third of a look-up.
const sparse = 3

const (
	blocksAlong = "SELECT block, generation, wrapped FROM subject_keys WHERE noun = ? AND block BETWEEN ? AND ? ORDER BY block"
	blockAlone  = "SELECT block, generation, wrapped FROM subject_keys WHERE noun = ? AND block = ?"
)

// ReadKeys calls take for the blocks that are on file, in ascending order.
func (s *Secrets) ReadKeys(ctx context.Context, wanted []annona.WantedKeys, take func(annona.KeyBlock) error) error {
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(w annona.WantedKeys) bool { return len(w.Blocks) == 0 })
	if len(wanted) == 0 {
		return nil
	}
	return s.readers.read(ctx, "read the keys of subjects", func(c *conn) error {
		for _, w := range wanted {
			if err := c.blocks(w, take); err != nil {
				return err
			}
		}
		return nil
	})
}

// blocks reads blocks of one noun.
func (c *conn) blocks(w annona.WantedKeys, take func(annona.KeyBlock) error) error {
	r := blockReader{noun: w.Noun, take: take}
	first, last := w.Blocks[0], w.Blocks[len(w.Blocks)-1]
	if last-first < sparse*int64(len(w.Blocks)) {
		return c.each(blocksAlong, r.row, w.Noun, first, last)
	}
	alone, err := c.prepare(blockAlone, w.Noun, first)
	if err != nil {
		return err
	}
	defer alone.Reset()
	for _, block := range w.Blocks {
		if err := r.one(alone, block); err != nil {
			return err
		}
	}
	return nil
}

// blockReader hands blocks on in memory that it uses again.
type blockReader struct {
	noun    string
	take    func(annona.KeyBlock) error
	wrapped []byte
}

func (r *blockReader) row(stmt *sqlite.Stmt) error {
	r.wrapped = appendColumn(r.wrapped[:0], stmt, 2)
	return r.take(annona.KeyBlock{Noun: r.noun, Block: stmt.ColumnInt64(0), Generation: stmt.ColumnInt(1), Wrapped: r.wrapped})
}

// one reads one block; a block that is not on file is passed over.
func (r *blockReader) one(stmt *sqlite.Stmt, block int64) error {
	if err := stmt.Reset(); err != nil {
		return err
	}
	stmt.BindInt64(2, block)
	found, err := stmt.Step()
	if err != nil || !found {
		return err
	}
	return r.row(stmt)
}

// ChangeKeys lets change rewrite blocks, all of them or none.
func (s *Secrets) ChangeKeys(ctx context.Context, noun string, blocks []int64, generation int, change func(annona.KeyBlock) ([]byte, error)) error {
	return s.change(ctx, "write the keys of subjects", func(c *conn) error {
		there, err := c.integer("SELECT count(*) FROM secrets WHERE label = ? AND version = ?", annona.GenerationLabel, generation)
		if err != nil {
			return err
		}
		if there == 0 {
			return errGenerationGone()
		}
		for _, block := range blocks {
			if err := c.changeBlock(noun, block, generation, change); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *conn) changeBlock(noun string, block int64, generation int, change func(annona.KeyBlock) ([]byte, error)) error {
	was := annona.KeyBlock{Noun: noun, Block: block}
	r := blockReader{noun: noun, take: func(b annona.KeyBlock) error { was = b; return nil }}
	if err := c.each(blockAlone, r.row, noun, block); err != nil {
		return err
	}
	wrapped, err := change(was)
	switch {
	case err != nil || wrapped == nil:
		return err
	case len(wrapped) == 0:
		return c.exec("DELETE FROM subject_keys WHERE noun = ? AND block = ?", noun, block)
	}
	return c.exec(`INSERT INTO subject_keys (noun, block, generation, wrapped) VALUES (?, ?, ?, ?)
		ON CONFLICT (noun, block) DO UPDATE SET generation = excluded.generation, wrapped = excluded.wrapped`, noun, block, generation, wrapped)
}

// StaleKeys returns blocks that an earlier generation wraps, by generation, noun and number.
func (s *Secrets) StaleKeys(ctx context.Context, generation int, after annona.KeyBlock, limit int) (stale []annona.KeyBlock, err error) {
	err = s.readers.read(ctx, "look for keys of an earlier generation", func(c *conn) error {
		return c.each(`SELECT noun, block, generation FROM subject_keys
			WHERE (generation, noun, block) > (?, coalesce(?, ''), ?) AND generation < ? ORDER BY generation, noun, block LIMIT ?`, func(stmt *sqlite.Stmt) error {
			stale = append(stale, annona.KeyBlock{Noun: stmt.ColumnText(0), Block: stmt.ColumnInt64(1), Generation: stmt.ColumnInt(2)})
			return nil
		}, after.Generation, after.Noun, after.Block, generation, limit)
	})
	return stale, err
}

// CountKeys returns how many blocks each generation wraps.
func (s *Secrets) CountKeys(ctx context.Context) (map[int]int64, error) {
	counts := map[int]int64{}
	err := s.readers.read(ctx, "count the keys of subjects", func(c *conn) error {
		return c.each("SELECT generation, count(*) FROM subject_keys GROUP BY generation", func(stmt *sqlite.Stmt) error {
			counts[stmt.ColumnInt(0)] = stmt.ColumnInt64(1)
			return nil
		})
	})
	return counts, err
}

// Wipe empties the write-ahead log, where deleted keys would lie until it is full. The file itself
// overwrites what is deleted. A reader at work keeps the log for the moment.
func (s *Secrets) Wipe(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.conn.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	if isBusy(err) {
		return nil
	}
	return fault("empty the log of the file of keys", err)
}

func errGenerationGone() error {
	return annona.Conflict("generation_gone", "the generation that was to wrap these keys was destroyed meanwhile; try again")
}
