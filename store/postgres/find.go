package postgres

import (
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
	of            *annona.Dataset
	asked         *annona.RecordKey // the key that was asked for; nil: a number was
	known         *annona.Known     // what is said of it
	way           way
	number        annona.Number
	uid           annona.UID
	version       int64            // of the record on file, or of its delete marker; 0: there is none
	key           annona.RecordKey // the record's first one, with what was last reported under it
	index         []string         // its columns of the filters' index, as text
	deleted       bool
	receivedAt    string         // of a deleted record
	memberships   []membership   // that it has
	relationships []relationship // likewise
	identifiers   []annona.IdentifierIndex
}

// way is how a key leads to a record.
type way int

const (
	byFirstKey way = iota // of a record on file, or of none
	byOtherKey
	byDeletedKey // the first one of a deleted record
	byMatch
)

// recordKey is how a source names a record.
type recordKey struct{ dataset, source, key string }

func nameOf(k *annona.RecordKey) recordKey { return recordKey{k.Dataset.Name, k.Source, k.Key} }

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
	if err := t.sendLater(); err != nil {
		return nil, t.fault("write a record", err)
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
		if err := t.hold(tb.dataset, differing[tb.dataset]); err != nil {
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
			return errWithoutKey()
		}
		if _, err := tableOf(k.Dataset.Name); err != nil {
			return err
		}
		name := nameOf(k)
		if seen[name] {
			return annona.Internal("find a record", errKeyTwice)
		}
		seen[name] = true
	}
	return nil
}

func errWithoutKey() error {
	return annona.Invalid("record_without_key", "a record names its source and has a key there")
}

