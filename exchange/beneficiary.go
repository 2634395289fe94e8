package exchange

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// Beneficiary is an individual or a household with what programs and case workers keep about them. Each
// part is granted by its own dataset, read within its own scope and opened by its own plan: one that is not
// granted is not there, and what is hidden in one that is moves nothing of the answer.
type Beneficiary struct {
	Answer                   // Page is the record
	Parts  []BeneficiaryPart // enrollments, benefits, cases, in this order
	About  []Decided         // eligibility decisions that the agreement has sent, the newest first
	Told   bool              // the agreement sends such decisions: About is a part of the answer
	Rows   int64             // of the record and all parts
	More   []string          // parts that have more than MaxLimit rows, or than the caller's ceiling
}

// BeneficiaryPart is what one dataset says about a beneficiary.
type BeneficiaryPart struct {
	Dataset string
	Page    *privacy.Disclosed
}

// partRead is a part that was read and not released.
type partRead struct {
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
	about := annona.SubjectRef{Dataset: i.question.Dataset, Number: record.Numbers[0]}
	parts, err := x.partsOf(ctx, i, about)
	if err != nil {
		return nil, err
	}
	b := &Beneficiary{}
	if b.About, b.Told, err = x.decidedAbout(ctx, i, about, record.UIDs[0]); err != nil {
		return nil, err
	}
	return b, x.releaseWhole(ctx, i, record, parts, b)
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

// partsOf reads what is kept about somebody, dataset by dataset.
func (x *Exchange) partsOf(ctx context.Context, of *inquiry, about annona.SubjectRef) (parts []partRead, err error) {
	for _, dataset := range []string{"enrollments", "benefits", "cases"} {
		read := x.programPart
		verb := annona.VerbGet
		if dataset == "cases" {
			read, verb = x.casePart, annona.VerbReadCases
		}
		var p partRead
		q := Question{Dataset: dataset, Purpose: of.question.Purpose, NilReasons: of.question.NilReasons, matters: true}
		p.i, p.page, err = x.readSmall(ctx, of.caller, verb, q, of.form, func(i *inquiry, page *annona.Page) (err error) {
			p.more, err = read(ctx, i, page, about)
			return err
		})
		switch {
		case err == nil:
			parts = append(parts, p)
		case annona.KindOf(err) != annona.KindForbidden:
			return nil, err
		}
	}
	return parts, nil
}

func (x *Exchange) programPart(ctx context.Context, i *inquiry, page *annona.Page, about annona.SubjectRef) (more bool, err error) {
	err = x.readOpen(ctx, page, func() (err error) {
		more, err = x.Matters.ReadMatters(ctx, x.programScope(i, page.Shape), annona.MatterChoice{Subjects: []annona.SubjectRef{about}}, 0, i.most(), page)
		return err
	})
	return more, err
}

func (x *Exchange) casePart(ctx context.Context, i *inquiry, page *annona.Page, about annona.SubjectRef) (more bool, err error) {
	return x.readOwn(ctx, i, page, annona.MatterChoice{Subjects: []annona.SubjectRef{about}}, 0, i.most())
}

// most is how many rows a part has at most.
func (i *inquiry) most() int {
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		return int(min(MaxLimit, ceiling))
	}
	return MaxLimit
}

// decidedAbout returns the decisions about somebody that the caller's agreement has sent; told: it sends any.
func (x *Exchange) decidedAbout(ctx context.Context, of *inquiry, about annona.SubjectRef, uid annona.UID) (all []Decided, told bool, err error) {
	id := map[string]string{"individuals": memberPerson, "households": memberHome}[about.Dataset]
	i, err := x.inquire(ctx, x.Standings, of.caller, annona.VerbDecideEligibility, Question{Dataset: about.Dataset, Purpose: of.question.Purpose, Fields: []string{id}})
	if annona.KindOf(err) == annona.KindForbidden {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	found, err := x.Decisions.DecisionsAbout(ctx, i.caller.Agreement, about, i.most())
	if err != nil {
		return nil, false, err
	}
	shown := string(i.realm.AppendID(nil, uid[:]))
	for _, d := range found {
		one := Decided{ID: d.ID, RecordedAt: annona.Instant(d.At)}
		if err := json.Unmarshal(d.Body, &one.EligibilityDecision); err != nil {
			return nil, false, annona.Internal("read an eligibility decision", err)
		}
		if about.Dataset == "households" {
			one.HouseholdID = shown
		} else {
			one.IndividualID = shown
		}
		all = append(all, one)
	}
	return all, true, nil
}

// releaseWhole takes the last two steps, redact and record, for a record and its parts at once.
func (x *Exchange) releaseWhole(ctx context.Context, i *inquiry, record *annona.Page, parts []partRead, b *Beneficiary) error {
	facts := i.facts()
	b.Answer = Answer{Page: i.redact(record), Request: i.request, Schema: i.schema}
	facts.Fields, facts.Rows, facts.Page = slices.Clone(i.names(b.Page.Shape())), 1, 1
	subjects := subjectsOf(b.Page)
	view := []byte(x.etag(i, b.Page))
	var named []string
	for _, p := range parts {
		name := p.i.question.Dataset
		shown := BeneficiaryPart{Dataset: name, Page: p.i.redact(p.page)}
		b.Parts, named = append(b.Parts, shown), append(named, name)
		facts.Rows += int64(shown.Page.Count())
		for _, field := range p.i.names(shown.Page.Shape()) {
			facts.Fields = append(facts.Fields, name+"."+field)
		}
		subjects = append(subjects, subjectsOf(shown.Page)...)
		view = appendView(appendTexts(view, name, strconv.Itoa(shown.Page.Count())), shown.Page.Page())
		if p.more {
			b.More = append(b.More, name)
		}
	}
	if b.Told {
		named = append(named, "eligibility_decisions")
		facts.Rows += int64(len(b.About))
		for _, d := range b.About {
			view = appendTexts(view, d.ID.String())
		}
	}
	if len(named) > 0 {
		facts.Details = withDetail(facts.Details, "parts", strings.Join(named, " "))
	}
	if err := x.countSeen(ctx, i, subjects); err != nil {
		return err
	}
	if err := x.disclose(ctx, audit.Release(x.Clock(), i.request, facts, i.filterText(), i.caller, subjects)); err != nil {
		return err
	}
	tag := x.Vault.Tag(view)
	b.ETag = `"` + base64.RawURLEncoding.EncodeToString(tag[:]) + `"`
	b.ending, b.Rows = i.ending(x), facts.Rows
	return nil
}
