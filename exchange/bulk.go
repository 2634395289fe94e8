package exchange

import (
	"context"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
)

// A bulk is many operations on cases, enrollments, benefits, payments and records in one request, in their order. Each
// has a verdict of its own; or all are written, or none. What has a name of its own (a case, an enrollment, a
// benefit, a payment) is known by that when it comes again, an edit, a note and an update by their key.

// MaxOperations is how many operations one bulk has.
const MaxOperations = 10_000

// Operation is one row of a bulk.
type Operation struct {
	Do     string         // one of the operations below
	Body   map[string]any // of a case, an enrollment or a benefit, as when it comes alone
	Edit   CaseEdit       // of a patch and an action; with a key
	Note   CaseNote       // with a key
	NoteOf string         // id of the case of a note
	Update Update         // of an individual or a household; with a key
	Reason error          // the row is none: why
}

// The operations.
const (
	DoCase       = "case"
	DoPatch      = "patch"
	DoAction     = "action"
	DoNote       = "note"
	DoUpdate     = "update"
	DoEnrollment = "enrollment"
	DoBenefit    = "benefit"
	DoPayment    = "payment"
)

// kind is what is decided of an operation.
func (o *Operation) kind() string {
	if o.Do == DoUpdate {
		return DoUpdate + " " + o.Update.Dataset
	}
	return o.Do
}

