package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// relationship is a relationship as it lies in the store.
type relationship struct {
	number int64
	uid    annona.UID
	taken  bool // a record that is written goes on with it
	annona.Relationship
}

func readRelationships(c *conn, of annona.Number) (had []relationship, err error) {
	err = c.each("SELECT number, uid, to_number, to_key, source, type, start_date, end_date, end_reason FROM relationships WHERE from_number = ? ORDER BY number", func(s *sqlite.Stmt) error {
		had = append(had, relationship{number: s.ColumnInt64(0), uid: columnUID(s, 1), Relationship: annona.Relationship{
			To: annona.Number(s.ColumnInt64(2)), ToKey: s.ColumnText(3), Source: s.ColumnText(4), Type: s.ColumnText(5),
			StartDate: columnDate(s, 6), EndDate: columnDate(s, 7), EndReason: s.ColumnText(8),
		}})
		return nil
	}, of)
	return had, err
}

// writeRelationships replaces the relationships of an individual by those of its record, and
// joins those of others that have been waiting for it. One that goes on keeps its number and
// id: a change of something else must not show in them.
func (t *tx) writeRelationships(w written, loaded *annona.Loaded, touched touches) error {
	if len(w.relationships) > 0 {
		if err := t.conn.exec("DELETE FROM relationships WHERE from_number = ?", w.number); err != nil {
			return err
		}
	}
	for _, r := range w.record.Relationships {
		if r.Source == "" {
			r.Source = w.key.Source
		}
		if err := t.insertRelationship(w, &r, loaded); err != nil {
			return err
		}
	}
	if !w.isNew() {
		return nil
	}
	return t.resolveKeys(w.found, touched)
}

// identify gives a relationship the number and id that it had, or new ones.
func (t *tx) identify(r *annona.Relationship, had []relationship) (int64, annona.UID, error) {
	for i := range had {
		if o := &had[i]; !o.taken && o.Source == r.Source && o.ToKey == r.ToKey && o.Type == r.Type {
			o.taken = true
			return o.number, o.uid, nil
		}
	}
	number, err := t.next("relationships")
	return number, annona.NewUIDAt(t.now), err
}

func (t *tx) insertRelationship(w written, r *annona.Relationship, loaded *annona.Loaded) error {
	if r.ToKey == "" {
		return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
	}
	to, err := t.otherEnd(r)
	if err != nil {
		return err
	}
	if to == 0 {
		if erased, err := t.buried(recordKey{"individuals", r.Source, r.ToKey}); err != nil || erased {
			return err // nothing leads to somebody who was erased
		}
	}
	number, uid, err := t.identify(r, w.relationships)
	if err != nil {
		return err
	}
	var other any
	if to == 0 {
		loaded.Unresolved++
		t.elsewhere.waiting = true
	} else {
		other = to
	}
	return t.conn.exec(`INSERT INTO relationships (from_number, number, uid, to_number, to_key, source, type, start_date, end_date, end_reason)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		w.number, number, uid, other, r.ToKey, r.Source, r.Type, r.StartDate, r.EndDate, r.EndReason)
}

// otherEnd returns the number of the other individual; 0 when it is not on file.
func (t *tx) otherEnd(r *annona.Relationship) (annona.Number, error) {
	if r.To > 0 {
		version, err := t.version("individuals", r.To)
		if err != nil || version > 0 {
			return r.To, err
		}
	}
	return t.leadsTo(recordKey{"individuals", r.Source, r.ToKey})
}

// resolve joins the relationships that wait for a key to the individual to whom it leads. What is
// seen of the others changes by that.
func (t *tx) resolve(source, key string, number annona.Number, touched touches) error {
	if there, err := t.lookElsewhere(); err != nil || !there.waiting {
		return err
	}
	var waiting []annona.Number
	err := t.conn.each("SELECT from_number FROM relationships WHERE source = ? AND to_key = ? AND to_number IS NULL", func(s *sqlite.Stmt) error {
		waiting = append(waiting, annona.Number(s.ColumnInt64(0)))
		return nil
	}, source, key)
	if err != nil || len(waiting) == 0 {
		return err
	}
	for _, from := range waiting {
		touched[subject{"individuals", from}] = "relationship"
	}
	return t.conn.exec("UPDATE relationships SET to_number = ? WHERE source = ? AND to_key = ? AND to_number IS NULL", number, source, key)
}
