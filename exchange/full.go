package exchange

import (
	"context"
	"hash/maphash"
	"slices"

	"github.com/annona-exchange/annona"
)

// A full load is read twice. The first pass writes nothing: it learns which of the source's records
// the rows name. When more would be deleted than the guard lets, nothing at all is applied. The
// second pass writes, and after its last row those are deleted whom no row has named.

func errUndecided() error {
	return annona.Internal("write a batch of a full load before its first pass has been decided", nil)
}

// Name takes a batch of the first pass.
func (l *Loading) Name(ctx context.Context, records ...[]annona.Record) error {
	for _, some := range records {
		for i := range some {
			l.note(&l.first, &some[i])
		}
		keys, err := l.keysOf(nil, some)
		if err == nil {
			err = l.name(ctx, keys)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// NameRows takes rows of the first pass.
func (l *Loading) NameRows(ctx context.Context, rows []annona.SourceRow) (err error) {
	var keys []annona.RecordKey
	for i := range rows {
		row := &rows[i]
		l.noteRow(&l.first, row)
		if row.Known != nil {
			for n := range row.Known.Records {
				r := &row.Known.Records[n]
				keys = append(keys, annona.RecordKey{Dataset: l.datasetOf(r), Source: l.order.Source, Key: r.Key})
			}
			continue
		}
		if keys, err = l.keysOf(keys, row.Households); err != nil {
			return err
		}
		if keys, err = l.keysOf(keys, row.Individuals); err != nil {
			return err
		}
	}
	return l.name(ctx, keys)
}

// keysOf appends the keys of records.
func (l *Loading) keysOf(keys []annona.RecordKey, records []annona.Record) ([]annona.RecordKey, error) {
	for i := range records {
		r := &records[i]
		if r.Source == "" || r.Key == "" {
			return nil, annona.Invalid("record_without_key", "a record names its source and has a key there")
		}
		keys = append(keys, annona.RecordKey{Dataset: r.Dataset, Source: r.Source, Key: l.x.Vault.RecordKey(r.Dataset.Name, r.Source, r.Key)})
	}
	return keys, nil
}

// name keeps the numbers of those that are on file.
func (l *Loading) name(ctx context.Context, keys []annona.RecordKey) error {
	if len(keys) == 0 {
		return nil
	}
	l.rows += len(keys)
	numbers, err := l.x.Loads.Numbers(ctx, keys)
	for i, n := range numbers {
		if n != 0 {
			l.named[keys[i].Dataset.Name].Add(uint64(n))
		}
	}
	return err
}

// noteRow adds a row to the sum of a pass: its own, where it has one.
func (l *Loading) noteRow(sum *maphash.Hash, row *annona.SourceRow) {
	if l.order.Mode != ModeFull {
		return
	}
	sum.Write(row.Sum[:])
	if row.Sum != ([16]byte{}) {
		return
	}
	for i := range row.Households {
		l.note(sum, &row.Households[i])
	}
	for i := range row.Individuals {
		l.note(sum, &row.Individuals[i])
	}
}

// note adds what a row became to the sum of a pass, by which the second is compared with the first.
func (l *Loading) note(sum *maphash.Hash, r *annona.Record) {
	if l.order.Mode != ModeFull {
		return
	}
	write := func(text string) {
		sum.WriteString(text)
		sum.WriteByte(annona.ListSeparator)
	}
	write(r.Dataset.Name)
	write(r.Key)
	for _, v := range r.Values {
		write(v.Field.Code)
		write(v.Text)
	}
	for _, g := range r.Groups {
		write(g.Field.Code)
		for _, item := range g.Items {
			for _, v := range item {
				write(v.Text)
			}
		}
	}
	for _, m := range r.Memberships {
		write(m.HouseholdKey)
	}
}

// Decide ends the first pass. It fails, and nothing is applied, with the codes full_load_empty and
// delete_guard.
func (l *Loading) Decide(ctx context.Context) error {
	if l.rows == 0 {
		return annona.Invalid("full_load_empty", "the files name nobody, and a full load of nothing would delete everybody; to delete a source's records, delete them by name")
	}
	if err := l.guard(ctx); err != nil {
		return err
	}
	l.decided = true
	return nil
}

// guard counts the source's records whom no row names, and refuses when they are too many.
func (l *Loading) guard(ctx context.Context) error {
	l.report.Missing, l.report.Live = map[string]int{}, map[string]int{}
	for _, dataset := range l.whole() {
		live, missing := 0, 0
		err := l.walk(ctx, dataset, func(numbers []annona.Number) error {
			live += len(numbers)
			missing += len(l.unnamed(dataset, numbers))
			return nil
		})
		if err != nil {
			return err
		}
		l.report.Missing[dataset.Name], l.report.Live[dataset.Name] = missing, live
	}
	for _, dataset := range l.whole() {
		missing, live := l.report.Missing[dataset.Name], l.report.Live[dataset.Name]
		if float64(missing)*100 > l.order.Guard*float64(live) {
			return annona.Conflict("delete_guard",
				"%d of %d %s of this source are in no row, and at most %g percent may be deleted by one load; is the file whole? To delete them all the same, raise --delete-guard",
				missing, live, dataset.Name, l.order.Guard)
		}
	}
	return nil
}

// whole returns the datasets that the source's files give whole, individuals first.
func (l *Loading) whole() (all []*annona.Dataset) {
	for _, name := range [...]string{"individuals", "households"} {
		if _, covered := l.covers[name]; covered || l.covers == nil {
			dataset, _ := l.x.CurrentDictionary().Dataset(name)
			all = append(all, dataset)
		}
	}
	return all
}

const walked = 2000 // records at once

// walk calls visit for the numbers of the source's records, in order.
func (l *Loading) walk(ctx context.Context, dataset *annona.Dataset, visit func([]annona.Number) error) error {
	for after := annona.Number(0); ; {
		numbers, err := l.x.Loads.NumbersOfSource(ctx, dataset, l.order.Source, after, walked)
		if err != nil || len(numbers) == 0 {
			return err
		}
		if err := visit(numbers); err != nil {
			return err
		}
		after = numbers[len(numbers)-1]
	}
}

func (l *Loading) unnamed(dataset *annona.Dataset, numbers []annona.Number) []annona.Number {
	return slices.DeleteFunc(slices.Clone(numbers), func(n annona.Number) bool { return l.named[dataset.Name].Contains(uint64(n)) })
}

// deleteMissing deletes whom no row has named. It fails, before anybody is deleted, with the codes
// input_changed, when the second pass did not read what the first one did, and delete_guard. Of files
// with refused rows it deletes nobody: a row that cannot be read may be theirs.
func (l *Loading) deleteMissing(ctx context.Context) error {
	if !l.decided {
		return errUndecided()
	}
	if l.first.Sum64() != l.second.Sum64() {
		return annona.Conflict("input_changed", "the files changed while they were read; nobody is deleted. Load them again when they are whole")
	}
	if err := l.guard(ctx); err != nil {
		return err
	}
	if l.rejected > 0 {
		for _, missing := range l.report.Missing {
			l.report.Held += missing
		}
		return nil
	}
	for _, dataset := range l.whole() {
		err := l.walk(ctx, dataset, func(numbers []annona.Number) error { return l.delete(ctx, dataset, l.unnamed(dataset, numbers)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// delete deletes records, or takes the source's words back where another source still reports them.
func (l *Loading) delete(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) error {
	if len(numbers) == 0 {
		return nil
	}
	if err := l.x.mayLoad(ctx, l.caller, l.order); err != nil {
		return err
	}
	var wrote outcome
	err := l.x.Writer.Update(ctx, func(tx annona.Tx) error {
		wrote = outcome{}
		known, err := tx.Hold(ctx, dataset, numbers)
		if err != nil {
			return err
		}
		var gone, left []*revision
		for _, k := range known {
			switch v := (&revision{known: k, former: wasOf(&k)}); {
			case k.Version == 0 || k.Deleted:
			case l.spokeLater(&k):
				wrote.Stale++
			case !l.reportedElsewhere(&k):
				v.former.gone = l.load.AsOf
				gone = append(gone, v)
			case k.Key.Source != l.order.Source || k.Key.Digest != [16]byte{}:
				left = append(left, v)
			}
		}
		if err := l.takeBack(ctx, tx, left, &wrote); err != nil {
			return err
		}
		if err := l.x.remove(ctx, tx, l.author(), gone, &wrote); err != nil {
			return err
		}
		return l.commit(ctx, tx, "deleted", wrote)
	})
	if err != nil {
		return err
	}
	l.add(wrote)
	return nil
}

// reportedElsewhere reports whether a record has a key under which another source reports it.
func (l *Loading) reportedElsewhere(k *annona.Known) bool {
	other := func(key annona.RecordKey) bool { return key.Source != l.order.Source && key.Digest != [16]byte{} }
	return other(k.Key) || slices.ContainsFunc(k.OtherKeys, other)
}

// spokeLater reports whether the load's source has reported a record for a later moment: an older file
// does not know of it.
func (l *Loading) spokeLater(k *annona.Known) bool {
	later := func(key annona.RecordKey) bool {
		return key.Source == l.order.Source && l.stale(k.Number, &key, k.Key.Dataset.Name)
	}
	return later(k.Key) || slices.ContainsFunc(k.OtherKeys, later)
}

// remove takes records out of sight. A household that still has members stays.
func (x *Exchange) remove(ctx context.Context, tx annona.Tx, by annona.Author, gone []*revision, o *outcome) error {
	sealed := make([]annona.Cell, len(gone))
	for i, v := range gone {
		sealed[i] = annona.Cell{Dataset: v.known.Key.Dataset, Number: v.known.Number, Version: v.known.Version, Part: annona.PartBefore, Image: v.former.append(nil)}
	}
	if err := x.Vault.Seal(ctx, sealed); err != nil {
		return err
	}
	for i, v := range gone {
		d := annona.Deletion{
			Dataset: v.known.Key.Dataset, Number: v.known.Number, Version: v.known.Version + 1, Into: v.into, Kept: v.before,
			Before: annona.Former{Version: v.known.Version, Clear: sealed[i].Image, Sealed: v.known.Sealed}.Append(nil),
		}
		switch err := tx.Delete(ctx, by, d); {
		case annona.CodeOf(err) == "household_has_members":
			o.tally.Kept++
		case err != nil:
			return err
		default:
			o.Deleted++
		}
	}
	return nil
}

// takeBack takes the words of the load's source out of records that another source reports.
func (l *Loading) takeBack(ctx context.Context, tx annona.Tx, left []*revision, o *outcome) error {
	if len(left) == 0 {
		return nil
	}
	if err := l.x.recall(ctx, l.x.Vault, left); err != nil {
		return err
	}
	var w writes
	for _, v := range left {
		dataset := v.known.Key.Dataset
		isFirst := v.known.Key.Source == l.order.Source
		l.silence(v, isFirst)
		silent := v.known.Key
		if isFirst {
			silent.Digest, silent.AsOf = [16]byte{}, l.load.AsOf // it leads to the record, and says nothing
		}
		v.keys = []annona.RecordKey{silent}
		for _, k := range v.known.OtherKeys {
			if k.Source == l.order.Source {
				v.former.others = append(v.former.others, keptOf(&k))
				w.keys = append(w.keys, l.release(v, k))
			}
		}
		next, image, err := l.x.next(v)
		if err != nil {
			return err
		}
		w.add(next, image)
		if v.anyChanged() {
			w.parts = append(w.parts, partsWrite{dataset, next.Number, next.Version, v.parts})
		}
		o.tally.TakenBack++
	}
	loaded, err := w.put(ctx, l.x, tx, l.author())
	o.Loaded = sum(o.Loaded, loaded)
	return err
}

// silence takes the words of the load's source out of a record, or out of each of its parts.
func (l *Loading) silence(v *revision, isFirst bool) {
	dataset := v.known.Key.Dataset
	authority := l.decides[dataset.Name]
	nothing := said{origin: l.origin(), first: isFirst, covers: func(string) bool { return true }}
	if len(v.parts) == 0 {
		v.now, _ = merge(v.now, nothing, authority)
		return
	}
	for _, p := range v.parts {
		nothing.first = p.was.first.source == l.order.Source
		p.now, _ = merge(p.now, nothing, authority)
		p.changed = true
	}
	v.now = l.x.unite(dataset, v.parts, authority)
}

// release lets another key lead nowhere. The first key of a record that was merged into this one stays:
// it leads here, and says nothing.
func (l *Loading) release(v *revision, k annona.RecordKey) leading {
	k.Dataset = v.known.Key.Dataset
	for _, p := range v.parts {
		if p.was.first.source == k.Source && p.was.first.key == k.Key {
			k.Digest, k.AsOf = [16]byte{}, l.load.AsOf
			return leading{k, v.known.Number}
		}
		p.was.others = slices.DeleteFunc(p.was.others, func(o keptKey) bool { return o.source == k.Source && o.key == k.Key })
	}
	return leading{k, 0}
}
