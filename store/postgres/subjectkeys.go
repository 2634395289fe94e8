package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// sparse is how many blocks of a range may go unused before they are asked for by name.
const sparse = 3

const blockColumns = "SELECT block, generation, wrapped FROM annona_keys.subject_keys WHERE noun = $1 AND block "

// ReadKeys calls take for the blocks that are on file, in ascending order, all of them in one round trip.
func (s *Secrets) ReadKeys(ctx context.Context, wanted []annona.WantedKeys, take func(annona.KeyBlock) error) error {
	var asked []question
	blocks := 0
	for _, w := range wanted {
		if len(w.Blocks) > 0 {
			asked, blocks = append(asked, blocksOf(w, take)), blocks+len(w.Blocks)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if len(asked) > 1 && blocks <= fewBlocks {
		asked = []question{fewOf(wanted, take)}
	}
	return s.pool.ask(ctx, "read the keys of subjects", func(c *conn) error { return c.askAll(asked...) })
}

// fewBlocks is how many blocks of several nouns are asked for by one statement.
const fewBlocks = 64

// fewOf asks for a few blocks of several nouns.
func fewOf(wanted []annona.WantedKeys, take func(annona.KeyBlock) error) question {
	var nouns []string
	var blocks []int64
	for _, w := range wanted {
		for _, b := range w.Blocks {
			nouns, blocks = append(nouns, w.Noun), append(blocks, b)
		}
	}
	return question{`SELECT k.noun, k.block, k.generation, k.wrapped FROM unnest($1::text[], $2::bigint[]) w (noun, block)
		JOIN annona_keys.subject_keys k USING (noun, block) ORDER BY k.noun, k.block`, []any{nouns, blocks}, func(r row) error {
		return take(annona.KeyBlock{Noun: r.text(0), Block: r.integer(1), Generation: int(r.integer(2)), Wrapped: r[3]})
	}}
}

// blocksOf asks for blocks of one noun.
func blocksOf(w annona.WantedKeys, take func(annona.KeyBlock) error) question {
	give := func(r row) error {
		return take(annona.KeyBlock{Noun: w.Noun, Block: r.integer(0), Generation: int(r.integer(1)), Wrapped: r[2]})
	}
	first, last := w.Blocks[0], w.Blocks[len(w.Blocks)-1]
	if last-first < sparse*int64(len(w.Blocks)) {
		return question{blockColumns + "BETWEEN $2 AND $3 ORDER BY block", []any{w.Noun, first, last}, give}
	}
	return question{blockColumns + "= ANY ($2) ORDER BY block", []any{w.Noun, w.Blocks}, give}
}

// ChangeKeys lets change rewrite blocks, all of them or none. When another node has made one of
// them at the same moment, it begins again from the first.
func (s *Secrets) ChangeKeys(ctx context.Context, noun string, blocks []int64, generation int, change func(annona.KeyBlock) ([]byte, error)) error {
	const races = 5
	for race := 1; ; race++ {
		err := s.pool.write(ctx, "write the keys of subjects", func(c *conn) error {
			k := keyChange{conn: c, noun: noun, generation: generation}
			return k.run(blocks, change)
		})
		if !errors.Is(err, errMadeMeanwhile) || race == races {
			return err
		}
	}
}

// errMadeMeanwhile is the busy error, so that whoever loses every race says so.
var errMadeMeanwhile = errBusy()

// keyChange is one transaction that changes blocks of one noun.
type keyChange struct {
	*conn
	noun       string
	generation int
	there      map[int64]annona.KeyBlock
	made       blockRows
	rewritten  blockRows
	deleted    []int64
}

// blockRows are rows of two columns.
type blockRows struct {
	blocks  []int64
	wrapped [][]byte
}

func (b *blockRows) add(block int64, wrapped []byte) {
	b.blocks, b.wrapped = append(b.blocks, block), append(b.wrapped, wrapped)
}

func (k *keyChange) run(blocks []int64, change func(annona.KeyBlock) ([]byte, error)) error {
	if err := k.holdGeneration(); err != nil {
		return err
	}
	if err := k.lock(blocks); err != nil {
		return err
	}
	for _, block := range blocks {
		was, there := k.there[block]
		if !there {
			was = annona.KeyBlock{Noun: k.noun, Block: block}
		}
		wrapped, err := change(was)
		switch {
		case err != nil:
			return err
		case wrapped == nil:
		case len(wrapped) == 0:
			k.deleted = append(k.deleted, block)
		case there:
			k.rewritten.add(block, wrapped)
		default:
			k.made.add(block, wrapped)
		}
	}
	return k.write()
}

// holdGeneration keeps the generation from being destroyed before this transaction ends.
func (k *keyChange) holdGeneration() error {
	there, err := k.one("SELECT FROM annona_keys.secrets WHERE label = $1 AND version = $2 FOR SHARE", func(row) {}, annona.GenerationLabel, k.generation)
	if err == nil && !there {
		return annona.Conflict("generation_gone", "the generation that was to wrap these keys was destroyed meanwhile; try again")
	}
	return err
}

// lock reads the blocks that are on file and keeps others from changing them. Everybody locks in
// the same order, and makes new blocks after that.
func (k *keyChange) lock(blocks []int64) error {
	k.there = make(map[int64]annona.KeyBlock, len(blocks))
	return k.each(blockColumns+"= ANY ($2) ORDER BY block FOR UPDATE", func(r row) error {
		k.there[r.integer(0)] = annona.KeyBlock{Noun: k.noun, Block: r.integer(0), Generation: int(r.integer(1)), Wrapped: r.bytes(2)}
		return nil
	}, k.noun, blocks)
}

func (k *keyChange) write() error {
	if err := k.insert(); err != nil {
		return err
	}
	if len(k.rewritten.blocks) > 0 {
		if err := k.exec(`UPDATE annona_keys.subject_keys k SET generation = $2, wrapped = n.wrapped
			FROM unnest($3::bigint[], $4::bytea[]) AS n (block, wrapped) WHERE k.noun = $1 AND k.block = n.block AND k.block = ANY ($3)`, // by the index, also while the server knows nothing of the table
			k.noun, k.generation, k.rewritten.blocks, k.rewritten.wrapped); err != nil {
			return err
		}
	}
	if len(k.deleted) == 0 {
		return nil
	}
	return k.exec("DELETE FROM annona_keys.subject_keys WHERE noun = $1 AND block = ANY ($2)", k.noun, k.deleted)
}

// insert makes blocks that were not on file, unless another transaction has made one meanwhile.
func (k *keyChange) insert() error {
	if len(k.made.blocks) == 0 {
		return nil
	}
	var done pgconn.CommandTag
	done, err := k.db.Exec(k.ctx, `INSERT INTO annona_keys.subject_keys (noun, block, generation, wrapped)
		SELECT $1, n.block, $2, n.wrapped FROM unnest($3::bigint[], $4::bytea[]) AS n (block, wrapped) ORDER BY n.block ON CONFLICT DO NOTHING`,
		k.noun, int64(k.generation), k.made.blocks, k.made.wrapped)
	if err == nil && done.RowsAffected() < int64(len(k.made.blocks)) {
		return errMadeMeanwhile
	}
	return err
}

// StaleKeys returns blocks that an earlier generation wraps, by generation, noun and number.
func (s *Secrets) StaleKeys(ctx context.Context, generation int, after annona.KeyBlock, limit int) (stale []annona.KeyBlock, err error) {
	err = s.pool.ask(ctx, "look for keys of an earlier generation", func(c *conn) error {
		stale = nil
		return c.each(`SELECT noun, block, generation FROM annona_keys.subject_keys
			WHERE (generation, noun, block) > ($1, coalesce($2, ''), $3) AND generation < $4 ORDER BY generation, noun, block LIMIT $5`, func(r row) error {
			stale = append(stale, annona.KeyBlock{Noun: r.text(0), Block: r.integer(1), Generation: int(r.integer(2))})
			return nil
		}, after.Generation, after.Noun, after.Block, generation, limit)
	})
	return stale, err
}

// CountKeys returns how many blocks each generation wraps.
func (s *Secrets) CountKeys(ctx context.Context) (map[int]int64, error) {
	counts := map[int]int64{}
	err := s.pool.ask(ctx, "count the keys of subjects", func(c *conn) error {
		clear(counts)
		return c.each("SELECT generation, count(*) FROM annona_keys.subject_keys GROUP BY generation", func(r row) error {
			counts[int(r.integer(0))] = r.integer(1)
			return nil
		})
	})
	return counts, err
}

// Wipe has nothing to do: the server's own vacuum clears what is deleted, soon, as the schema asks.
func (s *Secrets) Wipe(context.Context) error { return nil }