// Bulk does operations, and says what became of each. whole: all are done, or none: code all_or_nothing. Codes
// of the request: too_many_rows, and those of decisions when the caller may do none of the operations.
func (x *Exchange) Bulk(ctx context.Context, caller annona.Caller, purpose string, rows []Operation, whole bool) ([]CaseVerdict, error) {
	if len(rows) > MaxOperations {
		return nil, annona.TooLarge("too_many_rows", "send at most %d operations at once", MaxOperations)
	}
	b := &bulk{x: x, caller: caller, purpose: purpose, rows: rows, verdicts: make([]CaseVerdict, len(rows)), reports: map[string]*reports{}}
	if err := b.admit(ctx); err != nil {
		return nil, err
	}
	if whole {
		return b.verdicts, b.doWhole(ctx)
	}
	for _, at := range b.runs() {
		run, err := b.read(ctx, at)
		if err == nil && run != nil {
			err = b.do(ctx, run)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.verdicts, nil
}

// bulk is one request of many operations.
type bulk struct {
	x        *Exchange
	caller   annona.Caller
	purpose  string
	rows     []Operation
	verdicts []CaseVerdict
	desk     *caseDesk           // nil: the caller may not write cases
	reports  map[string]*reports // by operation, of those that the caller may do
	refusals map[string]error    // by operation, of those that it may not
}

// datasetsOfReports are what operations report.
var datasetsOfReports = map[string]string{DoEnrollment: "enrollments", DoBenefit: "benefits", DoPayment: "benefits"}

// admit decides each kind of operation that the rows name. It fails when the caller may do none of them.
func (b *bulk) admit(ctx context.Context) error {
	b.refusals = map[string]error{}
	admitted, refusal := false, error(nil)
	for _, row := range b.rows {
		if _, known := b.refusals[row.kind()]; known || row.Reason != nil {
			continue
		}
		err := b.admitOne(ctx, row.kind())
		if isFailure(err) {
			return err
		}
		b.refusals[row.kind()] = err
		admitted = admitted || err == nil
		if annona.KindOf(err) == annona.KindForbidden || annona.KindOf(err) == annona.KindUnauthenticated {
			refusal = err
		}
	}
	if !admitted && refusal != nil {
		return refusal
	}
	return nil
}

func (b *bulk) admitOne(ctx context.Context, do string) (err error) {
	switch do {
	case DoCase, DoPatch, DoAction, DoNote:
		if b.desk == nil {
			b.desk, err = b.x.caseDesk(ctx, b.caller, annona.VerbWriteCases, b.purpose)
		}
		return err
	case DoEnrollment, DoBenefit, DoPayment:
		r := b.x.newReports(b.caller, b.purpose)
		r.pays = do == DoPayment
		b.reports[do] = r
		return r.admit(ctx, datasetsOfReports[do])
	case DoUpdate + " individuals", DoUpdate + " households":
		_, err := b.x.inquire(ctx, b.x.Standings, b.caller, annona.VerbUpdate, Question{Dataset: do[len(DoUpdate)+1:], Purpose: b.purpose})
		return err
	}
	return annona.Invalid("operation_unknown", "an operation is case, patch, action, note, enrollment, benefit, payment, or update of the dataset individuals or households").On("op")
}

// runs gathers the rows that may be done, in their order: such that follow each other and are written at once.
// The others get their verdict.
func (b *bulk) runs() (runs [][]int) {
	last := ""
	for at, row := range b.rows {
		reason := row.Reason
		if reason == nil {
			reason = b.refusals[row.kind()]
		}
		if reason != nil {
			b.refuse(at, reason)
			continue
		}
		together := row.Do == last && (row.Do == DoCase || datasetsOfReports[row.Do] != "") && len(runs[len(runs)-1]) < maxCases
		if last = row.Do; !together {
			runs = append(runs, nil)
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], at)
	}
	return runs
}

func (b *bulk) refuse(at int, reason error) {
	b.verdicts[at] = CaseVerdict{Verdict: VerdictRefused, Reason: reason}
}

// bulkRun is operations that are ready to be written in one transaction.
type bulkRun struct {
	at    []int
	write func(ctx context.Context, tx annona.Tx) ([]CaseVerdict, error)
	// about is whom the case of an edit is about, for what is told of a conflict.
	about annona.SubjectRef
}

// read makes operations ready; nil: all of them are refused, and have their verdicts.
func (b *bulk) read(ctx context.Context, at []int) (*bulkRun, error) {
	run := &bulkRun{at: at}
	var err error
	switch row := b.rows[at[0]]; row.Do {
	case DoCase:
		err = b.readCases(ctx, run)
	case DoEnrollment, DoBenefit, DoPayment:
		err = b.readReports(ctx, b.reports[row.Do], run)
	case DoNote:
		var n readyNote
		n, err = b.desk.readNote(ctx, row.NoteOf, row.Note)
		run.write = one(func(ctx context.Context, tx annona.Tx) (CaseVerdict, error) {
			return b.desk.noteOnce(ctx, tx, n)
		})
	case DoUpdate:
		err = b.readUpdate(ctx, run, row.Update)
	default:
		var e readyEdit
		e, err = b.desk.readEdit(ctx, row.Edit)
		run.about = e.of
		run.write = one(func(ctx context.Context, tx annona.Tx) (CaseVerdict, error) { return b.desk.editOnce(ctx, tx, e) })
	}
	if err != nil && !isFailure(err) {
		b.refuse(at[0], err)
		return nil, nil
	}
	return run, err
}

func one(write func(context.Context, annona.Tx) (CaseVerdict, error)) func(context.Context, annona.Tx) ([]CaseVerdict, error) {
	return func(ctx context.Context, tx annona.Tx) ([]CaseVerdict, error) {
		v, err := write(ctx, tx)
		return []CaseVerdict{v}, err
	}
}

func (b *bulk) bodies(at []int) (rows []map[string]any) {
	for _, n := range at {
		rows = append(rows, b.rows[n].Body)
	}
	return rows
}

func (b *bulk) readCases(ctx context.Context, run *bulkRun) error {
	read := make([]CaseVerdict, len(run.at))
	ready, err := b.desk.readAll(ctx, b.bodies(run.at), read)
	run.write = func(ctx context.Context, tx annona.Tx) ([]CaseVerdict, error) {
		verdicts := slices.Clone(read)
		if len(ready) == 0 {
			return verdicts, nil
		}
		return verdicts, b.desk.write(ctx, tx, ready, verdicts)
	}
	return err
}

func (b *bulk) readReports(ctx context.Context, r *reports, run *bulkRun) error {
	read := make([]ReportVerdict, len(run.at))
	ready, err := r.readAll(ctx, b.bodies(run.at), read)
	run.write = func(ctx context.Context, tx annona.Tx) ([]CaseVerdict, error) {
		reported := slices.Clone(read)
		if len(ready) > 0 {
			if err := r.write(ctx, tx, ready, reported); err != nil {
				return nil, err
			}
		}
		verdicts := make([]CaseVerdict, len(reported))
		for n, v := range reported {
			verdicts[n] = CaseVerdict{Verdict: v.Verdict, ID: v.ID, Reason: v.Reason}
		}
		return verdicts, nil
	}
	return err
}

// readUpdate makes an update of a record ready. What it leaves of the record is not told: it is read again.
func (b *bulk) readUpdate(ctx context.Context, run *bulkRun, u Update) error {
	w, err := b.x.newUpdating(ctx, b.caller, &u)
	if err != nil {
		return err
	}
	keyed, err := w.keyed(u)
	run.write = one(func(ctx context.Context, tx annona.Tx) (v CaseVerdict, err error) {
		v.ID = u.ID
		done, err := b.x.once(ctx, tx, b.caller, keyed, func() (done Done, err error) {
			done, v.Verdict, err = w.write(ctx, tx)
			return done, err
		})
		if done.Replayed {
			v.Verdict = VerdictUnchanged
		}
		if done.Noun == "conflicts" {
			v.Verdict, v.Conflict = VerdictConflict, done.Record
		}
		return v, err
	})
	return err
}

// do writes a run in a transaction of its own.
func (b *bulk) do(ctx context.Context, run *bulkRun) error {
	var verdicts []CaseVerdict
	err := b.x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
		verdicts, err = run.write(ctx, tx)
		return err
	})
	return b.tell(ctx, run, verdicts, err)
}

