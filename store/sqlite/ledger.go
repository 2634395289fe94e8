package sqlite

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// tree remembers the right edge of the ledger's tree between transactions, and lists of fields. Other processes
// append too, so its size is compared with the file each time.
type tree struct {
	edge   *compact.Range
	lists  map[[32]byte]bool // lists of fields that the file is known to have
	packed []byte            // parts of an entry, used again
}

func (t *tree) forget() { t.edge, t.lists = nil, nil }

// maxKnownLists bounds what the tree remembers of lists; a caller may ask for fields in many ways.
const maxKnownLists = 10_000

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

// checkEntries refuses an entry whose hash is not that of its leaf, because the tree would never
// verify, and one with a part that is not sealed.
func checkEntries(rows []annona.LedgerRow) error {
	for i := range rows {
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(rows[i].Leaf), rows[i].Hash[:]) {
			return annona.Internal("append to the ledger", errors.New("the hash of an entry is not that of its leaf"))
		}
		for _, p := range rows[i].Parts {
			if len(p.Sealed) == 0 || len(p.Content) > 0 || p.Salt != [32]byte{} {
				return annona.Internal("append to the ledger", errors.New("a part of an entry is not sealed"))
			}
		}
	}
	return nil
}

// appendEntries appends rows with their parts and grows the tree.
func (t *tx) appendEntries(rows []annona.LedgerRow) error {
	size, err := treeSize(t.conn)
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
	if err := t.appendParts(index, r.Parts); err != nil {
		return err
	}
	if err := t.appendLists(r.Lists); err != nil {
		return err
	}
	var failed error
	keep := func(id compact.NodeID, hash []byte) {
		if failed == nil {
			failed = t.conn.exec("INSERT INTO ledger_nodes (place, hash) VALUES (?, ?)", treeNode(id).Place(), hash)
		}
	}
	if err := t.tree.edge.Append(r.Hash[:], keep); err != nil {
		return err
	}
	return failed
}

// appendParts writes what an entry says, and under whom it is found.
func (t *tx) appendParts(index int64, parts []annona.LedgerPart) error {
	if len(parts) == 0 {
		return nil
	}
	t.tree.packed = annona.AppendParts(t.tree.packed[:0], parts)
	if err := t.conn.exec("INSERT INTO ledger_content (idx, parts) VALUES (?, ?)", index, t.tree.packed); err != nil {
		return err
	}
	for i := range parts {
		p := &parts[i]
		if p.Noun == "" {
			continue
		}
		err := t.conn.exec("INSERT OR IGNORE INTO ledger_subjects (noun, reach, min, max, idx) VALUES (?, ?, ?, ?, ?)", p.Noun, p.Reach, p.Min, p.Max, index)
		if err != nil {
			return err
		}
	}
	return nil
}

// appendLists writes the lists of fields that are not known to be there.
func (t *tx) appendLists(lists []annona.FieldList) error {
	for _, list := range lists {
		if t.tree.lists[list.Hash] {
			continue
		}
		if err := t.conn.exec("INSERT OR IGNORE INTO ledger_fields (hash, content) VALUES (?, ?)", list.Hash[:], list.Content); err != nil {
			return err
		}
		if t.tree.lists == nil || len(t.tree.lists) >= maxKnownLists {
			t.tree.lists = map[[32]byte]bool{}
		}
		t.tree.lists[list.Hash] = true
	}
	return nil
}

// treeSize returns how many leaves the tree has.
func treeSize(c *conn) (int64, error) {
	nodes, err := c.integer("SELECT coalesce(max(place) + 1, 0) FROM ledger_nodes")
	return annona.TreeSize(nodes), err
}

func treeNode(id compact.NodeID) annona.TreeNode {
	return annona.TreeNode{Level: int64(id.Level), Index: int64(id.Index)}
}

// readEdge reads the right edge of a tree of that size from the file.
func readEdge(c *conn, size int64) (*compact.Range, error) {
	var nodes []annona.TreeNode
	for _, id := range compact.RangeNodes(0, uint64(size), nil) {
		nodes = append(nodes, treeNode(id))
	}
	hashes, err := readNodes(c, nodes)
	if err != nil {
		return nil, err
	}
	return ranges().NewRange(0, uint64(size), hashes)
}

func readNodes(c *conn, nodes []annona.TreeNode) ([][]byte, error) {
	hashes := make([][]byte, 0, len(nodes))
	for _, n := range nodes {
		found, err := c.one("SELECT hash FROM ledger_nodes WHERE place = ?", func(s *sqlite.Stmt) {
			hashes = append(hashes, columnBytes(s, 0))
		}, n.Place())
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, annona.Unavailable("ledger_damaged", "a node of the ledger's tree is missing; run annona verify")
		}
	}
	return hashes, nil
}

