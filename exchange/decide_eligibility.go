package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// EligibilityDecision is one decision as a program sends it: about one individual or one household, by
// the id that the program was given.
type EligibilityDecision struct {
	Key          string      `json:"key,omitempty"`
	IndividualID string      `json:"individual_id,omitempty"`
	HouseholdID  string      `json:"household_id,omitempty"`
	Program      string      `json:"program"`
	Status       string      `json:"status"` // see eligibilityStatuses
	DecisionDate annona.Date `json:"decision_date"`
	ValidUntil   annona.Date `json:"valid_until,omitempty"`
	AppealUntil  annona.Date `json:"appeal_until,omitempty"`
	AppealOf     string      `json:"appeal_of,omitempty"` // key of the decision that this one answers
	Basis        string      `json:"basis,omitempty"`     // see decisionBases
	Score        string      `json:"score,omitempty"`     // decimal
	Band         string      `json:"band,omitempty"`
	Reasons      []string    `json:"reasons,omitempty"`
	Automated    bool        `json:"automated,omitempty"`
	Software     string      `json:"software,omitempty"`
	Export       string      `json:"export,omitempty"` // that it was computed from: the id of one that became files, or its request
}

// Verdict says what became of one decision.
type Verdict struct {
	Verdict string // recorded, unchanged or refused
	ID      annona.UID
	Reason  error // of a refusal
}

// The verdicts.
const (
	VerdictRecorded  = "recorded"
	VerdictUnchanged = "unchanged"
	VerdictRefused   = "refused"
)

// maxDecisions is how many decisions are written in one transaction.
const maxDecisions = 500

