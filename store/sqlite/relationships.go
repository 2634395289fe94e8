package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// writeRelationships replaces the relationships of an individual by those of its record, and
// joins those of others that have been waiting for it.
func (t *tx) writeRelationships(w written, loaded *annona.Loaded, touched touches) error {
	if !w.created {
		if err := t.conn.exec("DELETE FROM relationships WHERE from_number = ?", w.number); err != nil {
			return err
		}
	}
	for i := range w.record.Relationships {
		if err := t.insertRelationship(w, &w.record.Relationships[i], loaded); err != nil {
			return err
		}
	}
	if !w.created {
		return nil
	}
	return t.resolveRelationships(w, touched)
}

func (t *tx) insertRelationship(w written, r *annona.Relationship, loaded *annona.Loaded) error {
	if r.ToKey == "" {
		return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
	}
	number, err := t.next("relationships")
	if err != nil {
		return err
	}
	to, err := t.conn.integer("SELECT number FROM individuals WHERE source = ? AND source_key = ?", w.record.Source, r.ToKey)
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
		w.number, number, annona.NewUID(), other, r.ToKey, w.record.Source, r.Type, r.StartDate, r.EndDate, r.EndReason)
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
