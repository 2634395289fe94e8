package postgres

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// keyList is keys as two columns for unnest.
func keyList(all []*found) (sources, keys []string) {
	for _, f := range all {
		sources, keys = append(sources, f.asked.Source), append(keys, f.asked.Key)
	}
	return sources, keys
}

// findBeside finds records by keys that are not their first ones, and those that are deleted. Where
// no other keys and no deleted records lie, it asks nothing.
func (t *tx) findBeside(tb *table, missing []*found) error {
	if len(missing) == 0 || !t.beside {
		return nil
	}
	sources, keys := keyList(missing)
	err := t.conn.each(tb.other, func(r row) error {
		f := missing[r.integer(0)-1]
		f.way, f.number, f.version = byOtherKey, r.number(1), r.integer(4)
		f.report(r)
		if f.deleted = f.version == 0; !f.deleted {
			f.compare(r[2])
		}
		return nil
	}, sources, keys)
	if err != nil {
		return err
	}
	missing = slices.DeleteFunc(slices.Clone(missing), func(f *found) bool { return f.number > 0 })
	if len(missing) == 0 {
		return nil
	}
	sources, keys = keyList(missing)
	return t.conn.each(`SELECT k.position, d.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)
		JOIN deleted_records d ON d.source = k.source COLLATE "C" AND d.source_key = k.key COLLATE "C" AND d.dataset = $3`, func(r row) error {
		f := missing[r.integer(0)-1]
		f.way, f.number, f.deleted = byDeletedKey, r.number(1), true
		return nil
	}, sources, keys, tb.dataset)
}

// report notes what was last reported under another key, from a row of table.other.
func (f *found) report(r row) {
	f.known.Reported = annona.RecordKey{Dataset: f.of, Source: f.asked.Source, Key: f.asked.Key, AsOf: r.time(3)}
	copy(f.known.Reported.Digest[:], r[2])
}

// match looks for the holders of the identifiers of records that are not on file. The only one there
// is, is found.
func (t *tx) match(tb *table, differing []*found) error {
	var asked []*found
	var positions []int64
	var places []int64
	var packed [][]byte
	for _, f := range differing {
		if f.number > 0 || len(f.asked.Match) == 0 {
			continue
		}
		asked = append(asked, f)
		for _, id := range f.asked.Match {
			positions, places, packed = append(positions, int64(len(asked)-1)), append(places, identifierPlace(tb.noun, id)), append(packed, id.Packed())
		}
	}
	if len(asked) == 0 {
		return nil
	}
	err := t.conn.each(`SELECT DISTINCT k.position, i.number FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) k (position, place, packed)
		JOIN identifier_index i ON i.place = k.place JOIN `+tb.dataset+` r ON r.number = i.number AND position(k.packed IN r.identifiers) > 0 ORDER BY 1, 2`, func(r row) error {
		f := asked[r.integer(0)]
		f.known.Matched = append(f.known.Matched, r.number(1))
		return nil
	}, positions, places, packed)
	for _, f := range asked {
		if len(f.known.Matched) == 1 {
			f.way, f.number = byMatch, f.known.Matched[0]
		}
	}
	return err
}

