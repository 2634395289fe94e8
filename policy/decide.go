package policy

import (
	"regexp"
	"slices"

	"github.com/annona-exchange/annona"
)

var (
	name      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	strengths = map[string]annona.Strength{
		"api_key":            annona.StrengthAPIKey,
		"oauth":              annona.StrengthOAuth,
		"sender_constrained": annona.StrengthSenderConstrained,
	}
	bases = []annona.Basis{
		annona.BasisConsent, annona.BasisContract, annona.BasisLegalObligation,
		annona.BasisVitalInterest, annona.BasisPublicInterest, annona.BasisLegitimateInterest,
	}
)

// Decide grants a request under the terms of the caller's agreement and in its role, or refuses it. The
// credential itself (expiry, revocation, network) was checked before.
//
// Refusals: purpose_missing and purpose_unknown (400), purpose_not_granted, agreement_not_active,
// credential_too_weak, disclosures_not_granted, name_search_not_granted, decisions_not_granted, reports_not_granted, checks_not_granted, updates_not_granted, life_events_not_granted, update_log_not_granted, reviews_not_granted, cases_not_granted, dataset_not_granted, dataset_ended, basis_lapsed,
// purpose_not_authorized, dataset_not_authorized, role_unknown, role_denies,
// role_not_granted, condition_special (403).
func Decide(t *Terms, p *Roles, r Request) (*annona.Grant, error) {
	t = t.on(r.Today)
	a := t.agreement
	if err := inForce(a, r.Today); err != nil {
		return nil, err
	}
	if err := strongEnough(a, r.Caller); err != nil {
		return nil, err
	}
	if r.Verb == annona.VerbDisclosures && !a.Disclosures {
		return nil, annona.Forbidden("disclosures_not_granted", "the agreement does not let you ask who received somebody's data")
	}
	if r.Verb == annona.VerbNameSearch && !a.NameSearch {
		return nil, annona.Forbidden("name_search_not_granted", "the agreement does not let you search names")
	}
	if r.Verb == annona.VerbDecideEligibility && len(a.Decisions) == 0 {
		return nil, annona.Forbidden("decisions_not_granted", "the agreement names no program whose eligibility decisions you may send")
	}
	if r.Verb == annona.VerbUpdate && len(a.Updates) == 0 {
		return nil, annona.Forbidden("updates_not_granted", "the agreement does not let you change records")
	}
	if r.Verb == annona.VerbReportLifeEvent && a.LifeEvents == nil {
		return nil, annona.Forbidden("life_events_not_granted", "the agreement does not let you report events of people's lives")
	}
	if r.Verb == annona.VerbReadUpdates && !a.UpdateLog {
		return nil, annona.Forbidden("update_log_not_granted", "the agreement does not let you read who has changed what of records")
	}
	if r.Verb == annona.VerbReview && !a.Reviews {
		return nil, annona.Forbidden("reviews_not_granted", "the agreement does not let you decide change requests")
	}
	if r.Verb == annona.VerbReportEnrollments && !slices.ContainsFunc(a.Programs, func(p annona.ProgramTerms) bool { return p.Report }) {
		return nil, annona.Forbidden("reports_not_granted", "the agreement names no program whose enrollments and benefits you may report")
	}
	if slices.Contains(caseVerbs, r.Verb) && a.Cases == nil {
		return nil, annona.Forbidden("cases_not_granted", "the agreement does not let you keep cases")
	}
	if r.Verb == annona.VerbCheckEnrolled {
		if err := mayCheck(a, r.Purpose); err != nil {
			return nil, err
		}
	}
	purpose, err := purposeOf(a, r)
	if err != nil {
		return nil, err
	}
	if len(t.fields[r.Dataset]) == 0 {
		return nil, t.refuseDataset(r.Dataset, r.Today).On(r.Dataset)
	}
	if err := authorized(r); err != nil {
		return nil, err
	}
	n, err := p.narrow(t, &r)
	if err != nil {
		return nil, err
	}
	if n, err = p.narrowFor(n, &r); err != nil {
		return nil, err
	}
	g, err := t.grant(n, r.Caller.Strength, purpose)
	if err != nil {
		return nil, err
	}
	g.Decision = annona.Decision{Policy: p.policy.Version, Role: r.role(), Rules: n.rules, Inputs: r.inputs(a.Name, a.Version, p.policy.Version), Effect: n.effect}
	if p.Asks(&r) != (Asked{}) {
		weighed := r.Weighed
		g.Decision.Weighed = &weighed
	}
	g.StepUp, g.SecondPerson = n.stepUp, n.second
	if len(r.Within.Datasets) > 0 {
		g.Fields, g.Derivable, g.Within = t.only(g.Fields, r.Within.Datasets), t.only(g.Derivable, r.Within.Datasets), r.Within
	}
	return g, nil
}

var caseVerbs = []annona.Verb{annona.VerbReadCases, annona.VerbWriteCases, annona.VerbTransferCases}

// mayCheck refuses checks that the agreement does not name, and those for another purpose than theirs.
func mayCheck(a *annona.Agreement, purpose string) error {
	if a.Checks == nil {
		return annona.Forbidden("checks_not_granted", "the agreement does not let you ask who takes part in programs")
	}
	if _, known := a.Purpose(purpose); known && purpose != a.Checks.Purpose {
		return annona.Forbidden("purpose_not_granted", "the agreement grants checks for another purpose").On("purpose")
	}
	return nil
}

