package exchange

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// ApplyAgreement checks an agreement and puts it in force as its next version: when a second person has
// approved it (code approval_needed), or when it only ends something.
func (x *Exchange) ApplyAgreement(ctx context.Context, caller annona.Caller, a annona.Agreement) (version int, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	return x.applyAgreement(ctx, caller, agreed{Agreement: a, Verb: annona.VerbApplyAgreement})
}

// agreed is an agreement on its way, as it lies on file until it is in force.
type agreed struct {
	Agreement annona.Agreement
	Verb      annona.Verb
	Added     []string `json:",omitempty"` // areas that are new in it
}

func (x *Exchange) applyAgreement(ctx context.Context, caller annona.Caller, a agreed) (version int, err error) {
	p, before, err := x.agreementProposal(ctx, a, &version)
	if err != nil {
		return 0, err
	}
	if before != nil && onlyEnds(*before, a.Agreement) {
		return version, x.Writer.Update(ctx, func(tx annona.Tx) error {
			return p.put(ctx, tx, caller, consent{})
		})
	}
	err = x.submit(ctx, caller, p)
	return version, err
}

// ownsCaseSource refuses a system that names the cases of another partner, or of an agreement with another
// clearance: by sending ids one could learn which of them a case has that one may not see.
func (x *Exchange) ownsCaseSource(ctx context.Context, a annona.Agreement) error {
	if a.Cases == nil || a.Cases.Source == "" {
		return nil
	}
	all, err := x.Roster.Agreements(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Name == a.Name || o.Cases == nil || o.Cases.Source != a.Cases.Source {
			continue
		}
		if o.Partner.Name != a.Partner.Name || !sameCodes(o.Cases.Confidentiality, a.Cases.Confidentiality) {
			return annona.Conflict("case_source_taken", "another agreement names this system for its cases, of another partner or with another confidentiality; name another one").On("cases.source")
		}
	}
	return nil
}

func sameCodes(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// agreementProposal is an agreement that was checked, as the version after before. put says in version which
// one it has become.
func (x *Exchange) agreementProposal(ctx context.Context, a agreed, version *int) (p proposal, before *annona.Agreement, err error) {
	if _, err := policy.Compile(&a.Agreement, x.CurrentDictionary()); err != nil {
		return p, nil, err
	}
	for _, program := range a.Agreement.Programs {
		if _, err := x.ProgramOnFile(ctx, program.Program); err != nil {
			return p, nil, err
		}
	}
	if err := x.ownsCaseSource(ctx, a.Agreement); err != nil {
		return p, nil, err
	}
	if _, err := x.Vault.Realm(a.Agreement.Realm); err != nil { // made now, so that no copy of the keys lacks the realm of an agreement in force
		return p, nil, err
	}
	if before, err = x.Standings.Agreement(ctx, a.Agreement.Name); err != nil {
		return p, nil, err
	}
	a.Agreement.Version = 0
	p = proposal{kind: annona.ApproveAgreement, object: a.Agreement.Name, agreement: a.Agreement.Name, body: a}
	was := annona.Agreement{}
	if before != nil {
		was, p.base = *before, before.Version
	}
	was.Version = 0
	p.shows = differences(was, a.Agreement)
	p.put = func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) (err error) {
		if *version, err = tx.PutAgreement(ctx, a.Agreement); err != nil {
			return err
		}
		facts := audit.Facts{Verb: a.Verb, Agreement: a.Agreement.Name, AgreementVersion: *version, Partner: a.Agreement.Partner.Name, Raised: raised(a.Agreement)}
		if len(a.Added) > 0 {
			facts.Details = map[string]string{"areas": strings.Join(a.Added, " ")}
		}
		facts.Details = how.note(facts.Details)
		return tx.AppendEntry(ctx, x.administration(caller, facts))
	}
	return p, before, nil
}

// onlyEnds reports whether a version of an agreement says what the one before said, suspended or with an
// earlier end, also of datasets: that never waits.
func onlyEnds(before, after annona.Agreement) bool {
	if after.Status != "suspended" && after.Status != before.Status || after.ValidUntil > before.ValidUntil {
		return false
	}
	after.Datasets = maps.Clone(after.Datasets)
	for name, terms := range after.Datasets {
		was := before.Datasets[name].ValidUntil
		if was != "" && (terms.ValidUntil == "" || terms.ValidUntil > was) {
			return false
		}
		terms.ValidUntil = was
		after.Datasets[name] = terms
	}
	after.Status, after.ValidUntil, after.Version = before.Status, before.ValidUntil, before.Version
	return len(differences(before, after)) == 0
}

func raised(a annona.Agreement) string {
	if a.APIKey == nil {
		return ""
	}
	return a.APIKey.Reason
}

// administration makes the ledger entry of an act of administration.
func (x *Exchange) administration(caller annona.Caller, facts audit.Facts) annona.LedgerRow {
	return audit.Administration(x.Clock(), annona.NewUID(), facts, caller)
}

