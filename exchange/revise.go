package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// met is a record of a batch that is on file, or deleted, and differs from what is reported.
type met struct {
	report *prepared
	known  annona.Known
}

// revision is a record on file with all that a batch reports of it: under one key, or under several.
type revision struct {
	known   annona.Known
	reports []met
	former  was // what it is on file, or was before it was deleted
	sealed  annona.Image
	now     standing
	changed bool
	before  []byte             // of an undo: what the record was, as an event keeps it
	keys    []annona.RecordKey // under which a report was taken
	parts   []*part            // that it consists of; none: it is of one piece
	into    []annona.Number    // what takes its place when it is deleted
}

// writes are what a transaction is about to write: records with their images, and after them keys
// and parts.
type writes struct {
	records []annona.StoredRecord
	images  []versions
	keys    []leading
	parts   []partsWrite
}

// leading is another key that leads to a record.
type leading struct {
	key    annona.RecordKey
	number annona.Number
}

// newWrites has room for the records that differ.
func newWrites(known []annona.Known) writes {
	differing := 0
	for i := range known {
		if !known[i].Same && !known[i].Erased {
			differing++
		}
	}
	return writes{records: make([]annona.StoredRecord, 0, differing), images: make([]versions, 0, differing)}
}

func (w *writes) add(r annona.StoredRecord, image versions) {
	w.records, w.images = append(w.records, r), append(w.images, image)
}

// put seals and writes.
func (w *writes) put(ctx context.Context, x *Exchange, tx annona.Tx, by annona.Author) (annona.Loaded, error) {
	if err := seal(ctx, x.Vault, w.records, w.images); err != nil {
		return annona.Loaded{}, err
	}
	return w.upsert(ctx, x, tx, by)
}

// upsert writes records that are sealed, and then the keys and the parts.
func (w *writes) upsert(ctx context.Context, x *Exchange, tx annona.Tx, by annona.Author) (annona.Loaded, error) {
	loaded, err := tx.Upsert(ctx, by, w.records)
	if err != nil {
		return loaded, err
	}
	for _, k := range w.keys {
		if err := tx.PutKey(ctx, by, k.key, k.number); err != nil {
			return loaded, err
		}
	}
	return loaded, x.putParts(ctx, tx, w.parts)
}

// revise merges what is reported of records on file, which were recalled. Of what does not change by
// it, only the key is written.
func (l *Loading) revise(ctx context.Context, b *Batch, known []annona.Known, areas *areas, s *settling) error {
	if len(s.revisions) == 0 {
		return nil
	}
	households, err := l.households(ctx, b, known, s.revisions)
	if err != nil {
		return err
	}
	day := annona.DateOf(l.load.AsOf.UTC())
	for _, v := range s.revisions {
		l.take(v, households, &s.outcome)
		var written annona.RecordKey
		if v.changed {
			next, image, err := l.x.next(v)
			if err != nil {
				return err
			}
			if err := areas.settle(&next, v.known.Clear); err != nil {
				return err
			}
			s.add(next, image)
			if v.anyChanged() {
				s.parts = append(s.parts, partsWrite{next.Dataset, next.Number, next.Version, v.parts})
			}
			written = next.RecordKey
			s.movedBy(v, day)
		}
		for _, k := range v.keys {
			if !v.isFirst(&k) && k.Key != written.Key {
				s.keys = append(s.keys, leading{k, v.known.Number})
			}
		}
	}
	return nil
}

func (v *revision) isFirst(k *annona.RecordKey) bool {
	return k.Source == v.known.Key.Source && k.Key == v.known.Key.Key
}

// gather puts the reports of one record together, in the order of the batch.
func gather(all []met) []*revision {
	type subject struct {
		dataset string
		number  annona.Number
	}
	at := map[subject]*revision{}
	var revisions []*revision
	for _, m := range all {
		s := subject{m.report.Dataset.Name, m.known.Number}
		if at[s] == nil {
			at[s] = &revision{known: m.known}
			revisions = append(revisions, at[s])
		}
		at[s].reports = append(at[s].reports, m)
	}
	return revisions
}

// recall opens what is on file of records, or what was kept of those that were deleted.
func (x *Exchange) recall(ctx context.Context, by annona.Cells, revisions []*revision) error {
	if len(revisions) == 0 {
		return nil
	}
	cells := make([]annona.Cell, 0, 2*len(revisions))
	for _, v := range revisions {
		k := &v.known
		clear, sealed := annona.Cell{Dataset: k.Key.Dataset, Number: k.Number, Part: annona.PartBefore}, annona.Cell{Dataset: k.Key.Dataset, Number: k.Number, Part: annona.PartSealed}
		if k.Deleted {
			former, err := annona.ParseFormer(k.Before)
			if err != nil {
				return err
			}
			clear.Version, clear.Image = former.Version, slices.Clone(former.Clear)
			sealed.Version, sealed.Image = former.Version, slices.Clone(former.Sealed)
		} else {
			sealed.Version, sealed.Image = k.Version, slices.Clone(k.Sealed)
		}
		cells = append(cells, clear, sealed)
	}
	if err := by.OpenCells(ctx, cells); err != nil {
		return err
	}
	for i, v := range revisions {
		v.sealed = cells[2*i+1].Image
		if !v.known.Deleted {
			v.former = wasOf(&v.known)
			continue
		}
		var err error
		if v.former, err = parseWas(cells[2*i].Image); err != nil {
			return err
		}
	}
	if err := x.openParts(ctx, by, revisions); err != nil {
		return err
	}
	return x.portray(revisions)
}

