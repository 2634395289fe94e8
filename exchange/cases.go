package exchange

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Cases are kept by partners, each in the name of its own. The exchange is no case system: it lets those of
// several partners meet. A case has one owner at every instant, a workflow (caseflow.go), and versions by
// which late edits are merged (document.go).

// The members of a case that are no fields of it.
const (
	memberSourceID   = "source_case_id" // what the partner's own system calls it
	memberIndividual = "individual_id"
	memberHousehold  = "household_id"
)

// CaseVerdict says what became of one case.
type CaseVerdict struct {
	Verdict string // created, changed, unchanged or refused; of an edit also merged or conflict
	ID      string // wire id
	ETag    string // of the version on file
	// Conflict is the id under which what clashes is kept, until somebody resolves it. Zero: it is not kept.
	Conflict annona.UID
	Clashes  []Clash
	Reason   error // of a refusal

	kept clashedEdit // of a conflict
}

// The verdicts of writing a case, beside VerdictUnchanged, VerdictRefused, VerdictMerged and VerdictConflict.
const (
	VerdictCreated = "created"
	VerdictChanged = "changed"
)

// Clash is one part of a case that somebody else has changed as well, and not to the same. Values are
// texts, or the items of a group; nil: there is none, or the caller may not see it.
type Clash struct {
	Field  string `json:"field"` // or group/item
	Read   any    `json:"read,omitempty"`
	Theirs any    `json:"theirs,omitempty"`
	Yours  any    `json:"yours,omitempty"`
}

// caseDesk is one request about cases, decided.
type caseDesk struct {
	x      *Exchange
	caller annona.Caller
	i      *inquiry // of the dataset cases
	worker string   // who has signed in, as cases name workers
	today  annona.Date
	people map[string]*inquiry          // by dataset, of those whom a case may be about
	wrote  map[annona.Number][]wasUntil // what cases were before this request has written them
	cells  annona.Cells                 // by which cases are opened and sealed
}

func (x *Exchange) caseDesk(ctx context.Context, caller annona.Caller, verb annona.Verb, purpose string) (*caseDesk, error) {
	return x.caseDeskFrom(ctx, x.Standings, caller, verb, purpose)
}

func (x *Exchange) caseDeskFrom(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, purpose string) (*caseDesk, error) {
	i, err := x.inquire(ctx, from, caller, verb, Question{Dataset: "cases", Purpose: purpose, Fields: []string{"case_id"}, matters: true})
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: "json"}
	return x.deskOver(ctx, i)
}

// readingDesk is a desk for who reads cases: it is decided once, of what is asked for.
func (x *Exchange) readingDesk(ctx context.Context, caller annona.Caller, purpose string, fields []string) (*caseDesk, error) {
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadCases, "cases", purpose, fields)
	if err != nil {
		return nil, err
	}
	return x.deskOver(ctx, i)
}

// deskOver is a desk for a request that is decided.
func (x *Exchange) deskOver(ctx context.Context, i *inquiry) (d *caseDesk, err error) {
	d = &caseDesk{x: x, caller: i.caller, i: i, today: x.today(x.Clock()), people: map[string]*inquiry{}, cells: x.Vault}
	d.worker, err = x.signedInWorker(ctx, i.caller, i.partner())
	return d, err
}

func (d *caseDesk) terms() *annona.CaseTerms { return d.i.grant.Agreement.Cases }

// dataset returns one of the dictionary.
func (d *caseDesk) dataset(name string) *annona.Dataset {
	of, _ := d.x.CurrentDictionary().Dataset(name)
	return of
}

// cleared reports whether the caller may see a matter of that confidentiality.
func (d *caseDesk) cleared(m *annona.Matter) bool {
	c := m.Confidentiality
	return c == "" || c == confidentialityNormal || slices.Contains(d.terms().Confidentiality, c) ||
		c == confidentialityNamed && d.worker != "" && m.Worker == d.worker
}

var errCase = annona.NotFound("no such case, or not one that you may see")

