package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Disputes returns identifiers that several records hold. The finder has them in the order of their
// hashes, so that a page reads what comes behind the last one, and no more. See annona.Subjects.
func (s *Store) Disputes(ctx context.Context, dataset *annona.Dataset, after []byte, limit int) (all []annona.Dispute, err error) {
	if err := s.checkDataset(dataset); err != nil {
		return nil, err
	}
	err = s.readers.read(ctx, "find disputed identifiers", func(c *conn) error {
		d := disputed{conn: c, of: dataset, after: after, limit: limit}
		if limit > 0 {
			if err := d.walk(0, 0, nil); err != nil {
				return err
			}
		}
		all = d.found
		return nil
	})
	return all, err
}

// disputed gathers disputes on a walk through the finder.
type disputed struct {
	conn  *conn
	of    *annona.Dataset
	after []byte
	limit int
	found []annona.Dispute
}

// behind is the place where the disputes begin that are asked for, or one before it.
func (d *disputed) behind() uint64 { return annona.IdentifierIndex{Hash: d.after}.Place("individual") }

func (d *disputed) isFull() bool { return len(d.found) >= d.limit }

// walk goes through the block of a depth that begins with prefix, with what the blocks above it have of it,
// and through those below it, in order.
func (d *disputed) walk(bits int, prefix uint64, above []finderEntry) error {
	entries, there, err := d.conn.readBlock(blockOf(prefix, bits))
	if err != nil {
		return err
	}
	entries = merged(above, entries)
	if !there || bits == deepestBits {
		return d.settle(entries)
	}
	step := uint64(1) << (64 - bits - stepBits) // from the beginning of one block below to that of the next
	for first, n := prefix, 0; n < 1<<stepBits && !d.isFull(); first, n = first+step, n+1 {
		end, _ := slices.BinarySearchFunc(entries, first+(step-1), func(e finderEntry, last uint64) int {
			if e.hash <= last {
				return -1
			}
			return 1
		})
		if first+(step-1) >= d.behind() {
			if err := d.walk(bits+stepBits, first, entries[:end]); err != nil {
				return err
			}
		}
		entries = entries[end:]
	}
	return nil
}

// settle adds what several records hold of entries, which are in order.
func (d *disputed) settle(entries []finderEntry) error {
	for len(entries) > 0 && !d.isFull() {
		end := 1
		for end < len(entries) && entries[end].hash == entries[0].hash {
			end++
		}
		if end > 1 {
			if err := d.holders(entries[:end]); err != nil {
				return err
			}
		}
		entries = entries[end:]
	}
	return nil
}

// holders adds the identifiers with that beginning that several records hold: nearly always there is one
// at most.
func (d *disputed) holders(entries []finderEntry) error {
	var begun []annona.Dispute
	for _, e := range entries {
		uid, held, err := d.conn.heldBy(d.of.Name, e.number)
		if err != nil {
			return err
		}
		for _, id := range held {
			if id.Shareable || id.Place(d.of.Noun) != e.hash || bytes.Compare(id.Hash, d.after) <= 0 {
				continue
			}
			at := slices.IndexFunc(begun, func(o annona.Dispute) bool { return o.Scheme == id.Scheme && bytes.Equal(o.Hash, id.Hash) })
			if at < 0 {
				at, begun = len(begun), append(begun, annona.Dispute{IdentifierIndex: annona.IdentifierIndex{Scheme: id.Scheme, Hash: id.Hash}})
			}
			begun[at].Holders, begun[at].UIDs = append(begun[at].Holders, e.number), append(begun[at].UIDs, uid)
		}
	}
	slices.SortFunc(begun, func(a, b annona.Dispute) int {
		return cmp.Or(bytes.Compare(a.Hash, b.Hash), strings.Compare(a.Scheme, b.Scheme))
	})
	for _, one := range begun {
		if len(one.Holders) > 1 && !d.isFull() {
			d.found = append(d.found, one)
		}
	}
	return nil
}

// heldBy returns the id of a record on file and the identifiers that it holds; none when there is none.
func (c *conn) heldBy(dataset string, number annona.Number) (uid annona.UID, held []annona.IdentifierIndex, err error) {
	var list []byte
	_, err = c.one("SELECT uid, identifiers FROM "+dataset+" WHERE number = ?", func(s *sqlite.Stmt) {
		uid, list = columnUID(s, 0), columnBytes(s, 1)
	}, number)
	if err == nil {
		held, err = unpackIdentifiers(list)
	}
	return uid, held, err
}
