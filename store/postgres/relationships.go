package postgres

import "github.com/annona-exchange/annona"

var relationshipColumns = []string{"from_number", "number", "uid", "to_number", "to_key", "source", "type", "start_date", "end_date", "end_reason"}

// relationship is what stays of a relationship when its individual is reported again.
type relationship struct {
	number int64
	uid    annona.UID
	toKey  string
	kind   string
	taken  bool
}

// writeRelationships replaces the relationships of individuals by those of their records, and
// joins those of others that have been waiting for them. One that goes on keeps its number and
// id: a change of something else must not show in them.
func (t *tx) writeRelationships(people []*written, loaded *annona.Loaded, touched touches) error {
	people = lastWords(people)
	var known []int64
	for _, w := range people {
		if !w.created {
			known = append(known, int64(w.number))
		}
	}
	had, err := t.removeRelationships(known)
	if err != nil {
		return err
	}
	if err := t.insertRelationships(people, had, loaded); err != nil {
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

// removeRelationships deletes the relationships of individuals and returns them.
func (t *tx) removeRelationships(of []int64) (had map[annona.Number][]relationship, err error) {
	had = map[annona.Number][]relationship{}
	if len(of) == 0 {
		return had, nil
	}
	err = t.conn.each(`WITH gone AS (DELETE FROM relationships WHERE from_number = ANY ($1) RETURNING *)
		SELECT from_number, number, uid, to_key, type FROM gone ORDER BY number`, func(r row) error {
		had[r.number(0)] = append(had[r.number(0)], relationship{number: r.integer(1), uid: r.uid(2), toKey: r.text(3), kind: r.text(4)})
		return nil
	}, of)
	return had, err
}

// identify gives relationships the numbers and ids that they had, or new ones.
func (t *tx) identify(people []*written, had map[annona.Number][]relationship) ([]relationship, error) {
	var all []relationship
	var fresh []int
	for _, w := range people {
		for i := range w.record.Relationships {
			r := continues(&w.record.Relationships[i], had[w.number])
			if r.number == 0 {
				fresh = append(fresh, len(all))
			}
			all = append(all, r)
		}
	}
	numbers, err := t.next("relationships_number", len(fresh))
	for i, n := range numbers {
		all[fresh[i]] = relationship{number: n, uid: annona.NewUID()}
	}
	return all, err
}

// continues takes the relationship that r goes on with; the zero one when r is new.
func continues(r *annona.Relationship, had []relationship) relationship {
	for i := range had {
		if o := &had[i]; !o.taken && o.toKey == r.ToKey && o.kind == r.Type {
			o.taken = true
			return *o
		}
	}
	return relationship{}
}

func (t *tx) insertRelationships(people []*written, had map[annona.Number][]relationship, loaded *annona.Loaded) error {
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
	identified, err := t.identify(people, had)
	if err != nil {
		return err
	}
	var rows [][]any
	for _, w := range people {
		for _, r := range w.record.Relationships {
			at := len(rows)
			uid := identified[at].uid
			if others[at] == nil {
				loaded.Unresolved++
			}
			rows = append(rows, []any{int64(w.number), identified[at].number, uid[:], others[at], r.ToKey, w.record.Source, orNull(r.Type),
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
