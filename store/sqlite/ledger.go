package sqlite

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// tree remembers the right edge of the ledger's tree between transactions. Other processes
// append too, so its size is compared with the file each time.
type tree struct{ edge *compact.Range }

func (t *tree) forget() { t.edge = nil }

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

// checkLeaves refuses an entry whose hash is not that of its leaf: the tree would never verify.
func checkLeaves(rows []annona.LedgerRow) error {
	for i := range rows {
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(rows[i].Leaf), rows[i].Hash[:]) {
			return annona.Internal("append to the ledger", errors.New("the hash of an entry is not that of its leaf"))
		}
	}
	return nil
}

// appendEntries appends rows with their parts and grows the tree.
func (t *tx) appendEntries(rows []annona.LedgerRow) error {
	size, err := t.conn.integer(ledgerSize)
	if err != nil {
		return err
	}
	if t.tree.edge == nil || t.tree.edge.End() != uint64(size) {
		if t.tree.edge, err = readEdge(t.conn, size); err != nil {
			return err
		}
	}
	for i := range rows {
		if err := t.appendEntry(size+int64(i), &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) appendEntry(index int64, r *annona.LedgerRow) error {
	err := t.conn.exec("INSERT INTO ledger (idx, id, at, kind, leaf, hash, request) VALUES (?, ?, ?, ?, ?, ?, ?)",
		index, r.ID, r.At, string(r.Kind), r.Leaf, r.Hash[:], r.Request)
	if err != nil {
		return err
	}
	for i, p := range r.Parts {
		err := t.conn.exec("INSERT INTO ledger_parts (idx, position, name, salt, content, noun, min, max) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			index, i, p.Name, p.Salt[:], p.Content, p.Noun, p.Min, p.Max)
		if err != nil {
			return err
		}
	}
	var failed error
	keep := func(id compact.NodeID, hash []byte) {
		if failed == nil {
			failed = t.conn.exec("INSERT INTO ledger_nodes (level, idx, hash) VALUES (?, ?, ?)", int64(id.Level), int64(id.Index), hash)
		}
	}
	if err := t.tree.edge.Append(r.Hash[:], keep); err != nil {
		return err
	}
	return failed
}

const ledgerSize = "SELECT coalesce(max(idx) + 1, 0) FROM ledger_nodes WHERE level = 0"

// readEdge reads the right edge of a tree of that size from the file.
func readEdge(c *conn, size int64) (*compact.Range, error) {
	var hashes [][]byte
	for _, id := range compact.RangeNodes(0, uint64(size), nil) {
		found, err := c.one("SELECT hash FROM ledger_nodes WHERE level = ? AND idx = ?", func(s *sqlite.Stmt) {
			hashes = append(hashes, columnBytes(s, 0))
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

// LedgerTree returns the size and root of the tree as the store keeps it.
func (s *Store) LedgerTree(ctx context.Context) (size int64, root [32]byte, err error) {
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

// WalkLedger calls fn for each row in order of index, all of one consistent state. An error
// of fn ends the walk and comes back as it is.
func (s *Store) WalkLedger(ctx context.Context, fn func(annona.LedgerRow) error) error {
	var failed error
	err := s.readers.read(ctx, "walk the ledger", func(c *conn) error {
		return c.each("SELECT idx, id, at, kind, leaf, hash, request FROM ledger ORDER BY idx", func(stmt *sqlite.Stmt) error {
			row := ledgerRow(stmt)
			var err error
			if row.Parts, err = ledgerParts(c, row.Index); err != nil {
				return err
			}
			failed = fn(row)
			return failed
		})
	})
	if failed != nil {
		return failed
	}
	return err
}

func ledgerRow(s *sqlite.Stmt) annona.LedgerRow {
	row := annona.LedgerRow{
		Index: s.ColumnInt64(0), ID: columnUID(s, 1), At: columnTime(s, 2), Kind: annona.EntryKind(s.ColumnText(3)),
		Leaf: columnBytes(s, 4), Request: columnUID(s, 6),
	}
	s.ColumnBytes(5, row.Hash[:])
	return row
}

func ledgerParts(c *conn, index int64) (parts []annona.LedgerPart, err error) {
	err = c.each("SELECT name, salt, content, noun, min, max FROM ledger_parts WHERE idx = ? ORDER BY position", func(s *sqlite.Stmt) error {
		p := annona.LedgerPart{
			Name: s.ColumnText(0), Content: columnBytes(s, 2), Noun: s.ColumnText(3),
			Min: annona.Number(s.ColumnInt64(4)), Max: annona.Number(s.ColumnInt64(5)),
		}
		s.ColumnBytes(1, p.Salt[:])
		parts = append(parts, p)
		return nil
	}, index)
	return slices.Clip(parts), err
}

// OpenRequests returns requests that have releases and no outcome.
func (s *Store) OpenRequests(ctx context.Context) (open []annona.UID, err error) {
	err = s.readers.read(ctx, "find open requests", func(c *conn) error {
		return c.each(`SELECT DISTINCT r.request FROM ledger r WHERE r.kind = 'release'
			AND NOT EXISTS (SELECT 1 FROM ledger o WHERE o.request = r.request AND o.kind = 'outcome')`, func(stmt *sqlite.Stmt) error {
			open = append(open, columnUID(stmt, 0))
			return nil
		})
	})
	return open, err
}