// TreeNodes returns the hashes of nodes of the tree.
func (s *Store) TreeNodes(ctx context.Context, nodes []annona.TreeNode) (hashes [][]byte, err error) {
	err = s.readers.read(ctx, "read the ledger's tree", func(c *conn) error {
		hashes, err = readNodes(c, nodes)
		return err
	})
	return hashes, err
}

// LedgerTree returns the size and root of the tree as the store keeps it.
func (s *Store) LedgerTree(ctx context.Context) (size int64, root [32]byte, err error) {
	err = s.readers.read(ctx, "read the ledger's tree", func(c *conn) error {
		if size, err = treeSize(c); err != nil {
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
	return s.entries(ctx, "walk the ledger", "SELECT "+entryColumns+" FROM ledger ORDER BY idx", fn)
}

const entryColumns = "idx, id, at, kind, leaf, hash, request"

// entries calls fn for each entry that a query selects, with its parts.
func (s *Store) entries(ctx context.Context, doing, sql string, fn func(annona.LedgerRow) error, args ...any) error {
	var failed error
	err := s.readers.read(ctx, doing, func(c *conn) error {
		return c.each(sql, func(stmt *sqlite.Stmt) error {
			row := ledgerRow(stmt)
			var err error
			if row.Parts, err = ledgerParts(c, row.Index); err != nil {
				return err
			}
			failed = fn(row)
			return failed
		}, args...)
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

// ledgerParts returns the parts of an entry. A set that is not found under its subjects has none.
func ledgerParts(c *conn, index int64) (parts []annona.LedgerPart, err error) {
	_, err = c.one("SELECT parts FROM ledger_content WHERE idx = ?", func(s *sqlite.Stmt) { parts = annona.ParseParts(columnBytes(s, 0)) }, index)
	for i := 0; i < len(parts) && err == nil; i++ {
		p := &parts[i]
		if p.Noun == "" {
			continue
		}
		var filed bool
		filed, err = c.one("SELECT 1 FROM ledger_subjects WHERE noun = ? AND reach = ? AND min = ? AND max = ? AND idx = ?",
			func(*sqlite.Stmt) {}, p.Noun, p.Reach, p.Min, p.Max, index)
		if !filed {
			p.Noun, p.Reach, p.Min, p.Max = "", 0, 0, 0
		}
	}
	return parts, err
}

// FieldList returns the content that was appended under that hash; nil when there is none.
func (s *Store) FieldList(ctx context.Context, hash [32]byte) (content []byte, err error) {
	err = s.readers.read(ctx, "read a list of fields", func(c *conn) error {
		_, err := c.one("SELECT content FROM ledger_fields WHERE hash = ?", func(s *sqlite.Stmt) { content = columnBytes(s, 0) }, hash[:])
		return err
	})
	return content, err
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

// AbandonedRequests returns what OpenRequests does: one server at a time serves a file, and it asks
// before its first request.
func (s *Store) AbandonedRequests(ctx context.Context) ([]annona.UID, error) {
	return s.OpenRequests(ctx)
}

// EntriesAbout calls fn for each release that has a set of subjects of that noun between whose
// least and greatest number the given one lies. Sets of one reach begin in a short range
// before the number: whatever lies elsewhere is never looked at.
func (s *Store) EntriesAbout(ctx context.Context, noun string, number annona.Number, fn func(annona.LedgerRow) error) error {
	return s.entries(ctx, "find entries about somebody", `WITH RECURSIVE reaches (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM reaches WHERE k < 63)
		SELECT `+entryColumns+` FROM ledger WHERE kind = 'release' AND idx IN (SELECT p.idx FROM reaches CROSS JOIN ledger_subjects p
			WHERE p.noun = ?1 AND p.reach = k AND p.min > CASE WHEN k < 62 THEN ?2 - (1 << k) ELSE -1 END AND p.min <= ?2 AND p.max >= ?2)`,
		fn, noun, number)
}

// EntriesOf returns the releases and outcomes of a request, in order of index.
func (s *Store) EntriesOf(ctx context.Context, request annona.UID, after int64, limit int) (rows []annona.LedgerRow, err error) {
	err = s.entries(ctx, "find the entries of a request", "SELECT * FROM (SELECT "+entryColumns+` FROM ledger WHERE request = ?1 AND kind = 'release'
		UNION ALL SELECT `+entryColumns+` FROM ledger WHERE request = ?1 AND kind = 'outcome') WHERE idx > ?2 ORDER BY idx LIMIT ?3`,
		func(row annona.LedgerRow) error { rows = append(rows, row); return nil }, request, after, limit)
	return rows, err
}

// Outcomes returns the outcomes of requests, those of one request in order.
func (s *Store) Outcomes(ctx context.Context, requests []annona.UID) (rows []annona.LedgerRow, err error) {
	for _, request := range requests {
		err := s.entries(ctx, "find the outcome of a request", "SELECT "+entryColumns+" FROM ledger WHERE request = ? AND kind = 'outcome' ORDER BY idx",
			func(row annona.LedgerRow) error { rows = append(rows, row); return nil }, request)
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// FirstEntryAt returns the index of the first entry of that time or later; the size of the
// tree when there is none.
func (s *Store) FirstEntryAt(ctx context.Context, at time.Time) (index int64, err error) {
	err = s.readers.read(ctx, "find an entry by its time", func(c *conn) error {
		found, err := c.one("SELECT idx FROM ledger WHERE at >= ? ORDER BY idx LIMIT 1", func(s *sqlite.Stmt) { index = s.ColumnInt64(0) }, at)
		if err == nil && !found {
			index, err = treeSize(c)
		}
		return err
	})
	return index, err
}

// pruneStep is how many entries lose their content in one transaction.
const pruneStep = 2000

// PruneLedger deletes all parts of entries below that index. What was deleted is overwritten:
// the file is opened with secure_delete.
func (s *Store) PruneLedger(ctx context.Context, below int64) (entries int64, err error) {
	for {
		found := 0
		err := s.writer.update(ctx, "prune the ledger", func(t *tx) (err error) {
			found, err = t.pruneSome(below)
			return err
		})
		if err != nil {
			return entries, err
		}
		entries += int64(found)
		if found < pruneStep {
			return entries, nil
		}
	}
}

// pruneSome deletes the content of the first entries that have some.
func (t *tx) pruneSome(below int64) (entries int, err error) {
	var indexes []int64
	var said [][]byte
	err = t.conn.each("SELECT idx, parts FROM ledger_content WHERE idx < ? ORDER BY idx LIMIT ?", func(s *sqlite.Stmt) error {
		indexes, said = append(indexes, s.ColumnInt64(0)), append(said, columnBytes(s, 1))
		return nil
	}, below, pruneStep)
	for i := 0; i < len(indexes) && err == nil; i++ {
		err = t.pruneEntry(indexes[i], annona.ParseParts(said[i]))
	}
	return len(indexes), err
}

func (t *tx) pruneEntry(index int64, parts []annona.LedgerPart) error {
	for i := range parts {
		p := &parts[i]
		if p.Noun == "" {
			continue
		}
		err := t.conn.exec("DELETE FROM ledger_subjects WHERE noun = ? AND reach = ? AND min = ? AND max = ? AND idx = ?", p.Noun, p.Reach, p.Min, p.Max, index)
		if err != nil {
			return err
		}
	}
	return t.conn.exec("DELETE FROM ledger_content WHERE idx = ?", index)
}

// LatestCheckpoint returns the checkpoint of the greatest size; nil when there is none.
func (s *Store) LatestCheckpoint(ctx context.Context) (latest *annona.Checkpoint, err error) {
	all, err := s.checkpoints(ctx, "SELECT size, root, at, note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1")
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// CheckpointsAfter returns at most limit checkpoints of a greater size, by size.
func (s *Store) CheckpointsAfter(ctx context.Context, size int64, limit int) ([]annona.Checkpoint, error) {
	return s.checkpoints(ctx, "SELECT size, root, at, note FROM ledger_checkpoints WHERE size > ? ORDER BY size LIMIT ?", size, limit)
}

func (s *Store) checkpoints(ctx context.Context, sql string, args ...any) (all []annona.Checkpoint, err error) {
	err = s.readers.read(ctx, "read checkpoints of the ledger", func(c *conn) error {
		return c.each(sql, func(s *sqlite.Stmt) error {
			c := annona.Checkpoint{Size: s.ColumnInt64(0), At: columnTime(s, 2), Note: s.ColumnText(3)}
			s.ColumnBytes(1, c.Root[:])
			all = append(all, c)
			return nil
		}, args...)
	})
	return all, err
}

// PutCheckpoint keeps a checkpoint unless one of that size or a greater one is there already.
func (s *Store) PutCheckpoint(ctx context.Context, c annona.Checkpoint) (kept bool, err error) {
	err = s.writer.update(ctx, "keep a checkpoint of the ledger", func(t *tx) error {
		latest, err := t.conn.integer("SELECT coalesce(max(size), -1) FROM ledger_checkpoints")
		if kept = latest < c.Size; err != nil || !kept {
			return err
		}
		return t.conn.exec("INSERT INTO ledger_checkpoints (size, root, at, note) VALUES (?, ?, ?, ?)", c.Size, c.Root[:], c.At, c.Note)
	})
	return kept, err
}
