package exchange

import (
	"cmp"
	"context"

	"github.com/annona-exchange/annona"
)

// CaseChoice picks from the cases that a caller may see. What is empty picks all.
type CaseChoice struct {
	ID           string // wire id
	IndividualID string
	HouseholdID  string
	Status       string
	Worker       string // as the partner names its workers
	DueUntil     annona.Date
	Program      string // code of one that the case names, alone or among others
}

// Cases returns a page of the cases that the caller may see: those that its partner has, and those that are
// shared with it. One by its id has an ETag.
func (x *Exchange) Cases(ctx context.Context, caller annona.Caller, purpose string, c CaseChoice, fields []string, after string, limit int) (*Answer, error) {
	if err := cmp.Or(checkLimit(limit, MaxLimit), x.checkStatus("cases", c.Status)); err != nil {
		return nil, err
	}
	d, err := x.readingDesk(ctx, caller, purpose, fields)
	if err != nil {
		return nil, err
	}
	choice, err := d.choice(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.ID != "" {
		return d.one(ctx, choice)
	}
	d.i.chosen = c.text()
	return d.page(ctx, d.i, choice, after, limit)
}

func (c CaseChoice) text() string {
	return string(appendTexts(nil, c.IndividualID, c.HouseholdID, c.Status, c.Worker, string(c.DueUntil), c.Program))
}

// asked are the fields of a case by which one picks.
func (c CaseChoice) asked() (fields []string) {
	for _, by := range []struct {
		value  string
		fields []string
	}{
		{c.Status, []string{"status"}}, {c.Worker, []string{"worker"}}, {string(c.DueUntil), []string{"due_date", "next_review_date"}}, {c.Program, []string{"programs"}},
	} {
		if by.value != "" {
			fields = append(fields, by.fields...)
		}
	}
	return fields
}

func (d *caseDesk) choice(ctx context.Context, c CaseChoice) (choice annona.MatterChoice, err error) {
	choice = annona.MatterChoice{DueUntil: c.DueUntil, Worker: d.x.workerOf(d.i.partner(), c.Worker), Concerns: c.Program, Asked: c.asked()}
	if err := cmp.Or(d.i.checkPicked(choice.Asked), d.x.checkProgramAsked(c.Program)); err != nil {
		return choice, err
	}
	if c.Status != "" {
		choice.States = []string{c.Status}
	}
	if c.ID != "" {
		uid, ok := d.i.realm.ParseID(c.ID)
		if !ok {
			uid = annona.UID{}
		}
		choice.UIDs = []annona.UID{uid}
	}
	said := map[string]any{}
	if c.IndividualID != "" {
		said[memberIndividual] = c.IndividualID
	}
	if c.HouseholdID != "" {
		said[memberHousehold] = c.HouseholdID
	}
	about, err := d.subject(ctx, said)
	choice.Subjects = subjectsKnown(about)
	return choice, err
}

// page reads a page of matters, and releases it.
func (d *caseDesk) page(ctx context.Context, i *inquiry, choice annona.MatterChoice, after string, limit int) (*Answer, error) {
	page := annona.NewPage(i.shape)
	more, err := d.readPage(ctx, i, choice, after, limit, page)
	if err != nil {
		return nil, err
	}
	return d.x.answerPage(ctx, i, page, more)
}

// readPage appends the matters behind a cursor to a page, within the ceiling of the grant.
func (d *caseDesk) readPage(ctx context.Context, i *inquiry, choice annona.MatterChoice, after string, limit int, page *annona.Page) (more bool, err error) {
	from, err := d.x.openCursor(i, after)
	if err != nil {
		return false, err
	}
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		limit = int(min(int64(limit), ceiling))
	}
	return d.x.readOwn(ctx, i, d.worker, page, choice, from, limit)
}

// one reads a case, and releases it.
func (d *caseDesk) one(ctx context.Context, choice annona.MatterChoice) (*Answer, error) {
	page, tag, err := d.tagged(ctx, choice)
	if err != nil {
		return nil, err
	}
	if page.Count == 0 {
		return nil, errCase
	}
	cutShared(page)
	narrowTo(page, d.i.shape)
	answer, err := d.x.answerPage(ctx, d.i, page, false)
	if err == nil {
		answer.ETag = tag
	}
	return answer, err
}
