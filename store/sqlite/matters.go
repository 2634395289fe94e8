package sqlite

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// matterDatasets are those whose records are matters; a counter of that name gives out their numbers.
func matterDatasets() []string {
	return []string{"enrollments", "benefits", "cases", "case_notes", "case_attachments", "transitions"}
}

func errMatter(name string) error {
	return annona.Invalid("unknown_dataset", "no matters of this name are kept").On(name)
}

func checkMatters(dataset *annona.Dataset) error {
	if !slices.Contains(matterDatasets(), dataset.Name) {
		return errMatter(dataset.Name)
	}
	return nil
}

const selectMatters = `SELECT number, uid, version, subject_dataset, subject, parent, program, owner, worker, state, confidentiality, due,
	source, source_key, clear, clear_groups, sealed, sealed_groups, registered_at, updated_at FROM matters WHERE dataset = ?1 AND `

// readMatter takes a matter from a row of selectMatters.
func readMatter(of *annona.Dataset, s *sqlite.Stmt) (m annona.Matter, err error) {
	m = annona.Matter{
		Dataset: of, Number: annona.Number(s.ColumnInt64(0)), UID: columnUID(s, 1), Version: s.ColumnInt(2),
		Subject: annona.SubjectRef{Dataset: s.ColumnText(3), Number: annona.Number(s.ColumnInt64(4))},
		Parent:  annona.Number(s.ColumnInt64(5)), Program: s.ColumnText(6), Owner: s.ColumnText(7), Worker: s.ColumnText(8),
		State: s.ColumnText(9), Confidentiality: s.ColumnText(10), Due: columnDate(s, 11), Source: s.ColumnText(12), Key: s.ColumnText(13),
		Sealed: append(columnBytes(s, 16), columnBytes(s, 17)...),
	}
	if m.Clear, err = annona.JoinImages(columnBytes(s, 14), columnBytes(s, 15)); err != nil {
		return m, annona.Internal("read a stored matter", err)
	}
	if m.RegisteredAt, err = time.Parse(annona.InstantLayout, s.ColumnText(18)); err == nil {
		m.UpdatedAt, err = time.Parse(annona.InstantLayout, s.ColumnText(19))
	}
	if err != nil {
		return m, annona.Internal("read a stored matter", err)
	}
	return m, nil
}

// FindMatters returns what is on file under each key. See annona.MatterTx.
func (t *tx) FindMatters(ctx context.Context, dataset *annona.Dataset, keys []annona.MatterKey) ([]annona.Matter, error) {
	if err := checkMatters(dataset); err != nil {
		return nil, err
	}
	found, seen := make([]annona.Matter, len(keys)), make(map[annona.MatterKey]bool, len(keys))
	for i, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if k.Source == "" || k.Key == "" || seen[k] {
			return nil, annona.Internal("find a matter", errMatterKey)
		}
		seen[k] = true
		known, err := t.matters(dataset, "source_key = ?2 AND source = ?3", k.Key, k.Source)
		if err != nil {
			return nil, fault("find a matter", err)
		}
		if len(known) == 1 {
			found[i] = known[0]
			continue
		}
		if found[i], err = t.newMatter(dataset); err != nil {
			return nil, fault("find a matter", err)
		}
		found[i].Source, found[i].Key = k.Source, k.Key
	}
	return found, nil
}

var errMatterKey = errors.New("a matter is found by a source and its key there, each pair once")

// HoldMatters returns matters by their numbers. Nobody else writes while the transaction lasts.
func (t *tx) HoldMatters(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Matter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkMatters(dataset); err != nil {
		return nil, err
	}
	held, err := t.matters(dataset, "number IN (SELECT value FROM json_each(?2)) ORDER BY number", numberList(numbers))
	return held, fault("find a matter", err)
}

// HoldWithParent returns a matter's parent and all that belong to that. See annona.ShareTx.
func (t *tx) HoldWithParent(ctx context.Context, parents, dataset *annona.Dataset, number annona.Number) ([]annona.Matter, error) {
	if err := cmp.Or(ctx.Err(), checkMatters(parents), checkMatters(dataset)); err != nil {
		return nil, err
	}
	held, err := t.matters(parents, "number = (SELECT parent FROM matters WHERE dataset = ?2 AND number = ?3)", dataset.Name, number)
	if err != nil || len(held) == 0 {
		return nil, fault("find a matter", err)
	}
	kin, err := t.matters(dataset, "parent = ?2 AND parent_dataset = ?3 ORDER BY number", held[0].Number, parents.Name)
	return append(held, kin...), fault("find a matter", err)
}

