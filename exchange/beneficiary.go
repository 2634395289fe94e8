package exchange

import (
	"context"
	"encoding/base64"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// Beneficiary is an individual or a household with what programs and case workers keep about them. Each
// part is granted by its own dataset, read within its own scope and opened by its own plan: one that is not
// granted is not there, and what is hidden in one that is moves nothing of the answer.
type Beneficiary struct {
	Answer                   // Page is the record
	Parts  []BeneficiaryPart // in the order of the constants below
	About  []Decided         // eligibility decisions that the agreement has sent, the newest first
	Told   bool              // the agreement sends such decisions: About is a part of the answer
	Rows   int64             // of the record and all parts
	More   []string          // parts of which there is more than is shown
}

// The parts. Those of the household are of the one in which the caller sees an individual: they stand by
// themselves, so that nobody counts them as the individual's own.
const (
	partEnrollments          = "enrollments"
	partBenefits             = "benefits"
	partCases                = "cases"
	partHouseholdEnrollments = "household_enrollments"
	partHouseholdBenefits    = "household_benefits"
	partDecisions            = "eligibility_decisions"
)

// BeneficiaryPart is what one dataset says about a beneficiary.
type BeneficiaryPart struct {
	Name string
	Page *privacy.Disclosed
}

// assembled is a record with what is kept about it, read and not released.
type assembled struct {
	record *annona.Page // of one row
	parts  []partOfOne
	about  []Decided
}

// partOfOne is a part of one record.
type partOfOne struct {
	name string
	i    *inquiry
	page *annona.Page
	more bool
}

// Beneficiary returns an individual or a household by its wire id, with all that the caller may see about
// them, under one entry of the ledger. An id of nobody is the same answer as one of somebody unseen.
func (x *Exchange) Beneficiary(ctx context.Context, caller annona.Caller, q Question, id string, form Form) (*Beneficiary, error) {
	i, record, err := x.beneficiary(ctx, caller, q, id, form)
	if err != nil {
		return nil, err
	}
	g := assembly{x: x, of: i, verb: annona.VerbGet, most: i.most()}
	all, err := g.assemble(ctx, record)
	if err != nil {
		return nil, err
	}
	shown, rows, view, err := g.release(ctx, all)
	if err != nil {
		return nil, err
	}
	b := &shown[0]
	tag := x.Vault.Tag(append([]byte(x.etag(i, b.Page)), view...))
	b.ETag = `"` + base64.RawURLEncoding.EncodeToString(tag[:]) + `"`
	b.Request, b.Schema, b.ending, b.Rows = i.request, i.schema, i.ending(x), rows
	return b, nil
}

// beneficiary finds whose id it is. Both datasets are asked, as far as they are granted.
func (x *Exchange) beneficiary(ctx context.Context, caller annona.Caller, q Question, id string, form Form) (*inquiry, *annona.Page, error) {
	missing := annona.NotFound("no such record, or not one that you may see")
	var refusal error
	granted := false
	for _, dataset := range []string{"individuals", "households"} {
		q.Dataset = dataset
		i, page, err := x.readSmall(ctx, caller, annona.VerbGet, q, form, func(i *inquiry, page *annona.Page) error {
			uid, ok := i.realm.ParseID(id)
			if !ok {
				uid = annona.UID{} // nobody's: the query is made all the same
			}
			return x.readOpen(ctx, page, func() error {
				return x.Records.ReadOne(ctx, i.scope(i.shape, x.today(x.Clock())), uid, page)
			})
		})
		switch {
		case err == nil && page.Count > 0:
			return i, page, nil
		case err == nil:
			granted = true
		case annona.KindOf(err) == annona.KindForbidden:
			refusal = err
		default:
			return nil, nil, err
		}
	}
	if granted {
		return nil, nil, missing
	}
	return nil, nil, refusal
}

// most is how many rows a part has at most.
func (i *inquiry) most() int {
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		return int(min(MaxLimit, ceiling))
	}
	return MaxLimit
}
