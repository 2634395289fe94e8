package postgres

import (
	"slices"

	"github.com/annona-exchange/annona"
)

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
func (t *tx) identify(all []reported, had map[annona.Number][]relationship) error {
	var fresh []*reported
	for i := range all {
		r := &all[i]
		if r.relationship = continues(r.Relationship, had[r.of.number]); r.number == 0 {
			fresh = append(fresh, r)
		}
	}
	numbers, err := t.next("relationships_number", len(fresh))
	for i, n := range numbers {
		fresh[i].number, fresh[i].uid = n, annona.NewUID()
	}
	return err
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

// reported is a relationship that a record brings.
type reported struct {
	*annona.Relationship
	of *written
	to any // number of the other individual; nil: not on file yet
	relationship
}

func (t *tx) insertRelationships(people []*written, had map[annona.Number][]relationship, loaded *annona.Loaded) error {
	all, err := t.reportedRelationships(people)
	if err != nil || len(all) == 0 {
		return err
	}
	if err := t.identify(all, had); err != nil {
		return err
	}
	rows := make([][]any, len(all))
	for i := range all {
		r := &all[i]
		if r.to == nil {
			loaded.Unresolved++
		}
		rows[i] = []any{int64(r.of.number), r.number, r.uid[:], r.to, r.ToKey, r.of.record.Source, orNull(r.Type),
			orNull(string(r.StartDate)), orNull(string(r.EndDate)), orNull(r.EndReason)}
	}
	return t.conn.copyIn("relationships", relationshipColumns, rows)
}

// reportedRelationships resolves the other ends. Nothing leads to somebody who was erased.
func (t *tx) reportedRelationships(people []*written) (all []reported, err error) {
	var sources, keys []string
	for _, w := range people {
		for i := range w.record.Relationships {
			r := &w.record.Relationships[i]
			if r.ToKey == "" {
				return nil, annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
			}
			all = append(all, reported{Relationship: r, of: w})
			sources, keys = append(sources, w.record.Source), append(keys, r.ToKey)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	err = t.conn.each(`SELECT k.position, i.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)
		JOIN individuals i ON i.source = k.source COLLATE "C" AND i.source_key = k.key COLLATE "C"`, func(r row) error {
		all[r.integer(0)-1].to = r.integer(1)
		return nil
	}, sources, keys)
	if err != nil {
		return nil, err
	}
	erased := map[recordKey]bool{}
	err = t.conn.each(erasedKeys, func(r row) error {
		erased[recordKey{"individuals", r.text(0), r.text(1)}] = true
		return nil
	}, sources, keys, "individuals", t.now)
	return slices.DeleteFunc(all, func(r reported) bool {
		return r.to == nil && erased[recordKey{"individuals", r.of.record.Source, r.ToKey}]
	}), err
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