func (t *tx) matters(dataset *annona.Dataset, where string, args ...any) (all []annona.Matter, err error) {
	err = t.conn.each(selectMatters+where, func(s *sqlite.Stmt) error {
		m, err := readMatter(dataset, s)
		all = append(all, m)
		return err
	}, append([]any{dataset.Name}, args...)...)
	return all, err
}

// NewMatters sets numbers and ids aside. See annona.MatterTx.
func (t *tx) NewMatters(ctx context.Context, dataset *annona.Dataset, count int) ([]annona.Matter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkMatters(dataset); err != nil {
		return nil, err
	}
	fresh := make([]annona.Matter, count)
	for i := range fresh {
		var err error
		if fresh[i], err = t.newMatter(dataset); err != nil {
			return nil, fault("number a matter", err)
		}
	}
	return fresh, nil
}

func (t *tx) newMatter(dataset *annona.Dataset) (annona.Matter, error) {
	n, err := t.next(dataset.Name)
	return annona.Matter{Dataset: dataset, Number: annona.Number(n), UID: annona.NewUIDAt(t.now), RegisteredAt: t.now}, err
}

const (
	insertMatter = `INSERT INTO matters (dataset, number, version, subject_dataset, subject, parent, program, owner, worker, state, confidentiality, due,
			clear, clear_groups, sealed, sealed_groups, updated_at, uid, source, source_key, registered_at, parent_dataset)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?17, ?21)`
	updateMatter = `UPDATE matters SET version = ?3, subject_dataset = ?4, subject = ?5, parent = ?6, program = ?7, owner = ?8, worker = ?9, state = ?10,
			confidentiality = ?11, due = ?12, clear = ?13, clear_groups = ?14, sealed = ?15, sealed_groups = ?16, updated_at = ?17
		WHERE dataset = ?1 AND number = ?2 AND version = ?3 - 1`
)

// PutMatters writes matters with their events. See annona.MatterTx.
func (t *tx) PutMatters(ctx context.Context, by annona.Author, matters []annona.Matter) error {
	for i := range matters {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := &matters[i]
		if err := t.putMatter(m); err != nil {
			return fault("write a matter", err)
		}
		kind := annona.EventChanged
		if m.Version == 1 {
			kind = annona.EventCreated
		}
		if err := t.event(eventOf(by, m.Dataset.Name, m.Number, m.Version, kind, m.Before)); err != nil {
			return fault("write a matter", err)
		}
	}
	return nil
}

