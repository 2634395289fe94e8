package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/annona-exchange/annona"
)

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

// treeSize returns how many leaves the tree has.
func treeSize(c *conn) (int64, error) {
	nodes, err := c.integer("SELECT coalesce(max(place) + 1, 0) FROM ledger_nodes")
	return annona.TreeSize(nodes), err
}

func treeNode(id compact.NodeID) annona.TreeNode {
	return annona.TreeNode{Level: int64(id.Level), Index: int64(id.Index)}
}

// readEdge reads the right edge of a tree of that size.
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
	places := make([]int64, len(nodes))
	for i, n := range nodes {
		places[i] = n.Place()
	}
	hashes := make([][]byte, 0, len(nodes))
	err := c.each("SELECT n.hash FROM unnest($1::bigint[]) WITH ORDINALITY AS want (place, position) JOIN ledger_nodes n USING (place) ORDER BY want.position", func(r row) error {
		hashes = append(hashes, r.bytes(0))
		return nil
	}, places)
	if err != nil {
		return nil, err
	}
	if len(hashes) < len(nodes) {
		return nil, annona.Unavailable("ledger_damaged", "a node of the ledger's tree is missing; run annona verify")
	}
	return hashes, nil
}

// TreeNodes returns the hashes of nodes of the tree.
func (s *Store) TreeNodes(ctx context.Context, nodes []annona.TreeNode) (hashes [][]byte, err error) {
	err = s.readers.ask(ctx, "read the ledger's tree", func(c *conn) error {
		hashes, err = readNodes(c, nodes)
		return err
	})
	return hashes, err
}

// LedgerTree returns the size and root of the tree, after every entry that is committed now
// has got its leaf.
func (s *Store) LedgerTree(ctx context.Context) (size int64, root [32]byte, err error) {
	if err := s.Settle(ctx); err != nil {
		return 0, root, err
	}
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

const (
	selectEntries = `SELECT e.entry, l.idx, e.id, e.at, e.kind, e.leaf, e.hash, e.request FROM ledger e JOIN ledger_leaves l ON l.entry = e.entry`
	selectLeaves  = selectEntries + ` WHERE l.idx > $1 ORDER BY l.idx LIMIT $2`
)

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
	err = c.each("SELECT entry, parts FROM ledger_content WHERE entry = ANY ($1)", func(r row) error {
		rows[at[r.integer(0)]].Parts = annona.ParseParts(r.bytes(1))
		return nil
	}, entries)
	if err != nil {
		return nil, err
	}
	return rows, c.dropUnfiled(rows, entries)
}

// dropUnfiled takes their subjects from sets that are not found under them.
func (c *conn) dropUnfiled(rows []annona.LedgerRow, entries []int64) error {
	var sets setBatch[int64]
	for i := range rows {
		sets.add(rows[i].Parts, entries[i])
	}
	if len(sets.parts) == 0 {
		return nil
	}
	filed := make([]bool, len(sets.parts))
	err := c.each(`SELECT w.position FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY w (noun, reach, min, max, entry, position)
		WHERE EXISTS (SELECT FROM ledger_subjects s WHERE s.noun = w.noun AND s.reach = w.reach AND s.min = w.min AND s.max = w.max AND s.entry = w.entry)`, func(r row) error {
		filed[r.integer(0)-1] = true
		return nil
	}, sets.columns()...)
	for i, p := range sets.parts {
		if !filed[i] {
			p.Noun, p.Reach, p.Min, p.Max = "", 0, 0, 0
		}
	}
	return err
}

// OpenRequests returns requests that have releases and no outcome.
func (s *Store) OpenRequests(ctx context.Context) ([]annona.UID, error) {
	return s.requests(ctx, `SELECT DISTINCT r.request FROM ledger r WHERE r.kind = 'release'
		AND NOT EXISTS (SELECT FROM ledger o WHERE o.request = r.request AND o.kind = 'outcome')`)
}

// requests returns the requests that a query selects.
func (s *Store) requests(ctx context.Context, sql string) (open []annona.UID, err error) {
	err = s.readers.ask(ctx, "find open requests", func(c *conn) error {
		open = nil
		return c.each(sql, func(r row) error {
			open = append(open, r.uid(0))
			return nil
		})
	})
	return open, err
}

