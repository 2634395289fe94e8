package exchange

import (
	"context"
	"iter"
	"slices"

	"github.com/annona-exchange/annona"
)

// Matters are read under scopes of their own: what the caller's partner has and what is shared with it,
// and what people have said of it. A matter that a caller may not see is not there: it moves no count, no
// cursor, no version and no answer.

// inquireMatters takes the first two steps for a dataset of matters.
func (x *Exchange) inquireMatters(ctx context.Context, caller annona.Caller, verb annona.Verb, dataset, purpose string, fields []string) (*inquiry, error) {
	i, err := x.inquire(ctx, x.Standings, caller, verb, Question{Dataset: dataset, Purpose: purpose, Fields: fields, matters: true})
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: "json"}
	return i, nil
}

// partner is who answers for what the caller keeps.
func (i *inquiry) partner() string { return i.grant.Agreement.Partner.Name }

// ownScope is the scope of what the partner has, and of what is shared with it.
func (i *inquiry) ownScope(x *Exchange, shape *annona.Shape, worker string) annona.MatterScope {
	terms := annona.MatterTerms{Owner: i.partner(), Worker: worker, Said: annona.ScopeTerms{
		Purpose: i.grant.Purpose.Code, Recipient: i.partner(), Basis: i.grant.Purpose.Basis, AsOf: i.asOf, Today: x.today(x.Clock()),
	}}
	if c := i.grant.Agreement.Cases; c != nil {
		terms.Cleared = c.Confidentiality
	}
	return annona.NewMatterScope(shape, terms, annona.Scope{}, annona.Scope{})
}

// workerOf is how the worker who has a case stands on file: the name that the owner gives, hashed. Who asks
// is a worker only when they have signed in here themselves.
func (x *Exchange) workerOf(partner, name string) string {
	if name == "" {
		return ""
	}
	return x.Vault.RecordKey("workers", partner, name)
}

// signedInWorker is the worker who asks; empty: a client that acts for itself.
func (x *Exchange) signedInWorker(ctx context.Context, caller annona.Caller, partner string) (string, error) {
	if x.Users == nil || caller.Acting.Person == (annona.UID{}) {
		return "", nil
	}
	user, err := x.Users.UserByID(ctx, caller.Acting.Person)
	if err != nil || user == nil {
		return "", err
	}
	return x.workerOf(partner, user.Name), nil
}

// readMatters asks for one page of matters.
func (x *Exchange) readMatters(ctx context.Context, scope annona.MatterScope, choice annona.MatterChoice, after annona.Number, limit int, page *annona.Page) (more bool, err error) {
	q := &annona.MatterQuestion{Scope: scope, Choice: choice, After: after, Limit: limit, Page: page}
	err = x.Matters.ReadMatters(ctx, q)
	return q.More, err
}

// readOwn appends what the choice picks of the partner's own scope to a page, opened. Of what is shared
// with the partner, the page keeps what the share names.
func (x *Exchange) readOwn(ctx context.Context, i *inquiry, worker string, page *annona.Page, choice annona.MatterChoice, after annona.Number, limit int) (more bool, err error) {
	if more, err = x.readOwnWhole(ctx, i, worker, page, choice, after, limit); err == nil {
		cutShared(page)
	}
	return more, err
}

// readOwnWhole does so with all of what is shared, also what no share names.
func (x *Exchange) readOwnWhole(ctx context.Context, i *inquiry, worker string, page *annona.Page, choice annona.MatterChoice, after annona.Number, limit int) (more bool, err error) {
	err = x.readOpen(ctx, page, func() (err error) {
		more, err = x.readMatters(ctx, i.ownScope(x, page.Shape, worker), choice, after, limit, page)
		return err
	})
	return more, err
}

// keptOfShares is what is seen of a matter whatever a share names: that it is there.
var keptOfShares = []string{"case_id", "individual_id", "household_id"}

// cutShared takes from rows that are shared what no share of them names. One that names nothing shows all.
func cutShared(page *annona.Page) {
	if len(page.Shares) == 0 {
		return
	}
	seen := map[annona.Number][]string{}
	whole := map[annona.Number]bool{}
	for _, s := range page.Shares {
		whole[s.Number] = whole[s.Number] || len(s.Fields) == 0
		seen[s.Number] = append(seen[s.Number], s.Fields...)
	}
	shows := func(row int, f *annona.Field) bool {
		fields, shared := seen[page.Numbers[row]]
		return !shared || whole[page.Numbers[row]] || slices.Contains(fields, f.Base.Code) || slices.Contains(keptOfShares, f.Code)
	}
	for c, f := range page.Shape.Columns {
		var kept annona.Column
		for row := range page.Count {
			if shows(row, f) {
				kept.Append(page.Cell(c, row))
			} else {
				kept.EndCell()
			}
		}
		page.Columns[c] = kept
	}
	for g := range page.Groups {
		from := &page.Groups[g]
		kept := annona.Group{Page: annona.NewPage(from.Page.Shape)}
		for row := range page.Count {
			first, end := from.Rows(row)
			for inner := first; inner < end && shows(row, page.Shape.Groups[g].Field); inner++ {
				kept.Page.AppendRow(from.Page, inner)
			}
			kept.EndRow()
		}
		page.Groups[g] = kept
	}
}

