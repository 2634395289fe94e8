package exchange

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
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
	Clashes []Clash
	Reason  error // of a refusal
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
	people map[string]*inquiry // by dataset, of those whom a case may be about
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
	d := &caseDesk{x: x, caller: caller, i: i, today: x.today(x.Clock()), people: map[string]*inquiry{}}
	d.worker, err = x.signedInWorker(ctx, caller, i.partner())
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
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	page := annona.NewPage(i.shape)
	if _, err := d.x.Matters.ReadMatters(ctx, i.ownScope(d.x, i.shape, d.worker), annona.MatterChoice{UIDs: []annona.UID{uid}}, 0, 1, page); err != nil {
		return 0, of, 0, err
	}
	if page.Count == 0 {
		return 0, of, page.Epoch, missing
	}
	return page.Numbers[0], page.Subjects[0], page.Epoch, nil
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
	edits, err := d.x.openMatters(ctx, held)
	if err != nil || held[0].Owner == d.i.partner() {
		return first(edits), nil, err
	}
	shares, err := d.x.Matters.MatterShares(ctx, held[0].Dataset, []annona.Number{number}, d.i.partner(), d.today)
	if err != nil {
		return e, nil, err
	}
	fields = []string{}
	for _, s := range shares {
		switch {
		case s.Edit && len(s.Fields) == 0:
			return edits[0], nil, nil
		case s.Edit:
			fields = append(fields, s.Fields...)
		}
	}
	if len(shares) == 0 {
		return e, nil, errCase
	}
	return edits[0], fields, nil
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
	e.Program = ""
	if programs := said["programs"]; programs != "" && !slices.Contains([]byte(programs), annona.ListSeparator) {
		e.Program = programs
	}
	if !e.Subject.IsZero() {
		for _, code := range []string{"provisional_name", "provisional_scheme", "provisional_identifier", "provisional_description"} {
			delete(said, code)
		}
	}
}

// check refuses a case that lacks something, or is more confidential than the caller may keep.
func (d *caseDesk) check(e *matterEdit) error {
	if err := checkCase(e.next); err != nil {
		return err
	}
	if !d.cleared(&e.Matter) {
		return annona.Forbidden("confidentiality_not_granted", "the agreement does not let you keep cases of this confidentiality").On("confidentiality")
	}
	return nil
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

// tag is the entity tag of a version of a matter.
func (d *caseDesk) tag(m *annona.Matter, version int) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(version))
	check := d.x.Vault.Tag(appendTexts(nil, "matter", d.i.grant.Agreement.Name, m.UID.String(), string(b)))
	return `"` + base64.RawURLEncoding.EncodeToString(append(b, check[:8]...)) + `"`
}

// versionOf reads the version that an entity tag of this matter names.
func (d *caseDesk) versionOf(m *annona.Matter, tag string) (int, error) {
	switch {
	case tag == "":
		return 0, annona.Invalid("if_match_missing", "say which version you have read: the ETag of the case, in the header If-Match").On("If-Match")
	case len(tag) > 1 && tag[:2] == "W/":
		return 0, annona.Invalid("if_match_weak", "a weak entity tag does not say which version you have read; send the ETag of the case as it came").On("If-Match")
	}
	if len(tag) > 2 {
		if b, err := base64.RawURLEncoding.DecodeString(tag[1 : len(tag)-1]); err == nil && len(b) == 12 {
			version := int(binary.BigEndian.Uint32(b))
			if version > 0 && version <= m.Version && d.tag(m, version) == tag {
				return version, nil
			}
		}
	}
	return 0, annona.Stale("version_unknown", "the entity tag is none of this case; read it again").On("If-Match")
}

// maxCases is how many cases are written in one transaction.
const maxCases = 200