// differing fills what is known of the records of a dataset and returns those that are not on
// file or differ from what is. It takes no locks: an import that repeats itself disturbs nobody.
func (t *tx) differing(dataset string, keys []annona.RecordKey, known []annona.Known) (differing []*found, err error) {
	var all []*found
	for i := range keys {
		if k := &keys[i]; k.Dataset.Name == dataset {
			all = append(all, &found{of: k.Dataset, asked: k, known: &known[i]})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return nil, err
	}
	if all, err = t.lookWhereFound(tb, all); err != nil || len(all) == 0 {
		return nil, err
	}
	asked, err := t.withoutFirst(all)
	if err != nil {
		return nil, err
	}
	if err := t.look(tb, asked); err != nil {
		return nil, err
	}
	differing = slices.DeleteFunc(all, func(f *found) bool { return f.known.Same || f.known.Erased })
	return differing, t.match(tb, differing)
}

// look looks for the records of keys.
func (t *tx) look(tb *table, all []*found) error {
	if len(all) == 0 {
		return nil
	}
	var missing []*found
	sources, texts := keyList(all)
	err := t.conn.each(tb.find, func(r row) error {
		f := all[r.integer(0)-1]
		f.number, f.version = r.number(2), r.integer(3)
		f.known.Erased, t.beside = r.truth(4), t.beside || r.truth(5)
		if f.version == 0 {
			missing = append(missing, f)
			return nil
		}
		f.compare(r[1])
		return nil
	}, sources, texts, t.now)
	if err != nil {
		return err
	}
	return t.findBeside(tb, missing)
}

// withoutFirst leaves out the keys that are believed to come for the first time, where no key leads to anything but
// the record that came on file under it: if one of them does, the index of first keys refuses a second record.
func (t *tx) withoutFirst(all []*found) ([]*found, error) {
	if !slices.ContainsFunc(all, func(f *found) bool { return f.asked.First }) {
		return all, nil
	}
	if plain, err := t.isPlain(); err != nil || !plain {
		return all, err
	}
	t.believes = true
	return slices.DeleteFunc(slices.Clone(all), func(f *found) bool { return f.asked.First }), nil
}

// isPlain reports whether no key leads to anything but a record that came on file under it, and none is kept away.
func (t *tx) isPlain() (plain bool, err error) {
	_, err = t.conn.one("SELECT NOT EXISTS (SELECT FROM tombstones) AND NOT EXISTS (SELECT FROM other_keys) AND NOT EXISTS (SELECT FROM deleted_records)",
		func(r row) { plain = r.truth(0) })
	return plain, err
}

// confirmBelief fails a transaction that has believed records to come for the first time when keys are not plain any more:
// somebody may have been erased between the look and the writing.
func (t *tx) confirmBelief() error {
	if !t.believes {
		return nil
	}
	plain, err := t.isPlain()
	if err == nil && !plain {
		t.again = true
		err = errBusy()
	}
	return err
}

// lookWhereFound looks at the records to which keys say that they lead, notes those that are the same, and
// returns the others.
func (t *tx) lookWhereFound(tb *table, all []*found) ([]*found, error) {
	var hinted []*found
	var numbers []int64
	var sources, texts []string
	var digests [][]byte
	for _, f := range all {
		if f.asked.Found > 0 {
			hinted, numbers, sources = append(hinted, f), append(numbers, int64(f.asked.Found)), append(sources, f.asked.Source)
			texts, digests = append(texts, f.asked.Key), append(digests, f.asked.Digest[:])
		}
	}
	if len(hinted) == 0 {
		return all, nil
	}
	err := t.conn.each(tb.same, func(r row) error {
		f := hinted[r.integer(0)-1]
		*f.known = annona.Known{Number: f.asked.Found, Version: int(r.integer(1)), Same: true}
		return nil
	}, numbers, sources, texts, digests)
	return slices.DeleteFunc(all, func(f *found) bool { return f.known.Same }), err
}

// compare says whether the digest of what is reported is that of what is on file.
func (f *found) compare(digest []byte) {
	if string(digest) == string(f.asked.Digest[:]) {
		*f.known = annona.Known{Number: f.number, Version: int(f.version), Same: true}
	}
}

// hold locks the records that are on file, with the households that they join, and sets numbers
// aside for the others.
func (t *tx) hold(dataset string, differing []*found) error {
	if len(differing) == 0 {
		return nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return err
	}
	var joined []householdKey
	for _, f := range differing {
		if t.believes && f.asked.First {
			continue // its household is held when it is written
		}
		for _, key := range f.asked.Joins {
			joined = append(joined, householdKey{f.asked.Source, key})
		}
	}
	if err := t.holdHouseholds(joined); err != nil {
		return err
	}
	if err := t.lockRecords(tb, differing); err != nil {
		return err
	}
	if err := t.giveNumbers(tb, differing); err != nil {
		return err
	}
	return t.remember(tb, differing)
}

// remember fills what is known of records that are locked.
func (t *tx) remember(tb *table, all []*found) error {
	differing := make([]*found, 0, len(all))
	for _, f := range all {
		k := f.known
		if k.Same {
			continue // somebody else has made it so meanwhile
		}
		k.Number, k.Version, k.Deleted = f.number, int(f.version), f.deleted
		if f.version == 0 {
			f.key = *f.asked
		} else {
			k.Key = f.key
		}
		if f.asked != nil && f.version > 0 && nameOf(&f.key) == nameOf(f.asked) {
			k.Reported = f.key
		}
		t.found[subject{tb.dataset, f.number}] = f
		differing = append(differing, f)
	}
	if t.beside {
		if err := t.fillParts(tb.dataset, differing); err != nil {
			return err
		}
	}
	for _, f := range differing {
		for i := range f.memberships {
			m := &f.memberships[i]
			f.known.Memberships = append(f.known.Memberships, m.Membership)
			f.known.Marks.Memberships = append(f.known.Marks.Memberships, annona.Mark{Number: m.number, UID: m.uid})
		}
		for i := range f.relationships {
			r := &f.relationships[i]
			f.known.Relationships = append(f.known.Relationships, r.Relationship)
			f.known.Marks.Relationships = append(f.known.Marks.Relationships, annona.Mark{Number: r.number, UID: r.uid})
		}
	}
	return nil
}

// lockRecords locks the records that are on file or deleted and reads what they are.
func (t *tx) lockRecords(tb *table, differing []*found) error {
	live, deleted := map[annona.Number][]*found{}, map[annona.Number][]*found{}
	for _, f := range differing {
		switch {
		case f.deleted:
			deleted[f.number] = append(deleted[f.number], f)
		case f.number > 0:
			live[f.number] = append(live[f.number], f)
		}
	}
	if err := t.lockRows(tb, tb.lock, live); err != nil {
		return err
	}
	if err := t.lockRows(tb, tb.lockDeleted, deleted); err != nil {
		return err
	}
	if len(live)+len(deleted) > 0 {
		t.again = true // somebody has erased, deleted or restored a record meanwhile; the next look finds it where it is
		return errBusy()
	}
	return t.lookAgain(tb, differing)
}

// lockRows locks the rows of records, reads them and takes those that are there out of wanted; of
// individuals on file with where they live, and to whom they are related.
func (t *tx) lockRows(tb *table, sql string, wanted map[annona.Number][]*found) error {
	if len(wanted) == 0 {
		return nil
	}
	numbers := make([]int64, 0, len(wanted))
	for n := range wanted {
		numbers = append(numbers, int64(n))
	}
	var locked []*found
	questions := []question{{sql, []any{numbers}, func(r row) error {
		number := r.number(0)
		for _, f := range wanted[number] {
			t.beside = t.beside || f.version != r.integer(1) // somebody has been here since
			if err := f.read(tb, r); err != nil {
				return err
			}
		}
		locked = append(locked, wanted[number]...)
		delete(wanted, number)
		return nil
	}}}
	memberships, relationships := map[annona.Number][]membership{}, map[annona.Number][]relationship{}
	if tb.dataset == "individuals" && sql == tb.lock {
		questions = append(questions, membershipsInto(memberships, numbers), relationshipsInto(relationships, numbers))
	}
	err := t.conn.askAll(questions...)
	for _, f := range locked {
		f.memberships, f.relationships = memberships[f.number], relationships[f.number]
	}
	return err
}

// read takes what a record is from a row of table.lock or table.lockDeleted.
func (f *found) read(tb *table, r row) (err error) {
	f.number, f.version, f.uid, f.receivedAt = r.number(0), r.integer(1), r.uid(2), r.text(11)
	f.key = annona.RecordKey{Dataset: f.of, Source: r.text(8), Key: r.text(9), AsOf: r.time(10)}
	copy(f.key.Digest[:], r[3])
	if f.way == byFirstKey && f.asked != nil {
		if f.compare(r[3]); f.known.Same {
			return nil
		}
	}
	if f.deleted {
		f.known.Before = r.bytes(12)
	} else {
		f.known.Marks.UpdatedAt, f.known.Marks.Home = r.text(12), r.number(13)
		if f.identifiers, err = unpackIdentifiers(r.bytes(14)); err != nil {
			return err
		}
		f.index = f.index[:0]
		for i := range tb.indexed {
			f.index = append(f.index, r.text(15+i))
		}
	}
	f.known.Sealed = append(r.bytes(6), r[7]...)
	f.known.Clear, err = annona.JoinImages(r.bytes(4), r.bytes(5))
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
		fresh[i].number, fresh[i].uid = annona.Number(n), annona.NewUIDAt(t.now)
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
