package sqlite

import (
	"context"
	"errors"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

var (
	errKeyTwice = errors.New("a key stands in a batch twice")
	errNotFound = errors.New("a record is written that was not found before, or under another version")
)

// found is a record that a transaction has looked up, or set a number aside for.
type found struct {
	number        annona.Number
	uid           annona.UID       // of a new or a deleted record
	version       int64            // of the record on file, or of its delete marker; 0: there is none
	key           annona.RecordKey // the record's first one, with what was last reported under it
	deleted       bool
	receivedAt    string         // of a deleted record
	memberships   []membership   // that it has
	relationships []relationship // likewise
	identifiers   []annona.IdentifierIndex
}

// recordKey is how a source names a record.
type recordKey struct{ dataset, source, key string }

func nameOf(k *annona.RecordKey) recordKey { return recordKey{k.Dataset.Name, k.Source, k.Key} }

// Find looks records up and sets numbers aside for new ones. Nobody else writes while the
// transaction lasts, so that there is nothing to lock. See annona.RecordTx.
func (t *tx) Find(ctx context.Context, keys []annona.RecordKey) ([]annona.Known, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	all := make([]annona.Known, len(keys))
	if err := t.lookWhereFound(keys, all); err != nil {
		return nil, fault("find a record", err)
	}
	under, err := t.underKeys(keys, all)
	if err != nil {
		return nil, fault("find a record", err)
	}
	for i := range keys {
		k := &keys[i]
		if all[i].Same {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tb, err := t.table(k.Dataset)
		if err != nil {
			return nil, fault("find a record", err)
		}
		if all[i], err = t.findRecord(tb, k, under[keyHash(nameOf(k))]); err != nil {
			return nil, fault("find a record", err)
		}
	}
	return all, nil
}

func checkKeys(keys []annona.RecordKey) error {
	seen := make(map[recordKey]bool, len(keys))
	for i := range keys {
		k := &keys[i]
		if k.Source == "" || k.Key == "" {
			return errWithoutKey()
		}
		name := nameOf(k)
		if seen[name] {
			return annona.Internal("find a record", errKeyTwice)
		}
		seen[name] = true
	}
	return nil
}

// lookWhereFound looks at the records to which keys say that they lead, and notes those that are the same:
// these need no finder. They mostly lie one behind the other.
func (t *tx) lookWhereFound(keys []annona.RecordKey, all []annona.Known) error {
	for i := range keys {
		k := &keys[i]
		if k.Found == 0 {
			continue
		}
		tb, err := t.table(k.Dataset)
		if err != nil {
			return err
		}
		_, err = t.conn.one(tb.same, func(s *sqlite.Stmt) {
			all[i] = annona.Known{Number: k.Found, Version: int(s.ColumnInt64(0)), Same: true}
		}, k.Found, k.Source, k.Key, k.Digest[:])
		if err != nil {
			return err
		}
	}
	return nil
}

// underKeys returns the numbers that the finder has under the hashes of keys of which it is not known that
// they are the same. They may be those of other records, by chance.
func (t *tx) underKeys(keys []annona.RecordKey, all []annona.Known) (map[uint64][]annona.Number, error) {
	under := map[uint64][]annona.Number{}
	hashes := make([]uint64, 0, len(keys))
	for i := range keys {
		if all[i].Same {
			continue
		}
		hash := keyHash(nameOf(&keys[i]))
		hashes = append(hashes, hash)
		if added := t.findable[hash]; len(added) > 0 {
			under[hash] = slices.Clone(added)
		}
	}
	if len(hashes) == 0 {
		return under, nil
	}
	slices.Sort(hashes)
	err := t.conn.lookUpAll(0, slices.Compact(hashes), func(hash uint64, n annona.Number) { under[hash] = append(under[hash], n) })
	return under, err
}

func errWithoutKey() error {
	return annona.Invalid("record_without_key", "a record names its source and has a key there")
}

// findRecord follows the ways in which a key may lead to a record, the most frequent one first.
// maybe are the numbers of the records that may have it as their first one.
func (t *tx) findRecord(tb *table, k *annona.RecordKey, maybe []annona.Number) (known annona.Known, err error) {
	var digest [16]byte
	for _, n := range maybe {
		found, err := t.conn.one(tb.find, func(s *sqlite.Stmt) {
			known.Number, known.Version = annona.Number(s.ColumnInt64(0)), int(s.ColumnInt64(2))
			s.ColumnBytes(1, digest[:])
		}, n, k.Source, k.Key)
		if err != nil {
			return known, err
		}
		if found {
			break
		}
	}
	if known.Number == 0 {
		err = t.findElsewhere(tb, k, &known)
		digest = known.Reported.Digest
	}
	known.Same = known.Number > 0 && !known.Deleted && digest == k.Digest
	if err != nil || known.Same {
		return annona.Known{Number: known.Number, Version: known.Version, Same: known.Same}, err
	}
	if erased, err := t.buried(nameOf(k)); err != nil || erased {
		return annona.Known{Erased: erased}, err
	}
	if known.Number == 0 {
		if err := t.match(tb, k, &known); err != nil {
			return known, err
		}
	}
	if known.Number == 0 {
		return known, t.setAside(tb, k, &known)
	}
	return known, t.recall(tb, k, &known)
}

// match looks for the holders of a record's identifiers. The only one there is, is found.
func (t *tx) match(tb *table, k *annona.RecordKey, known *annona.Known) error {
	for _, id := range k.Match {
		err := t.lookUp(id.Place(tb.noun), func(n annona.Number) (more bool, err error) {
			holder, err := t.conn.isHolder(tb.dataset, n, id)
			if holder {
				known.Matched = append(known.Matched, n)
			}
			return true, err
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(known.Matched)
	known.Matched = slices.Compact(known.Matched)
	if len(known.Matched) == 1 {
		known.Number = known.Matched[0]
	}
	return nil
}

// setAside sets a number aside for a new record.
func (t *tx) setAside(tb *table, k *annona.RecordKey, known *annona.Known) error {
	number, err := t.next(tb.dataset)
	known.Number = annona.Number(number)
	t.found[subject{tb.dataset, known.Number}] = &found{number: known.Number, uid: annona.NewUIDAt(t.now), key: *k}
	return err
}

// recall reads all that is known of a record that is on file or deleted. k is the key that was
// asked for; nil: none was.
func (t *tx) recall(tb *table, k *annona.RecordKey, known *annona.Known) error {
	f := &found{number: known.Number}
	sql := tb.images
	if known.Deleted {
		sql = tb.deleted
	}
	var clear, groups annona.Image
	var identifiers []byte
	_, err := t.conn.one(sql, func(s *sqlite.Stmt) {
		clear, groups = columnBytes(s, 0), columnBytes(s, 1)
		known.Sealed = append(columnBytes(s, 2), columnBytes(s, 3)...)
		f.key = annona.RecordKey{Dataset: tb.of, Source: s.ColumnText(4), Key: s.ColumnText(5), AsOf: columnTime(s, 7)}
		s.ColumnBytes(6, f.key.Digest[:])
		f.version, f.uid, f.receivedAt = s.ColumnInt64(8), columnUID(s, 9), s.ColumnText(10)
		known.Before = columnBytes(s, 11)
		known.Marks.UpdatedAt, known.Marks.Home = s.ColumnText(12), annona.Number(s.ColumnInt64(13))
		identifiers = columnBytes(s, 14)
	}, known.Number)
	if err != nil {
		return err
	}
	if f.identifiers, err = unpackIdentifiers(identifiers); err != nil {
		return err
	}
	if known.Clear, err = annona.JoinImages(clear, groups); err != nil {
		return err
	}
	f.deleted, known.Version, known.Key = known.Deleted, int(f.version), f.key
	if known.Parts, err = t.partsOf(tb.dataset, f.number); err != nil {
		return err
	}
	if known.Parts != nil {
		if known.OtherKeys, err = otherKeys(t.conn, tb.of, f.number); err != nil {
			return err
		}
	}
	if k != nil && nameOf(&f.key) == nameOf(k) {
		known.Reported = f.key
	}
	t.found[subject{tb.dataset, f.number}] = f
	if tb.dataset != "individuals" || f.deleted {
		return nil
	}
	return t.recallTies(f, known)
}

// recallTies reads where somebody lives, and to whom they are related.
func (t *tx) recallTies(f *found, known *annona.Known) (err error) {
	if f.memberships, err = readMemberships(t.conn, f.number, f.key.Source); err != nil {
		return err
	}
	if f.relationships, err = readRelationships(t.conn, f.number); err != nil {
		return err
	}
	for i := range f.memberships {
		m := &f.memberships[i]
		known.Memberships = append(known.Memberships, m.Membership)
		known.Marks.Memberships = append(known.Marks.Memberships, annona.Mark{Number: m.number, UID: m.uid})
	}
	for i := range f.relationships {
		r := &f.relationships[i]
		known.Relationships = append(known.Relationships, r.Relationship)
		known.Marks.Relationships = append(known.Marks.Relationships, annona.Mark{Number: r.number, UID: r.uid})
	}
	return nil
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
