package exchange

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// Payments are attempts to deliver a benefit, and lie with it. Who pays knows the benefit and the attempt, and not
// what else the program says of it: so each is also reported by itself, and read on a row of its own.

const (
	groupPayments  = "payments"
	paymentAttempt = "attempt"
	paymentName    = "reference"
)

// ReportPayments puts payments of benefits on file that the caller has reported, or moves them on, with a verdict
// for each. A payment is known by its attempt, or by the reference of the payer; one that is not known yet is the
// next attempt. What is left out of one that is on file stays. With whole, all rows are written or none. Codes:
// those of ReportBenefits, but that several payments of one benefit may stand in one request.
func (x *Exchange) ReportPayments(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any, whole bool) ([]ReportVerdict, error) {
	b := x.newReports(caller, purpose)
	b.pays = true
	return b.all(ctx, "benefits", rows, whole)
}

// readPayment checks what a payment names.
func (b *reports) readPayment(r *report) (err error) {
	own, err := r.take(memberSourceBenefit)
	if err != nil {
		return err
	}
	if own == "" {
		return required(memberSourceBenefit)
	}
	if r.said[paymentAttempt] == nil && r.said[paymentName] == nil {
		return required(paymentAttempt)
	}
	r.key = b.key("benefits", own)
	return nil
}

// writePayments puts payments on file that are new or have changed, with one entry for all of them.
func (b *reports) writePayments(ctx context.Context, tx annona.Tx, ready []report, verdicts []ReportVerdict) error {
	var keys []annona.MatterKey
	for _, r := range ready {
		if !slices.Contains(keys, r.key) {
			keys = append(keys, r.key)
		}
	}
	found, err := tx.FindMatters(ctx, b.i.shape.Dataset, keys)
	if err != nil {
		return err
	}
	edits, err := b.x.openMatters(ctx, b.x.Vault, found)
	if err != nil {
		return err
	}
	for n := range ready {
		e := &edits[slices.Index(keys, ready[n].key)]
		verdict, err := b.pay(ctx, e, &ready[n])
		switch {
		case isFailure(err):
			return err
		case err != nil:
			verdicts[ready[n].row] = ReportVerdict{Verdict: VerdictRefused, Reason: err}
		default:
			verdicts[ready[n].row] = ReportVerdict{Verdict: verdict, ID: string(b.i.realm.AppendID(nil, e.UID[:]))}
		}
	}
	return b.put(ctx, tx, slices.DeleteFunc(edits, func(e matterEdit) bool { return len(changedUnits(e.was, e.next)) == 0 }))
}

// pay makes of a benefit what it is with a payment.
func (b *reports) pay(ctx context.Context, e *matterEdit, r *report) (verdict string, err error) {
	if e.Version == 0 {
		return "", annona.NotFound("no benefit of yours has this name").On(memberSourceBenefit)
	}
	if r.program, err = b.program(ctx, e.Program); err != nil {
		return "", err
	}
	rows, _ := b.x.CurrentDictionary().Dataset(groupPayments)
	next := e.next.clone()
	next.groups[groupPayments], err = withPayment(b.x.CurrentDictionary(), rows, next.groups[groupPayments], translated(r.program, rows, r.said))
	if err == nil {
		err = moveBenefit(e.next, next)
	}
	if err != nil {
		return "", err
	}
	verdict = VerdictRecorded
	if len(changedUnits(e.next, next)) == 0 {
		verdict = VerdictUnchanged
	}
	e.next = next
	return verdict, nil
}

// withPayment returns payments with one that is new, or changed, in the order of their attempts.
func withPayment(d *annona.Dictionary, rows *annona.Dataset, payments []map[string]string, said map[string]any) ([]map[string]string, error) {
	named, err := patchItem(d, rows, map[string]string{}, said)
	if err != nil {
		return nil, err
	}
	code := paymentAttempt
	if named[code] == "" {
		code = paymentName
	}
	at, last := -1, 0
	for n, p := range payments {
		if p[code] == named[code] {
			at = n
		}
		last = max(last, attemptOf(p[paymentAttempt]))
	}
	if at < 0 {
		if named[paymentAttempt] == "" {
			named[paymentAttempt] = strconv.Itoa(last + 1)
		}
		payments = append(payments, named)
	} else if payments[at], err = patchItem(d, rows, payments[at], said); err != nil {
		return nil, err
	}
	inOrder(payments)
	return payments, nil
}

// inOrder puts payments in the order of their attempts.
func inOrder(payments []map[string]string) {
	slices.SortStableFunc(payments, func(a, b map[string]string) int {
		return cmp.Compare(attemptOf(a[paymentAttempt]), attemptOf(b[paymentAttempt]))
	})
}

// attemptOf is the number of an attempt; 0 when it is none: it is refused behind this.
func attemptOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// PaymentChoice picks payments by their benefits. What is empty picks all.
type PaymentChoice struct {
	Participation        // without Status
	Benefit       string // wire id
}

// ofBenefits are the columns that each payment has of its benefit.
func ofBenefits() []string {
	return []string{"benefit_id", "enrollment_id", memberPerson, memberHome, "program", "cycle", "currency"}
}

// walkedBenefits is how many benefits are looked at for one page of payments.
const walkedBenefits = 5000

