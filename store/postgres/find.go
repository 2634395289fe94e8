package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
)

var (
	errKeyTwice = errors.New("a key stands in a batch twice")
	errNotFound = errors.New("a record is written that was not found before, or under another version")
)

// found is a record that a transaction has looked up, or set a number aside for.
type found struct {
	key     *annona.RecordKey
	at      int // position of the key
	number  annona.Number
	uid     annona.UID
	version int64    // of the record on file; 0: there is none
	index   []string // its columns of the filters' index, as text
}

// recordKey is how a source names a record.
type recordKey struct{ dataset, source, key string }

// Find looks records up, locks those that differ and sets numbers aside for new ones. See
// annona.RecordTx.
//
// It asks for all records of a batch at once. Locks are taken on households before individuals
// and in order of number, so that two batches wait for each other in one direction only.
func (t *tx) Find(ctx context.Context, keys []annona.RecordKey) ([]annona.Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	known := make([]annona.Known, len(keys))
	differing := map[string][]*found{}
	for _, tb := range tables() {
		some, err := t.differing(tb.dataset, keys, known)
		if err != nil {
			return nil, t.fault("find a record", err)
		}
		differing[tb.dataset] = some
	}
	for _, tb := range tables() {
		if err := t.hold(tb.dataset, differing[tb.dataset], known); err != nil {
			return nil, t.fault("find a record", err)
		}
	}
	return known, nil
}

func checkKeys(keys []annona.RecordKey) error {
	seen := make(map[recordKey]bool, len(keys))
	for i := range keys {
		k := &keys[i]
		if k.Source == "" || k.Key == "" {
			return annona.Invalid("record_without_key", "a record names its source and has a key there")
		}
		if _, err := tableOf(k.Dataset.Name); err != nil {
			return err
		}
		name := recordKey{k.Dataset.Name, k.Source, k.Key}
		if seen[name] {
			return annona.Internal("find a record", errKeyTwice)
		}
		seen[name] = true
	}
	return nil
}

// differing fills what is known of the records of a dataset and returns those that are not on
// file or differ from what is. It takes no locks: an import that repeats itself disturbs nobody.
func (t *tx) differing(dataset string, keys []annona.RecordKey, known []annona.Known) (differing []*found, err error) {
	var all []*found
	var sources, texts []string
	for i := range keys {
		if k := &keys[i]; k.Dataset.Name == dataset {
			all = append(all, &found{key: k, at: i})
			sources, texts = append(sources, k.Source), append(texts, k.Key)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return nil, err
	}
	err = t.conn.each(tb.find, func(r row) error {
		f := all[r.integer(0)-1]
		f.number, f.version = r.number(2), r.integer(3)
		k := &known[f.at]
		k.Same, k.Erased = f.version > 0 && bytes.Equal(r[1], f.key.Digest[:]), r.truth(4)
		if k.Same {
			k.Number, k.Version, k.Erased = f.number, int(f.version), false
		}
		return nil
	}, sources, texts, t.now)
	return slices.DeleteFunc(all, func(f *found) bool { return known[f.at].Same || known[f.at].Erased }), err
}

// hold locks the records that are on file, with the households that they join, and sets numbers
// aside for the others.
func (t *tx) hold(dataset string, differing []*found, known []annona.Known) error {
	if len(differing) == 0 {
		return nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return err
	}
	var joined []householdKey
	for _, f := range differing {
		for _, key := range f.key.Joins {
			joined = append(joined, householdKey{f.key.Source, key})
		}
	}
	if err := t.holdHouseholds(joined); err != nil {
		return err
	}
	if err := t.lockRecords(tb, differing, known); err != nil {
		return err
	}
	if err := t.giveNumbers(tb, differing); err != nil {
		return err
	}
	for _, f := range differing {
		k := &known[f.at]
		if k.Same {
			continue // somebody else has made it so meanwhile
		}
		k.Number, k.Version = f.number, int(f.version)
		t.found[subject{dataset, f.number}] = f
	}
	return nil
}

// lockRecords locks the records that are on file and reads what they are.
func (t *tx) lockRecords(tb *table, differing []*found, known []annona.Known) error {
	byNumber := make(map[annona.Number]*found, len(differing))
	var numbers []int64
	for _, f := range differing {
		if f.version > 0 {
			byNumber[f.number] = f
			numbers = append(numbers, int64(f.number))
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	err := t.conn.each(tb.lock, func(r row) error {
		f := byNumber[r.number(0)]
		delete(byNumber, f.number)
		f.version, f.uid = r.integer(1), r.uid(2)
		k := &known[f.at]
		k.Number, k.Version = f.number, int(f.version)
		if k.Same = bytes.Equal(r[3], f.key.Digest[:]); k.Same {
			return nil
		}
		for i := range tb.indexed {
			f.index = append(f.index, r.text(8+i))
		}
		k.Sealed = append(r.bytes(6), r[7]...)
		var err error
		k.Clear, err = annona.JoinImages(r.bytes(4), r.bytes(5))
		return err
	}, numbers)
	if err == nil && len(byNumber) > 0 {
		t.again = true // somebody has erased a record meanwhile; the next look finds its tombstone
		return errBusy()
	}
	return err
}

// giveNumbers sets numbers and ids aside for new records.
func (t *tx) giveNumbers(tb *table, differing []*found) error {
	var fresh []*found
	for _, f := range differing {
		if f.version == 0 {
			fresh = append(fresh, f)
		}
	}
	numbers, err := t.next(sequences[tb.dataset], len(fresh))
	for i, n := range numbers {
		fresh[i].number, fresh[i].uid = annona.Number(n), annona.NewUID()
	}
	return err
}

// taken returns what Find has found of a record that is to be written, once.
func (t *tx) taken(r *annona.StoredRecord) (*found, error) {
	s := subject{r.Dataset.Name, r.Number}
	f := t.found[s]
	if f == nil || f.version+1 != int64(r.Version) {
		return nil, annona.Internal("write a record", errNotFound)
	}
	delete(t.found, s)
	return f, nil
}
