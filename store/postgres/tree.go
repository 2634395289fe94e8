package postgres

import (
	"context"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/annona-exchange/annona"
)

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

const ledgerSize = "SELECT coalesce(max(idx) + 1, 0) FROM ledger_nodes WHERE level = 0"

// readEdge reads the right edge of a tree of that size.
func readEdge(c *conn, size int64) (*compact.Range, error) {
	var hashes [][]byte
	for _, id := range compact.RangeNodes(0, uint64(size), nil) {
		found, err := c.one("SELECT hash FROM ledger_nodes WHERE level = $1 AND idx = $2", func(r row) {
			hashes = append(hashes, r.bytes(0))
		}, int64(id.Level), int64(id.Index))
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, annona.Unavailable("ledger_damaged", "a node of the ledger's tree is missing; run annona verify")
		}
	}
	return ranges().NewRange(0, uint64(size), hashes)
}

// LedgerTree returns the size and root of the tree, after every entry that is committed now
// has got its leaf.
func (s *Store) LedgerTree(ctx context.Context) (size int64, root [32]byte, err error) {
	if err := s.Settle(ctx); err != nil {
		return 0, root, err
	}
	err = s.readers.read(ctx, "read the ledger's tree", func(c *conn) error {
		if size, err = c.integer(ledgerSize); err != nil {
			return err
		}
		if size == 0 {
			copy(root[:], rfc6962.DefaultHasher.EmptyRoot())
			return nil
		}
		edge, err := readEdge(c, size)
		if err != nil {
			return err
		}
		hash, err := edge.GetRootHash(nil)
		copy(root[:], hash)
		return err
	})
	return size, root, err
}

// walkStep is how many entries are read at a time.
const walkStep = 1000

// WalkLedger calls fn for each row in order of index, all of one consistent state, which holds
// every entry that is committed now. An entry that has lost its leaf comes last, with the
// index -1. An error of fn ends the walk and comes back as it is.
func (s *Store) WalkLedger(ctx context.Context, fn func(annona.LedgerRow) error) error {
	if err := s.Settle(ctx); err != nil {
		return err
	}
	var failed error
	visit := func(rows []annona.LedgerRow) error {
		for _, row := range rows {
			if failed = fn(row); failed != nil {
				return failed
			}
		}
		return nil
	}
	err := s.readers.read(ctx, "walk the ledger", func(c *conn) error {
		for after := int64(-1); ; {
			rows, err := c.entries(selectLeaves, after, walkStep)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				break
			}
			if err := visit(rows); err != nil {
				return err
			}
			after = rows[len(rows)-1].Index
		}
		lost, err := c.entries(selectLost, walkStep)
		if err != nil {
			return err
		}
		return visit(lost)
	})
	if failed != nil {
		return failed
	}
	return err
}

const selectLeaves = `SELECT e.entry, l.idx, e.id, e.at, e.kind, e.leaf, e.hash, e.request
	FROM ledger_leaves l JOIN ledger e ON e.entry = l.entry WHERE l.idx > $1 ORDER BY l.idx LIMIT $2`

// selectLost finds entries that have no leaf although they do not wait for one.
const selectLost = `SELECT e.entry, -1::bigint, e.id, e.at, e.kind, e.leaf, e.hash, e.request FROM ledger e
	WHERE NOT EXISTS (SELECT FROM ledger_leaves l WHERE l.entry = e.entry) AND NOT EXISTS (SELECT FROM ledger_queue q WHERE q.entry = e.entry)
	ORDER BY e.entry LIMIT $1`

// entries returns the entries that a query selects, with their parts.
func (c *conn) entries(sql string, args ...any) (rows []annona.LedgerRow, err error) {
	var entries []int64
	at := map[int64]int{}
	err = c.each(sql, func(r row) error {
		entry := annona.LedgerRow{
			Index: r.integer(1), ID: r.uid(2), At: r.time(3), Kind: annona.EntryKind(r.text(4)), Leaf: r.bytes(5), Request: r.uid(7),
		}
		copy(entry.Hash[:], r[6])
		at[r.integer(0)] = len(rows)
		entries, rows = append(entries, r.integer(0)), append(rows, entry)
		return nil
	}, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	err = c.each(`SELECT entry, name, salt, content, noun, min, max FROM ledger_parts WHERE entry = ANY ($1) ORDER BY entry, position`, func(r row) error {
		p := annona.LedgerPart{Name: r.text(1), Content: r.bytes(3), Noun: r.text(4), Min: r.number(5), Max: r.number(6)}
		copy(p.Salt[:], r[2])
		owner := &rows[at[r.integer(0)]]
		owner.Parts = append(owner.Parts, p)
		return nil
	}, entries)
	return rows, err
}

// OpenRequests returns requests that have releases and no outcome.
func (s *Store) OpenRequests(ctx context.Context) (open []annona.UID, err error) {
	err = s.readers.ask(ctx, "find open requests", func(c *conn) error {
		open = nil
		return c.each(`SELECT DISTINCT r.request FROM ledger r WHERE r.kind = 'release'
			AND NOT EXISTS (SELECT FROM ledger o WHERE o.request = r.request AND o.kind = 'outcome')`, func(r row) error {
			open = append(open, r.uid(0))
			return nil
		})
	})
	return open, err
}