// Payments returns a page of the payments that the caller may see, a row for each: those of the benefits that
// Participations shows, in the order of the benefits and then of the attempts. A page is full as long as there is more,
// but that it ends behind 5,000 benefits.
func (x *Exchange) Payments(ctx context.Context, caller annona.Caller, purpose string, fields []string, c PaymentChoice, limit int, after string) (*Answer, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	asked, err := x.paymentFields(fields)
	if err != nil {
		return nil, err
	}
	var w *paymentWalk
	q := Question{Dataset: "benefits", Purpose: purpose, Fields: asked, matters: true, atMost: atMost(limit)}
	i, _, err := x.readSmall(ctx, caller, annona.VerbSearch, q, Form{Format: "json"}, func(i *inquiry, page *annona.Page) (err error) {
		i.chosen = string(appendTexts(nil, groupPayments, c.text(), c.Benefit))
		if w, err = x.newPaymentWalk(ctx, i, c, limit, after); err != nil {
			return err
		}
		page.Epoch, err = w.walk(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	next := ""
	if w.more {
		next = x.sealPlace(i, uint64(w.benefit), uint64(w.taken)) // behind the last row
	}
	i.question.Dataset = groupPayments // what leaves is no benefit
	answer, err := x.answerPage(ctx, i, w.rows, false)
	if err == nil {
		answer.Next = next
	}
	return answer, err
}

// paymentFields are the fields of benefits by which payments are asked for; nil: all that is granted.
func (x *Exchange) paymentFields(names []string) (asked []string, err error) {
	rows, _ := x.CurrentDictionary().Dataset(groupPayments)
	for _, name := range names {
		_, own := rows.Field(name)
		switch {
		case own:
			asked = append(asked, groupPayments+"."+name)
		case slices.Contains(ofBenefits(), name):
			asked = append(asked, name)
		default:
			return nil, annona.Invalid("unknown_field", "payments have no column of one of these names; they have those of the dataset payments, and %s", strings.Join(ofBenefits(), ", ")).On("fields")
		}
	}
	return asked, nil
}

// paymentWalk goes through benefits, and takes a row from each of their payments.
type paymentWalk struct {
	x       *Exchange
	i       *inquiry
	choice  annona.MatterChoice
	shape   *annona.Shape // of the benefits that are read
	rows    *annona.Page  // of payments
	limit   int
	benefit annona.Number // of the last row
	taken   int           // payments of that benefit
	more    bool
}

func (x *Exchange) newPaymentWalk(ctx context.Context, i *inquiry, c PaymentChoice, limit int, after string) (w *paymentWalk, err error) {
	at := i.shape.Group(groupPayments)
	if at < 0 {
		return nil, annona.Forbidden("dataset_not_granted", "the agreement does not show payments of benefits").On(groupPayments)
	}
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		limit = int(min(int64(limit), ceiling))
	}
	w = &paymentWalk{x: x, i: i, limit: limit}
	w.shape = &annona.Shape{Dataset: i.shape.Dataset, Groups: []annona.GroupShape{i.shape.Groups[at]}}
	for _, f := range i.shape.Columns {
		if slices.Contains(ofBenefits(), f.Code) {
			w.shape.Columns = append(w.shape.Columns, f)
		}
	}
	flat := &annona.Dataset{Name: groupPayments, Noun: "payment", Matter: true}
	w.rows = annona.NewPage(&annona.Shape{Dataset: flat, Columns: slices.Concat(w.shape.Columns, w.shape.Groups[0].Shape.Columns)})
	if w.choice, err = x.choiceOf(ctx, i, c.Benefit, c.Participation); err != nil || after == "" {
		return w, err
	}
	place, err := x.openPlace(i, after, 2)
	if err == nil {
		w.benefit, w.taken = annona.Number(place[0]), int(place[1])
	}
	return w, err
}

// walk fills the page, and returns the policy epoch under which all of it was read; 0: it moved meanwhile.
func (w *paymentWalk) walk(ctx context.Context) (epoch int64, err error) {
	for walked := 0; ; {
		page, more, err := w.benefits(ctx)
		if err != nil {
			return 0, err
		}
		if walked == 0 {
			epoch = page.Epoch
		} else if page.Epoch != epoch {
			epoch = 0
		}
		for row := range page.Count {
			if full := w.take(page, row); full {
				return epoch, nil
			}
		}
		if walked += page.Count; !more {
			return epoch, nil
		}
		if walked >= walkedBenefits {
			w.more, w.taken = true, maxPayments
			return epoch, nil
		}
	}
}

// benefits reads the next benefits: that of the last row is among them.
func (w *paymentWalk) benefits(ctx context.Context) (page *annona.Page, more bool, err error) {
	page = annona.NewPage(w.shape)
	err = w.x.readOpen(ctx, page, func() (err error) {
		more, err = w.x.readMatters(ctx, w.x.programScope(w.i, page.Shape), w.choice, max(0, w.benefit-1), min(w.limit+1, MaxLimit), page)
		return err
	})
	return page, more, err
}

// take takes the payments of a benefit that were not taken, and reports whether the page had no room for one.
func (w *paymentWalk) take(page *annona.Page, row int) (full bool) {
	if number := page.Numbers[row]; number != w.benefit {
		w.benefit, w.taken = number, 0
	}
	payments := &page.Groups[0]
	first, end := payments.Rows(row)
	for inner := first + w.taken; inner < end; inner++ {
		if w.more = w.rows.Count == w.limit; w.more {
			return true
		}
		w.add(page, row, inner)
		w.taken++
	}
	return false
}

// add adds a row of a payment, with what it has of its benefit.
func (w *paymentWalk) add(page *annona.Page, row, inner int) {
	r, payment := w.rows, page.Groups[0].Page
	r.Count, r.Numbers, r.UIDs, r.Subjects = r.Count+1, append(r.Numbers, page.Numbers[row]), append(r.UIDs, page.UIDs[row]), append(r.Subjects, page.Subjects[row])
	for c := range page.Columns {
		r.Columns[c].Append(page.Cell(c, row))
	}
	for c := range payment.Columns {
		r.Columns[len(page.Columns)+c].Append(payment.Cell(c, inner))
	}
}
