package exchange

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// What an edit of a case has wanted, and somebody else has changed meanwhile, is kept as a conflict until a
// partner that may edit the case resolves it. It lies with the change requests, sealed under the key of the
// case, and goes with it. Whoever gets the case later is not handed over what clashed before.

// CaseConflict is a conflict of a case, as far as the reader may see it.
type CaseConflict struct {
	ID        annona.UID
	CaseID    string // wire id
	State     string // open, applied or rejected
	At        time.Time
	By        UpdateAuthor // who has asked for what was not written
	Action    string       // of the workflow, that goes with it; empty: none
	Parts     []ClashShown
	DecidedAt time.Time
	Reason    string // of the decision
}

// ClashShown is one part of a case that the edit was to change. Values are texts, or the items of a group; nil:
// there is none.
type ClashShown struct {
	Field   string // or group/item
	Before  any    // as the applicant had read it
	After   any    // as the applicant wants it
	Now     any    // as it stood when the edit came
	Clashes bool   // somebody else had changed it: Since and By say when, and who
	Since   time.Time
	By      UpdateAuthor
}

// CaseConflicts are a page of them. Whoever writes it says with Sent how that ended.
type CaseConflicts struct {
	Answer // Page is nil
	All    []CaseConflict
}

// clashedEdit is an edit that clashed, as it is kept.
type clashedEdit struct {
	Patch           map[string]any    `json:"patch"`
	Action          string            `json:"action,omitempty"`
	About           annona.SubjectRef `json:"about,omitzero"` // whom the case was to be about from then on
	Owner           string            `json:"owner"`
	Confidentiality string            `json:"confidentiality,omitempty"` // of the case, in that moment
	Parts           []clashedPart     `json:"parts"`
}

// clashedPart is what the edit was to make of one unit.
type clashedPart struct {
	Field   string     `json:"field"`
	Before  any        `json:"before,omitempty"`
	After   any        `json:"after,omitempty"`
	Now     any        `json:"now,omitempty"`
	Clashes bool       `json:"clashes,omitempty"`
	At      time.Time  `json:"at,omitzero"`
	Client  annona.UID `json:"client,omitzero"`
}

// fields are the names of its units.
func (c *clashedEdit) fields() (names []string) {
	for _, p := range c.Parts {
		names = append(names, unitField(p.Field))
	}
	return slices.Compact(names)
}

// clashed is what is kept of an edit of the version that was read, with who has written what clashes.
func (d *caseDesk) clashed(ctx context.Context, e *matterEdit, version int, base, mine document, clashes []string) (kept clashedEdit, err error) {
	since, err := d.whoChanged(ctx, e, version, clashes)
	if err != nil {
		return kept, err
	}
	kept = clashedEdit{Owner: e.Owner, Confidentiality: e.Confidentiality}
	for _, name := range changedUnits(base, mine) {
		by := since[name]
		kept.Parts = append(kept.Parts, clashedPart{
			Field: name, Before: base.unit(name), After: mine.unit(name), Now: e.was.unit(name), Clashes: slices.Contains(clashes, name), At: by.At, Client: by.Client,
		})
	}
	return kept, nil
}

// whoChanged finds the last event that changed each of the units since a version.
func (d *caseDesk) whoChanged(ctx context.Context, e *matterEdit, version int, units []string) (map[string]annona.Event, error) {
	last, now := map[string]annona.Event{}, e.was.units()
	for former, err := range d.formers(ctx, &e.Matter) {
		if err != nil {
			return nil, err
		}
		if former.Version < version {
			continue
		}
		doc, err := d.x.formerDocument(ctx, &e.Matter, former.Former)
		if err != nil {
			return nil, err
		}
		was := doc.units()
		for _, name := range units {
			if was[name] != now[name] {
				last[name] = former.until
			}
		}
	}
	return last, nil
}

