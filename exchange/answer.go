package exchange

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// Answer is a page that was released: its ledger entry is durable, it may go. Whoever writes it
// says with Sent how that ended.
type Answer struct {
	ending
	Page    *privacy.Disclosed
	Request annona.UID // id of the request in the ledger
	Schema  int        // version of the schema that the page follows
	Next    string     // cursor of the next page; empty: this was the last
	ETag    string     // for a record by its id: moves when what this caller sees of it moves
}

// release takes the last two steps for one page that was opened, redact and record.
func (x *Exchange) release(ctx context.Context, i *inquiry, page *annona.Page) (*privacy.Disclosed, error) {
	disclosed := i.redact(page)
	if disclosed.Count() == 0 {
		return disclosed, nil
	}
	if err := x.record(ctx, i, disclosed, 1); err != nil {
		return nil, err
	}
	return disclosed, nil
}

// record takes the last step for one page, counted from 1: when it returns, the entry is durable.
func (x *Exchange) record(ctx context.Context, i *inquiry, d *privacy.Disclosed, page int) error {
	facts := i.facts()
	facts.Fields, facts.Rows, facts.Page = i.names(d.Shape()), int64(d.Count()), page
	if err := x.countSeen(ctx, i, subjectsOf(d)); err != nil {
		return err
	}
	x.releases(i, facts.Rows)
	return x.disclose(ctx, audit.Release(x.Clock(), i.request, facts, i.filterText(), i.caller, subjectsOf(d)))
}

// disclose makes a release durable. What it covers may leave when it returns nil, and not while
// the ledger's tree is not signed.
func (x *Exchange) disclose(ctx context.Context, release annona.LedgerRow) error {
	if x.Covered != nil {
		if err := x.Covered(); err != nil {
			return err
		}
	}
	if err := x.Ledger.Append(ctx, release); err != nil {
		return unrecorded(err)
	}
	return nil
}

// ending is how the request of a released page will end.
func (i *inquiry) ending(x *Exchange) ending {
	return ending{x: x, request: i.request, facts: i.facts(), caller: i.caller}
}

// unrecorded keeps a known refusal of the ledger and names any other failure.
func unrecorded(err error) error {
	if annona.KindOf(err) != annona.KindInternal {
		return err
	}
	return annona.Unavailable("ledger_unavailable", "the ledger does not accept entries, so nothing may be disclosed; try again later").Because(err)
}

func (i *inquiry) facts() audit.Facts {
	a := i.grant.Agreement
	var details map[string]string
	if i.position > 0 {
		details = map[string]string{"position": strconv.FormatInt(i.position, 10)}
	}
	if i.job != "" {
		details["export"] = i.job // it is one at a position
	}
	if glass := i.grant.BreakGlass; glass != (annona.UID{}) {
		details = withDetail(details, "break_glass", glass.String())
	}
	if owed := i.obligations(); len(owed) > 0 {
		details = withDetail(details, detailObligations, strings.Join(owed, " "))
	}
	if w := i.grant.Decision.Weighed; w != nil {
		details = withWeighed(details, w)
	}
	return audit.Facts{
		Verb: i.verb, Dataset: i.question.Dataset, Purpose: i.grant.Purpose.Code, Basis: i.grant.Purpose.Basis,
		Agreement: a.Name, AgreementVersion: a.Version, Partner: a.Partner.Name, Raised: i.grant.Raised,
		PolicyVersion: i.grant.Decision.Policy, Role: i.grant.Decision.Role, Rules: i.grant.Decision.Rules, Inputs: hex.EncodeToString(i.grant.Decision.Inputs[:]),
		AsOf: i.asOf, SchemaVersion: i.schema,
		Format: i.form.Format, Layout: i.form.Layout, Specification: i.form.Spec, Details: details,
	}
}

func subjectsOf(d *privacy.Disclosed) []audit.Subjects {
	sets := d.Subjects()
	out := make([]audit.Subjects, len(sets))
	for i, s := range sets {
		out[i] = audit.Subjects{Noun: s.Noun, Fields: s.Fields, Numbers: s.Numbers}
	}
	return out
}

// outcome records how an export ended. A lost outcome is shown as unknown, never as complete.
func (x *Exchange) outcome(ctx context.Context, i *inquiry, how audit.Ending, pages int, rows int64, reason string) error {
	facts := i.facts()
	facts.Outcome, facts.Pages, facts.Rows, facts.Reason = how, pages, rows, reason
	return x.Ledger.Append(ctx, audit.Outcome(x.Clock(), i.request, facts, i.caller))
}
