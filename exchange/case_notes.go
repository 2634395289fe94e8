package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// atOnce is how many of what belongs to a case are read at once.
const atOnce = 1000

// CaseNote is a note as it is sent. A note is never edited: another one takes its place.
type CaseNote struct {
	Kind       string `json:"kind"`
	Text       string `json:"text"`
	Supersedes string `json:"supersedes,omitempty"` // note_number of the note that this one takes the place of
	// Confidential: only those see that there is a note whom the agreement clears for what is restricted.
	Confidential bool `json:"confidential,omitempty"`
	// Author is a reference of the author in the caller's own system. It is a word, and no proof: somebody
	// who has signed in here is the author themselves.
	Author string `json:"author,omitempty"`
	// SourceID is what the partner's own system calls the note: the same again is the note that is on file.
	SourceID string `json:"source_note_id,omitempty"`
	// Keyed is what the request is known by; nil: a repetition is another note.
	Keyed *Keyed `json:"-"`
}

// AddCaseNote adds a note to a case that the caller may see. What others share without notes gets none.
func (x *Exchange) AddCaseNote(ctx context.Context, caller annona.Caller, purpose, id string, note CaseNote) (v CaseVerdict, err error) {
	d, err := x.caseDesk(ctx, caller, annona.VerbWriteCases, purpose)
	if err != nil {
		return v, err
	}
	n, err := d.readNote(ctx, id, note)
	if err != nil {
		return v, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		v, err = d.noteOnce(ctx, tx, n)
		return err
	})
	return v, err
}

// readyNote is a note for a case that the caller may see.
type readyNote struct {
	CaseNote
	i      *inquiry // of notes
	key    annona.MatterKey
	number annona.Number
	said   map[string]any
}

func (d *caseDesk) readNote(ctx context.Context, id string, note CaseNote) (n readyNote, err error) {
	n.CaseNote = note
	if n.i, err = d.x.inquireMatters(ctx, d.caller, annona.VerbWriteCases, "case_notes", d.i.question.Purpose, []string{"note_id"}); err != nil {
		return n, err
	}
	if n.said, err = d.noteSaid(ctx, note); err != nil {
		return n, err
	}
	if n.key, err = d.keyOf("case_notes", memberSourceNote, note.SourceID); err != nil {
		return n, err
	}
	n.number, _, err = d.find(ctx, id)
	return n, err
}

// note writes a note, and returns its UID as well.
func (d *caseDesk) note(ctx context.Context, tx annona.Tx, n readyNote) (v CaseVerdict, uid annona.UID, err error) {
	of, fields, err := d.hold(ctx, tx, n.number)
	if err != nil {
		return v, uid, err
	}
	if err := withinShare([]string{partNotes}, fields, false); err != nil {
		return v, uid, err
	}
	fresh, err := d.newNote(ctx, tx, n.i.shape.Dataset, n.key)
	if err != nil {
		return v, uid, err
	}
	if fresh.Version > 0 {
		v, err = d.noteOnFile(&fresh, &of, n.i)
		return v, fresh.UID, err
	}
	e, err := d.below(fresh, &of, n.Confidential)
	if err != nil {
		return v, uid, err
	}
	if e.next, err = e.was.with(d.x.CurrentDictionary(), n.said); err != nil {
		return v, uid, err
	}
	if e.next.values["text"] == "" || e.next.values["kind"] == "" {
		return v, uid, annona.Invalid("field_required", "a note has a kind and a text").On("text")
	}
	e.next.values["note_number"], e.next.values["written_at"] = shortName(annona.NewUID()), annona.Instant(d.x.Clock())
	e.next.values["confidentiality"] = e.Confidentiality
	if err := d.x.putMatters(ctx, tx, d.cells, d.author("note"), []matterEdit{e}); err != nil {
		return v, uid, err
	}
	v = CaseVerdict{Verdict: VerdictCreated, ID: string(n.i.realm.AppendID(nil, e.UID[:]))}
	return v, e.UID, tx.AppendEntry(ctx, d.entry("add_note", "case_notes", nil, subjectsKnown(of.Subject)...))
}

// noteOnFile answers for a note that has come before.
func (d *caseDesk) noteOnFile(note *annona.Matter, of *matterEdit, i *inquiry) (v CaseVerdict, err error) {
	switch {
	case !d.cleared(note):
		return v, errCase
	case note.Parent != of.Number:
		return v, annona.Conflict("note_elsewhere", "the note of this source_note_id belongs to another case").On(memberSourceNote)
	}
	return CaseVerdict{Verdict: VerdictUnchanged, ID: string(i.realm.AppendID(nil, note.UID[:]))}, nil
}

// noteOnce writes a note, unless an earlier delivery of the request has done it.
func (d *caseDesk) noteOnce(ctx context.Context, tx annona.Tx, n readyNote) (v CaseVerdict, err error) {
	done, err := d.onceIfKeyed(ctx, tx, n.Keyed, func() (done Done, err error) {
		done = Done{Status: 201, Noun: "case_notes"}
		v, done.Record, err = d.note(ctx, tx, n)
		return done, err
	})
	if err == nil && done.Replayed {
		v = CaseVerdict{Verdict: VerdictUnchanged, ID: string(n.i.realm.AppendID(nil, done.Record[:]))}
	}
	return v, err
}

// onceIfKeyed does what a request asks, unless an earlier delivery of it has; one without a key is always another one.
func (d *caseDesk) onceIfKeyed(ctx context.Context, tx annona.Tx, k *Keyed, do func() (Done, error)) (Done, error) {
	if k == nil {
		return do()
	}
	return d.x.once(ctx, tx, d.caller, *k, do)
}