// wasOf is what is kept of a record on file when it changes.
func wasOf(k *annona.Known) was {
	return was{clear: k.Clear, first: keptOf(&k.Key), memberships: k.Memberships, relationships: k.Relationships, marks: k.Marks}
}

func (x *Exchange) portray(revisions []*revision) error {
	for _, v := range revisions {
		r, err := recordOf(x.CurrentDictionary(), v.known.Key.Dataset, v.former.clear, v.sealed)
		if err != nil {
			return err
		}
		v.now = standing{
			source: v.former.first.source, asOf: v.former.first.asOf, words: wordsOf(&r),
			memberships: v.former.memberships, relationships: v.former.relationships,
		}
	}
	return nil
}

// take merges the reports of a record into it.
func (l *Loading) take(v *revision, households map[string]annona.Number, o *outcome) {
	for _, m := range v.reports {
		reported := &m.known.Reported
		if m.report.Dataset.Name == "households" && reported.Digest == mergedAway {
			o.Unchanged++ // it is about a household that has become another one
			continue
		}
		stale := l.stale(v.known.Number, reported, m.report.Dataset.Name) ||
			len(v.parts) > 0 && l.stale(l.x.partOf(v, &m.report.RecordKey).number, reported, m.report.Dataset.Name) ||
			v.known.Deleted && !v.changed && m.report.AsOf.Before(v.former.gone)
		if stale {
			o.Stale++
			continue
		}
		before := v.now
		isFirst := v.isFirst(&m.report.RecordKey)
		next, outside := l.x.report(v, l.said(m.report, isFirst, households), &m.report.RecordKey, l.decides[m.report.Dataset.Name])
		for _, unit := range outside {
			o.count(m.report.Dataset.Name + "." + unit)
		}
		if !isFirst {
			other := keptOf(&m.report.RecordKey)
			if reported.Source == "" {
				other.unknown = true
				o.tally.Attached++
			} else {
				other.digest, other.asOf = reported.Digest, reported.AsOf
			}
			v.former.others = append(v.former.others, other)
		}
		v.keys = append(v.keys, m.report.RecordKey)
		v.now = next
		if isFirst || reported.Source == "" || v.known.Deleted || !before.same(&next) || v.anyChanged() {
			v.changed = true
		}
	}
	if len(v.keys) > 0 && !v.changed {
		o.Unchanged += len(v.keys)
	}
}

func (o *outcome) count(name string) {
	if o.outside == nil {
		o.outside = map[string]int{}
	}
	o.outside[name]++
}

// said is a prepared record as the merge rule takes it.
func (l *Loading) said(r *prepared, first bool, households map[string]annona.Number) said {
	report := said{
		origin: l.origin(), first: first, covers: l.coverOf(r.Dataset), words: wordsOf(r.said),
		memberships: slices.Clone(r.Memberships), relationships: slices.Clone(r.Relationships),
		flag: func(unit string) word { return l.x.flag(r.Dataset, flagOutside, unit, l.load.AsOf) },
	}
	for i := range report.memberships {
		report.memberships[i].Household = households[report.memberships[i].HouseholdKey]
	}
	return report
}

// same reports whether two records are the same, with where each word comes from.
func (s *standing) same(o *standing) bool {
	return slices.EqualFunc(s.words, o.words, func(a, b word) bool {
		return a.about(&b) && a.says(&b) && slices.EqualFunc(a.origins, b.origins, origin.same)
	}) &&
		slices.Equal(s.memberships, o.memberships) && slices.Equal(s.relationships, o.relationships)
}

func (o origin) same(p origin) bool { return o.source == p.source && o.asOf.Equal(p.asOf) }

// next is a revised record, ready to be sealed.
func (x *Exchange) next(v *revision) (annona.StoredRecord, versions, error) {
	last := v.keys[len(v.keys)-1]
	for _, k := range v.keys { // what was reported under the first key lies with the record itself
		if v.isFirst(&k) {
			last = k
		}
	}
	s := prepared{StoredRecord: annona.StoredRecord{
		RecordKey: last, Number: v.known.Number, Version: v.known.Version + 1,
		Memberships: v.now.memberships, Relationships: v.now.relationships,
	}}
	s, err := x.split(s, v.now.words)
	if err != nil {
		return s.StoredRecord, versions{}, err
	}
	return s.StoredRecord, versions{next: s.sealed, known: v.known, was: &v.former}, nil
}

// households resolves the households that reports name: those of the batch have their numbers, also
// the new ones; the others are on file or unknown.
func (l *Loading) households(ctx context.Context, b *Batch, known []annona.Known, all []*revision) (map[string]annona.Number, error) {
	numbers := map[string]annona.Number{}
	for i, k := range b.keys {
		if k.Dataset.Name == "households" {
			numbers[k.Key] = known[i].Number
		}
	}
	var keys []annona.RecordKey
	dataset, _ := l.x.CurrentDictionary().Dataset("households")
	for _, v := range all {
		for _, m := range v.reports {
			for _, membership := range m.report.Memberships {
				if _, have := numbers[membership.HouseholdKey]; !have {
					numbers[membership.HouseholdKey] = 0
					keys = append(keys, annona.RecordKey{Dataset: dataset, Source: m.report.Source, Key: membership.HouseholdKey})
				}
			}
		}
	}
	if len(keys) == 0 {
		return numbers, nil
	}
	found, err := l.x.Loads.Numbers(ctx, keys)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		numbers[k.Key] = found[i]
	}
	return numbers, nil
}
