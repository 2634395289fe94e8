package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// elsewhere says whether anything at all lies beside the records on file: other keys, deleted records,
// tombstones, relationships that wait for somebody, records of several parts. Where nothing does, a new record costs no look there.
type elsewhere struct{ asked, keys, deleted, graves, waiting, parts bool }

func (t *tx) lookElsewhere() (elsewhere, error) {
	if t.elsewhere.asked {
		return t.elsewhere, nil
	}
	_, err := t.conn.one(`SELECT EXISTS (SELECT 1 FROM other_keys), EXISTS (SELECT 1 FROM deleted_records), EXISTS (SELECT 1 FROM tombstones),
		EXISTS (SELECT 1 FROM relationships WHERE to_number IS NULL), EXISTS (SELECT 1 FROM parts)`, func(s *sqlite.Stmt) {
		t.elsewhere = elsewhere{true, s.ColumnBool(0), s.ColumnBool(1), s.ColumnBool(2), s.ColumnBool(3), s.ColumnBool(4)}
	})
	return t.elsewhere, err
}

// findElsewhere finds a record by a key that is not its first one, or one that is deleted.
func (t *tx) findElsewhere(tb *table, k *annona.RecordKey, known *annona.Known) error {
	there, err := t.lookElsewhere()
	if err != nil || !there.keys && !there.deleted {
		return err
	}
	found, err := t.conn.one(tb.other, func(s *sqlite.Stmt) {
		known.Number, known.Version = annona.Number(s.ColumnInt64(0)), int(s.ColumnInt64(3))
		known.Reported = annona.RecordKey{Dataset: tb.of, Source: k.Source, Key: k.Key, AsOf: columnTime(s, 2)}
		s.ColumnBytes(1, known.Reported.Digest[:])
		known.Deleted = known.Version == 0
	}, k.Source, k.Key)
	if err != nil || found {
		return err
	}
	number, err := t.conn.integer("SELECT number FROM deleted_records WHERE source = ? AND source_key = ? AND dataset = ?", k.Source, k.Key, tb.dataset)
	known.Number, known.Deleted = annona.Number(number), number > 0
	return err
}

// leadsTo returns the number of the record on file to which a key leads; 0 when there is none.
func (t *tx) leadsTo(k recordKey) (annona.Number, error) {
	if n, err := t.numberOf(k); err != nil || n > 0 {
		return n, err
	}
	there, err := t.lookElsewhere()
	if err != nil || !there.keys {
		return 0, err
	}
	n, err := t.conn.integer(`SELECT r.number FROM other_keys o CROSS JOIN `+k.dataset+` r ON r.number = o.number
		WHERE o.source = ? AND o.source_key = ? AND o.dataset = ?`, k.source, k.key, k.dataset)
	return annona.Number(n), err
}

// otherKeys returns the keys of a record beside its first one.
func otherKeys(c *conn, dataset *annona.Dataset, number annona.Number) (keys []annona.RecordKey, err error) {
	err = c.each("SELECT source, source_key, digest, as_of FROM other_keys WHERE dataset = ? AND number = ? ORDER BY source, source_key", func(s *sqlite.Stmt) error {
		k := annona.RecordKey{Dataset: dataset, Source: s.ColumnText(0), Key: s.ColumnText(1), AsOf: columnTime(s, 3)}
		s.ColumnBytes(2, k.Digest[:])
		keys = append(keys, k)
		return nil
	}, dataset.Name, number)
	return keys, err
}

// PutKey lets another key lead to a record, or to nothing again. See annona.LifeTx.
func (t *tx) PutKey(ctx context.Context, by annona.Author, key annona.RecordKey, number annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key.Source == "" || key.Key == "" {
		return errWithoutKey()
	}
	tb, err := t.table(key.Dataset)
	if err != nil {
		return fault("write a key", err)
	}
	if number > 0 {
		if version, err := t.version(tb.dataset, number); err != nil || version == 0 {
			return orNotOnFile("write a key", err)
		}
	}
	touched := touches{}
	if err := t.putKey(tb, &key, number, touched); err != nil {
		return fault("write a key", err)
	}
	return fault("write an event", t.touchAll(touched, by))
}

// version returns the version of a record on file; 0 when there is none.
func (t *tx) version(dataset string, number annona.Number) (int64, error) {
	return t.conn.integer("SELECT version FROM "+dataset+" WHERE number = ?", number)
}

func orNotOnFile(doing string, err error) error {
	if err != nil {
		return fault(doing, err)
	}
	return annona.NotFound("the record is not on file")
}

// putKey writes another key and what follows from it: the relationships that name it lead where it
// leads.
func (t *tx) putKey(tb *table, key *annona.RecordKey, number annona.Number, touched touches) error {
	first, err := t.numberOf(nameOf(key))
	if err != nil {
		return err
	}
	if first > 0 && number > 0 {
		return annona.Conflict("key_taken", "the key is the one under which another record came on file; it leads nowhere else")
	}
	former, err := t.conn.integer("SELECT number FROM other_keys WHERE source = ? AND source_key = ? AND dataset = ?", key.Source, key.Key, tb.dataset)
	if err != nil {
		return err
	}
	if former > 0 && former != int64(number) {
		if err := t.unresolve(tb, key, annona.Number(former), touched); err != nil {
			return err
		}
	}
	delete(t.known, householdKey{key.Source, key.Key})
	if number == 0 {
		return t.conn.exec("DELETE FROM other_keys WHERE source = ? AND source_key = ? AND dataset = ?", key.Source, key.Key, tb.dataset)
	}
	t.elsewhere.keys = true
	err = t.conn.exec("INSERT OR REPLACE INTO other_keys (source, source_key, dataset, number, digest, as_of) VALUES (?, ?, ?, ?, ?, ?)",
		key.Source, key.Key, tb.dataset, number, key.Digest[:], key.AsOf)
	if err != nil || former == int64(number) || tb.dataset != "individuals" {
		return err
	}
	return t.resolve(key.Source, key.Key, number, touched)
}

// unresolve lets the relationships that name a key wait again.
func (t *tx) unresolve(tb *table, key *annona.RecordKey, to annona.Number, touched touches) error {
	if tb.dataset != "individuals" {
		return nil
	}
	err := t.conn.each("SELECT from_number FROM relationships WHERE to_number = ? AND source = ? AND to_key = ?", func(s *sqlite.Stmt) error {
		touched[subject{"individuals", annona.Number(s.ColumnInt64(0))}] = "relationship"
		return nil
	}, to, key.Source, key.Key)
	if err != nil {
		return err
	}
	t.elsewhere.waiting = true
	return t.conn.exec("UPDATE relationships SET to_number = NULL WHERE to_number = ? AND source = ? AND to_key = ?", to, key.Source, key.Key)
}
