package exchange

import (
	"context"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// DecisionRecord is why one request was granted, as the ledger has it.
type DecisionRecord struct {
	ID               string      `json:"decision"` // that of the request, hexadecimal
	At               time.Time   `json:"at"`
	Verb             annona.Verb `json:"verb"`
	Dataset          string      `json:"dataset,omitempty"`
	Purpose          string      `json:"purpose,omitempty"`
	Agreement        string      `json:"agreement,omitempty"`
	AgreementVersion int         `json:"agreement_version,omitempty"`
	PolicyVersion    int         `json:"policy_version"` // 0: what Annona comes with
	Role             string      `json:"role,omitempty"`
	Rules            []string    `json:"rules,omitempty"`       // that held, in the order of the policy
	Inputs           string      `json:"inputs,omitempty"`      // SHA-256 of all that it was decided from
	Obligations      []string    `json:"obligations,omitempty"` // under which it was granted, as far as they are about what it shows
	Raised           string      `json:"raised,omitempty"`
	Rows             string      `json:"rows,omitempty"`         // that it was thought to release; where a rule asked and it was known
	Risk             string      `json:"risk,omitempty"`         // low, medium or high; likewise
	RiskFactors      []string    `json:"risk_factors,omitempty"` // of network, hour, sign_in and volume those that counted
}

// Decision returns why a request was granted: to the client that made it, to the operator, and to people of the registry
// who look after data protection or audit. Another client's and an unknown one are the same answer.
func (x *Exchange) Decision(ctx context.Context, caller annona.Caller, id annona.UID) (*DecisionRecord, error) {
	own := caller.Client != (annona.UID{})
	if own {
		if err := x.recognize(ctx, caller); err != nil {
			return nil, err
		}
	} else if err := x.mayOversee(ctx, caller, askingRoles); err != nil {
		return nil, err
	}
	none := annona.NotFound("no decision with this id, or not one about a request of yours")
	rows, err := x.History.EntriesOf(ctx, id, -1, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, none
	}
	opener := audit.Opener{Vault: x.Vault, Ledger: x.History}
	e, err := opener.Open(ctx, rows[0])
	if err != nil {
		return nil, err
	}
	if e.Caller == nil || e.Facts == nil || own && e.Caller.Client != caller.Client {
		return nil, none
	}
	f := e.Facts
	return &DecisionRecord{
		ID: id.String(), At: e.At, Verb: f.Verb, Dataset: f.Dataset, Purpose: f.Purpose, Agreement: f.Agreement, AgreementVersion: f.AgreementVersion,
		PolicyVersion: f.PolicyVersion, Role: f.Role, Rules: f.Rules, Inputs: f.Inputs, Obligations: strings.Fields(f.Details[detailObligations]), Raised: f.Raised,
		Rows: f.Details[detailRows], Risk: f.Details[detailRisk], RiskFactors: strings.Fields(f.Details[detailFactors]),
	}, nil
}

// detailObligations is the detail of an entry that says what a grant asked for.
const detailObligations = "obligations"

// obligations are those of the grant that are about what an inquiry shows.
func (i *inquiry) obligations() []string {
	return i.grant.Obligations(func(yield func(annona.FieldGrant) bool) { eachGrant(i.grant, i.shape, yield) })
}

// eachGrant yields what a grant says of the fields of a shape, until yield has enough.
func eachGrant(grant *annona.Grant, shape *annona.Shape, yield func(annona.FieldGrant) bool) bool {
	for _, f := range shape.Columns {
		if g, granted := grant.Field(f); granted && !yield(g) {
			return false
		}
	}
	for _, group := range shape.Groups {
		if !eachGrant(grant, group.Shape, yield) {
			return false
		}
	}
	return true
}

// Explanation is a decision that says how it came about.
type Explanation = policy.Explanation

// Asked is what an explanation is about: what a client would ask.
type Asked struct {
	Verb             annona.Verb
	Dataset, Purpose string
	Rows             int64 // that the answer would have at most; 0: as a rule needs it, an export is counted
}

// Explain says what a client would be granted at this moment, and why: to that client itself, and to the
// operator. It decides and reads nothing else, unless a rule asks how many rows an export would have.
func (x *Exchange) Explain(ctx context.Context, caller annona.Caller, about annona.Caller, asked Asked) (*Explanation, error) {
	if !caller.IsOperator() && caller.Client != about.Client {
		return nil, annona.NotFound("no such client, or not you")
	}
	if asked.Rows < 0 {
		return nil, annona.Invalid("rows_out_of_range", "say how many rows the answer would have at most, 1 or more").On("rows")
	}
	q := Question{Dataset: asked.Dataset, Purpose: asked.Purpose}
	if asked.Rows > 0 {
		q.atMost = atMost(asked.Rows)
	}
	by, err := x.groundsOf(ctx, x.Standings, about, asked.Verb, q)
	if err != nil {
		return nil, err
	}
	e := policy.Explain(by.terms, by.roles, by.request)
	return &e, nil
}
