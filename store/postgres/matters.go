package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// matterSequences give out the numbers of matters.
var matterSequences = map[string]string{
	"enrollments": "enrollments_number", "benefits": "benefits_number",
	"cases": "cases_number", "case_notes": "case_notes_number", "case_attachments": "case_attachments_number", "transitions": "transitions_number",
}

func errMatter(name string) error {
	return annona.Invalid("unknown_dataset", "no matters of this name are kept").On(name)
}

const selectMatters = `SELECT number, uid, version, subject_dataset, subject, parent, program, owner, worker, state, confidentiality, due,
	source, source_key, clear, clear_groups, sealed, sealed_groups, registered_at, updated_at FROM matters WHERE dataset = $1 AND `

// readMatter takes a matter from a row of selectMatters.
func readMatter(of *annona.Dataset, r row) (m annona.Matter, err error) {
	m = annona.Matter{
		Dataset: of, Number: r.number(0), UID: r.uid(1), Version: int(r.integer(2)), Subject: annona.SubjectRef{Dataset: r.text(3), Number: r.number(4)},
		Parent: r.number(5), Program: r.text(6), Owner: r.text(7), Worker: r.text(8), State: r.text(9), Confidentiality: r.text(10), Due: r.date(11),
		Source: r.text(12), Key: r.text(13), Sealed: append(r.bytes(16), r.bytes(17)...),
	}
	if m.Clear, err = annona.JoinImages(r.bytes(14), r.bytes(15)); err != nil {
		return m, annona.Internal("read a stored matter", err)
	}
	if m.RegisteredAt, err = time.Parse(annona.InstantLayout, r.text(18)); err == nil {
		m.UpdatedAt, err = time.Parse(annona.InstantLayout, r.text(19))
	}
	if err != nil {
		return m, annona.Internal("read a stored matter", err)
	}
	return m, nil
}

// byTheirKeys picks matters by keys of their sources. Their numbers are found first: a plan for few keys and for
// many would go through all matters in their order.
const byTheirKeys = `number = ANY (ARRAY (SELECT a.number FROM unnest($2::text[], $3::text[]) k (source, key)
	JOIN matters a ON a.source_key = k.key COLLATE "C" AND a.source = k.source COLLATE "C" AND a.dataset = $1 WHERE a.source_key IS NOT NULL))`

// FindMatters returns what is on file under each key. See annona.MatterTx.
func (t *tx) FindMatters(ctx context.Context, dataset *annona.Dataset, keys []annona.MatterKey) ([]annona.Matter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sources, texts, at := make([]string, len(keys)), make([]string, len(keys)), make(map[annona.MatterKey]int, len(keys))
	for i, k := range keys {
		if k.Source == "" || k.Key == "" {
			return nil, errWithoutKey()
		}
		if _, twice := at[k]; twice {
			return nil, annona.Internal("find a matter", errKeyTwice)
		}
		sources[i], texts[i], at[k] = k.Source, k.Key, i
	}
	found := make([]annona.Matter, len(keys))
	err := t.lockMatters(dataset, func(m annona.Matter) { found[at[annona.MatterKey{Source: m.Source, Key: m.Key}]] = m },
		byTheirKeys, sources, texts)
	if err != nil {
		return nil, err
	}
	var missing []int
	for i := range found {
		if found[i].Version == 0 {
			missing = append(missing, i)
		}
	}
	fresh, err := t.NewMatters(ctx, dataset, len(missing))
	if err != nil {
		return nil, err
	}
	for n, i := range missing {
		found[i] = fresh[n]
		found[i].Source, found[i].Key = keys[i].Source, keys[i].Key
	}
	return found, nil
}

// HoldMatters locks matters by their numbers. See annona.MatterTx.
func (t *tx) HoldMatters(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) (held []annona.Matter, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if held, foreseen := t.holdForeseen(dataset, numbers); foreseen {
		return held, nil
	}
	err = t.lockMatters(dataset, func(m annona.Matter) { held = append(held, m) }, "number = ANY ($2)", integers(numbers))
	return held, err
}

