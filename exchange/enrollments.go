package exchange

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Programs report who takes part in them and what those get. What they report is on file under the name
// that their own system gives it: the same again changes nothing, a later report moves it on. Whoever is
// reported must be in the caller's sight; others are refused as an id that was never given.

// The members of a report that are no fields of it.
const (
	memberSourceEnrollment = "source_enrollment_id" // what the program's own system calls it
	memberSourceBenefit    = "source_benefit_id"
	memberPerson           = "individual_id"
	memberHome             = "household_id"
)

const (
	maxReports  = 500 // in one transaction
	maxOwnName  = 200 // bytes of what a program's system calls something
	rowsOfWhole = 10_000
)

// ownByExchange are the fields that the exchange sets itself.
var ownByExchange = []string{"status_history", "enrollment_date", "exit_date", "waitlisted_at", "assistance_unit"}

// report is one row that may be written.
type report struct {
	row     int
	key     annona.MatterKey
	parent  annona.MatterKey // of a benefit: its enrollment
	about   annona.SubjectRef
	program *annona.Program
	said    map[string]any // what is left of the row
	number  annona.Number  // of the parent
}

// ReportVerdict says what became of one row.
type ReportVerdict struct {
	Verdict string // recorded, unchanged or refused
	ID      string // wire id
	Reason  error  // of a refusal
}

// reports are those of one request.
type reports struct {
	x        *Exchange
	caller   annona.Caller
	purpose  string
	i        *inquiry // of the dataset
	people   map[string]*inquiry
	programs map[string]*annona.Program
	terms    *annona.Agreement
	pays     bool // rows are payments of benefits
}

func (x *Exchange) newReports(caller annona.Caller, purpose string) *reports {
	return &reports{x: x, caller: caller, purpose: purpose, people: map[string]*inquiry{}, programs: map[string]*annona.Program{}}
}

// ReportEnrollments puts enrollments on file, or moves them on, with a verdict for each. With whole, all
// rows are written or none.
func (x *Exchange) ReportEnrollments(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any, whole bool) ([]ReportVerdict, error) {
	return x.newReports(caller, purpose).all(ctx, "enrollments", rows, whole)
}

// ReportBenefits does the same for benefits of enrollments that the caller has reported.
func (x *Exchange) ReportBenefits(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any, whole bool) ([]ReportVerdict, error) {
	return x.newReports(caller, purpose).all(ctx, "benefits", rows, whole)
}