// PutCases puts cases on file, or brings those up to date that the partner's system names by the same
// source_case_id, with a verdict for each. A case that is refused stops no other.
func (x *Exchange) PutCases(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any) ([]CaseVerdict, error) {
	d, err := x.caseDesk(ctx, caller, annona.VerbWriteCases, purpose)
	if err != nil {
		return nil, err
	}
	verdicts := make([]CaseVerdict, 0, len(rows))
	for chunk := range slices.Chunk(rows, maxCases) {
		some := make([]CaseVerdict, len(chunk))
		ready, err := d.readAll(ctx, chunk, some)
		if err == nil && len(ready) > 0 {
			err = d.x.Writer.Update(ctx, func(tx annona.Tx) error { return d.write(ctx, tx, ready, some) })
		}
		if err != nil {
			return verdicts, err
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}

// caseRow is a case as it was sent.
type caseRow struct {
	at    int
	key   annona.MatterKey // zero: its system does not name it
	about annona.SubjectRef
	said  map[string]any
}

// readAll returns the rows that can be written, and says of the others in verdicts why not.
func (d *caseDesk) readAll(ctx context.Context, rows []map[string]any, verdicts []CaseVerdict) (ready []caseRow, err error) {
	seen := map[annona.MatterKey]bool{}
	for n, said := range rows {
		row, err := d.read(ctx, said)
		switch {
		case isFailure(err):
			return nil, err
		case err == nil && seen[row.key]:
			err = annona.Conflict("case_twice", "another row of the request has the same source_case_id; send one of them").On(memberSourceID)
		}
		if err != nil {
			verdicts[n] = CaseVerdict{Verdict: VerdictRefused, Reason: err}
			continue
		}
		seen[row.key] = row.key != annona.MatterKey{}
		row.at = n
		ready = append(ready, row)
	}
	return ready, nil
}

func (d *caseDesk) read(ctx context.Context, said map[string]any) (row caseRow, err error) {
	row.said = maps.Clone(said)
	if row.said == nil {
		row.said = map[string]any{}
	}
	if row.about, err = d.subject(ctx, row.said); err != nil {
		return row, err
	}
	name, named := row.said[memberSourceID]
	for _, member := range []string{memberSourceID, memberIndividual, memberHousehold} {
		delete(row.said, member)
	}
	if !named {
		return row, nil
	}
	text, ok := name.(string)
	if !ok || text == "" {
		return row, errKey(memberSourceID)
	}
	row.key, err = d.keyOf("cases", memberSourceID, text)
	return row, err
}

// keyOf is how what the partner's system calls a matter stands on file; the zero MatterKey: it does not name it.
func (d *caseDesk) keyOf(dataset, member, name string) (annona.MatterKey, error) {
	switch {
	case name == "":
		return annona.MatterKey{}, nil
	case d.terms().Source == "":
		return annona.MatterKey{}, annona.Forbidden("source_not_granted", "the agreement names no case system of yours, so that its ids mean nothing here").On(member)
	case !decisionKey.MatchString(name):
		return annona.MatterKey{}, errKey(member)
	}
	return annona.MatterKey{Source: d.terms().Source, Key: d.x.Vault.RecordKey(dataset, d.terms().Source, name)}, nil
}

func errKey(member string) error {
	return annona.Invalid("key_malformed", "a %s has at most 200 printable characters without spaces", member).On(member)
}

// write writes what is new and what has changed, with one entry for all of it.
func (d *caseDesk) write(ctx context.Context, tx annona.Tx, rows []caseRow, verdicts []CaseVerdict) error {
	edits, err := d.known(ctx, tx, rows)
	if err != nil {
		return err
	}
	var changed []matterEdit
	var about []annona.SubjectRef
	for n := range edits {
		e, v := &edits[n], &verdicts[rows[n].at]
		*v = CaseVerdict{Verdict: VerdictCreated}
		if e.Version > 0 {
			v.Verdict = VerdictChanged
		}
		if err := d.report(e, &rows[n]); err != nil {
			*v = CaseVerdict{Verdict: VerdictRefused, Reason: err}
			continue
		}
		v.ID, v.ETag = string(d.i.realm.AppendID(nil, e.UID[:])), d.tag(&e.Matter, e.Version+1)
		if e.Version > 0 && len(changedUnits(e.was, e.next)) == 0 && rows[n].about.IsZero() {
			v.Verdict, v.ETag = VerdictUnchanged, d.tag(&e.Matter, e.Version)
			continue
		}
		changed = append(changed, *e)
		if !e.Subject.IsZero() {
			about = append(about, e.Subject)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := d.x.putMatters(ctx, tx, d.author("reported"), changed); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, d.entry("put_cases", "cases", nil, about...))
}

// known finds the cases that are on file, and sets numbers aside for the others, in the order of rows.
func (d *caseDesk) known(ctx context.Context, tx annona.Tx, rows []caseRow) ([]matterEdit, error) {
	cases := d.dataset("cases")
	var keys []annona.MatterKey
	for _, row := range rows {
		if row.key != (annona.MatterKey{}) {
			keys = append(keys, row.key)
		}
	}
	found, err := tx.FindMatters(ctx, cases, keys)
	if err != nil {
		return nil, err
	}
	fresh, err := tx.NewMatters(ctx, cases, len(rows)-len(keys))
	if err != nil {
		return nil, err
	}
	matters := make([]annona.Matter, len(rows))
	for n, row := range rows {
		from := &fresh
		if row.key != (annona.MatterKey{}) {
			from = &found
		}
		matters[n], *from = (*from)[0], (*from)[1:]
	}
	return d.x.openMatters(ctx, matters)
}

// report makes a case what was sent of it.
func (d *caseDesk) report(e *matterEdit, row *caseRow) (err error) {
	switch {
	case e.Version == 0:
		e.Owner, e.Subject = d.i.partner(), row.about
	case e.Owner != d.i.partner() || !d.cleared(&e.Matter):
		return errCase
	case !row.about.IsZero() && e.Subject.IsZero():
		e.Subject = row.about
	case row.about == e.Subject:
		row.about = annona.SubjectRef{}
	case !row.about.IsZero():
		return annona.Conflict("subject_differs", "the case is about somebody else; it is not moved to another person").On(memberIndividual)
	}
	closed := madeByMoves
	if e.Version == 0 {
		closed = madeHere
	} else {
		row.said = withoutRepeated(row.said, e.was, broughtOnce)
	}
	if e.next, err = e.was.with(d.x.CurrentDictionary(), row.said, closed...); err != nil {
		return err
	}
	if e.Version == 0 {
		if err := openCase(e.next, d.today, shortName(annona.NewUID())); err != nil {
			return err
		}
	}
	d.index(e)
	return d.check(e)
}

// withoutRepeated leaves out what a report says of fields that it may not move, where it says what is on file.
func withoutRepeated(said map[string]any, was document, fields []string) map[string]any {
	left := maps.Clone(said)
	for _, code := range fields {
		if text, ok := left[code].(string); ok && text == was.values[code] {
			delete(left, code)
		}
	}
	return left
}

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
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		v, err = d.editOnce(ctx, tx, e)
		return err
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

// CaseChoice picks from the cases that a caller may see. What is empty picks all.
type CaseChoice struct {
	ID           string // wire id
	IndividualID string
	HouseholdID  string
	Status       string
	Worker       string // as the partner names its workers
	DueUntil     annona.Date
	Changed      string // RFC 3339: since then
}

// Cases returns a page of the cases that the caller may see: those that its partner has, and those that are
// shared with it. One by its id has an ETag.
func (x *Exchange) Cases(ctx context.Context, caller annona.Caller, purpose string, c CaseChoice, fields []string, after string, limit int) (*Answer, error) {
	if limit < 1 || limit > MaxLimit {
		return nil, annona.Invalid("limit_out_of_range", "limit is 1 to %d", MaxLimit).On("limit")
	}
	d, err := x.caseDesk(ctx, caller, annona.VerbReadCases, purpose)
	if err != nil {
		return nil, err
	}
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadCases, "cases", purpose, fields)
	if err != nil {
		return nil, err
	}
	choice, err := d.choice(ctx, i, c)
	if err != nil {
		return nil, err
	}
	return d.page(ctx, i, choice, after, limit, c.ID != "", errCase)
}

func (d *caseDesk) choice(ctx context.Context, i *inquiry, c CaseChoice) (choice annona.MatterChoice, err error) {
	choice = annona.MatterChoice{DueUntil: c.DueUntil, Worker: d.x.workerOf(i.partner(), c.Worker)}
	if c.Status != "" {
		choice.States = []string{c.Status}
	}
	if c.ID != "" {
		uid, ok := i.realm.ParseID(c.ID)
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
func (d *caseDesk) page(ctx context.Context, i *inquiry, choice annona.MatterChoice, after string, limit int, single bool, missing error) (*Answer, error) {
	from, err := d.x.openCursor(i, after)
	if err != nil {
		return nil, err
	}
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		limit = int(min(int64(limit), ceiling))
	}
	var tag string
	if single { // before the case itself: a tag names the version that is shown, or an earlier one
		if tag, err = d.tagOf(ctx, i, choice); err != nil {
			return nil, err
		}
	}
	page := annona.NewPage(i.shape)
	more, err := d.x.readOwn(ctx, i, page, choice, from, limit)
	if err != nil {
		return nil, err
	}
	if single && page.Count == 0 {
		return nil, missing
	}
	answer, err := d.x.answerPage(ctx, i, page, more && !single)
	if err == nil {
		answer.ETag = tag
	}
	return answer, err
}

// tagOf is the entity tag of the one matter that a choice picks; empty when there is none.
func (d *caseDesk) tagOf(ctx context.Context, i *inquiry, choice annona.MatterChoice) (string, error) {
	version, _ := i.shape.Dataset.Field("version")
	page := annona.NewPage(&annona.Shape{Dataset: i.shape.Dataset, Columns: []*annona.Field{version}})
	if _, err := d.x.Matters.ReadMatters(ctx, i.ownScope(d.x, page.Shape, d.worker), choice, 0, 1, page); err != nil || page.Count == 0 {
		return "", err
	}
	n, err := strconv.Atoi(string(page.Cell(0, 0)))
	if err != nil {
		return "", annona.Internal("read the version of a matter", err)
	}
	return d.tag(&annona.Matter{UID: page.UIDs[0]}, n), nil
}