// HoldWithParent locks a matter's parent, and then all that belong to that. See annona.ShareTx.
func (t *tx) HoldWithParent(ctx context.Context, parents, dataset *annona.Dataset, number annona.Number) (held []annona.Matter, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	take := func(m annona.Matter) { held = append(held, m) }
	err = t.lockMatters(parents, take, "number = (SELECT parent FROM matters WHERE dataset = $2 AND number = $3)", dataset.Name, number)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	err = t.lockMatters(dataset, take, "parent = $2 AND parent_dataset = $3", held[0].Number, parents.Name)
	return held, err
}

// inOrder locks matters one by one, by their numbers, as everybody does.
const inOrder = " ORDER BY number FOR NO KEY UPDATE"

func (t *tx) lockMatters(dataset *annona.Dataset, take func(annona.Matter), where string, args ...any) error {
	if matterSequences[dataset.Name] == "" {
		return errMatter(dataset.Name)
	}
	if err := t.sendLater(); err != nil {
		return t.fault("find a matter", err)
	}
	err := t.conn.each(selectMatters+where+inOrder, func(r row) error {
		m, err := readMatter(dataset, r)
		if err == nil {
			t.about[annona.MatterRef{Dataset: dataset.Name, Number: m.Number}] = m.Subject
			take(m)
		}
		return err
	}, append([]any{dataset.Name}, args...)...)
	if err != nil {
		return t.fault("find a matter", err)
	}
	return nil
}

// NewMatters sets numbers and ids aside. See annona.MatterTx.
func (t *tx) NewMatters(ctx context.Context, dataset *annona.Dataset, count int) ([]annona.Matter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sequence := matterSequences[dataset.Name]
	if sequence == "" {
		return nil, errMatter(dataset.Name)
	}
	numbers, err := t.next(sequence, count)
	if err != nil {
		return nil, t.fault("number a matter", err)
	}
	fresh := make([]annona.Matter, count)
	for i, n := range numbers {
		fresh[i] = annona.Matter{Dataset: dataset, Number: annona.Number(n), UID: annona.NewUIDAt(t.now), RegisteredAt: t.now}
	}
	return fresh, nil
}

const (
	insertMatter = `INSERT INTO matters (dataset, number, version, subject_dataset, subject, parent, program, owner, worker, state, confidentiality, due,
			clear, clear_groups, sealed, sealed_groups, updated_at, uid, source, source_key, registered_at, parent_dataset)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $17, $21)`
	updateMatter = `WITH written AS (UPDATE matters SET version = $3, subject_dataset = $4, subject = $5, parent = $6, program = $7, owner = $8, worker = $9, state = $10,
			confidentiality = $11, due = $12, clear = $13, clear_groups = $14, sealed = $15, sealed_groups = $16, updated_at = $17
		WHERE dataset = $1 AND number = $2 AND version = $3 - 1 RETURNING 1)
		SELECT expect_written(count(*)) FROM written`
)

// PutMatters writes matters with their events. See annona.MatterTx.
func (t *tx) PutMatters(ctx context.Context, by annona.Author, matters []annona.Matter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.holdSubjects(matters); err != nil {
		return t.fault("find whom a matter is about", err)
	}
	for i := range matters {
		m := &matters[i]
		delete(t.foreseen.matters, annona.MatterRef{Dataset: m.Dataset.Name, Number: m.Number})
		if err := t.putMatter(m); err != nil {
			return t.fault("write a matter", err)
		}
		kind := annona.EventChanged
		if m.Version == 1 {
			kind = annona.EventCreated
		}
		if err := t.event(eventOf(by, m.Dataset.Name, m.Number, m.Version, kind, m.Before)); err != nil {
			return t.fault("write a matter", err)
		}
	}
	return nil
}