// lookAgain reads what was reported under other keys once their records are locked: only then does
// it stay.
func (t *tx) lookAgain(tb *table, differing []*found) error {
	var all []*found
	for _, f := range differing {
		if f.way == byOtherKey || f.way == byMatch {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	leads := make([]annona.Number, len(all)) // 0: nowhere, as before a match
	sources, keys := keyList(all)
	err := t.conn.each(tb.other, func(r row) error {
		at := r.integer(0) - 1
		f := all[at]
		leads[at] = r.number(1)
		f.report(r)
		if !f.deleted {
			f.compare(r[2])
		}
		return nil
	}, sources, keys)
	for i, f := range all {
		if f.way == byOtherKey && leads[i] != f.number || f.way == byMatch && leads[i] != 0 {
			t.again = true // somebody has changed where the key leads
			return errBusy()
		}
	}
	return err
}

// PutKey lets another key lead to a record, or to nothing again. See annona.LifeTx.
func (t *tx) PutKey(ctx context.Context, by annona.Author, key annona.RecordKey, number annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkKeys([]annona.RecordKey{key}); err != nil {
		return err
	}
	tb, err := t.table(key.Dataset.Name)
	if err != nil {
		return t.fault("write a key", err)
	}
	if err := t.sendLater(); err != nil {
		return t.fault("write a key", err)
	}
	if number > 0 {
		there, err := t.conn.integer("SELECT number FROM "+tb.dataset+" WHERE number = $1 FOR NO KEY UPDATE", number)
		if err != nil {
			return t.fault("write a key", err)
		}
		if there == 0 {
			return annona.NotFound("the record is not on file")
		}
	}
	touched := touches{}
	if err := t.putKeys(tb, []*annona.RecordKey{&key}, []int64{int64(number)}, touched); err != nil {
		return t.fault("write a key", err)
	}
	if err := t.touchAll(touched, by); err != nil {
		return t.fault("write an event", err)
	}
	return nil
}

// putKeys writes other keys and what follows from them: the relationships that name one lead where
// it leads.
func (t *tx) putKeys(tb *table, keys []*annona.RecordKey, numbers []int64, touched touches) error {
	if len(keys) == 0 {
		return nil
	}
	var sources, texts []string
	for _, k := range keys {
		sources, texts = append(sources, k.Source), append(texts, k.Key)
		delete(t.known, householdKey{k.Source, k.Key})
	}
	taken, err := t.conn.integer(`SELECT count(*) FROM unnest($1::text[], $2::text[], $3::bigint[]) k (source, key, number)
		JOIN `+tb.dataset+` r ON r.source = k.source COLLATE "C" AND r.source_key = k.key COLLATE "C" WHERE k.number > 0`, sources, texts, numbers)
	if err != nil {
		return err
	}
	if taken > 0 {
		return annona.Conflict("key_taken", "the key is the one under which another record came on file; it leads nowhere else")
	}
	if tb.dataset == "individuals" {
		if err := t.unresolve(sources, texts, numbers, touched); err != nil {
			return err
		}
	}
	if err := t.writeKeys(tb, keys, numbers); err != nil {
		return err
	}
	if tb.dataset != "individuals" {
		return nil
	}
	return t.resolve(sources, texts, numbers, touched)
}

// writeKeys writes other keys with what was reported under them. A key for number 0 goes.
func (t *tx) writeKeys(tb *table, keys []*annona.RecordKey, numbers []int64) error {
	var sources, texts []string
	var digests [][]byte
	var moments []*int64
	for _, k := range keys {
		sources, texts = append(sources, k.Source), append(texts, k.Key)
		digests, moments = append(digests, k.Digest[:]), append(moments, instant(k.AsOf))
	}
	t.beside = true
	_, err := t.conn.db.Exec(t.conn.ctx, `INSERT INTO other_keys (source, source_key, dataset, number, digest, as_of)
		SELECT k.source, k.key, $6, k.number, k.digest, k.as_of FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[]) k (source, key, number, digest, as_of)
		WHERE k.number > 0 ORDER BY 1, 2
		ON CONFLICT (source, source_key, dataset) DO UPDATE SET number = excluded.number, digest = excluded.digest, as_of = excluded.as_of`,
		sources, texts, numbers, digests, moments, tb.dataset)
	if err != nil || !slices.Contains(numbers, 0) {
		return err
	}
	return t.conn.exec(`DELETE FROM other_keys o USING unnest($1::text[], $2::text[], $3::bigint[]) k (source, key, number)
		WHERE o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = $4 AND k.number = 0`, sources, texts, numbers, tb.dataset)
}

// unresolve lets the relationships wait again that name a key which is about to lead elsewhere.
func (t *tx) unresolve(sources, keys []string, numbers []int64, touched touches) error {
	return t.conn.each(`UPDATE relationships r SET to_number = NULL FROM unnest($1::text[], $2::text[], $3::bigint[]) k (source, key, number)
		JOIN other_keys o ON o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = 'individuals' AND o.number <> k.number
		WHERE r.to_number = o.number AND r.source = o.source AND r.to_key = o.source_key RETURNING r.from_number`, func(r row) error {
		touched[subject{"individuals", r.number(0)}] = "relationship"
		return nil
	}, sources, keys, numbers)
}

// otherKeys returns the keys of records beside their first ones.
func otherKeys(c *conn, dataset *annona.Dataset, numbers []int64) (map[annona.Number][]annona.RecordKey, error) {
	keys := map[annona.Number][]annona.RecordKey{}
	err := c.each("SELECT number, source, source_key, digest, as_of FROM other_keys WHERE dataset = $1 AND number = ANY ($2) ORDER BY source, source_key", func(r row) error {
		k := annona.RecordKey{Dataset: dataset, Source: r.text(1), Key: r.text(2), AsOf: r.time(4)}
		copy(k.Digest[:], r[3])
		keys[r.number(0)] = append(keys[r.number(0)], k)
		return nil
	}, dataset.Name, numbers)
	return keys, err
}