// tell gives a run its verdicts. A refusal of an operation that is written alone is its verdict.
func (b *bulk) tell(ctx context.Context, run *bulkRun, verdicts []CaseVerdict, err error) error {
	switch {
	case err != nil && (isFailure(err) || len(run.at) > 1):
		return err
	case err != nil:
		b.refuse(run.at[0], err)
		return nil
	}
	for n, v := range verdicts {
		b.verdicts[run.at[n]] = v
		if v.Verdict == VerdictConflict && len(v.Clashes) > 0 {
			if err := b.desk.discloseClashes(ctx, run.about, v.Clashes); err != nil {
				return err
			}
		}
	}
	return nil
}

// doWhole does all operations in one transaction, or none of them.
func (b *bulk) doWhole(ctx context.Context) error {
	runs, refused := b.readWhole(ctx)
	if refused != nil {
		return refused
	}
	clashed, told := -1, []CaseVerdict(nil)
	err := errNotWhole
	if runs != nil {
		err = b.x.Writer.Update(ctx, func(tx annona.Tx) error {
			for n, run := range runs {
				verdicts, err := run.write(ctx, tx)
				if slices.ContainsFunc(verdicts, isConflict) && err == nil {
					verdicts[0].Conflict = annona.UID{} // which goes with all the others
					clashed, told = n, verdicts
					return errNotWhole
				}
				if err != nil && (isFailure(err) || len(run.at) > 1) {
					return err
				}
				if err != nil {
					verdicts = []CaseVerdict{{Verdict: VerdictRefused, Reason: err}}
				}
				for n, v := range verdicts {
					b.verdicts[run.at[n]] = v
				}
				if err != nil || slices.ContainsFunc(verdicts, isRefused) {
					return errNotWhole
				}
			}
			return nil
		})
	}
	if !errors.Is(err, errNotWhole) {
		return err
	}
	b.leaveOut()
	if clashed >= 0 {
		return b.tell(ctx, runs[clashed], told, nil)
	}
	return nil
}

func isRefused(v CaseVerdict) bool { return v.Reason != nil }

func isConflict(v CaseVerdict) bool { return v.Verdict == VerdictConflict }

// readWhole makes all operations ready; no runs: one of them is refused.
func (b *bulk) readWhole(ctx context.Context) (runs []*bulkRun, err error) {
	for _, at := range b.runs() {
		run, err := b.read(ctx, at)
		if err != nil {
			return nil, err
		}
		if run != nil {
			runs = append(runs, run)
		}
	}
	if slices.ContainsFunc(b.verdicts, isRefused) {
		return nil, nil
	}
	return runs, nil
}

// leaveOut refuses the operations that nothing is wrong with beside others that are refused.
func (b *bulk) leaveOut() {
	for at := range b.verdicts {
		if !isRefused(b.verdicts[at]) {
			b.refuse(at, errLeftOut)
		}
	}
}

var errLeftOut = annona.Conflict("all_or_nothing", "another row of this request is refused, and it was to be written as a whole")