// holdSubjects keeps those whom new matters are about from being erased, and refuses who is not on file. A
// matter that this transaction has locked keeps whom it was about: to erase them is to remove it first.
func (t *tx) holdSubjects(matters []annona.Matter) error {
	wanted := map[string]map[int64]bool{}
	for i := range matters {
		s := matters[i].Subject
		was, locked := t.about[annona.MatterRef{Dataset: matters[i].Dataset.Name, Number: matters[i].Number}]
		if s.IsZero() || locked && was == s {
			continue
		}
		if wanted[s.Dataset] == nil {
			wanted[s.Dataset] = map[int64]bool{}
		}
		wanted[s.Dataset][int64(s.Number)] = true
	}
	for _, tb := range tables() {
		var numbers []int64
		for n := range wanted[tb.dataset] {
			numbers = append(numbers, n)
		}
		if len(numbers) == 0 {
			continue
		}
		there := 0
		err := t.conn.each(`SELECT 1::bigint FROM `+tb.dataset+` WHERE number = ANY ($1) ORDER BY number FOR KEY SHARE`, func(row) error {
			there++
			return nil
		}, numbers)
		if err == nil && there < len(numbers) {
			there, err = t.countWithMerged(tb, numbers)
		}
		if err != nil {
			return err
		}
		if there < len(numbers) {
			return annona.NotFound("whom the matter is about is not on file")
		}
	}
	return nil
}

// countWithMerged counts those who are on file, or were merged into somebody who is, or are out of sight.
func (t *tx) countWithMerged(tb table, numbers []int64) (int, error) {
	n, err := t.conn.integer(`SELECT count(*) FROM (SELECT number FROM `+tb.dataset+` WHERE number = ANY ($1)
		UNION SELECT number FROM deleted_records WHERE dataset = '`+tb.dataset+`' AND number = ANY ($1)) there`, numbers)
	return int(n), err
}