// matterEdit is a matter that a transaction has found, held or set a number aside for, and what is to be of it.
type matterEdit struct {
	annona.Matter
	was    document // what it says on file; nothing when it is new
	next   document
	former annona.Former // what it was, once the next version is written
}

// openMatters opens what matters say on file.
func (x *Exchange) openMatters(ctx context.Context, with annona.Cells, matters []annona.Matter) ([]matterEdit, error) {
	edits := make([]matterEdit, len(matters))
	var cells []annona.Cell
	for _, m := range matters {
		cells = append(cells, annona.Cell{Dataset: m.Dataset, Number: m.Number, Version: m.Version, Part: annona.PartSealed, Image: slices.Clone(m.Sealed)})
	}
	if err := with.OpenCells(ctx, cells); err != nil {
		return nil, err
	}
	for n, m := range matters {
		edits[n] = matterEdit{Matter: m, was: newDocument(m.Dataset)}
		if m.Version > 0 {
			var err error
			if edits[n].was, err = openDocument(x.CurrentDictionary(), m.Dataset, m.Clear, cells[n].Image); err != nil {
				return nil, err
			}
		}
		edits[n].next = edits[n].was.clone()
	}
	return edits, nil
}

// putMatters seals what is to be of matters and writes it, each as its next version. What it was stands in
// the edit then.
func (x *Exchange) putMatters(ctx context.Context, tx annona.Tx, with annona.Cells, by annona.Author, edits []matterEdit) error {
	var cells []annona.Cell
	matters := make([]annona.Matter, len(edits))
	for n := range edits {
		e := &edits[n]
		clear, sealed, err := e.next.images(x.CurrentDictionary())
		if err != nil {
			return err
		}
		cell := annona.Cell{Dataset: e.Dataset, Number: e.Number, Version: e.Version + 1, Part: annona.PartSealed, Image: sealed}
		before := annona.Cell{Dataset: e.Dataset, Number: e.Number, Version: e.Version, Part: annona.PartBefore}
		if e.Version > 0 {
			before.Image = slices.Clone(e.Clear)
		}
		cells = append(cells, cell, before)
		matters[n] = e.Matter
		matters[n].Version, matters[n].Clear = e.Version+1, clear
	}
	if err := with.Seal(ctx, cells); err != nil {
		return err
	}
	for n := range edits {
		if was := &edits[n].Matter; was.Version > 0 {
			edits[n].former = annona.Former{Version: was.Version, Clear: cells[2*n+1].Image, Sealed: was.Sealed}
			matters[n].Before = edits[n].former.Append(nil)
		}
		matters[n].Sealed = cells[2*n].Image
	}
	return tx.PutMatters(ctx, by, matters)
}

// The bounds within which what somebody has read is found again.
const (
	oldestRead = 100 // versions
	pastEvents = 200
)

// matterAt returns what a matter said at a version that somebody has read; stale when that is too long ago.
func (d *caseDesk) matterAt(ctx context.Context, m *annona.Matter, version int) (document, error) {
	stale := annona.Stale("version_too_old", "what you have read is too long ago to be merged; read it again").On("If-Match")
	if version > m.Version || version < 1 || m.Version-version > oldestRead {
		return document{}, stale
	}
	for was, err := range d.formers(ctx, m) {
		if err != nil {
			return document{}, err
		}
		if was.Version == version {
			return d.x.formerDocument(ctx, m, was.Former)
		}
	}
	return document{}, stale
}

// wasUntil is what a matter was, until an event.
type wasUntil struct {
	annona.Former
	until annona.Event
}

// formers are what a matter has been, the oldest first: as far back as the log goes, and what this request has
// written itself, which is in no log before its end.
func (d *caseDesk) formers(ctx context.Context, m *annona.Matter) iter.Seq2[wasUntil, error] {
	return func(yield func(wasUntil, error) bool) {
		newest := 0
		for after, more := int64(0), true; more; {
			events, err := d.x.Matters.MatterEvents(ctx, m.Dataset, []annona.Number{m.Number}, after, pastEvents)
			if err != nil {
				yield(wasUntil{}, err)
				return
			}
			more = len(events) == pastEvents
			for _, e := range events {
				after = e.Seq
				if len(e.Before) == 0 {
					continue
				}
				former, err := annona.ParseFormer(e.Before)
				if !yield(wasUntil{former, e}, err) || err != nil {
					return
				}
				newest = former.Version
			}
		}
		for _, was := range d.wrote[m.Number] {
			if was.Version > newest && !yield(was, nil) {
				return
			}
		}
	}
}

func (x *Exchange) formerDocument(ctx context.Context, m *annona.Matter, former annona.Former) (document, error) {
	cells := []annona.Cell{
		{Dataset: m.Dataset, Number: m.Number, Version: former.Version, Part: annona.PartBefore, Image: slices.Clone(former.Clear)},
		{Dataset: m.Dataset, Number: m.Number, Version: former.Version, Part: annona.PartSealed, Image: slices.Clone(former.Sealed)},
	}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return document{}, err
	}
	return openDocument(x.CurrentDictionary(), m.Dataset, cells[0].Image, cells[1].Image)
}
