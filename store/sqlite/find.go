package sqlite

import (
	"bytes"
	"context"
	"errors"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

var (
	errKeyTwice = errors.New("a key stands in a batch twice")
	errNotFound = errors.New("a record is written that was not found before, or under another version")
)

// found is a record that a transaction has looked up, or set a number aside for.
type found struct {
	number  annona.Number
	uid     annona.UID
	version int64 // of the record on file; 0: there is none
}

// recordKey is how a source names a record.
type recordKey struct{ dataset, source, key string }

// Find looks records up and sets numbers aside for new ones. Nobody else writes while the
// transaction lasts, so that there is nothing to lock. See annona.RecordTx.
func (t *tx) Find(ctx context.Context, keys []annona.RecordKey) ([]annona.Known, error) {
	all := make([]annona.Known, len(keys))
	seen := make(map[recordKey]bool, len(keys))
	for i := range keys {
		k := &keys[i]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if k.Source == "" || k.Key == "" {
			return nil, annona.Invalid("record_without_key", "a record names its source and has a key there")
		}
		tb, err := t.table(k.Dataset)
		if err != nil {
			return nil, fault("find a record", err)
		}
		name := recordKey{tb.dataset, k.Source, k.Key}
		if seen[name] {
			return nil, annona.Internal("find a record", errKeyTwice)
		}
		seen[name] = true
		if all[i], err = t.findRecord(tb, k); err != nil {
			return nil, fault("find a record", err)
		}
	}
	return all, nil
}

func (t *tx) findRecord(tb *table, k *annona.RecordKey) (known annona.Known, err error) {
	f := &found{}
	_, err = t.conn.one(tb.find, func(s *sqlite.Stmt) {
		f.number, f.uid, f.version = annona.Number(s.ColumnInt64(0)), columnUID(s, 1), s.ColumnInt64(3)
		var digest [16]byte
		s.ColumnBytes(2, digest[:])
		known.Same = bytes.Equal(digest[:], k.Digest[:])
	}, k.Source, k.Key)
	if err != nil {
		return known, err
	}
	known.Number, known.Version = f.number, int(f.version)
	if known.Same {
		return known, nil
	}
	if erased, err := t.buried(recordKey{tb.dataset, k.Source, k.Key}); err != nil || erased {
		return annona.Known{Erased: erased}, err
	}
	if f.number == 0 {
		number, err := t.next(tb.dataset)
		if err != nil {
			return known, err
		}
		f.number, f.uid = annona.Number(number), annona.NewUID()
		known.Number = f.number
	} else {
		var clear, groups annona.Image
		_, err = t.conn.one(tb.images, func(s *sqlite.Stmt) {
			clear, groups = columnBytes(s, 0), columnBytes(s, 1)
			known.Sealed = append(columnBytes(s, 2), columnBytes(s, 3)...)
		}, f.number)
		if err != nil {
			return known, err
		}
		known.Clear, err = annona.JoinImages(clear, groups)
	}
	t.found[subject{tb.dataset, f.number}] = f
	return known, err
}

// taken returns what Find has found of a record that is to be written, once.
func (t *tx) taken(tb *table, r *annona.StoredRecord) (*found, error) {
	s := subject{tb.dataset, r.Number}
	f := t.found[s]
	if f == nil || f.version+1 != int64(r.Version) {
		return nil, annona.Internal("write a record", errNotFound)
	}
	delete(t.found, s)
	return f, nil
}