// keepClashes puts a conflict on file, and names it in the verdict.
func (d *caseDesk) keepClashes(ctx context.Context, tx annona.Tx, e readyEdit, v *CaseVerdict) (annona.UID, error) {
	held, err := tx.HoldMatters(ctx, d.dataset("cases"), []annona.Number{e.number})
	if err != nil || len(held) == 0 {
		return annona.UID{}, orMissing(err)
	}
	kept := v.kept
	kept.Patch, kept.Action, kept.About = maps.Clone(e.Patch), e.Action, e.about
	delete(kept.Patch, memberIndividual)
	delete(kept.Patch, memberHousehold)
	text, err := json.Marshal(kept)
	if err != nil {
		return annona.UID{}, annona.Internal("write a conflict", err)
	}
	cells := []annona.Cell{{Dataset: held[0].Dataset, Number: e.number, Version: held[0].Version, Part: annona.PartRequest, Image: text}}
	if err := d.x.Vault.Seal(ctx, cells); err != nil {
		return annona.UID{}, err
	}
	v.Conflict = annona.NewUID()
	c := annona.ChangeRequest{
		ID: v.Conflict, Type: typeConflict, State: RequestOpen, Dataset: "cases", Subject: e.number, Version: held[0].Version, Sealed: cells[0].Image,
		Agreement: d.i.grant.Agreement.Name, Client: d.caller.Client, Person: d.caller.Acting.Person, Purpose: d.i.grant.Purpose.Code, At: d.x.Clock().UTC().Truncate(time.Millisecond),
	}
	if err := tx.PutChangeRequest(ctx, c); err != nil {
		return v.Conflict, err
	}
	return v.Conflict, tx.AppendEntry(ctx, d.entry("keep_conflict", "cases", kept.fields(), subjectsKnown(e.of)...))
}

// readClash opens what is kept of a conflict.
func (x *Exchange) readClash(ctx context.Context, c *annona.ChangeRequest) (of clashedEdit, err error) {
	cases, _ := x.CurrentDictionary().Dataset("cases")
	cells := []annona.Cell{{Dataset: cases, Number: c.Subject, Version: c.Version, Part: annona.PartRequest, Image: slices.Clone(c.Sealed)}}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return of, err
	}
	from := json.NewDecoder(bytes.NewReader(cells[0].Image))
	from.UseNumber() // a patch says numbers as they came
	if err := from.Decode(&of); err != nil {
		return of, annona.Internal("read a conflict", err)
	}
	return of, nil
}

// openClash cuts a conflict of a case for the caller; nil: it is not there for them. The case is one that the
// caller may see.
func (d *caseDesk) openClash(ctx context.Context, c *annona.ChangeRequest, of *annona.Matter) (*CaseConflict, error) {
	kept, shown, err := d.clashFor(ctx, c, of)
	if err != nil || kept == nil || len(shown) == 0 {
		return nil, err
	}
	on := &CaseConflict{
		ID: c.ID, CaseID: string(d.i.realm.AppendID(nil, of.UID[:])), State: c.State, At: c.At, Action: kept.Action, DecidedAt: c.DecidedAt, Reason: c.DecidedBy.Reason,
	}
	t := newUpdateTelling(d.x, d.i)
	if on.By, err = t.authorOf(ctx, c.Client); err != nil {
		return nil, err
	}
	for _, p := range shown {
		part := ClashShown{Field: p.Field, Before: p.Before, After: p.After, Now: p.Now, Clashes: p.Clashes, Since: p.At}
		if p.Clashes {
			if part.By, err = t.authorOf(ctx, p.Client); err != nil {
				return nil, err
			}
		}
		on.Parts = append(on.Parts, part)
	}
	return on, nil
}