// CreateClient puts a client on file. Its agreement must be; its key was minted by whoever
// shows it, once. An API key above the caps of keys, and a client in a role that allows more than
// annona.RolePartner does, come when a second person has approved them: code approval_needed.
func (x *Exchange) CreateClient(ctx context.Context, caller annona.Caller, c annona.Client) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	agreement, err := x.Standings.Agreement(ctx, c.Agreement)
	if err != nil {
		return err
	}
	if agreement == nil {
		return annona.NotFound("no agreement of this name is on file; apply it first: annona agreement apply").On("agreement")
	}
	if err := x.checkPolicyHas(ctx, c.Role); err != nil {
		return err
	}
	p, err := x.clientProposal(ctx, c, agreement)
	if err != nil {
		return err
	}
	if len(p.shows) == 0 {
		return x.putClient(ctx, caller, verbOf(c, annona.VerbCreateKey, annona.VerbCreateClient), c)
	}
	return x.submit(ctx, caller, p)
}

// clientProposal is a new client. It shows something when it is a key above the caps that keys have, or when
// its role allows more than that of clients which name none.
func (x *Exchange) clientProposal(ctx context.Context, c annona.Client, agreement *annona.Agreement) (proposal, error) {
	p := proposal{kind: annona.ApproveClient, object: c.ID.String(), agreement: agreement.Name, body: c,
		put: func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			entry := x.aboutClient(caller, verbOf(c, annona.VerbCreateKey, annona.VerbCreateClient), c, how.note(nil))
			if err := tx.PutClient(ctx, c); err != nil {
				return err
			}
			return tx.AppendEntry(ctx, entry)
		}}
	wider, err := x.newlyAllowed(ctx, annona.RolePartner, c.Role)
	if err != nil {
		return p, err
	}
	if agreement.APIKey != nil && c.Method == annona.MethodAPIKey {
		wider = append(wider, "its cap is raised, because: "+agreement.APIKey.Reason)
	}
	if len(wider) > 0 {
		p.shows = append([]string{kindOf(c) + " for " + agreement.Name + ", in the role " + roleOf(c) + ", until " + annona.Instant(c.ExpiresAt)}, wider...)
	}
	return p, nil
}

func kindOf(c annona.Client) string {
	if c.Method == annona.MethodAPIKey {
		return "an API key"
	}
	return "a client"
}

// RevokeClient revokes a client. Revoking it again changes nothing.
func (x *Exchange) RevokeClient(ctx context.Context, caller annona.Caller, id annona.UID) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	c, err := x.Standings.ClientByID(ctx, id)
	if err != nil {
		return err
	}
	if c == nil {
		return annona.NotFound("no key with this id is on file")
	}
	if !c.RevokedAt.IsZero() {
		return nil
	}
	c.RevokedAt = x.Clock()
	return x.putClient(ctx, caller, verbOf(*c, annona.VerbRevokeKey, annona.VerbRevokeClient), *c)
}

func verbOf(c annona.Client, ofKey, ofClient annona.Verb) annona.Verb {
	if c.Method == annona.MethodAPIKey {
		return ofKey
	}
	return ofClient
}

func (x *Exchange) putClient(ctx context.Context, caller annona.Caller, verb annona.Verb, c annona.Client) error {
	return x.Writer.Update(ctx, func(tx annona.Tx) error { return x.writeClient(ctx, tx, caller, verb, c) })
}

// writeClient writes a client and its entry within a transaction.
func (x *Exchange) writeClient(ctx context.Context, tx annona.Tx, caller annona.Caller, verb annona.Verb, c annona.Client) error {
	if err := tx.PutClient(ctx, c); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, x.aboutClient(caller, verb, c, map[string]string{}))
}

func (x *Exchange) aboutClient(caller annona.Caller, verb annona.Verb, c annona.Client, details map[string]string) annona.LedgerRow {
	details["client"], details["expires_at"], details["role"] = c.ID.String(), annona.Instant(c.ExpiresAt), roleOf(c)
	if c.Method != annona.MethodAPIKey {
		details["method"] = string(c.Method)
	}
	return x.administration(caller, audit.Facts{Verb: verb, Agreement: c.Agreement, Details: details})
}

// Declare extends the dictionary by a country's attributes and puts it in force. What it
// declares already changes nothing: the schema version stays.
func (x *Exchange) Declare(ctx context.Context, caller annona.Caller, extension annona.Extension) (*annona.Dictionary, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	current := x.CurrentDictionary()
	if current.Declares(extension) {
		return current, nil
	}
	extended, err := current.Extend(extension)
	if err != nil {
		return nil, err
	}
	entry := x.administration(caller, audit.Facts{Verb: annona.VerbApplyDictionary, SchemaVersion: extended.Version, Details: map[string]string{
		"country": extension.Country, "fields": strconv.Itoa(len(extension.Fields)), "code_lists": strconv.Itoa(len(extension.CodeLists)),
		"identifier_types": strconv.Itoa(len(extension.IdentifierTypes)),
	}})
	if err := x.Reference.Declare(ctx, extension, extended, entry); err != nil {
		return nil, err
	}
	x.UseDictionary(extended)
	return extended, nil
}

// CloseOpenRequests gives the outcome unknown to requests that a crash left without one. Those of
// other servers of the registry that run go on. It runs before the first request of a server.
func (x *Exchange) CloseOpenRequests(ctx context.Context, caller annona.Caller, requests annona.Requests) (int, error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	open, err := requests.AbandonedRequests(ctx)
	if err != nil {
		return 0, err
	}
	for _, request := range open {
		entry := audit.Outcome(x.Clock(), request, audit.Facts{Outcome: audit.Unknown}, caller)
		if err := x.Ledger.Append(ctx, entry); err != nil {
			return 0, err
		}
	}
	return len(open), nil
}