// FieldList returns the content that was appended under that hash; nil when there is none.
func (s *Store) FieldList(ctx context.Context, hash [32]byte) (content []byte, err error) {
	err = s.readers.ask(ctx, "read a list of fields", func(c *conn) error {
		_, err := c.one("SELECT content FROM ledger_fields WHERE hash = $1", func(r row) { content = r.bytes(0) }, hash[:])
		return err
	})
	return content, err
}

// candidates is how many entries about somebody are fetched at a time.
const candidates = 100

// EntriesAbout calls fn for each release that has a set of subjects of that noun between whose
// least and greatest number the given one lies, as far as it has got its leaf. Sets of one reach
// begin in a short range before the number: whatever lies elsewhere is never looked at.
func (s *Store) EntriesAbout(ctx context.Context, noun string, number annona.Number, fn func(annona.LedgerRow) error) error {
	if err := s.Settle(ctx); err != nil {
		return err
	}
	var entries []int64
	err := s.readers.ask(ctx, "find entries about somebody", func(c *conn) error {
		entries = nil
		return c.each(`SELECT DISTINCT p.entry FROM generate_series(0, 63) k CROSS JOIN LATERAL
			(SELECT q.entry FROM ledger_subjects q WHERE q.noun = $1 AND q.reach = k AND q.max >= $2
				AND q.min > CASE WHEN k < 62 THEN $2 - (1::bigint << k) ELSE -1 END AND q.min <= $2) p ORDER BY p.entry`, func(r row) error {
			entries = append(entries, r.integer(0))
			return nil
		}, noun, number)
	})
	for some := range slices.Chunk(entries, candidates) {
		if err != nil {
			return err
		}
		err = s.fetch(ctx, "find entries about somebody", fn, selectEntries+" WHERE e.entry = ANY ($1) AND e.kind = 'release'", some)
	}
	return err
}

// fetch calls fn for the entries that a query selects.
func (s *Store) fetch(ctx context.Context, doing string, fn func(annona.LedgerRow) error, sql string, args ...any) error {
	var rows []annona.LedgerRow
	err := s.readers.read(ctx, doing, func(c *conn) (err error) {
		rows, err = c.entries(sql, args...)
		return err
	})
	for i := 0; err == nil && i < len(rows); i++ {
		err = fn(rows[i])
	}
	return err
}

// EntriesOf returns the releases and outcomes of a request that have their leaf, in order of index.
func (s *Store) EntriesOf(ctx context.Context, request annona.UID, after int64, limit int) (rows []annona.LedgerRow, err error) {
	if err := s.Settle(ctx); err != nil {
		return nil, err
	}
	keep := func(row annona.LedgerRow) error { rows = append(rows, row); return nil }
	err = s.fetch(ctx, "find the entries of a request", keep, selectEntries+` WHERE e.entry IN (SELECT r.entry FROM ledger r WHERE r.request = $1 AND r.kind = 'release'
		UNION ALL SELECT o.entry FROM ledger o WHERE o.request = $1 AND o.kind = 'outcome') AND l.idx > $2 ORDER BY l.idx LIMIT $3`, request, after, limit)
	return rows, err
}