// clashFor returns what is kept of a conflict, and the parts of it that the caller may see; nil: it is not there
// for them. It is there for the partner that had the case and has it still, and for the agreement that has asked.
func (d *caseDesk) clashFor(ctx context.Context, c *annona.ChangeRequest, of *annona.Matter) (kept *clashedEdit, shown []clashedPart, err error) {
	owns := of.Owner == d.i.partner()
	if !owns && c.Agreement != d.i.grant.Agreement.Name {
		return nil, nil, nil
	}
	read, err := d.x.readClash(ctx, c)
	if annona.CodeOf(err) == "key_gone" {
		return nil, nil, nil // erased in this moment
	}
	then := annona.Matter{Confidentiality: read.Confidentiality, Worker: of.Worker}
	if err != nil || read.Owner != of.Owner || !d.cleared(&then) {
		return nil, nil, err
	}
	fields := []string(nil)
	if !owns {
		if fields, err = d.sharedToEdit(ctx, of.Number); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range read.Parts {
		if d.passes(p.Field) && withinShare([]string{p.Field}, fields, false) == nil {
			shown = append(shown, p)
		}
	}
	return &read, shown, nil
}

// authorOf says whose client somebody is, as the update log does.
func (t *updateTelling) authorOf(ctx context.Context, client annona.UID) (UpdateAuthor, error) {
	e := UpdateEntry{}
	err := t.attributeToClient(ctx, &e, &annona.Event{Client: client})
	return e.By, err
}

// CaseConflicts returns a page of the conflicts of a case, or, without its id, of all cases that the caller may
// see, in the order in which they came; those of one state when it is named. Those that are not there for the
// caller move nothing of the page.
func (x *Exchange) CaseConflicts(ctx context.Context, caller annona.Caller, purpose, id, state, after string, limit int) (*CaseConflicts, error) {
	if err := cmp.Or(checkLimit(limit, MaxConflicts), checkState(state)); err != nil {
		return nil, err
	}
	d, err := x.caseDesk(ctx, caller, annona.VerbReadCases, purpose)
	if err != nil {
		return nil, err
	}
	d.i.chosen = string(appendTexts(nil, "conflicts", id, state))
	from, err := x.openCursor(d.i, after)
	if err != nil {
		return nil, err
	}
	which := annona.WhichRequests{Conflicts: true, Dataset: "cases", State: state}
	if id != "" {
		if which.Subject, _, err = d.find(ctx, id); err != nil {
			return nil, err
		}
	}
	page := &CaseConflicts{Answer: Answer{Request: d.i.request, Schema: d.i.schema}}
	about, last, more, err := d.conflicts(ctx, which, int64(from), limit, page)
	if err != nil {
		return nil, err
	}
	if more {
		page.Next = x.sealCursor(d.i, annona.Number(last))
	}
	return page, d.releaseConflicts(ctx, page, about)
}

// MaxConflicts is how many conflicts a page has at most.
const MaxConflicts = 100

// conflicts fills a page, and says whom its cases are about, what the key of the last one is, and whether there is
// one more that the caller may see.
func (d *caseDesk) conflicts(ctx context.Context, which annona.WhichRequests, after int64, limit int, page *CaseConflicts) (about []annona.SubjectRef, last int64, more bool, err error) {
	for {
		some, err := d.x.ChangeRequests.ChangeRequests(ctx, which, after, atOnce)
		if err != nil {
			return nil, 0, false, err
		}
		seen, err := d.casesOf(ctx, some)
		if err != nil {
			return nil, 0, false, err
		}
		for n := range some {
			after = some[n].Key
			of, visible := seen[some[n].Subject]
			if !visible {
				continue
			}
			shown, err := d.openClash(ctx, &some[n], &of)
			if err != nil {
				return nil, 0, false, err
			}
			if shown == nil {
				continue
			}
			if len(page.All) == limit {
				return about, last, true, nil
			}
			page.All, last = append(page.All, *shown), after
			about = append(about, subjectsKnown(of.Subject)...)
		}
		if len(some) < atOnce {
			return about, last, false, nil
		}
	}
}

// casesOf reads those cases of conflicts that the caller may see.
func (d *caseDesk) casesOf(ctx context.Context, all []annona.ChangeRequest) (map[annona.Number]annona.Matter, error) {
	var numbers []annona.Number
	for _, c := range all {
		numbers = append(numbers, c.Subject)
	}
	slices.Sort(numbers)
	seen := map[annona.Number]annona.Matter{}
	if numbers = slices.Compact(numbers); len(numbers) == 0 {
		return seen, nil
	}
	cases := d.dataset("cases")
	owner, _ := cases.Field("owner")
	worker, _ := cases.Field("worker")
	page := annona.NewPage(&annona.Shape{Dataset: cases, Columns: []*annona.Field{owner, worker}})
	err := d.x.readOpen(ctx, page, func() error {
		_, err := d.x.readMatters(ctx, d.i.ownScope(d.x, page.Shape, d.worker), annona.MatterChoice{Numbers: numbers}, 0, len(numbers), page)
		return err
	})
	for row, number := range page.Numbers {
		has := string(page.Cell(0, row))
		seen[number] = annona.Matter{Dataset: cases, Number: number, UID: page.UIDs[row], Subject: page.Subjects[row], Owner: has, Worker: d.x.workerOf(has, string(page.Cell(1, row)))}
	}
	return seen, err
}

// releaseConflicts records that what clashes is shown.
func (d *caseDesk) releaseConflicts(ctx context.Context, page *CaseConflicts, about []annona.SubjectRef) error {
	if len(page.All) == 0 {
		return nil
	}
	facts := d.i.facts()
	facts.Fields, facts.Rows, facts.Page = nil, int64(len(page.All)), 1
	for _, c := range page.All {
		for _, p := range c.Parts {
			facts.Fields = append(facts.Fields, unitField(p.Field))
		}
	}
	slices.Sort(facts.Fields)
	facts.Fields = slices.Compact(facts.Fields)
	if err := d.x.disclose(ctx, audit.Release(d.x.Clock(), d.i.request, facts, "", d.caller, subjectSets(about, facts.Fields))); err != nil {
		return err
	}
	page.ending = d.i.ending(d.x)
	return nil
}

// subjectSets are the sets of a ledger entry about people and households.
func subjectSets(about []annona.SubjectRef, fields []string) (sets []audit.Subjects) {
	for _, of := range []struct{ dataset, noun string }{{"households", "household"}, {"individuals", "individual"}} {
		var numbers []annona.Number
		for _, s := range about {
			if s.Dataset == of.dataset {
				numbers = append(numbers, s.Number)
			}
		}
		if len(numbers) > 0 {
			slices.Sort(numbers)
			sets = append(sets, audit.Subjects{Noun: of.noun, Fields: fields, Numbers: slices.Compact(numbers)})
		}
	}
	return sets
}

// CaseRuling is how somebody resolves a conflict of a case.
type CaseRuling struct {
	CaseID, ID string // of the case, and of the conflict
	Approve    bool   // what was asked takes effect; otherwise what is on file stays
	Reason     string // code
	Keyed      Keyed
}

// ResolveCaseConflict resolves a conflict: by the partner that has the case, or by the agreement that has asked,
// within what it may edit. Codes: not_found, request_decided, request_moved, review_not_granted, reason_malformed, those of
// edits and those of keys.
func (x *Exchange) ResolveCaseConflict(ctx context.Context, caller annona.Caller, purpose string, r CaseRuling) (state string, v CaseVerdict, err error) {
	d, number, of, err := x.deskOf(ctx, caller, annona.VerbWriteCases, purpose, r.CaseID)
	if err != nil {
		return "", v, err
	}
	if err := (Why{Reason: r.Reason}).check(d.today); err != nil {
		return "", v, err
	}
	id, err := annona.ParseUID(r.ID)
	if err != nil {
		return "", v, errNoConflict
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		done, err := x.once(ctx, tx, caller, r.Keyed, func() (Done, error) {
			if state, v, err = d.resolve(ctx, tx, number, of, id, r); err != nil {
				return Done{}, err
			}
			return Done{Status: statusDone, Noun: "conflicts", Record: id}, nil
		})
		if err != nil || !done.Replayed {
			return err
		}
		c, err := tx.HoldChangeRequest(ctx, id)
		if c != nil {
			state, v.Verdict = c.State, VerdictUnchanged
		}
		return err
	})
	return state, v, err
}