func (t *tx) putMatter(m *annona.Matter) error {
	if err := checkMatters(m.Dataset); err != nil {
		return err
	}
	if err := t.checkAbout(m.Subject); err != nil {
		return err
	}
	clear, clearGroups, err := m.Dataset.SplitGroups(m.Clear)
	if err != nil {
		return annona.Internal("write a matter", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(m.Sealed)
	if err != nil {
		return annona.Internal("write a matter", err)
	}
	set := []any{
		m.Dataset.Name, m.Number, m.Version, m.Subject.Dataset, numberOrNull(m.Subject.Number), numberOrNull(m.Parent), m.Program, m.Owner, m.Worker, m.State,
		m.Confidentiality, m.Due, clear, clearGroups, sealed, sealedGroups, annona.Instant(t.now),
	}
	sql := updateMatter
	if m.Version == 1 {
		sql, set = insertMatter, append(set, m.UID, m.Source, m.Key, m.Dataset.Parent)
	}
	if err := t.conn.exec(sql, set...); err != nil {
		return err
	}
	if t.conn.Changes() == 0 {
		return annona.Internal("write a matter", errNotFound)
	}
	return nil
}

// checkAbout refuses a matter about a record that is not on file, nor out of sight: it may have been
// erased meanwhile.
func (t *tx) checkAbout(s annona.SubjectRef) error {
	if s.IsZero() {
		return nil
	}
	tb, err := tableOf(s.Dataset)
	if err != nil {
		return err
	}
	n, err := t.conn.integer("SELECT count(*) FROM (SELECT 1 FROM "+tb.dataset+` WHERE number = ?1
		UNION ALL SELECT 1 FROM deleted_records WHERE dataset = ?2 AND number = ?1)`, s.Number, s.Dataset)
	if err == nil && n == 0 {
		return annona.NotFound("whom the matter is about is not on file")
	}
	return err
}

func numberOrNull(n annona.Number) any {
	if n == 0 {
		return nil
	}
	return n
}

// PutShare writes what a partner is let see. See annona.ShareTx.
func (t *tx) PutShare(ctx context.Context, s annona.Share) error {
	return t.share(ctx, `INSERT OR REPLACE INTO matter_shares (dataset, number, partner, transition, until, consent, fields, edit) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		s.Dataset, s.Number, s.Partner, s.By, s.Until, purposeList(s.Consent), joinList(s.Fields), s.Edit)
}

// EndShare takes it back. See annona.ShareTx.
func (t *tx) EndShare(ctx context.Context, s annona.Share) error {
	return t.share(ctx, "DELETE FROM matter_shares WHERE dataset = ? AND number = ? AND partner = ? AND transition = ?", s.Dataset, s.Number, s.Partner, s.By)
}

// EndShares takes back all that is shared of a matter. See annona.ShareTx.
func (t *tx) EndShares(ctx context.Context, matter annona.MatterRef) error {
	return t.share(ctx, "DELETE FROM matter_shares WHERE dataset = ? AND number = ?", matter.Dataset, matter.Number)
}

// purposeOf returns the purpose of a list of one.
func purposeOf(list string) string { return strings.Trim(list, listSeparator) }

// purposeList is a purpose as lists of purposes have it; nothing where there is none.
func purposeList(purpose string) string {
	if purpose == "" {
		return ""
	}
	return joinList([]string{purpose})
}

func (t *tx) share(ctx context.Context, sql string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(sql, args...)
	if err == nil {
		err = t.moveEpoch()
	}
	return fault("write what is shared of a matter", err)
}

// mattersAbout are those that a condition picks, with what belongs to them.
func mattersAbout(which string) string {
	return `WITH RECURSIVE about (dataset, number) AS (
		SELECT dataset, number FROM matters WHERE ` + which + `
		UNION SELECT m.dataset, m.number FROM about a CROSS JOIN matters m ON m.parent = a.number AND m.parent_dataset = a.dataset)
	SELECT m.dataset, m.number, m.version FROM about a CROSS JOIN matters m ON m.dataset = a.dataset AND m.number = a.number ORDER BY m.dataset, m.number`
}

// EraseMatters removes what is kept about somebody. See annona.MatterTx.
func (t *tx) EraseMatters(ctx context.Context, by annona.Author, about annona.SubjectRef) ([]annona.MatterRef, error) {
	return t.eraseMatters(ctx, by, "subject = ?1 AND subject_dataset = ?2", about.Number, about.Dataset)
}

// EraseMatter removes one matter. See annona.AttachmentTx.
func (t *tx) EraseMatter(ctx context.Context, by annona.Author, matter annona.MatterRef) ([]annona.MatterRef, error) {
	return t.eraseMatters(ctx, by, "number = ?1 AND dataset = ?2", matter.Number, matter.Dataset)
}

func (t *tx) eraseMatters(ctx context.Context, by annona.Author, which string, number annona.Number, dataset string) (gone []annona.MatterRef, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var erased []annona.Event
	err = t.conn.each(mattersAbout(which), func(s *sqlite.Stmt) error {
		erased = append(erased, eventOf(by, s.ColumnText(0), annona.Number(s.ColumnInt64(1)), s.ColumnInt(2), annona.EventErased, nil))
		return nil
	}, number, dataset)
	if err != nil {
		return nil, fault("erase what is kept about a record", err)
	}
	for _, e := range erased {
		if err := t.eraseMatter(e); err != nil {
			return nil, fault("erase what is kept about a record", err)
		}
		gone = append(gone, annona.MatterRef{Dataset: e.Dataset, Number: e.Record})
	}
	t.erased = t.erased || len(gone) > 0
	return gone, nil
}

func (t *tx) eraseMatter(e annona.Event) error {
	for _, sql := range []string{
		"UPDATE events SET before = NULL WHERE dataset = ?1 AND record = ?2 AND before IS NOT NULL",
		"DELETE FROM matter_shares WHERE dataset = ?1 AND number = ?2",
		"DELETE FROM change_requests WHERE dataset = ?1 AND subject = ?2",
		"DELETE FROM attachment_parts WHERE ?1 = 'case_attachments' AND attachment = ?2",
		"DELETE FROM matters WHERE dataset = ?1 AND number = ?2",
	} {
		if err := t.conn.exec(sql, e.Dataset, e.Record); err != nil {
			return err
		}
	}
	return t.event(e)
}

// PutAttachmentPart writes a part of the content of an attachment. See annona.AttachmentTx.
func (t *tx) PutAttachmentPart(ctx context.Context, attachment annona.Number, part int, sealed []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fault("write an attachment", t.conn.exec("INSERT INTO attachment_parts (attachment, part, sealed) VALUES (?1, ?2, ?3)", attachment, part, sealed))
}

// AttachmentPart returns a part of the content of an attachment. See annona.Attachments.
func (s *Store) AttachmentPart(ctx context.Context, attachment annona.Number, part int) (sealed []byte, err error) {
	err = s.readers.read(ctx, "read an attachment", func(c *conn) error {
		return c.each("SELECT sealed FROM attachment_parts WHERE attachment = ?1 AND part = ?2", func(r *sqlite.Stmt) error {
			sealed = columnBytes(r, 0)
			return nil
		}, attachment, part)
	})
	return sealed, err
}

// MatterEvents returns events of matters. See annona.Matters.
func (s *Store) MatterEvents(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number, after int64, limit int) (events []annona.Event, err error) {
	err = s.readers.read(ctx, "read what became of matters", func(c *conn) error {
		return c.each(`SELECT seq, id, at, actor, client, purpose, record, version, kind, reason, load, before FROM events
			WHERE dataset = ?1 AND dataset NOT IN ('individuals', 'households') AND record IN (SELECT value FROM json_each(?2)) AND seq > ?3 ORDER BY seq LIMIT ?4`, func(r *sqlite.Stmt) error {
			events = append(events, annona.Event{
				Seq: r.ColumnInt64(0), ID: columnUID(r, 1), At: columnTime(r, 2), Actor: r.ColumnText(3), Client: columnUID(r, 4), Purpose: r.ColumnText(5),
				Dataset: dataset.Name, Record: annona.Number(r.ColumnInt64(6)), Version: r.ColumnInt(7), Kind: annona.EventKind(r.ColumnText(8)),
				Reason: r.ColumnText(9), Load: r.ColumnInt64(10), Before: columnBytes(r, 11),
			})
			return nil
		}, dataset.Name, numberList(numbers), after, limit)
	})
	return events, err
}

// MatterShares returns what a partner is let see. See annona.Matters.
func (s *Store) MatterShares(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number, partner string, day annona.Date) (shares []annona.Share, err error) {
	err = s.readers.read(ctx, "read what is shared of matters", func(c *conn) (err error) {
		shares, err = c.matterShares(dataset, numbers, partner, day)
		return err
	})
	return shares, err
}

func (c *conn) matterShares(dataset *annona.Dataset, numbers []annona.Number, partner string, day annona.Date) (shares []annona.Share, err error) {
	l := &lowering{conn: c, terms: annona.ScopeTerms{Today: day}}
	l.write("SELECT s.number, s.transition, s.until, s.consent, s.fields, s.edit FROM matter_shares s JOIN matters o ON o.dataset = s.dataset AND o.number = s.number WHERE s.dataset = ")
	l.bind(dataset.Name)
	l.write(" AND s.number IN (SELECT value FROM json_each(")
	l.bind(numberList(numbers))
	l.write("))")
	l.sharedToday("o", partner)
	l.write(" ORDER BY s.number, s.transition")
	err = c.each(l.sql.String(), func(r *sqlite.Stmt) error {
		shares = append(shares, annona.Share{
			Dataset: dataset.Name, Number: annona.Number(r.ColumnInt64(0)), Partner: partner, By: columnUID(r, 1), Until: annona.Date(r.ColumnText(2)),
			Consent: purposeOf(r.ColumnText(3)), Fields: splitList(r.ColumnText(4)), Edit: r.ColumnInt(5) != 0,
		})
		return nil
	}, l.args...)
	return shares, err
}

// UIDsByKey returns the UIDs of records on file by their keys in a source.
func (s *Store) UIDsByKey(ctx context.Context, dataset *annona.Dataset, source string, keys []string) (map[string]annona.UID, error) {
	if err := s.checkDataset(dataset); err != nil {
		return nil, err
	}
	found := make(map[string]annona.UID, len(keys))
	err := s.readers.read(ctx, "find records by their keys", func(c *conn) error {
		for _, key := range keys {
			number, err := c.numberOf(recordKey{dataset.Name, source, key})
			if err != nil {
				return err
			}
			_, err = c.one(`SELECT uid FROM `+dataset.Name+` WHERE number = coalesce(nullif(?1, 0),
				(SELECT number FROM other_keys WHERE source = ?2 AND source_key = ?3 AND dataset = ?4))`,
				func(r *sqlite.Stmt) { found[key] = columnUID(r, 0) }, number, source, key, dataset.Name)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}
