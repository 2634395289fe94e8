package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// relationship is what stays of a relationship when its individual is reported again.
type relationship struct {
	number int64
	uid    annona.UID
	toKey  string
	kind   string
	taken  bool
}

// writeRelationships replaces the relationships of an individual by those of its record, and
// joins those of others that have been waiting for it. One that goes on keeps its number and
// id: a change of something else must not show in them.
func (t *tx) writeRelationships(w written, loaded *annona.Loaded, touched touches) (err error) {
	var had []relationship
	if !w.created {
		if had, err = t.removeRelationships(w.number); err != nil {
			return err
		}
	}
	for i := range w.record.Relationships {
		if err := t.insertRelationship(w, &w.record.Relationships[i], had, loaded); err != nil {
			return err
		}
	}
	if !w.created {
		return nil
	}
	return t.resolveRelationships(w, touched)
}

// removeRelationships deletes the relationships of an individual and returns them.
func (t *tx) removeRelationships(of annona.Number) (had []relationship, err error) {
	err = t.conn.each("SELECT number, uid, to_key, type FROM relationships WHERE from_number = ?", func(s *sqlite.Stmt) error {
		had = append(had, relationship{number: s.ColumnInt64(0), uid: columnUID(s, 1), toKey: s.ColumnText(2), kind: s.ColumnText(3)})
		return nil
	}, of)
	if err != nil || len(had) == 0 {
		return nil, err
	}
	return had, t.conn.exec("DELETE FROM relationships WHERE from_number = ?", of)
}

// identify gives a relationship the number and id that it had, or new ones.
func (t *tx) identify(r *annona.Relationship, had []relationship) (int64, annona.UID, error) {
	for i := range had {
		if o := &had[i]; !o.taken && o.toKey == r.ToKey && o.kind == r.Type {
			o.taken = true
			return o.number, o.uid, nil
		}
	}
	number, err := t.next("relationships")
	return number, annona.NewUID(), err
}

func (t *tx) insertRelationship(w written, r *annona.Relationship, had []relationship, loaded *annona.Loaded) error {
	if r.ToKey == "" {
		return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
	}
	to, err := t.conn.integer("SELECT number FROM individuals WHERE source = ? AND source_key = ?", w.record.Source, r.ToKey)
	if err != nil {
		return err
	}
	if to == 0 {
		if erased, err := t.buried(recordKey{"individuals", w.record.Source, r.ToKey}); err != nil || erased {
			return err // nothing leads to somebody who was erased
		}
	}
	number, uid, err := t.identify(r, had)
	if err != nil {
		return err
	}
	var other any
	if to == 0 {
		loaded.Unresolved++
	} else {
		other = to
	}
	return t.conn.exec(`INSERT INTO relationships (from_number, number, uid, to_number, to_key, source, type, start_date, end_date, end_reason)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		w.number, number, uid, other, r.ToKey, w.record.Source, r.Type, r.StartDate, r.EndDate, r.EndReason)
}

// resolveRelationships joins relationships to a new individual. What is seen of the others
// changes by that.
func (t *tx) resolveRelationships(w written, touched touches) error {
	var waiting []annona.Number
	err := t.conn.each("SELECT from_number FROM relationships WHERE source = ? AND to_key = ? AND to_number IS NULL", func(s *sqlite.Stmt) error {
		waiting = append(waiting, annona.Number(s.ColumnInt64(0)))
		return nil
	}, w.record.Source, w.record.Key)
	if err != nil || len(waiting) == 0 {
		return err
	}
	for _, from := range waiting {
		touched[subject{"individuals", from}] = "relationship"
	}
	return t.conn.exec("UPDATE relationships SET to_number = ? WHERE source = ? AND to_key = ? AND to_number IS NULL",
		w.number, w.record.Source, w.record.Key)
}