// memberSourceNote is what the partner's own system calls a note.
const memberSourceNote = "source_note_id"

// newNote sets a note aside, or returns the one on file that has that key.
func (d *caseDesk) newNote(ctx context.Context, tx annona.Tx, notes *annona.Dataset, key annona.MatterKey) (annona.Matter, error) {
	var found []annona.Matter
	var err error
	if key == (annona.MatterKey{}) {
		found, err = tx.NewMatters(ctx, notes, 1)
	} else {
		found, err = tx.FindMatters(ctx, notes, []annona.MatterKey{key})
	}
	if err != nil {
		return annona.Matter{}, err
	}
	return found[0], nil
}

// below is a new matter that belongs to a case: it has no owner of its own, and is about whom the case is about.
func (d *caseDesk) below(fresh annona.Matter, of *matterEdit, confidential bool) (e matterEdit, err error) {
	e = matterEdit{Matter: fresh, was: newDocument(fresh.Dataset)}
	e.Parent, e.Subject, e.Confidentiality = of.Number, of.Subject, confidentialityNormal
	if confidential {
		e.Confidentiality = confidentialityRestricted
	}
	if !d.cleared(&e.Matter) {
		return e, annona.Forbidden("confidentiality_not_granted", "the agreement does not let you keep what is confidential").On("confidential")
	}
	return e, nil
}

// noteSaid is what a note says, with who has written it: somebody who has signed in, or whom the caller names.
func (d *caseDesk) noteSaid(ctx context.Context, note CaseNote) (map[string]any, error) {
	said := map[string]any{"kind": note.Kind, "text": note.Text, "author_basis": "asserted"}
	if note.Author != "" {
		said["author"] = note.Author
	}
	if note.Supersedes != "" {
		said["supersedes"] = note.Supersedes
	}
	if d.worker == "" {
		return said, nil
	}
	user, err := d.x.Users.UserByID(ctx, d.caller.Acting.Person)
	if err != nil || user == nil {
		return said, err
	}
	said["author"], said["author_basis"] = user.Name, "proven"
	return said, nil
}

// CaseNotes returns a page of the notes of a case, the oldest first.
func (x *Exchange) CaseNotes(ctx context.Context, caller annona.Caller, purpose, id string, fields []string, after string, limit int) (*Answer, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	d, err := x.caseDesk(ctx, caller, annona.VerbReadCases, purpose)
	if err != nil {
		return nil, err
	}
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadCases, "case_notes", purpose, fields)
	if err != nil {
		return nil, err
	}
	number, err := d.findShared(ctx, id, partNotes)
	if err != nil {
		return nil, err
	}
	i.chosen = id
	return d.page(ctx, i, annona.MatterChoice{Parents: []annona.Number{number}}, after, limit)
}

// The parts of a case that a share names beside its fields.
const (
	partNotes       = "notes"
	partAttachments = "attachments"
)

// findShared returns the number of a case that the caller may see, with that part of it: its own, or one of
// which the part is shared.
func (d *caseDesk) findShared(ctx context.Context, id, part string) (annona.Number, error) {
	number, _, err := d.find(ctx, id)
	if err != nil {
		return 0, err
	}
	shares, err := d.x.Matters.MatterShares(ctx, d.dataset("cases"), []annona.Number{number}, d.i.partner(), d.today)
	if err != nil {
		return 0, err
	}
	shown := func(s annona.Share) bool { return slices.Contains(s.Fields, part) }
	if len(shares) > 0 && !slices.ContainsFunc(shares, shown) {
		return 0, annona.Forbidden(part+"_not_shared", "the case is another partner's, and its %s are not shared with you", part)
	}
	return number, nil
}

// linkBelow lets what belongs to a case be about whom the case has come to be about.
func (d *caseDesk) linkBelow(ctx context.Context, tx annona.Tx, of *annona.Matter) error {
	for _, name := range []string{"case_notes", "case_attachments"} {
		for after, more := annona.Number(0), true; more; {
			page, err := d.allBelow(ctx, name, of.Number, after)
			if err != nil {
				return err
			}
			if more = page.Count == atOnce; page.Count == 0 {
				break
			}
			after = page.Numbers[page.Count-1]
			if err := d.link(ctx, tx, page, of.Subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// allBelow reads what belongs to a case, also what the caller may not see.
func (d *caseDesk) allBelow(ctx context.Context, name string, of, after annona.Number) (*annona.Page, error) {
	dataset := d.dataset(name)
	id, _ := dataset.Field(dataset.Key)
	shape := &annona.Shape{Dataset: dataset, Columns: []*annona.Field{id}}
	terms := d.i.ownScope(d.x, shape, d.worker).Terms()
	terms.Cleared = []string{confidentialityRestricted, confidentialityNamed}
	page := annona.NewPage(shape)
	_, err := d.x.readMatters(ctx, annona.NewMatterScope(shape, terms, annona.Scope{}, annona.Scope{}), annona.MatterChoice{Parents: []annona.Number{of}}, after, atOnce, page)
	return page, err
}

func (d *caseDesk) link(ctx context.Context, tx annona.Tx, page *annona.Page, about annona.SubjectRef) error {
	held, err := tx.HoldMatters(ctx, page.Shape.Dataset, page.Numbers)
	if err != nil {
		return err
	}
	edits, err := d.x.openMatters(ctx, d.cells, held)
	if err != nil {
		return err
	}
	for n := range edits {
		edits[n].Subject = about
	}
	return d.x.putMatters(ctx, tx, d.cells, d.author("link_case"), edits)
}