// all decides for a dataset, and writes rows of it.
func (b *reports) all(ctx context.Context, dataset string, rows []map[string]any, whole bool) ([]ReportVerdict, error) {
	if err := b.admit(ctx, dataset); err != nil {
		return nil, err
	}
	size := maxReports
	if whole {
		size = rowsOfWhole
	}
	verdicts := make([]ReportVerdict, 0, len(rows))
	for chunk := range slices.Chunk(rows, size) {
		some, err := b.record(ctx, chunk, whole)
		if err != nil {
			return verdicts, err
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}

// admit decides for the dataset, and for those whom it may be about. One kind of them is enough.
func (b *reports) admit(ctx context.Context, dataset string) (err error) {
	ask := func(q Question) (*inquiry, error) {
		q.Purpose = b.purpose
		return b.x.inquire(ctx, b.x.Standings, b.caller, annona.VerbReportEnrollments, q)
	}
	if b.i, err = ask(Question{Dataset: dataset, matters: true}); err != nil {
		return err
	}
	b.terms = b.i.grant.Agreement
	var refusal error
	for of, id := range map[string]string{"individuals": memberPerson, "households": memberHome} {
		i, err := ask(Question{Dataset: of, Fields: []string{id}})
		switch code := annona.CodeOf(err); {
		case err == nil:
			b.people[of] = i
		case code == "dataset_not_granted" || code == "dataset_not_authorized" || code == "field_not_granted":
			refusal = err
		default:
			return err
		}
	}
	if len(b.people) == 0 {
		return refusal
	}
	return nil
}

// errNotWhole ends the transaction of a request of which a row was refused.
var errNotWhole = errors.New("a row was refused")

// record writes one chunk.
func (b *reports) record(ctx context.Context, rows []map[string]any, whole bool) ([]ReportVerdict, error) {
	verdicts := make([]ReportVerdict, len(rows))
	ready, err := b.readAll(ctx, rows, verdicts)
	if err != nil {
		return nil, err
	}
	if whole && len(ready) < len(rows) {
		return refusedWhole(verdicts), nil
	}
	if len(ready) == 0 {
		return verdicts, nil
	}
	err = b.x.Writer.Update(ctx, func(tx annona.Tx) error {
		for _, r := range ready {
			verdicts[r.row] = ReportVerdict{}
		}
		if err := b.write(ctx, tx, ready, verdicts); err != nil {
			return err
		}
		if whole && slices.ContainsFunc(verdicts, func(v ReportVerdict) bool { return v.Reason != nil }) {
			return errNotWhole
		}
		return nil
	})
	if errors.Is(err, errNotWhole) {
		return refusedWhole(verdicts), nil
	}
	return verdicts, err
}

// readAll returns the rows that can be written, and says of the others in verdicts why not.
func (b *reports) readAll(ctx context.Context, rows []map[string]any, verdicts []ReportVerdict) (ready []report, err error) {
	seen := map[annona.MatterKey]bool{}
	for n, row := range rows {
		r, err := b.read(ctx, row)
		if err == nil && seen[r.key] && !b.pays {
			err = annona.Conflict("key_twice", "another row of this request has the same name; send them one after the other")
		}
		switch {
		case err == nil:
			r.row, seen[r.key] = n, true
			ready = append(ready, r)
		case isFailure(err):
			return nil, err
		default:
			verdicts[n] = ReportVerdict{Verdict: VerdictRefused, Reason: err}
		}
	}
	return ready, nil
}

// refusedWhole refuses the rows that nothing is wrong with beside others that are refused.
func refusedWhole(verdicts []ReportVerdict) []ReportVerdict {
	for n := range verdicts {
		if verdicts[n].Reason == nil {
			verdicts[n] = ReportVerdict{Verdict: VerdictRefused, Reason: errLeftOut}
		}
	}
	return verdicts
}

// read checks what a row names: itself, the program, and whom it is about, within what the caller may see.
func (b *reports) read(ctx context.Context, row map[string]any) (r report, err error) {
	r.said = maps.Clone(row)
	if b.pays {
		return r, b.readPayment(&r)
	}
	names := map[string]string{}
	for _, member := range []string{memberSourceEnrollment, memberSourceBenefit, memberPerson, memberHome} {
		if names[member], err = r.take(member); err != nil {
			return r, err
		}
	}
	own := memberSourceEnrollment
	if b.i.question.Dataset == "benefits" {
		own = memberSourceBenefit
		if names[memberSourceEnrollment] == "" {
			return r, required(memberSourceEnrollment)
		}
		if names[memberPerson] != "" || names[memberHome] != "" {
			return r, annona.Invalid("field_not_set", "a benefit is of whom its enrollment is").On(memberPerson)
		}
		r.parent = b.key("enrollments", names[memberSourceEnrollment])
	} else if names[memberSourceBenefit] != "" {
		return r, annona.Invalid("unknown_field", "an enrollment has no %s", memberSourceBenefit).On(memberSourceBenefit)
	}
	if names[own] == "" {
		return r, required(own)
	}
	r.key = b.key(b.i.question.Dataset, names[own])
	if r.parent != (annona.MatterKey{}) {
		return r, nil // of whom and of which program: known from the enrollment
	}
	code, _ := r.said["program"].(string)
	if r.program, err = b.program(ctx, code); err != nil {
		return r, err
	}
	r.about, err = b.subject(ctx, r.program, names[memberPerson], names[memberHome])
	return r, err
}

// take takes a member out of a row that is no field.
func (r *report) take(member string) (text string, err error) {
	said, there := r.said[member]
	delete(r.said, member)
	text, isText := said.(string)
	if there && (!isText || len(text) > maxOwnName) {
		return "", annona.Invalid("value_malformed", "the value is text of at most %d bytes", maxOwnName).On(member)
	}
	return text, nil
}

func (b *reports) key(dataset, own string) annona.MatterKey {
	return annona.MatterKey{Source: b.caller.Agreement, Key: b.x.Vault.RecordKey(dataset, b.caller.Agreement, own)}
}

// program returns a program that the caller may report, as it holds.
func (b *reports) program(ctx context.Context, code string) (*annona.Program, error) {
	if !slices.ContainsFunc(b.terms.Programs, func(p annona.ProgramTerms) bool { return p.Program == code && p.Report }) {
		return nil, annona.Forbidden("program_not_granted", "the agreement does not let you report this program").On("program")
	}
	if known, ok := b.programs[code]; ok {
		return known, nil
	}
	p, err := b.x.ProgramOnFile(ctx, code)
	if err == nil {
		b.programs[code] = p
	}
	return p, err
}

// subject finds whom an enrollment is about.
func (b *reports) subject(ctx context.Context, p *annona.Program, person, home string) (about annona.SubjectRef, err error) {
	dataset, id := "individuals", person
	if p.AssistanceUnit != "individual" {
		dataset, id = "households", home
	}
	if id == "" || person != "" && home != "" {
		return about, annona.Invalid("assistance_unit", "the program enrolls each %s, by its id alone", p.AssistanceUnit).On(dataset)
	}
	i := b.people[dataset]
	if i == nil {
		return about, annona.Forbidden("dataset_not_granted", "the agreement does not show the ids of these records").On(dataset)
	}
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	page := annona.NewPage(i.shape)
	if err := b.x.Records.ReadOne(ctx, i.scope(i.shape, b.x.today(b.x.Clock())), uid, page); err != nil {
		return about, err
	}
	if page.Count == 0 {
		return about, errSubject
	}
	return annona.SubjectRef{Dataset: dataset, Number: page.Numbers[0]}, nil
}

// write puts what is new or has changed on file, with one entry for all of it.
func (b *reports) write(ctx context.Context, tx annona.Tx, ready []report, verdicts []ReportVerdict) error {
	if b.pays {
		return b.writePayments(ctx, tx, ready, verdicts)
	}
	if err := b.inherit(ctx, tx, ready, verdicts); err != nil {
		return err
	}
	ready = slices.DeleteFunc(slices.Clone(ready), func(r report) bool { return verdicts[r.row].Reason != nil })
	keys := make([]annona.MatterKey, len(ready))
	for n, r := range ready {
		keys[n] = r.key
	}
	dataset := b.i.shape.Dataset
	found, err := tx.FindMatters(ctx, dataset, keys)
	if err != nil {
		return err
	}
	edits, err := b.x.openMatters(ctx, b.x.Vault, found)
	if err != nil {
		return err
	}
	var changed []matterEdit
	for n := range edits {
		r, e := &ready[n], &edits[n]
		switch err := b.apply(ctx, tx, e, r); {
		case isFailure(err):
			return err
		case err != nil:
			verdicts[r.row] = ReportVerdict{Verdict: VerdictRefused, Reason: err}
		case e.Version > 0 && len(changedUnits(e.was, e.next)) == 0:
			verdicts[r.row] = ReportVerdict{Verdict: VerdictUnchanged, ID: string(b.i.realm.AppendID(nil, e.UID[:]))}
		default:
			verdicts[r.row] = ReportVerdict{Verdict: VerdictRecorded, ID: string(b.i.realm.AppendID(nil, e.UID[:]))}
			changed = append(changed, *e)
		}
	}
	return b.put(ctx, tx, changed)
}

// put writes what has changed, with its entry.
func (b *reports) put(ctx context.Context, tx annona.Tx, changed []matterEdit) error {
	if len(changed) == 0 {
		return nil
	}
	by := annona.Author{Client: b.caller.Client, Reason: "report"}
	if err := b.x.putMatters(ctx, tx, b.x.Vault, by, changed); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, b.entry(changed))
}

// inherit takes from the enrollments of benefits whom they are about, and of which program they are.
func (b *reports) inherit(ctx context.Context, tx annona.Tx, ready []report, verdicts []ReportVerdict) error {
	if b.i.question.Dataset != "benefits" {
		return nil
	}
	d, _ := b.x.CurrentDictionary().Dataset("enrollments")
	var keys []annona.MatterKey
	for _, r := range ready {
		if !slices.Contains(keys, r.parent) {
			keys = append(keys, r.parent)
		}
	}
	found, err := tx.FindMatters(ctx, d, keys)
	if err != nil {
		return err
	}
	of := map[annona.MatterKey]*annona.Matter{}
	for n := range found {
		of[keys[n]] = &found[n]
	}
	for n := range ready {
		r, m := &ready[n], of[ready[n].parent]
		if m.Version == 0 {
			verdicts[r.row] = ReportVerdict{Verdict: VerdictRefused, Reason: annona.NotFound("no enrollment of yours has this name").On(memberSourceEnrollment)}
			continue
		}
		if r.program, err = b.program(ctx, m.Program); isFailure(err) {
			return err
		} else if err != nil {
			verdicts[r.row] = ReportVerdict{Verdict: VerdictRefused, Reason: err}
			continue
		}
		r.about, r.said["program"], r.number = m.Subject, m.Program, m.Number
	}
	return nil
}

// apply makes of a report what is on file next.
func (b *reports) apply(ctx context.Context, tx annona.Tx, e *matterEdit, r *report) error {
	about, err := b.keepsSubject(ctx, tx, e, r)
	if err != nil {
		return err
	}
	if e.next, err = e.was.with(b.x.CurrentDictionary(), translated(r.program, b.i.shape.Dataset, r.said), ownByExchange...); err != nil {
		return err
	}
	if err := checkCycle(r.program, e.next.values["cycle"]); err != nil {
		return err
	}
	state := "status"
	if e.Dataset.Name == "benefits" {
		inOrder(e.next.groups[groupPayments])
		state, err = "entitlement_status", moveBenefit(e.was, e.next)
		if err == nil && len(r.program.BenefitTypes) > 0 && !slices.Contains(r.program.BenefitTypes, e.next.values["benefit_type"]) {
			err = annona.Invalid("benefit_type_unknown", "the program gives no benefits of this type").On("benefit_type")
		}
	} else {
		e.next.values["assistance_unit"] = r.program.AssistanceUnit
		err = moveEnrollment(e.was, e.next, b.x.today(b.x.Clock()))
	}
	e.Subject, e.Program, e.Parent, e.Owner, e.State = about, r.program.Code, r.number, b.terms.Partner.Name, e.next.values[state]
	return err
}

// keepsSubject returns whom a matter is about. It stays so: also when they were merged into the one who
// is reported.
func (b *reports) keepsSubject(ctx context.Context, tx annona.Tx, e *matterEdit, r *report) (annona.SubjectRef, error) {
	another := annona.Conflict("another_subject", "what has this name is about somebody else, or of another program; give it another name")
	switch {
	case e.Version == 0 || e.Subject == r.about && e.Program == r.program.Code:
		return r.about, nil
	case e.Program != r.program.Code || e.Subject.Dataset != r.about.Dataset:
		return r.about, another
	}
	d, _ := b.x.CurrentDictionary().Dataset(r.about.Dataset)
	held, err := tx.Hold(ctx, d, []annona.Number{r.about.Number})
	if err != nil {
		return r.about, err
	}
	if !slices.ContainsFunc(held[0].Parts, func(p annona.Part) bool { return p.Number == e.Subject.Number }) {
		return r.about, another
	}
	return e.Subject, nil
}

// translated is what is said of fields of a dataset, with canonical codes in the place of the program's own.
func translated(p *annona.Program, of *annona.Dataset, row map[string]any) map[string]any {
	said := maps.Clone(row)
	for code, value := range said {
		f, known := of.Field(code)
		if text, isText := value.(string); known && isText && f.CodeList != "" {
			said[code] = p.Canonical(f.CodeList, text)
		}
	}
	return said
}

func checkCycle(p *annona.Program, code string) error {
	if code == "" {
		return nil
	}
	if c, known := p.Cycle(code); !known || c.Status == "cancelled" {
		return annona.Invalid("cycle_unknown", "the program has no such cycle, or has cancelled it").On("cycle")
	}
	return nil
}

func (b *reports) entry(changed []matterEdit) annona.LedgerRow {
	numbers := map[string][]annona.Number{}
	for _, e := range changed {
		numbers[e.Subject.Dataset] = append(numbers[e.Subject.Dataset], e.Subject.Number)
	}
	var about []audit.Subjects
	for _, of := range []struct{ dataset, noun string }{{"households", "household"}, {"individuals", "individual"}} {
		if n := numbers[of.dataset]; len(n) > 0 {
			slices.Sort(n)
			about = append(about, audit.Subjects{Noun: of.noun, Numbers: slices.Compact(n)})
		}
	}
	facts := audit.Facts{Verb: annona.VerbReportEnrollments, Dataset: b.i.question.Dataset, Agreement: b.terms.Name, Purpose: b.purpose,
		Details: map[string]string{"recorded": strconv.Itoa(len(changed))}}
	return audit.Change(b.x.Clock(), b.i.request, facts, b.caller, about)
}

// Participation picks enrollments or benefits. What is empty picks all.
type Participation struct {
	Program, Status       string
	Individual, Household string // wire ids
	Since                 string // instant: changed then or later
}

// Participations returns a page of the enrollments or benefits that the caller may see, in the order in
// which they came on file; one by its id when id is not empty.
func (x *Exchange) Participations(ctx context.Context, caller annona.Caller, q Question, id string, p Participation, limit int, after string) (*Answer, error) {
	if err := cmp.Or(checkLimit(limit, MaxLimit), x.checkStatus(q.Dataset, p.Status)); err != nil {
		return nil, err
	}
	verb := annona.VerbSearch
	if id != "" {
		verb = annona.VerbGet
	}
	q.matters, q.atMost = true, atMost(limit)
	more := false
	i, page, err := x.readSmall(ctx, caller, verb, q, Form{Format: "json"}, func(i *inquiry, page *annona.Page) error {
		i.chosen = p.text()
		choice, err := x.choiceOf(ctx, i, id, p)
		if err != nil {
			return err
		}
		from, err := x.openCursor(i, after)
		if err != nil {
			return err
		}
		if ceiling := i.grant.RowCeiling; ceiling > 0 {
			limit = int(min(int64(limit), ceiling))
		}
		return x.readOpen(ctx, page, func() (err error) {
			more, err = x.readMatters(ctx, x.programScope(i, page.Shape), choice, from, limit, page)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if id == "" {
		return x.answerPage(ctx, i, page, more)
	}
	if page.Count == 0 {
		return nil, annona.NotFound("no such record, or not one that you may see")
	}
	answer, err := x.answerOne(ctx, i, page)
	if err == nil {
		answer.ETag = x.etag(i, answer.Page)
	}
	return answer, err
}

func (p Participation) text() string {
	return string(appendTexts(nil, p.Program, p.Status, p.Individual, p.Household, p.Since))
}

// asked are the fields by which one picks rows of a dataset.
func (p Participation) asked(of *annona.Dataset) (fields []string) {
	if p.Program != "" {
		fields = append(fields, "program")
	}
	if status := statusField(of); p.Status != "" && status != nil {
		fields = append(fields, status.Code)
	}
	return fields // since when a row is what it is, whoever asks again and again sees by themselves
}

// choiceOf reads what the caller picks. An id of nobody picks nothing, by the same query.
func (x *Exchange) choiceOf(ctx context.Context, i *inquiry, id string, p Participation) (c annona.MatterChoice, err error) {
	if id != "" {
		uid, _ := i.realm.ParseID(id)
		c.UIDs = []annona.UID{uid}
	}
	if err := cmp.Or(i.checkPicked(p.asked(i.shape.Dataset)), x.checkProgramAsked(p.Program)); err != nil {
		return c, err
	}
	if p.Program != "" {
		c.Programs = []string{p.Program}
	}
	if p.Status != "" {
		c.States = []string{p.Status}
	}
	for dataset, wire := range map[string]string{"individuals": p.Individual, "households": p.Household} {
		if wire == "" {
			continue
		}
		about, err := x.seenSubject(ctx, i, dataset, wire)
		if err != nil {
			return c, err
		}
		c.Subjects = append(c.Subjects, about)
	}
	if p.Since != "" {
		if c.Since, err = time.Parse(time.RFC3339, p.Since); err != nil {
			return c, annona.Invalid("since_malformed", "since is an instant, written 2026-01-31T12:00:00.000Z").On("since")
		}
	}
	return c, nil
}

// seenSubject finds somebody by the id that the caller has; nobody's number where it may see none.
func (x *Exchange) seenSubject(ctx context.Context, i *inquiry, dataset, wire string) (annona.SubjectRef, error) {
	about, scope := annona.SubjectRef{Dataset: dataset, Number: -1}, x.sightOf(i, dataset)
	uid, _ := i.realm.ParseID(wire)
	if !scope.Valid() {
		return about, nil
	}
	page := annona.NewPage(scope.Shape())
	if err := x.Records.ReadOne(ctx, scope, uid, page); err != nil {
		return about, err
	}
	if page.Count == 1 {
		about.Number = page.Numbers[0]
	}
	return about, nil
}

// programScope is the scope of what programs keep about those whom the caller may see.
func (x *Exchange) programScope(i *inquiry, shape *annona.Shape) annona.MatterScope {
	terms := annona.MatterTerms{Said: x.saidOf(i)}
	for _, p := range i.grant.Agreement.Programs {
		if p.See {
			terms.Programs = append(terms.Programs, p.Program)
		}
	}
	return annona.NewMatterScope(shape, terms, x.sightOf(i, "individuals"), x.sightOf(i, "households"))
}

func (x *Exchange) saidOf(i *inquiry) annona.ScopeTerms {
	today := x.today(x.Clock())
	return annona.ScopeTerms{Purpose: i.grant.Purpose.Code, Recipient: i.partner(), Basis: i.grant.Purpose.Basis, AsOf: today, Today: today}
}

// sightOf is who of a dataset may be seen; nobody where the grant gives nothing of it.
func (x *Exchange) sightOf(i *inquiry, dataset string) annona.Scope {
	if len(i.grant.Fields[dataset]) == 0 {
		return annona.Scope{}
	}
	of, _ := x.CurrentDictionary().Dataset(dataset)
	seen := i.grant.Conditions
	return annona.NewScope(&annona.Shape{Dataset: of}, seen[dataset], seen["individuals"], x.saidOf(i)).WithHouseholds(seen["households"])
}
