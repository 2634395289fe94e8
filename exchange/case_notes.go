package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// maxNotes is how many notes a case has.
const maxNotes = 1000

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
}

// AddCaseNote adds a note to a case that the caller may see. What others share without notes gets none.
func (x *Exchange) AddCaseNote(ctx context.Context, caller annona.Caller, purpose, id string, note CaseNote) (v CaseVerdict, err error) {
	d, err := x.caseDesk(ctx, caller, annona.VerbWriteCases, purpose)
	if err != nil {
		return v, err
	}
	notes, err := x.inquireMatters(ctx, caller, annona.VerbWriteCases, "case_notes", purpose, []string{"note_id"})
	if err != nil {
		return v, err
	}
	said, err := d.noteSaid(ctx, note)
	if err != nil {
		return v, err
	}
	key, err := d.keyOf("case_notes", memberSourceNote, note.SourceID)
	if err != nil {
		return v, err
	}
	number, _, err := d.find(ctx, id)
	if err != nil {
		return v, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		of, fields, err := d.hold(ctx, tx, number)
		if err != nil {
			return err
		}
		if err := withinShare([]string{"notes"}, fields, false); err != nil {
			return err
		}
		fresh, err := d.newNote(ctx, tx, notes.shape.Dataset, key)
		if err != nil {
			return err
		}
		if fresh.Version > 0 {
			if fresh.Parent != of.Number {
				return annona.Conflict("note_elsewhere", "the note of this source_note_id belongs to another case").On(memberSourceNote)
			}
			v = CaseVerdict{Verdict: VerdictUnchanged, ID: string(notes.realm.AppendID(nil, fresh.UID[:]))}
			return nil
		}
		e := matterEdit{Matter: fresh, was: newDocument(notes.shape.Dataset)}
		e.Parent, e.Subject, e.Confidentiality = of.Number, of.Subject, confidentialityNormal
		if note.Confidential {
			e.Confidentiality = confidentialityRestricted
		}
		if !d.cleared(&e.Matter) {
			return annona.Forbidden("confidentiality_not_granted", "the agreement does not let you keep confidential notes").On("confidential")
		}
		if e.next, err = e.was.with(x.CurrentDictionary(), said); err != nil {
			return err
		}
		if e.next.values["text"] == "" || e.next.values["kind"] == "" {
			return annona.Invalid("field_required", "a note has a kind and a text").On("text")
		}
		e.next.values["note_number"], e.next.values["written_at"] = shortName(annona.NewUID()), annona.Instant(x.Clock())
		e.next.values["confidentiality"] = e.Confidentiality
		v = CaseVerdict{Verdict: VerdictCreated, ID: string(notes.realm.AppendID(nil, e.UID[:]))}
		if err := x.putMatters(ctx, tx, d.author("note"), []matterEdit{e}); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, d.entry("add_note", "case_notes", nil, subjectsKnown(of.Subject)...))
	})
	return v, err
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
	if limit < 1 || limit > MaxLimit {
		return nil, annona.Invalid("limit_out_of_range", "limit is 1 to %d", MaxLimit).On("limit")
	}
	d, err := x.caseDesk(ctx, caller, annona.VerbReadCases, purpose)
	if err != nil {
		return nil, err
	}
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadCases, "case_notes", purpose, fields)
	if err != nil {
		return nil, err
	}
	number, _, err := d.find(ctx, id)
	if err != nil {
		return nil, err
	}
	shares, err := x.Matters.MatterShares(ctx, d.dataset("cases"), []annona.Number{number}, i.partner(), d.today)
	if err != nil {
		return nil, err
	}
	if !sharesNotes(shares) {
		return nil, annona.Forbidden("notes_not_shared", "the case is another partner's, and its notes are not shared with you")
	}
	return d.page(ctx, i, annona.MatterChoice{Parents: []annona.Number{number}}, after, limit, false, errCase)
}

// sharesNotes reports whether shares show notes: none of them is needed for a case of one's own.
func sharesNotes(shares []annona.Share) bool {
	for _, s := range shares {
		for _, f := range s.Fields {
			if f == "notes" {
				return true
			}
		}
	}
	return len(shares) == 0
}

// linkNotes lets the notes of a case be about whom the case has come to be about.
func (d *caseDesk) linkNotes(ctx context.Context, tx annona.Tx, of *annona.Matter) error {
	notes := d.dataset("case_notes")
	id, _ := notes.Field(notes.Key)
	shape := &annona.Shape{Dataset: notes, Columns: []*annona.Field{id}}
	terms := d.i.ownScope(d.x, shape, d.worker).Terms()
	terms.Cleared = []string{confidentialityRestricted, confidentialityNamed}
	page := annona.NewPage(shape)
	if _, err := d.x.Matters.ReadMatters(ctx, annona.NewMatterScope(shape, terms, annona.Scope{}, annona.Scope{}), annona.MatterChoice{Parents: []annona.Number{of.Number}}, 0, maxNotes, page); err != nil || page.Count == 0 {
		return err
	}
	held, err := tx.HoldMatters(ctx, notes, page.Numbers)
	if err != nil {
		return err
	}
	edits, err := d.x.openMatters(ctx, held)
	if err != nil {
		return err
	}
	for n := range edits {
		edits[n].Subject = of.Subject
	}
	return d.x.putMatters(ctx, tx, d.author("link_case"), edits)
}