func (t *tx) putMatter(m *annona.Matter) error {
	if matterSequences[m.Dataset.Name] == "" {
		return errMatter(m.Dataset.Name)
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
	t.later.Queue(sql, values(set)...)
	return nil
}

func numberOrNull(n annona.Number) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

// PutShare writes what a partner is let see. See annona.ShareTx.
func (t *tx) PutShare(ctx context.Context, s annona.Share) error {
	return t.share(ctx, `INSERT INTO matter_shares (dataset, number, partner, transition, until, consent, fields, edit) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (dataset, number, partner, transition) DO UPDATE SET until = excluded.until, consent = excluded.consent, fields = excluded.fields, edit = excluded.edit`,
		s.Dataset, s.Number, s.Partner, s.By, s.Until, purposeList(s.Consent), joinList(s.Fields), s.Edit)
}

// EndShare takes it back. See annona.ShareTx.
func (t *tx) EndShare(ctx context.Context, s annona.Share) error {
	return t.share(ctx, "DELETE FROM matter_shares WHERE dataset = $1 AND number = $2 AND partner = $3 AND transition = $4", s.Dataset, s.Number, s.Partner, s.By)
}

// EndShares takes back all that is shared of a matter. See annona.ShareTx.
func (t *tx) EndShares(ctx context.Context, matter annona.MatterRef) error {
	return t.share(ctx, "DELETE FROM matter_shares WHERE dataset = $1 AND number = $2", matter.Dataset, matter.Number)
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
	if err := t.conn.exec(sql, args...); err != nil {
		return t.fault("write what is shared of a matter", err)
	}
	t.moves++
	return nil
}

// EraseMatters removes what is kept about somebody. See annona.MatterTx.
func (t *tx) EraseMatters(ctx context.Context, by annona.Author, about annona.SubjectRef) ([]annona.MatterRef, error) {
	return t.eraseAll(ctx, by, "subject = $1 AND subject_dataset = $2", about.Number, about.Dataset)
}

// EraseMatter removes one matter. See annona.AttachmentTx.
func (t *tx) EraseMatter(ctx context.Context, by annona.Author, matter annona.MatterRef) ([]annona.MatterRef, error) {
	return t.eraseAll(ctx, by, "number = $1 AND dataset = $2", matter.Number, matter.Dataset)
}

func (t *tx) eraseAll(ctx context.Context, by annona.Author, which string, number annona.Number, dataset string) ([]annona.MatterRef, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	gone, err := t.eraseMatters(by, which, number, dataset)
	if err != nil {
		return nil, t.fault("erase what is kept about a record", err)
	}
	return gone, nil
}

// deleteMatters removes those that a condition picks, with what belongs to them.
func deleteMatters(which string) string {
	return `WITH RECURSIVE about (dataset, number) AS (
		SELECT dataset, number FROM matters WHERE ` + which + `
		UNION SELECT m.dataset, m.number FROM matters m JOIN about a ON m.parent = a.number AND m.parent_dataset = a.dataset)
	DELETE FROM matters m USING about a WHERE m.dataset = a.dataset AND m.number = a.number RETURNING m.dataset, m.number, m.version`
}

func (t *tx) eraseMatters(by annona.Author, which string, number annona.Number, dataset string) (gone []annona.MatterRef, err error) {
	if err := t.sendLater(); err != nil {
		return nil, err
	}
	var erased []annona.Event
	err = t.conn.each(deleteMatters(which), func(r row) error {
		erased = append(erased, eventOf(by, r.text(0), r.number(1), int(r.integer(2)), annona.EventErased, nil))
		return nil
	}, number, dataset)
	if err != nil {
		return nil, err
	}
	of := map[string][]int64{}
	for _, e := range erased {
		gone, of[e.Dataset] = append(gone, annona.MatterRef{Dataset: e.Dataset, Number: e.Record}), append(of[e.Dataset], int64(e.Record))
		if err := t.event(e); err != nil {
			return nil, err
		}
	}
	for dataset, numbers := range of {
		t.later.Queue("UPDATE events SET before = NULL WHERE dataset = $1 AND record = ANY ($2) AND before IS NOT NULL", dataset, numbers)
		t.later.Queue("DELETE FROM matter_shares WHERE dataset = $1 AND number = ANY ($2)", dataset, numbers)
	}
	t.later.Queue("DELETE FROM change_requests WHERE dataset = 'cases' AND subject = ANY ($1)", of["cases"])
	t.later.Queue("DELETE FROM attachment_parts WHERE attachment = ANY ($1)", of["case_attachments"])
	return gone, t.sendLater()
}

// UIDsByKey returns the UIDs of records on file by their keys in a source.
func (s *Store) UIDsByKey(ctx context.Context, dataset *annona.Dataset, source string, keys []string) (map[string]annona.UID, error) {
	if _, err := tableOf(dataset.Name); err != nil {
		return nil, err
	}
	found := make(map[string]annona.UID, len(keys))
	err := s.readers.ask(ctx, "find records by their keys", func(c *conn) error {
		clear(found)
		return c.each(`SELECT source_key, uid FROM `+dataset.Name+` WHERE source = $1 AND source_key = ANY ($2 COLLATE "C")
			UNION ALL SELECT o.source_key, r.uid FROM other_keys o JOIN `+dataset.Name+` r USING (number)
				WHERE o.source = $1 AND o.source_key = ANY ($2 COLLATE "C") AND o.dataset = $3`, func(r row) error {
			found[r.text(0)] = r.uid(1)
			return nil
		}, source, keys, dataset.Name)
	})
	return found, err
}

// PutAttachmentPart writes a part of the content of an attachment. See annona.AttachmentTx.
func (t *tx) PutAttachmentPart(ctx context.Context, attachment annona.Number, part int, sealed []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.later.Queue("INSERT INTO attachment_parts (attachment, part, sealed) VALUES ($1, $2, $3)", attachment, part, sealed)
	return t.fault("write an attachment", t.sendLater())
}

// AttachmentPart returns a part of the content of an attachment. See annona.Attachments.
func (s *Store) AttachmentPart(ctx context.Context, attachment annona.Number, part int) (sealed []byte, err error) {
	err = s.readers.ask(ctx, "read an attachment", func(c *conn) error {
		sealed = nil
		return c.each("SELECT sealed FROM attachment_parts WHERE attachment = $1 AND part = $2", func(r row) error {
			sealed = r.bytes(0)
			return nil
		}, attachment, part)
	})
	return sealed, err
}
