package exchange

import (
	"context"
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// CaseEdit is one change of a case.
type CaseEdit struct {
	ID      string
	IfMatch string         // the ETag of the version that the caller has read
	Patch   map[string]any // JSON merge patch
	Action  string         // of the workflow; empty: none is taken
	Keyed   *Keyed         // nil: a repetition is another request
}

// EditCase changes a case that the caller may see, and takes it along the workflow. What others have changed since the caller has
// read it is merged; where both have changed the same, nothing of it is written, and it is kept as a conflict.
func (x *Exchange) EditCase(ctx context.Context, caller annona.Caller, purpose string, edit CaseEdit) (v CaseVerdict, err error) {
	remembered, err := x.Remembered.under(ctx)
	if err != nil {
		return v, err
	}
	v, sure, err := x.editUnder(ctx, remembered, remembered.confirms, caller, purpose, edit)
	if sure || isFailure(err) {
		return v, err
	}
	v, _, err = x.editUnder(ctx, x.Standings, func(int64) bool { return true }, caller, purpose, edit)
	return v, err
}

// editUnder changes a case that is found in the same transaction. As with a small request, the decision is taken
// from standings that the epoch beside the case confirms. Not sure: it did not, or the case was not looked for;
// nothing is written.
func (x *Exchange) editUnder(ctx context.Context, from annona.Standings, confirms func(epoch int64) bool, caller annona.Caller, purpose string, edit CaseEdit) (v CaseVerdict, sure bool, err error) {
	d, err := x.caseDeskFrom(ctx, from, caller, annona.VerbWriteCases, purpose)
	if err != nil {
		return v, false, err
	}
	e := readyEdit{CaseEdit: edit}
	if e.about, err = d.subject(ctx, edit.Patch); err != nil {
		return v, false, err
	}
	find := d.asks(d.i, edit.ID)
	err = x.Writer.Share(ctx, annona.Errand{Request: x.requestID(caller, edit.Keyed), Find: find, Holding: x.Vault.Holding, Do: func(tx annona.Tx, cells annona.Cells) error {
		if sure = confirms(find.Page.Epoch); !sure {
			return errStandingsMoved
		}
		if e.number, e.of, err = foundOn(find.Page, errCase); err != nil {
			return err
		}
		d.cells = cells
		v, err = d.editOnce(ctx, tx, e)
		return err
	}})
	if err != nil || v.Verdict != VerdictConflict {
		return v, sure, err
	}
	return v, sure, d.discloseClashes(ctx, e.of, v.Clashes)
}

// errStandingsMoved says that standings are not those that a decision was taken from.
var errStandingsMoved = annona.Conflict("standings_moved", "rights have changed in this moment; try again")

// readyEdit is an edit of a case that the caller may see.
type readyEdit struct {
	CaseEdit
	number annona.Number
	of     annona.SubjectRef // whom the case is about
	about  annona.SubjectRef // whom it is to be about
}

func (d *caseDesk) readEdit(ctx context.Context, edit CaseEdit) (e readyEdit, err error) {
	e.CaseEdit = edit
	if e.about, err = d.subject(ctx, edit.Patch); err != nil {
		return e, err
	}
	e.number, e.of, err = d.find(ctx, edit.ID)
	return e, err
}

// editOnce changes a case, unless an earlier delivery of the request has done it. What clashes is kept as a
// conflict, and nothing else is written.
func (d *caseDesk) editOnce(ctx context.Context, tx annona.Tx, e readyEdit) (v CaseVerdict, err error) {
	done, err := d.onceIfKeyed(ctx, tx, e.Keyed, func() (done Done, err error) {
		var version int
		if v, version, err = d.edit(ctx, tx, e.number, e.about, e.CaseEdit); err != nil || v.Verdict != VerdictConflict {
			return Done{Status: statusDone, Noun: "cases", Version: int64(version)}, err
		}
		done = Done{Status: statusConflict, Noun: "conflicts"}
		done.Record, err = d.keepClashes(ctx, tx, e, &v)
		return done, err
	})
	if err != nil || !done.Replayed {
		return v, err
	}
	return d.editAgain(ctx, tx, e, done)
}

// editAgain tells what an earlier delivery of the request has done.
func (d *caseDesk) editAgain(ctx context.Context, tx annona.Tx, e readyEdit, done Done) (v CaseVerdict, err error) {
	held, err := tx.HoldMatters(ctx, d.dataset("cases"), []annona.Number{e.number})
	if err != nil || len(held) == 0 {
		return v, err
	}
	if done.Status != statusConflict {
		return CaseVerdict{Verdict: VerdictUnchanged, ID: e.ID, ETag: d.tag(&held[0], int(done.Version))}, nil
	}
	stands, err := d.x.openMatters(ctx, d.cells, held)
	if err != nil {
		return v, err
	}
	v = CaseVerdict{Verdict: VerdictConflict, ID: e.ID, Conflict: done.Record}
	if v.ETag, err = d.tagNow(ctx, &held[0], stands[0].was); err != nil {
		return v, err
	}
	c, err := tx.HoldChangeRequest(ctx, done.Record)
	if err != nil || c == nil {
		return v, err
	}
	shown, err := d.openClash(ctx, c, &held[0])
	if err != nil || shown == nil {
		return v, err
	}
	for _, p := range shown.Parts {
		if p.Clashes {
			v.Clashes = append(v.Clashes, Clash{Field: p.Field, Read: p.Before, Theirs: p.Now, Yours: p.After})
		}
	}
	return v, nil
}

// discloseClashes records that the caller is shown what somebody else has written.
func (d *caseDesk) discloseClashes(ctx context.Context, of annona.SubjectRef, clashes []Clash) error {
	facts := d.i.facts()
	facts.Dataset, facts.Rows, facts.Page = "cases", 1, 1
	for _, c := range clashes {
		facts.Fields = append(facts.Fields, unitField(c.Field))
	}
	facts.Fields = slices.Compact(facts.Fields)
	if err := d.x.disclose(ctx, audit.Release(d.x.Clock(), d.i.request, facts, "", d.caller, subjectSets(subjectsKnown(of), facts.Fields))); err != nil {
		return err
	}
	return d.x.outcome(ctx, d.i, audit.Complete, 1, 1, "")
}

func (d *caseDesk) edit(ctx context.Context, tx annona.Tx, number annona.Number, about annona.SubjectRef, edit CaseEdit) (v CaseVerdict, version int, err error) {
	e, fields, err := d.hold(ctx, tx, number)
	if err != nil {
		return v, 0, err
	}
	if err := withinShare(named(edit.Patch), fields, false); err != nil {
		return v, 0, err
	}
	if e.next, v, err = d.merge(ctx, &e, edit); err != nil || v.Verdict == VerdictConflict {
		return v, 0, err
	}
	if edit.Action != "" {
		if fields != nil {
			return v, 0, annona.Forbidden("not_owner", "only the partner that has the case takes it along the workflow")
		}
		if err := moveCase(e.next, edit.Action, d.today); err != nil {
			return v, 0, err
		}
	}
	links := !about.IsZero() && e.Subject.IsZero()
	if !about.IsZero() && !links && about != e.Subject {
		return v, 0, annona.Conflict("subject_differs", "the case is about somebody else; it is not moved to another person").On(memberIndividual)
	}
	if links {
		e.Subject = about
	}
	d.index(&e)
	changed := changedUnits(e.was, e.next)
	if err := withinShare(changed, fields, links); err != nil {
		return v, 0, err
	}
	if err := d.check(&e); err != nil {
		return v, 0, err
	}
	if len(changed) == 0 && !links {
		v.Verdict = VerdictUnchanged
		since, err := d.sameSince(ctx, &e.Matter, e.was)
		return v, since, err
	}
	act := "patch_case"
	if edit.Action != "" {
		act = edit.Action + "_case"
	}
	written := []matterEdit{e}
	if err := d.x.putMatters(ctx, tx, d.cells, d.author(act), written); err != nil {
		return v, 0, err
	}
	d.remember(&written[0], act)
	if links {
		if err := d.linkBelow(ctx, tx, &e.Matter); err != nil {
			return v, 0, err
		}
	}
	v.ETag = d.tag(&e.Matter, e.Version+1)
	return v, e.Version + 1, tx.AppendEntry(ctx, d.entry(act, "cases", fieldsOf(changed), subjectsKnown(e.Subject)...))
}

// remember keeps what a case was before this request has written it.
func (d *caseDesk) remember(e *matterEdit, act string) {
	if d.wrote == nil {
		d.wrote = map[annona.Number][]wasUntil{}
	}
	before := slices.DeleteFunc(d.wrote[e.Number], func(was wasUntil) bool { return was.Version >= e.former.Version }) // of an attempt that was undone
	d.wrote[e.Number] = append(before, wasUntil{e.former, annona.Event{At: d.x.Clock(), Client: d.caller.Client, Reason: act}})
}

func subjectsKnown(s annona.SubjectRef) []annona.SubjectRef {
	if s.IsZero() {
		return nil
	}
	return []annona.SubjectRef{s}
}

// fieldsOf are the fields and groups of units, each once.
func fieldsOf(units []string) []string {
	var fields []string
	for _, name := range units {
		fields = append(fields, unitField(name))
	}
	return slices.Compact(fields)
}

// named are the fields and groups that a patch names, also those that it leaves as they are: whether one says
// what is on file is not for whom it is not shared with.
func named(patch map[string]any) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(patch)), func(code string) bool { return code == memberIndividual || code == memberHousehold })
}