var (
	eligibilityStatuses = []string{"eligible", "ineligible", "pending", "under_review", "conditional"}
	decisionBases       = []string{"", "pmt", "means", "income", "categorical", "community", "manual"}
	decisionKey         = regexp.MustCompile(`^[!-~]{1,200}$`)
	decisionCode        = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,59}$`)
	decisionScore       = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,6})?$`)
	softwareName        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._/@-]{0,99}$`)
)

const maxReasons = 20

// DecideEligibility records what a program of the caller's agreement has decided, with a verdict for
// each. Somebody whom the caller may not see is refused as an id that was never given. The same
// decision under the same key again changes nothing; another one is refused.
func (x *Exchange) DecideEligibility(ctx context.Context, caller annona.Caller, purpose string, rows []EligibilityDecision) ([]Verdict, error) {
	b := &decisions{x: x, caller: caller, purpose: purpose, inquiries: map[string]*inquiry{}, exports: map[string]error{}}
	if err := b.admit(ctx); err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, 0, len(rows))
	for chunk := range slices.Chunk(rows, maxDecisions) {
		some, err := b.record(ctx, chunk)
		if err != nil {
			return verdicts, err
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}

// decisions are those of one request.
type decisions struct {
	x         *Exchange
	caller    annona.Caller
	purpose   string
	programs  []string
	inquiries map[string]*inquiry // by dataset; nil: it is not granted
	exports   map[string]error    // of exports that were looked up
}

// admit decides for both datasets. One of them is enough.
func (b *decisions) admit(ctx context.Context) error {
	var refusal error
	for dataset, id := range map[string]string{"individuals": "individual_id", "households": "household_id"} {
		i, err := b.x.inquire(ctx, b.x.Standings, b.caller, annona.VerbDecideEligibility, Question{Dataset: dataset, Purpose: b.purpose, Fields: []string{id}})
		switch code := annona.CodeOf(err); {
		case err == nil:
			b.inquiries[dataset], b.programs = i, i.grant.Agreement.Decisions
		case code == "dataset_not_granted" || code == "dataset_not_authorized" || code == "field_not_granted":
			refusal = err
		default:
			return err
		}
	}
	if len(b.inquiries) == 0 {
		return refusal
	}
	return nil
}

// decided is a decision that may be written.
type decided struct {
	annona.EligibilityDecision
	content EligibilityDecision // without what names its subject and itself
	row     int
}

// record writes one chunk.
func (b *decisions) record(ctx context.Context, rows []EligibilityDecision) ([]Verdict, error) {
	verdicts := make([]Verdict, len(rows))
	var ready []decided
	for n := range rows {
		d, err := b.read(ctx, &rows[n])
		switch {
		case err == nil:
			d.row = n
			ready = append(ready, d)
		case isFailure(err):
			return nil, err
		default:
			verdicts[n] = Verdict{Verdict: VerdictRefused, Reason: err}
		}
	}
	if len(ready) == 0 {
		return verdicts, nil
	}
	return verdicts, b.x.Writer.Update(ctx, func(tx annona.Tx) error { return b.write(ctx, tx, ready, verdicts) })
}

// read checks a decision and finds whom it is about, within what the caller may see.
func (b *decisions) read(ctx context.Context, row *EligibilityDecision) (d decided, err error) {
	if err := row.check(b.programs, b.x.today(b.x.Clock())); err != nil {
		return d, err
	}
	if err := b.checkExport(ctx, row.Export); err != nil {
		return d, err
	}
	dataset, id := "individuals", row.IndividualID
	if row.HouseholdID != "" {
		dataset, id = "households", row.HouseholdID
	}
	i := b.inquiries[dataset]
	if i == nil {
		return d, annona.Forbidden("dataset_not_granted", "the agreement does not show the ids of these records").On(dataset)
	}
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	page := annona.NewPage(i.shape)
	if err := b.x.Records.ReadOne(ctx, i.scope(i.shape, b.x.today(b.x.Clock())), uid, page); err != nil {
		return d, err
	}
	if page.Count == 0 {
		return d, errSubject
	}
	d.content = *row
	d.content.Key, d.content.IndividualID, d.content.HouseholdID = "", "", ""
	said, err := json.Marshal(d.content)
	if err != nil {
		return d, annona.Internal("write an eligibility decision", err)
	}
	d.EligibilityDecision = annona.EligibilityDecision{
		ID: annona.NewUIDAt(b.x.Clock()), Agreement: b.caller.Agreement, Client: b.caller.Client, Reference: b.reference(row.Key),
		Dataset: dataset, Subject: page.Numbers[0], At: b.x.Clock().UTC(), Digest: b.x.Vault.Digest(append(page.UIDs[0][:], said...)),
	}
	return d, nil
}

var errSubject = annona.NotFound("no such record, or not one that you were given")

// reference is what stands on file in the place of a program's own key.
func (b *decisions) reference(key string) string {
	return b.x.Vault.RecordKey("eligibility_decisions", b.caller.Agreement, key)
}

// checkExport refuses an export that is not one of the caller's agreement.
func (b *decisions) checkExport(ctx context.Context, export string) error {
	if export == "" {
		return nil
	}
	err, known := b.exports[export]
	if !known {
		err = b.lookUp(ctx, export)
		if len(b.exports) < maxDecisions {
			b.exports[export] = err
		}
	}
	return err
}

func (b *decisions) lookUp(ctx context.Context, export string) error {
	none := annona.NotFound("no export with this id, or not one of your agreement").On("export")
	request, err := annona.ParseUID(export)
	if err != nil {
		return none
	}
	if b.x.ExportJobs != nil { // one that became files
		if _, err := b.x.exportOf(ctx, b.caller, request); !errors.Is(err, errNoExport) {
			return err
		}
	}
	if b.x.History == nil {
		return none
	}
	rows, err := b.x.History.EntriesOf(ctx, request, 0, 1)
	if err != nil {
		return err
	}
	if err := b.x.ownRequest(ctx, b.caller, rows); isFailure(err) {
		return err
	} else if err != nil {
		return none
	}
	return nil
}

// write appends what is new, with one entry for all of it.
func (b *decisions) write(ctx context.Context, tx annona.Tx, ready []decided, verdicts []Verdict) error {
	held, err := b.hold(ctx, tx, ready)
	if err != nil {
		return err
	}
	known, err := b.known(ctx, tx, ready)
	if err != nil {
		return err
	}
	recorded := 0
	for _, d := range ready {
		before, taken := known[d.Reference]
		answers := d.content.AppealOf
		earlier, there := known[b.reference(answers)]
		switch {
		case taken && before.Digest == d.Digest:
			verdicts[d.row] = Verdict{Verdict: VerdictUnchanged, ID: before.ID}
			continue
		case taken:
			verdicts[d.row] = refusedDecision(annona.Conflict("decision_differs", "another decision has this key; a new decision has a new one").On("key"))
			continue
		case answers != "" && !there:
			verdicts[d.row] = refusedDecision(annona.NotFound("no decision of yours has this key").On("appeal_of"))
			continue
		case !held[subjectKey{d.Dataset, d.Subject}]:
			verdicts[d.row] = refusedDecision(errSubject)
			continue
		}
		if answers != "" {
			d.content.AppealOf = earlier.ID.String() // keys are kept as hashes
		}
		if d.Body, err = json.Marshal(d.content); err != nil {
			return annona.Internal("write an eligibility decision", err)
		}
		if err := tx.PutDecision(ctx, d.EligibilityDecision); err != nil {
			return err
		}
		known[d.Reference] = d.EligibilityDecision
		verdicts[d.row] = Verdict{Verdict: VerdictRecorded, ID: d.ID}
		recorded++
	}
	if recorded == 0 {
		return nil
	}
	return tx.AppendEntry(ctx, b.x.administration(b.caller, audit.Facts{
		Verb: annona.VerbDecideEligibility, Agreement: b.caller.Agreement, Purpose: b.purpose, Details: map[string]string{"recorded": strconv.Itoa(recorded)},
	}))
}

func refusedDecision(err error) Verdict { return Verdict{Verdict: VerdictRefused, Reason: err} }

// subjectKey names a record across datasets.
type subjectKey struct {
	dataset string
	number  annona.Number
}

// hold locks the subjects and says which of them are still on file.
func (b *decisions) hold(ctx context.Context, tx annona.Tx, ready []decided) (map[subjectKey]bool, error) {
	held := map[subjectKey]bool{}
	for _, name := range []string{"households", "individuals"} {
		var numbers []annona.Number
		for _, d := range ready {
			if d.Dataset == name {
				numbers = append(numbers, d.Subject)
			}
		}
		slices.Sort(numbers)
		if numbers = slices.Compact(numbers); len(numbers) == 0 {
			continue
		}
		dataset, _ := b.x.CurrentDictionary().Dataset(name)
		known, err := tx.Hold(ctx, dataset, numbers)
		if err != nil {
			return nil, err
		}
		for _, k := range known {
			held[subjectKey{name, k.Number}] = k.Version > 0 && !k.Deleted
		}
	}
	return held, nil
}

// known returns the decisions on file under the keys that the rows name.
func (b *decisions) known(ctx context.Context, tx annona.Tx, ready []decided) (map[string]annona.EligibilityDecision, error) {
	var references []string
	for _, d := range ready {
		references = append(references, d.Reference)
		if answers := d.content.AppealOf; answers != "" {
			references = append(references, b.reference(answers))
		}
	}
	slices.Sort(references)
	found, err := tx.DecisionsUnder(ctx, b.caller.Agreement, slices.Compact(references))
	known := make(map[string]annona.EligibilityDecision, len(found))
	for _, d := range found {
		known[d.Reference] = d
	}
	return known, err
}

// check refuses what contradicts itself or is not the caller's to decide. What was sent is not repeated.
func (d *EligibilityDecision) check(programs []string, today annona.Date) error {
	bad := func(field, message string) error {
		return annona.Invalid("decision_malformed", "%s", message).On(field)
	}
	isDay := func(day annona.Date) bool { _, err := annona.ParseDate(string(day)); return err == nil }
	isCode := func(code string) bool { return decisionCode.MatchString(code) }
	switch {
	case !decisionKey.MatchString(d.Key):
		return bad("key", "a decision has a key of your own, of at most 200 printable characters without spaces")
	case (d.IndividualID == "") == (d.HouseholdID == ""):
		return bad("individual_id", "a decision is about one individual or one household")
	case !slices.Contains(programs, d.Program):
		return annona.Forbidden("program_not_granted", "the agreement does not name this program").On("program")
	case !slices.Contains(eligibilityStatuses, d.Status):
		return bad("status", "a status is eligible, ineligible, pending, under_review or conditional")
	case !isDay(d.DecisionDate) || d.DecisionDate > today:
		return bad("decision_date", "the day of a decision is written 2006-01-02 and does not lie ahead")
	case d.ValidUntil != "" && (!isDay(d.ValidUntil) || d.ValidUntil < d.DecisionDate):
		return bad("valid_until", "the last day of validity is written 2006-01-02 and does not lie before that of the decision")
	case d.AppealUntil != "" && (!isDay(d.AppealUntil) || d.AppealUntil < d.DecisionDate):
		return bad("appeal_until", "the last day to appeal is written 2006-01-02 and does not lie before that of the decision")
	case d.AppealOf != "" && (!decisionKey.MatchString(d.AppealOf) || d.AppealOf == d.Key):
		return bad("appeal_of", "an answer to an appeal names the key of the earlier decision")
	case !slices.Contains(decisionBases, d.Basis):
		return bad("basis", "a basis is pmt, means, income, categorical, community or manual")
	case d.Score != "" && !decisionScore.MatchString(d.Score):
		return bad("score", "a score is a decimal number, as text")
	case d.Band != "" && !isCode(d.Band):
		return bad("band", "a band is a code of lower-case letters and digits")
	case len(d.Reasons) > maxReasons || slices.ContainsFunc(d.Reasons, func(r string) bool { return !isCode(r) }):
		return bad("reasons", "reasons are at most 20 codes of lower-case letters and digits; text belongs to your own files")
	case d.Software != "" && !softwareName.MatchString(d.Software):
		return bad("software", "software is a name with its version, of at most 100 characters")
	}
	return nil
}

// Decided is a decision as it is on file.
type Decided struct {
	EligibilityDecision
	ID         annona.UID
	RecordedAt string
}

// DecidedPage is a page of decisions. Whoever writes it says with Sent how that ended.
type DecidedPage struct {
	Answer
	Decisions []Decided
}

// EligibilityDecisions returns a page of the decisions that the caller's agreement has sent about
// individuals or households, in the order in which they came, without those about somebody whom it may
// not see now.
func (x *Exchange) EligibilityDecisions(ctx context.Context, caller annona.Caller, purpose, dataset, after string, limit int) (*DecidedPage, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	id := map[string]string{"individuals": "individual_id", "households": "household_id"}[dataset]
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbDecideEligibility, Question{Dataset: dataset, Purpose: purpose, Fields: []string{id}})
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: "json"}
	from, err := x.openCursor(i, after)
	if err != nil {
		return nil, err
	}
	all, err := x.Decisions.Decisions(ctx, caller.Agreement, dataset, int64(from), limit+1)
	if err != nil {
		return nil, err
	}
	answer := &DecidedPage{Answer: Answer{Request: i.request, Schema: i.schema}}
	if len(all) > limit {
		all = all[:limit]
		answer.Next = x.sealCursor(i, annona.Number(all[limit-1].Key))
	}
	if answer.Page, err = x.subjectsOfDecisions(ctx, i, all); err != nil {
		return nil, err
	}
	if answer.Page.Count() > 0 {
		answer.ending = i.ending(x)
	}
	answer.Decisions, err = decidedOf(all, answer.Page)
	return answer, err
}

// subjectsOfDecisions discloses the ids of those subjects of decisions whom the caller may see.
func (x *Exchange) subjectsOfDecisions(ctx context.Context, i *inquiry, all []annona.EligibilityDecision) (*privacy.Disclosed, error) {
	var numbers []annona.Number
	for _, d := range all {
		numbers = append(numbers, d.Subject)
	}
	slices.Sort(numbers)
	page := annona.NewPage(i.shape)
	if err := x.Records.ReadNumbers(ctx, i.scope(i.shape, x.today(x.Clock())), slices.Compact(numbers), page); err != nil {
		return nil, err
	}
	return x.release(ctx, i, page)
}

// decidedOf are the decisions about subjects that were disclosed.
func decidedOf(all []annona.EligibilityDecision, subjects *privacy.Disclosed) ([]Decided, error) {
	ids := map[annona.Number]string{}
	for row, number := range subjects.Page().Numbers {
		ids[number] = string(subjects.Page().Cell(0, row))
	}
	var shown []Decided
	for _, d := range all {
		id, visible := ids[d.Subject]
		if !visible {
			continue
		}
		decided := Decided{ID: d.ID, RecordedAt: annona.Instant(d.At)}
		if err := json.Unmarshal(d.Body, &decided.EligibilityDecision); err != nil {
			return nil, annona.Internal("read an eligibility decision", err)
		}
		if d.Dataset == "households" {
			decided.HouseholdID = id
		} else {
			decided.IndividualID = id
		}
		shown = append(shown, decided)
	}
	return shown, nil
}
