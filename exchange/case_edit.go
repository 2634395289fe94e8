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

// EditCase changes a case, and takes it along the workflow. What others have changed since the caller has
// read it is merged; where both have changed the same, nothing is written and the verdict is conflict.
func (x *Exchange) EditCase(ctx context.Context, caller annona.Caller, purpose string, edit CaseEdit) (v CaseVerdict, err error) {
	d, number, of, err := x.deskOf(ctx, caller, annona.VerbWriteCases, purpose, edit.ID)
	if err != nil {
		return v, err
	}
	e := readyEdit{CaseEdit: edit, number: number, of: of}
	e.about, err = d.subject(ctx, edit.Patch)
	if err != nil {
		return v, err
	}
	err = x.Writer.Share(ctx, annona.Errand{
		Request: x.requestID(caller, edit.Keyed), Matter: annona.MatterRef{Dataset: "cases", Number: number}, Dataset: d.dataset("cases"),
		Do: func(tx annona.Tx) error {
			v, err = d.editOnce(ctx, tx, e)
			return err
		},
	})
	if annona.CodeOf(err) != errClash.Code {
		return v, err
	}
	return v, d.discloseClashes(ctx, e.of, v.Clashes)
}

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

// editOnce changes a case, unless an earlier delivery of the request has done it. A conflict is an error of
// the code case_conflict, and a verdict: nothing is written, and nothing is remembered.
func (d *caseDesk) editOnce(ctx context.Context, tx annona.Tx, e readyEdit) (v CaseVerdict, err error) {
	edit := func() (done Done, err error) {
		var version int
		if v, version, err = d.edit(ctx, tx, e.number, e.about, e.CaseEdit); err == nil && v.Verdict == VerdictConflict {
			return done, errClash
		}
		return Done{Status: 200, Noun: "cases", Version: int64(version)}, err
	}
	if e.Keyed == nil {
		_, err = edit()
		return v, err
	}
	done, err := d.x.once(ctx, tx, d.caller, *e.Keyed, edit)
	if err != nil || !done.Replayed {
		return v, err
	}
	held, err := tx.HoldMatters(ctx, d.dataset("cases"), []annona.Number{e.number})
	if err != nil || len(held) == 0 {
		return v, err
	}
	return CaseVerdict{Verdict: VerdictUnchanged, ID: e.ID, ETag: d.tag(&held[0], int(done.Version))}, nil
}

// discloseClashes records that the caller is shown what somebody else has written.
func (d *caseDesk) discloseClashes(ctx context.Context, of annona.SubjectRef, clashes []Clash) error {
	facts := d.i.facts()
	facts.Dataset, facts.Rows, facts.Page = "cases", 1, 1
	for _, c := range clashes {
		facts.Fields = append(facts.Fields, unitField(c.Field))
	}
	facts.Fields = slices.Compact(facts.Fields)
	var subjects []audit.Subjects
	for _, noun := range []struct{ dataset, noun string }{{"individuals", "individual"}, {"households", "household"}} {
		if of.Dataset == noun.dataset {
			subjects = []audit.Subjects{{Noun: noun.noun, Fields: facts.Fields, Numbers: []annona.Number{of.Number}}}
		}
	}
	if err := d.x.disclose(ctx, audit.Release(d.x.Clock(), d.i.request, facts, "", d.caller, subjects)); err != nil {
		return err
	}
	return d.x.outcome(ctx, d.i, audit.Complete, 1, 1, "")
}

var errClash = annona.Conflict("case_conflict", "somebody else has changed the same since you have read the case")

func (d *caseDesk) edit(ctx context.Context, tx annona.Tx, number annona.Number, about annona.SubjectRef, edit CaseEdit) (v CaseVerdict, version int, err error) {
	e, fields, err := d.hold(ctx, tx, number)
	if err != nil {
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
		return v, e.Version, nil
	}
	act := "patch_case"
	if edit.Action != "" {
		act = edit.Action + "_case"
	}
	if err := d.x.putMatters(ctx, tx, d.author(act), []matterEdit{e}); err != nil {
		return v, 0, err
	}
	if links {
		if err := d.linkBelow(ctx, tx, &e.Matter); err != nil {
			return v, 0, err
		}
	}
	v.ETag = d.tag(&e.Matter, e.Version+1)
	return v, e.Version + 1, tx.AppendEntry(ctx, d.entry(act, "cases", fieldsOf(changed), subjectsKnown(e.Subject)...))
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
	v = CaseVerdict{Verdict: VerdictChanged, ID: edit.ID, ETag: d.tag(&e.Matter, e.Version)}
	version, err := d.versionOf(&e.Matter, edit.IfMatch)
	if err != nil {
		return next, v, err
	}
	patch := maps.Clone(edit.Patch)
	delete(patch, memberIndividual)
	delete(patch, memberHousehold)
	base := e.was
	if version != e.Version {
		if base, err = d.x.matterAt(ctx, &e.Matter, version); err != nil {
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
		for _, name := range clashes {
			v.Clashes = append(v.Clashes, d.clash(name, base, e.was, mine))
		}
		return e.was, v, nil
	}
	v.Verdict = VerdictMerged
	return merged, v, nil
}

// clash shows both values of a unit, as far as the caller's agreement shows it unaltered.
func (d *caseDesk) clash(name string, base, now, mine document) Clash {
	c := Clash{Field: name, Yours: mine.unit(name)}
	if f, ok := base.of.Field(unitField(name)); ok {
		if granted, may := d.i.grant.Field(f); may && granted.Treatment == annona.TreatPass {
			c.Read, c.Theirs = base.unit(name), now.unit(name)
		}
	}
	return c
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