// Outcomes returns the outcomes of requests, those of one request in order.
func (s *Store) Outcomes(ctx context.Context, requests []annona.UID) (rows []annona.LedgerRow, err error) {
	ids := make([][]byte, len(requests))
	for i := range requests {
		ids[i] = requests[i][:]
	}
	keep := func(row annona.LedgerRow) error { rows = append(rows, row); return nil }
	for some := range slices.Chunk(ids, candidates) {
		err := s.fetch(ctx, "find the outcomes of requests", keep, selectEntries+" WHERE e.kind = 'outcome' AND e.request = ANY ($1::uuid[]) ORDER BY l.idx", some)
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// FirstEntryAt returns the index of the first entry of that time or later; the size of the
// tree when there is none.
func (s *Store) FirstEntryAt(ctx context.Context, at time.Time) (index int64, err error) {
	if err := s.Settle(ctx); err != nil {
		return 0, err
	}
	err = s.readers.read(ctx, "find an entry by its time", func(c *conn) error {
		found, err := c.one("SELECT l.idx FROM ledger_leaves l JOIN ledger e ON e.entry = l.entry WHERE e.at >= $1 ORDER BY l.idx LIMIT 1",
			func(r row) { index = r.integer(0) }, at)
		if err == nil && !found {
			index, err = treeSize(c)
		}
		return err
	})
	return index, err
}

// pruneStep is how many entries lose their content in one transaction.
const pruneStep = 2000

// PruneLedger deletes all parts of entries below that index. The role that serves has no right
// to it: it runs as the owner of the registry.
func (s *Store) PruneLedger(ctx context.Context, below int64) (entries int64, err error) {
	for from := int64(0); from < below; from += pruneStep {
		err := s.update(ctx, "prune the ledger", func(t *tx) error {
			gone, err := t.conn.pruneSome(from, min(from+pruneStep, below))
			entries += gone
			return err
		})
		if err != nil {
			return entries, err
		}
	}
	return entries, nil
}

// pruneSome deletes what the entries of some leaves say, and returns how many said something.
func (c *conn) pruneSome(from, below int64) (entries int64, err error) {
	var sets setBatch[int64]
	err = c.each(`DELETE FROM ledger_content WHERE entry IN (SELECT entry FROM ledger_leaves WHERE idx >= $1 AND idx < $2) RETURNING entry, parts`, func(r row) error {
		entries++
		sets.add(annona.ParseParts(r.bytes(1)), r.integer(0))
		return nil
	}, from, below)
	if err != nil || len(sets.parts) == 0 {
		return entries, err
	}
	return entries, c.exec(`DELETE FROM ledger_subjects s USING unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) w (noun, reach, min, max, entry)
		WHERE s.noun = w.noun AND s.reach = w.reach AND s.min = w.min AND s.max = w.max AND s.entry = w.entry`, sets.columns()...)
}

// LatestCheckpoint returns the checkpoint of the greatest size; nil when there is none.
func (s *Store) LatestCheckpoint(ctx context.Context) (*annona.Checkpoint, error) {
	all, err := s.checkpoints(ctx, "SELECT size, root, at, note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1")
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// CheckpointsAfter returns at most limit checkpoints of a greater size, by size.
func (s *Store) CheckpointsAfter(ctx context.Context, size int64, limit int) ([]annona.Checkpoint, error) {
	return s.checkpoints(ctx, "SELECT size, root, at, note FROM ledger_checkpoints WHERE size > $1 ORDER BY size LIMIT $2", size, limit)
}

func (s *Store) checkpoints(ctx context.Context, sql string, args ...any) (all []annona.Checkpoint, err error) {
	err = s.readers.ask(ctx, "read checkpoints of the ledger", func(c *conn) error {
		all = nil
		return c.each(sql, func(r row) error {
			c := annona.Checkpoint{Size: r.integer(0), At: r.time(2), Note: r.text(3)}
			copy(c.Root[:], r[1])
			all = append(all, c)
			return nil
		}, args...)
	})
	return all, err
}

// PutCheckpoint keeps a checkpoint unless one of that size or a greater one is there already.
// Nodes take turns: one at a time decides which.
func (s *Store) PutCheckpoint(ctx context.Context, c annona.Checkpoint) (kept bool, err error) {
	err = s.update(ctx, "keep a checkpoint of the ledger", func(t *tx) error {
		if err := t.conn.exec("SELECT pg_advisory_xact_lock($1)", int64(signerLock)); err != nil {
			return err
		}
		latest, err := t.conn.integer("SELECT coalesce(max(size), -1) FROM ledger_checkpoints")
		if kept = latest < c.Size; err != nil || !kept {
			return err
		}
		return t.conn.exec("INSERT INTO ledger_checkpoints (size, root, at, note) VALUES ($1, $2, $3, $4)", c.Size, c.Root[:], c.At, c.Note)
	})
	return kept, err
}