// authorized refuses what the agreement grants and the access token was not asked for.
func authorized(r Request) error {
	if r.Within.Purpose != "" && r.Within.Purpose != r.Purpose {
		return annona.Forbidden("purpose_not_authorized", "the access token is for another purpose of the agreement; ask for one for this purpose").On("purpose")
	}
	if len(r.Within.Datasets) > 0 && !slices.Contains(r.Within.Datasets, r.Dataset) {
		return annona.Forbidden("dataset_not_authorized", "the access token is not for this dataset; ask for one that is").On(r.Dataset)
	}
	return nil
}

// only leaves out the root datasets that an access token was not asked for: a token for households
// shows nothing of the people in them.
func (t *Terms) only(fields map[string][]annona.FieldGrant, datasets []string) map[string][]annona.FieldGrant {
	out := make(map[string][]annona.FieldGrant, len(fields))
	for dataset, granted := range fields {
		if !t.roots[dataset] || slices.Contains(datasets, dataset) {
			out[dataset] = granted
		}
	}
	return out
}

// Admit decides whether a caller may get an access token for a part of its agreement. A token is for
// nothing that the agreement does not grant.
//
// Refusals: agreement_not_active, credential_too_weak, purpose_not_granted, basis_lapsed,
// dataset_not_granted (403), purpose_unknown (400).
func Admit(t *Terms, caller annona.Caller, within annona.Authorization, today annona.Date) error {
	if err := inForce(t.agreement, today); err != nil {
		return err
	}
	if err := strongEnough(t.agreement, caller); err != nil {
		return err
	}
	t = t.on(today)
	if within.Purpose != "" {
		if _, err := purposeOf(t.agreement, Request{Purpose: within.Purpose, Today: today}); err != nil {
			return err
		}
	}
	for _, dataset := range within.Datasets {
		if !t.roots[dataset] || len(t.fields[dataset]) == 0 {
			return annona.Forbidden("dataset_not_granted", "the agreement does not grant one of these datasets").On("datasets")
		}
	}
	return nil
}

func strongEnough(a *annona.Agreement, caller annona.Caller) error {
	if caller.Strength < strengths[a.Floor] || caller.IsOperator() {
		return annona.Forbidden("credential_too_weak", "the agreement accepts credentials of strength %s or stronger", a.Floor)
	}
	return nil
}

func inForce(a *annona.Agreement, today annona.Date) error {
	if a.Status != "active" || today < a.ValidFrom || today > a.ValidUntil {
		return annona.Forbidden("agreement_not_active", "the agreement is suspended, not yet valid or has ended; ask the registry to renew it")
	}
	return nil
}

// CheckPurpose refuses what cannot be the code of a purpose (400 purpose_unknown).
func CheckPurpose(code string) error {
	if !name.MatchString(code) {
		return annona.Invalid("purpose_unknown", "a purpose is a code of lower-case letters, digits and hyphens").On("purpose")
	}
	return nil
}

func purposeOf(a *annona.Agreement, r Request) (annona.PurposeTerms, error) {
	if r.Purpose == "" {
		return annona.PurposeTerms{}, annona.Invalid("purpose_missing", "say what the data is for: purpose=<code of a purpose in your agreement>").On("purpose")
	}
	if err := CheckPurpose(r.Purpose); err != nil {
		return annona.PurposeTerms{}, err
	}
	purpose, ok := a.Purpose(r.Purpose)
	if !ok {
		return annona.PurposeTerms{}, annona.Forbidden("purpose_not_granted", "the agreement does not name this purpose").On("purpose")
	}
	if purpose.ValidUntil != "" && r.Today > purpose.ValidUntil {
		return annona.PurposeTerms{}, annona.Forbidden("basis_lapsed", "the lawful basis of this purpose has lapsed").On("purpose")
	}
	return purpose, nil
}

// grant cuts what the agreement and the role grant down to the caps of the credential's strength.
func (t *Terms) grant(n *narrowed, strength annona.Strength, purpose annona.PurposeTerms) (*annona.Grant, error) {
	g := &annona.Grant{Agreement: t.agreement, Purpose: purpose, Fields: n.fields, Derivable: n.derivable, Conditions: n.rows, RowCeiling: tighter(t.agreement.RowCeiling, n.ceiling)}
	if strength > annona.StrengthAPIKey {
		return g, nil
	}
	caps := annona.CredentialTerms{RowCeiling: annona.DefaultAPIKeyRows}
	if t.agreement.APIKey != nil {
		caps = *t.agreement.APIKey
		g.Raised = caps.Reason
	}
	g.RowCeiling = tighter(g.RowCeiling, caps.RowCeiling)
	if n.telling && !caps.SpecialFields {
		return nil, annona.Forbidden("credential_too_weak",
			"the agreement or the role selects people by a special field, and a plain API key gets none; use a stronger credential, or have special fields raised in the agreement")
	}
	if n.special && !caps.SpecialFields {
		g.Fields, g.Derivable = withoutSpecial(n.fields), withoutSpecial(n.derivable)
	}
	return g, nil
}

// tighter returns the lower of two ceilings, of which 0 means none.
func tighter(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func withoutSpecial(fields map[string][]annona.FieldGrant) map[string][]annona.FieldGrant {
	out := make(map[string][]annona.FieldGrant, len(fields))
	for dataset, granted := range fields {
		for _, g := range granted {
			if !isSpecial(g) {
				out[dataset] = append(out[dataset], g)
			}
		}
	}
	return out
}