var errNoConflict = annona.NotFound("no such conflict, or not one that you may see")

func (d *caseDesk) resolve(ctx context.Context, tx annona.Tx, number annona.Number, about annona.SubjectRef, id annona.UID, r CaseRuling) (state string, v CaseVerdict, err error) {
	c, err := tx.HoldChangeRequest(ctx, id)
	if err != nil {
		return "", v, err
	}
	e, _, err := d.hold(ctx, tx, number)
	if err != nil {
		return "", v, err
	}
	if c == nil || c.Dataset != "cases" || c.Subject != number {
		return "", v, errNoConflict
	}
	kept, shown, err := d.clashFor(ctx, c, &e.Matter)
	switch {
	case err != nil:
		return "", v, err
	case kept == nil || len(shown) == 0:
		return "", v, errNoConflict
	case !c.DecidedAt.IsZero():
		return "", v, annona.Conflict("request_decided", "this has been decided already; read it again")
	}
	act := "reject_conflict"
	c.State, v = RequestRejected, CaseVerdict{Verdict: VerdictUnchanged, ID: r.CaseID}
	if v.ETag, err = d.tagNow(ctx, &e.Matter, e.was); err != nil {
		return "", v, err
	}
	if r.Approve {
		act, c.State = "apply_conflict", RequestApplied
		switch {
		case len(shown) < len(kept.Parts), !kept.About.IsZero() && c.Agreement != d.i.grant.Agreement.Name:
			return "", v, annona.Forbidden("review_not_granted", "you do not see everything unaltered that this asks for")
		case !d.stands(&e, kept):
			return "", v, annona.Conflict("request_moved", "the case has changed since this was asked; reject it, and ask anew")
		}
		edit := CaseEdit{ID: r.CaseID, IfMatch: d.tag(&e.Matter, e.Version), Patch: kept.Patch, Action: kept.Action}
		if v, _, err = d.edit(ctx, tx, number, kept.About, edit); err != nil {
			return "", v, err
		}
	}
	c.DecidedAt, c.DecidedBy = d.x.Clock().UTC().Truncate(time.Millisecond), annona.Author{Client: d.caller.Client, Reason: r.Reason}
	if err := tx.PutChangeRequest(ctx, *c); err != nil {
		return "", v, err
	}
	return c.State, v, tx.AppendEntry(ctx, d.entry(act, "cases", kept.fields(), subjectsKnown(about)...))
}

// stands reports whether all that a conflict is to change is what it was when it came, or what it is to be.
func (d *caseDesk) stands(e *matterEdit, kept *clashedEdit) bool {
	same := func(a, b any) bool {
		x, _ := json.Marshal(a) // of texts: it does not fail
		y, _ := json.Marshal(b)
		return bytes.Equal(x, y)
	}
	for _, p := range kept.Parts {
		if now := e.was.unit(p.Field); !same(now, p.Now) && !same(now, p.After) {
			return false
		}
	}
	next, err := e.was.with(d.x.CurrentDictionary(), kept.Patch, madeByMoves...)
	if err != nil {
		return true // the edit says why it cannot be
	}
	for _, name := range changedUnits(e.was, next) {
		if !slices.ContainsFunc(kept.Parts, func(p clashedPart) bool { return p.Field == name }) {
			return false
		}
	}
	return true
}
