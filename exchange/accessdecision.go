package exchange

import (
	"context"
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
	Rules            []string    `json:"rules,omitempty"`  // that held, in the order of the policy
	Inputs           string      `json:"inputs,omitempty"` // SHA-256 of all that it was decided from
	Raised           string      `json:"raised,omitempty"`
}

// Decision returns why a request was granted: to the client that made it, and to the operator. Another
// client's and an unknown one are the same answer.
func (x *Exchange) Decision(ctx context.Context, caller annona.Caller, id annona.UID) (*DecisionRecord, error) {
	if !caller.IsOperator() {
		if err := x.recognize(ctx, caller); err != nil {
			return nil, err
		}
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
	if e.Caller == nil || e.Facts == nil || !caller.IsOperator() && e.Caller.Client != caller.Client {
		return nil, none
	}
	f := e.Facts
	return &DecisionRecord{
		ID: id.String(), At: e.At, Verb: f.Verb, Dataset: f.Dataset, Purpose: f.Purpose, Agreement: f.Agreement, AgreementVersion: f.AgreementVersion,
		PolicyVersion: f.PolicyVersion, Role: f.Role, Rules: f.Rules, Inputs: f.Inputs, Raised: f.Raised,
	}, nil
}

// Explanation is a decision that says how it came about.
type Explanation = policy.Explanation

// Explain says what a client would be granted at this moment, and why: to that client itself, and to the
// operator. It decides and reads nothing else.
func (x *Exchange) Explain(ctx context.Context, caller annona.Caller, about annona.Caller, verb annona.Verb, dataset, purpose string) (*Explanation, error) {
	if !caller.IsOperator() && caller.Client != about.Client {
		return nil, annona.NotFound("no such client, or not you")
	}
	by, err := x.groundsOf(ctx, x.Standings, about, verb, Question{Dataset: dataset, Purpose: purpose})
	if err != nil {
		return nil, err
	}
	e := policy.Explain(by.terms, by.roles, by.request)
	return &e, nil
}