// deskOf finds a case that the caller may see. As with a small request, the decision is taken from remembered
// standings and confirmed by the epoch that lies beside the case, and everything else again from the store.
func (x *Exchange) deskOf(ctx context.Context, caller annona.Caller, verb annona.Verb, purpose, id string) (d *caseDesk, number annona.Number, of annona.SubjectRef, err error) {
	remembered, err := x.Remembered.under(ctx)
	if err != nil {
		return nil, 0, of, err
	}
	var epoch int64
	if d, err = x.caseDeskFrom(ctx, remembered, caller, verb, purpose); err == nil {
		number, of, epoch, err = d.findUnder(ctx, d.i, id, errCase)
	}
	if err == nil && remembered.confirms(epoch) || isFailure(err) {
		return d, number, of, err
	}
	if d, err = x.caseDesk(ctx, caller, verb, purpose); err == nil {
		number, of, err = d.find(ctx, id)
	}
	return d, number, of, err
}

// find returns the number of a case that the caller may see.
func (d *caseDesk) find(ctx context.Context, id string) (annona.Number, annona.SubjectRef, error) {
	return d.findIn(ctx, d.i, id, errCase)
}

func (d *caseDesk) findIn(ctx context.Context, i *inquiry, id string, missing error) (annona.Number, annona.SubjectRef, error) {
	number, of, _, err := d.findUnder(ctx, i, id, missing)
	return number, of, err
}

// findUnder says beside which policy epoch it has found the case.
func (d *caseDesk) findUnder(ctx context.Context, i *inquiry, id string, missing error) (number annona.Number, of annona.SubjectRef, epoch int64, err error) {
	q := d.asks(i, id)
	if err := d.x.Matters.ReadMatters(ctx, q); err != nil {
		return 0, of, 0, err
	}
	number, of, err = foundOn(q.Page, missing)
	return number, of, q.Page.Epoch, err
}

// asks is the question for a matter of the partner's own scope by its wire id.
func (d *caseDesk) asks(i *inquiry, id string) *annona.MatterQuestion {
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.NewUID() // nobody's: the question is asked all the same
	}
	return &annona.MatterQuestion{
		Scope: i.ownScope(d.x, i.shape, d.worker), Choice: annona.MatterChoice{UIDs: []annona.UID{uid}}, Limit: 1, Page: annona.NewPage(i.shape),
	}
}

// foundOn is the matter of a page of at most one, and whom it is about.
func foundOn(page *annona.Page, missing error) (annona.Number, annona.SubjectRef, error) {
	if page.Count == 0 {
		return 0, annona.SubjectRef{}, missing
	}
	return page.Numbers[0], page.Subjects[0], nil
}

// hold locks a case that was found, and says what of it the caller may change: nil: all of it.
func (d *caseDesk) hold(ctx context.Context, tx annona.Tx, number annona.Number) (e matterEdit, fields []string, err error) {
	held, err := tx.HoldMatters(ctx, d.dataset("cases"), []annona.Number{number})
	if err != nil {
		return e, nil, err
	}
	if len(held) == 0 || !d.cleared(&held[0]) {
		return e, nil, errCase
	}
	edits, err := d.x.openMatters(ctx, d.cells, held)
	if err != nil || held[0].Owner == d.i.partner() {
		return first(edits), nil, err
	}
	if fields, err = d.sharedToEdit(ctx, number); err != nil {
		return e, nil, err
	}
	return edits[0], fields, nil
}

// sharedToEdit are the fields of another partner's case that are shared for the caller to change; nil: all of it.
// One that is not shared any more is not there.
func (d *caseDesk) sharedToEdit(ctx context.Context, number annona.Number) (fields []string, err error) {
	shares, err := d.x.Matters.MatterShares(ctx, d.dataset("cases"), []annona.Number{number}, d.i.partner(), d.today)
	if err != nil {
		return nil, err
	}
	if len(shares) == 0 {
		return nil, errCase
	}
	fields = []string{}
	for _, s := range shares {
		switch {
		case s.Edit && len(s.Fields) == 0:
			return nil, nil
		case s.Edit:
			fields = append(fields, s.Fields...)
		}
	}
	return fields, nil
}

func first(edits []matterEdit) (e matterEdit) {
	if len(edits) > 0 {
		e = edits[0]
	}
	return e
}

