package postgres

import "github.com/annona-exchange/annona"

var relationshipColumns = []string{"from_number", "number", "uid", "to_number", "to_key", "source", "type", "start_date", "end_date", "end_reason"}

// writeRelationships replaces the relationships of individuals by those of their records, and
// joins those of others that have been waiting for them.
func (t *tx) writeRelationships(people []*written, loaded *annona.Loaded, touched touches) error {
	people = lastWords(people)
	var known []int64
	for _, w := range people {
		if !w.created {
			known = append(known, int64(w.number))
		}
	}
	if len(known) > 0 {
		if err := t.conn.exec("DELETE FROM relationships WHERE from_number = ANY ($1)", known); err != nil {
			return err
		}
	}
	if err := t.insertRelationships(people, loaded); err != nil {
		return err
	}
	return t.resolveRelationships(people, touched)
}

// lastWords keeps the last of several records of one individual.
func lastWords(people []*written) []*written {
	at := map[annona.Number]int{}
	var last []*written
	for _, w := range people {
		if i, twice := at[w.number]; twice {
			w.created = last[i].created
			last[i] = w
			continue
		}
		at[w.number] = len(last)
		last = append(last, w)
	}
	return last
}

func (t *tx) insertRelationships(people []*written, loaded *annona.Loaded) error {
	var sources, keys []string
	for _, w := range people {
		for _, r := range w.record.Relationships {
			if r.ToKey == "" {
				return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
			}
			sources, keys = append(sources, w.record.Source), append(keys, r.ToKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	others := make([]any, len(keys))
	err := t.conn.each(`SELECT k.position, i.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)
		JOIN individuals i ON i.source = k.source COLLATE "C" AND i.source_key = k.key COLLATE "C"`, func(r row) error {
		others[r.integer(0)-1] = r.integer(1)
		return nil
	}, sources, keys)
	if err != nil {
		return err
	}
	numbers, err := t.next("relationships_number", len(keys))
	if err != nil {
		return err
	}
	var rows [][]any
	for _, w := range people {
		for _, r := range w.record.Relationships {
			at, uid := len(rows), annona.NewUID()
			if others[at] == nil {
				loaded.Unresolved++
			}
			rows = append(rows, []any{int64(w.number), numbers[at], uid[:], others[at], r.ToKey, w.record.Source, orNull(r.Type),
				orNull(string(r.StartDate)), orNull(string(r.EndDate)), orNull(r.EndReason)})
		}
	}
	return t.conn.copyIn("relationships", relationshipColumns, rows)
}

// resolveRelationships joins relationships to new individuals. What is seen of the others
// changes by that.
func (t *tx) resolveRelationships(people []*written, touched touches) error {
	var sources, keys []string
	var numbers []int64
	for _, w := range people {
		if w.created {
			sources, keys, numbers = append(sources, w.record.Source), append(keys, w.record.Key), append(numbers, int64(w.number))
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	return t.conn.each(`UPDATE relationships r SET to_number = k.number FROM unnest($1::text[], $2::text[], $3::bigint[]) k (source, key, number)
		WHERE r.source = k.source COLLATE "C" AND r.to_key = k.key COLLATE "C" AND r.to_number IS NULL RETURNING r.from_number`, func(r row) error {
		touched[subject{"individuals", r.number(0)}] = "relationship"
		return nil
	}, sources, keys, numbers)
}