func unitField(name string) string {
	for n := range len(name) {
		if name[n] == '/' {
			return name[:n]
		}
	}
	return name
}

// withinShare refuses what a share does not let the caller change; nil: the case is the caller's own.
func withinShare(changed, fields []string, links bool) error {
	if fields == nil {
		return nil
	}
	for _, name := range changed {
		if !slices.Contains(fields, unitField(name)) {
			return annona.Forbidden("not_shared_to_edit", "the case is another partner's, and this part of it is not shared for you to change").On(unitField(name))
		}
	}
	if links {
		return annona.Forbidden("not_owner", "only the partner that has the case says whom it is about")
	}
	return nil
}

// merge brings a patch of the version that was read into what stands now.
func (d *caseDesk) merge(ctx context.Context, e *matterEdit, edit CaseEdit) (next document, v CaseVerdict, err error) {
	v = CaseVerdict{Verdict: VerdictChanged, ID: edit.ID}
	if v.ETag, err = d.tagNow(ctx, &e.Matter, e.was); err != nil {
		return next, v, err
	}
	version, err := d.versionOf(ctx, &e.Matter, e.was, edit.IfMatch)
	if err != nil {
		return next, v, err
	}
	patch := maps.Clone(edit.Patch)
	delete(patch, memberIndividual)
	delete(patch, memberHousehold)
	base := e.was
	if version != e.Version {
		if base, err = d.matterAt(ctx, &e.Matter, version); err != nil {
			return next, v, err
		}
	}
	mine, err := base.with(d.x.CurrentDictionary(), patch, madeByMoves...)
	if err != nil || version == e.Version {
		return mine, v, err
	}
	merged, clashes := mergeDocuments(base, mine, e.was)
	if len(clashes) > 0 {
		v.Verdict = VerdictConflict
		v.kept, err = d.clashed(ctx, e, version, base, mine, clashes)
		for _, p := range v.kept.Parts {
			if p.Clashes {
				v.Clashes = append(v.Clashes, d.clash(p))
			}
		}
		return e.was, v, err
	}
	v.Verdict = VerdictMerged
	return merged, v, nil
}

// clash shows both values of a unit, as far as the caller's agreement shows it unaltered.
func (d *caseDesk) clash(p clashedPart) Clash {
	c := Clash{Field: p.Field, Yours: p.After}
	if d.passes(p.Field) {
		c.Read, c.Theirs = p.Before, p.Now
	}
	return c
}

// passes reports whether the caller's agreement shows a unit unaltered.
func (d *caseDesk) passes(unit string) bool {
	f, ok := d.dataset("cases").Field(unitField(unit))
	if !ok {
		return false
	}
	granted, may := d.i.grant.Field(f)
	return may && granted.Treatment == annona.TreatPass
}

// unit returns one unit of a document as JSON has it; nil when there is none.
func (doc document) unit(name string) any {
	field := unitField(name)
	if f, ok := doc.of.Field(field); ok && f.Type != annona.TypeGroup {
		if text, there := doc.values[field]; there {
			return text
		}
		return nil
	}
	if field == name {
		return doc.groups[field]
	}
	for _, item := range doc.groups[field] {
		if item[itemName] == name[len(field)+1:] {
			return item
		}
	}
	return nil
}
