package exchange

import (
	"cmp"
	"context"

	"github.com/annona-exchange/annona"
)

// MaxBeneficiaries is how many beneficiaries a page has at most: each is several records.
const MaxBeneficiaries = 100

// listedRows is how many rows a part of one beneficiary has in a list.
const listedRows = 100

// BeneficiaryChoice picks beneficiaries by an enrollment of their own. What is empty picks all.
type BeneficiaryChoice struct {
	Program string
	Status  string // code of the list enrollment_status
}

// Beneficiaries is a page of beneficiaries. Whoever writes it says with Sent how that ended.
type Beneficiaries struct {
	Answer // Page is nil: each beneficiary has its own
	Each   []Beneficiary
	Rows   int64 // of all records and parts
}

// Beneficiaries returns a page of those who take part in programs: the individuals, or the households, of
// whom the caller sees an enrollment that the choice picks, in the order in which they came on file. Codes:
// those of decisions, of filters and of cursors.
func (x *Exchange) Beneficiaries(ctx context.Context, caller annona.Caller, q Question, c BeneficiaryChoice, limit int, after string, form Form) (*Beneficiaries, error) {
	if err := cmp.Or(checkLimit(limit, MaxBeneficiaries), x.checkStatus(partEnrollments, c.Status)); err != nil {
		return nil, err
	}
	more := false
	q.atMost = atMost(limit)
	i, page, err := x.readSmall(ctx, caller, annona.VerbSearch, q, form, func(i *inquiry, page *annona.Page) error {
		taking, err := x.inquire(ctx, x.Standings, caller, annona.VerbSearch, Question{Dataset: partEnrollments, Purpose: q.Purpose, matters: true, atMost: q.atMost})
		if err != nil {
			return err
		}
		if err := taking.checkPicked(Participation{Program: c.Program, Status: c.Status}.asked(taking.shape.Dataset)); err != nil {
			return err
		}
		i.chosen = string(appendTexts(nil, "beneficiaries", c.Program, c.Status))
		from, err := x.openCursor(i, after)
		if err != nil {
			return err
		}
		rows := int64(limit)
		if ceiling := i.grant.RowCeiling; ceiling > 0 {
			rows = min(rows, ceiling)
		}
		return x.readOpen(ctx, page, func() (err error) {
			more, err = x.Records.ReadPage(ctx, x.takingPart(i, taking, c), from, 0, int(rows), page)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	b := &Beneficiaries{Answer: Answer{Request: i.request, Schema: i.schema}}
	if page.Count == 0 {
		return b, nil
	}
	if more {
		b.Next = x.sealCursor(i, page.Numbers[page.Count-1])
	}
	g := assembly{x: x, of: i, verb: annona.VerbSearch, most: min(listedRows, i.most())}
	all, err := g.assemble(ctx, page)
	if err != nil {
		return nil, err
	}
	b.ending = i.ending(x)
	b.Each, b.Rows, _, err = g.release(ctx, all)
	return b, err
}

// takingPart is the scope of those records whose enrollments the caller sees. The grants of both are of one
// verb and purpose, so that they show the same people.
func (x *Exchange) takingPart(i, taking *inquiry, c BeneficiaryChoice) annona.Scope {
	in := annona.Participating{}
	for _, p := range taking.grant.Agreement.Programs {
		if p.See && (c.Program == "" || c.Program == p.Program) {
			in.Programs = append(in.Programs, p.Program)
		}
	}
	if c.Status != "" {
		in.States = []string{c.Status}
	}
	return i.scope(i.shape, x.today(x.Clock())).TakingPart(in)
}