// subject finds whom a case is to be about, among those whom the caller may see.
func (d *caseDesk) subject(ctx context.Context, said map[string]any) (about annona.SubjectRef, err error) {
	for _, of := range []struct{ member, dataset string }{{memberIndividual, "individuals"}, {memberHousehold, "households"}} {
		value, there := said[of.member]
		if !there || value == nil {
			continue
		}
		id, ok := value.(string)
		if !ok || !about.IsZero() {
			return about, annona.Invalid("subject_malformed", "a case is about one individual or one household, by its id; or about somebody who is not on file").On(of.member)
		}
		if about, err = d.person(ctx, of.dataset, of.member, id); err != nil {
			return about, err
		}
	}
	return about, nil
}

func (d *caseDesk) person(ctx context.Context, dataset, member, id string) (about annona.SubjectRef, err error) {
	i := d.people[dataset]
	if i == nil {
		if i, err = d.x.inquire(ctx, d.x.Standings, d.caller, d.i.verb, Question{Dataset: dataset, Purpose: d.i.question.Purpose, Fields: []string{member}}); err != nil {
			return about, err
		}
		d.people[dataset] = i
	}
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{}
	}
	page := annona.NewPage(i.shape)
	if err := d.x.Records.ReadOne(ctx, i.scope(i.shape, d.today), uid, page); err != nil {
		return about, err
	}
	if page.Count == 0 {
		return about, errSubject
	}
	return annona.SubjectRef{Dataset: dataset, Number: page.Numbers[0]}, nil
}

// index sets by what a case is found, from what it says.
func (d *caseDesk) index(e *matterEdit) {
	said := e.next.values
	e.State, e.Confidentiality = said["status"], said["confidentiality"]
	e.Due = annona.Date(said["due_date"])
	if review := annona.Date(said["next_review_date"]); e.Due == "" || review != "" && review < e.Due {
		e.Due = review
	}
	e.Worker = d.x.workerOf(e.Owner, said["worker"])
	e.Program = said["programs"]
	if !e.Subject.IsZero() {
		maps.DeleteFunc(said, func(code, _ string) bool { return isProvisional(code) })
	}
}

// check refuses a case that lacks something, or is more confidential than the caller may keep.
func (d *caseDesk) check(e *matterEdit) error {
	if err := checkCase(e.next); err != nil {
		return err
	}
	if err := d.checkType(e); err != nil {
		return err
	}
	if !d.cleared(&e.Matter) {
		return annona.Forbidden("confidentiality_not_granted", "the agreement does not let you keep cases of this confidentiality").On("confidentiality")
	}
	return nil
}

// checkType refuses a type that is not in its list, also while that is open for a country to fill: the type
// decides how confidential a case is at least.
func (d *caseDesk) checkType(e *matterEdit) error {
	list, _ := d.x.CurrentDictionary().CodeList("case_type")
	kind := e.next.values["case_type"]
	if kind == e.was.values["case_type"] || slices.ContainsFunc(list.Codes, func(c annona.Code) bool { return c.Code == kind }) {
		return nil
	}
	return annona.Invalid("code_unknown", "the code is not in the list case_type; a country puts its own types there with annona dictionary apply").On("case_type")
}

// entry is what the ledger says of a change of cases.
func (d *caseDesk) entry(act, dataset string, fields []string, about ...annona.SubjectRef) annona.LedgerRow {
	facts := d.i.facts()
	facts.Dataset, facts.Details, facts.Format = dataset, map[string]string{"act": act}, ""
	if len(fields) > 0 {
		facts.Details["fields"] = strings.Join(fields, " ")
	}
	numbers := map[string][]annona.Number{}
	for _, s := range about {
		numbers[s.Dataset] = append(numbers[s.Dataset], s.Number)
	}
	var subjects []audit.Subjects
	for _, of := range []struct{ dataset, noun string }{{"households", "household"}, {"individuals", "individual"}} {
		if list := numbers[of.dataset]; len(list) > 0 {
			slices.Sort(list)
			subjects = append(subjects, audit.Subjects{Noun: of.noun, Numbers: slices.Compact(list)})
		}
	}
	return audit.Change(d.x.Clock(), d.i.request, facts, d.caller, subjects)
}

func (d *caseDesk) author(act string) annona.Author {
	return annona.Author{Client: d.caller.Client, Reason: act}
}
