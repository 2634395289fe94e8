package exchange

import (
	"context"
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
)

// maxCases is how many cases are written in one transaction.
const maxCases = 200

// PutCases puts cases on file, or brings those up to date that the partner's system names by the same
// source_case_id, with a verdict for each. A case that is refused stops no other.
func (x *Exchange) PutCases(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any) ([]CaseVerdict, error) {
	d, err := x.caseDesk(ctx, caller, annona.VerbWriteCases, purpose)
	if err != nil {
		return nil, err
	}
	verdicts := make([]CaseVerdict, 0, len(rows))
	for chunk := range slices.Chunk(rows, maxCases) {
		some := make([]CaseVerdict, len(chunk))
		ready, err := d.readAll(ctx, chunk, some)
		if err == nil && len(ready) > 0 {
			err = d.x.Writer.Update(ctx, func(tx annona.Tx) error { return d.write(ctx, tx, ready, some) })
		}
		if err != nil {
			return verdicts, err
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}

// caseRow is a case as it was sent.
type caseRow struct {
	at    int
	key   annona.MatterKey // zero: its system does not name it
	about annona.SubjectRef
	said  map[string]any
}

// readAll returns the rows that can be written, and says of the others in verdicts why not.
func (d *caseDesk) readAll(ctx context.Context, rows []map[string]any, verdicts []CaseVerdict) (ready []caseRow, err error) {
	seen := map[annona.MatterKey]bool{}
	for n, said := range rows {
		row, err := d.read(ctx, said)
		switch {
		case isFailure(err):
			return nil, err
		case err == nil && seen[row.key]:
			err = annona.Conflict("case_twice", "another row of the request has the same source_case_id; send one of them").On(memberSourceID)
		}
		if err != nil {
			verdicts[n] = CaseVerdict{Verdict: VerdictRefused, Reason: err}
			continue
		}
		seen[row.key] = row.key != annona.MatterKey{}
		row.at = n
		ready = append(ready, row)
	}
	return ready, nil
}

func (d *caseDesk) read(ctx context.Context, said map[string]any) (row caseRow, err error) {
	row.said = maps.Clone(said)
	if row.said == nil {
		row.said = map[string]any{}
	}
	if row.about, err = d.subject(ctx, row.said); err != nil {
		return row, err
	}
	name, named := row.said[memberSourceID]
	for _, member := range []string{memberSourceID, memberIndividual, memberHousehold} {
		delete(row.said, member)
	}
	if !named {
		return row, nil
	}
	text, ok := name.(string)
	if !ok || text == "" {
		return row, errKey(memberSourceID)
	}
	row.key, err = d.keyOf("cases", memberSourceID, text)
	return row, err
}

// keyOf is how what the partner's system calls a matter stands on file; the zero MatterKey: it does not name it.
func (d *caseDesk) keyOf(dataset, member, name string) (annona.MatterKey, error) {
	switch {
	case name == "":
		return annona.MatterKey{}, nil
	case d.terms().Source == "":
		return annona.MatterKey{}, annona.Forbidden("source_not_granted", "the agreement names no case system of yours, so that its ids mean nothing here").On(member)
	case !decisionKey.MatchString(name):
		return annona.MatterKey{}, errKey(member)
	}
	return annona.MatterKey{Source: d.terms().Source, Key: d.x.Vault.RecordKey(dataset, d.terms().Source, name)}, nil
}

func errKey(member string) error {
	return annona.Invalid("key_malformed", "a %s has at most 200 printable characters without spaces", member).On(member)
}

// write writes what is new and what has changed, with one entry for all of it.
func (d *caseDesk) write(ctx context.Context, tx annona.Tx, rows []caseRow, verdicts []CaseVerdict) error {
	edits, err := d.known(ctx, tx, rows)
	if err != nil {
		return err
	}
	var changed, linked []matterEdit
	var about []annona.SubjectRef
	for n := range edits {
		e, v := &edits[n], &verdicts[rows[n].at]
		*v = CaseVerdict{Verdict: VerdictCreated}
		if e.Version > 0 {
			v.Verdict = VerdictChanged
		}
		if err := d.report(e, &rows[n]); err != nil {
			*v = CaseVerdict{Verdict: VerdictRefused, Reason: err}
			continue
		}
		v.ID, v.ETag = string(d.i.realm.AppendID(nil, e.UID[:])), d.tag(&e.Matter, e.Version+1)
		if e.Version > 0 && len(changedUnits(e.was, e.next)) == 0 && rows[n].about.IsZero() {
			v.Verdict = VerdictUnchanged
			if v.ETag, err = d.tagNow(ctx, &e.Matter, e.was); err != nil {
				return err
			}
			continue
		}
		changed = append(changed, *e)
		if e.Version > 0 && !rows[n].about.IsZero() {
			linked = append(linked, *e)
		}
		if !e.Subject.IsZero() {
			about = append(about, e.Subject)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := d.x.putMatters(ctx, tx, d.cells, d.author("reported"), changed); err != nil {
		return err
	}
	for n := range linked {
		if err := d.linkBelow(ctx, tx, &linked[n].Matter); err != nil {
			return err
		}
	}
	return tx.AppendEntry(ctx, d.entry("put_cases", "cases", nil, about...))
}

// known finds the cases that are on file, and sets numbers aside for the others, in the order of rows.
func (d *caseDesk) known(ctx context.Context, tx annona.Tx, rows []caseRow) ([]matterEdit, error) {
	cases := d.dataset("cases")
	var keys []annona.MatterKey
	for _, row := range rows {
		if row.key != (annona.MatterKey{}) {
			keys = append(keys, row.key)
		}
	}
	found, err := tx.FindMatters(ctx, cases, keys)
	if err != nil {
		return nil, err
	}
	fresh, err := tx.NewMatters(ctx, cases, len(rows)-len(keys))
	if err != nil {
		return nil, err
	}
	matters := make([]annona.Matter, len(rows))
	for n, row := range rows {
		from := &fresh
		if row.key != (annona.MatterKey{}) {
			from = &found
		}
		matters[n], *from = (*from)[0], (*from)[1:]
	}
	return d.x.openMatters(ctx, d.cells, matters)
}

// report makes a case what was sent of it.
func (d *caseDesk) report(e *matterEdit, row *caseRow) (err error) {
	switch {
	case e.Version == 0:
		e.Owner, e.Subject = d.i.partner(), row.about
	case e.Owner != d.i.partner() || !d.cleared(&e.Matter):
		return errCase
	case !row.about.IsZero() && e.Subject.IsZero():
		e.Subject = row.about
	case row.about == e.Subject:
		row.about = annona.SubjectRef{}
	case !row.about.IsZero():
		return annona.Conflict("subject_differs", "the case is about somebody else; it is not moved to another person").On(memberIndividual)
	}
	closed := madeByMoves
	if e.Version == 0 {
		closed = madeHere
	} else {
		row.said = withoutRepeated(row.said, e.was, broughtOnce)
	}
	if e.next, err = e.was.with(d.x.CurrentDictionary(), row.said, closed...); err != nil {
		return err
	}
	if e.Version == 0 {
		if err := openCase(e.next, d.today, shortName(annona.NewUID())); err != nil {
			return err
		}
	}
	d.index(e)
	return d.check(e)
}

// withoutRepeated leaves out what a report says of fields that it may not move, where it says what is on file.
func withoutRepeated(said map[string]any, was document, fields []string) map[string]any {
	left := maps.Clone(said)
	for _, code := range fields {
		if text, ok := left[code].(string); ok && text == was.values[code] {
			delete(left, code)
		}
	}
	return left
}
