// Package exchange is the gate: every read and every write of personal data passes it. Each
// verb has a file; each reading verb takes the same five steps in the same order:
//
//	decide   may this caller do this, for this purpose?       policy, from a fresh standing
//	narrow   grant ∧ agreement ∧ the caller's filter          one Scope, part of the query
//	fetch    a page of the store's rows within the scope
//	redact   what may be shown of it                          a privacy.Disclosed
//	record   a release entry, durable; then the page may go
//
// The gate knows no wire, no format and no SQL. Whoever calls it gets a Disclosed or an
// annona.Error, and nothing else.
package exchange

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// Config is what the gate is wired to.
type Config struct {
	Dictionary  *annona.Dictionary
	Records     annona.Records
	Writer      annona.Writer
	Ledger      annona.Ledger
	Standings   annona.Standings
	Roster      annona.Roster
	Remembered  *Remembered // of Standings, for small requests; nil: one of the gate's own
	Subjects    annona.Subjects
	Reference   annona.Reference
	Log         annona.Log
	Past        annona.Past
	Views       annona.Views
	Loads       annona.Loads
	Mappings    annona.Mappings
	Indexes     annona.Indexes // nil: names are not searched, and no index is made anew
	Merges      annona.Merges
	ExportSpecs annona.ExportSpecs
	Decisions   annona.Decisions
	Matters     annona.Matters
	Attachments annona.Attachments // nil: cases have none
	Programs    annona.Programs
	ExportJobs  annona.ExportJobs
	ExportQueue annona.ExportQueue
	Files       annona.FileVault    // nil: no export becomes files
	Samples     Sampler             // nil: trials of exports show no rows
	Users       annona.Users        // nil: nobody signs in
	Outsiders   annona.Outside      // nil: no identity provider of others counts
	Delegations annona.Delegations  // of users; nil: there are none
	Approvals   annona.Approvals    // nil: nothing waits for a second person
	Glasses     annona.BreakGlasses // nil: nobody breaks glass
	Uses        annona.Uses         // nil: nobody notes what clients use
	History     History             // nil: nothing is proved, nobody's disclosures are told
	Vault       Vault
	Shredder    annona.Shredder // for erasure only
	Rotator     annona.KeyRotator
	Outside     annona.TombstoneKeeper // for erasure only
	Clock       annona.Clock
	Zone        *time.Location // of the installation: it decides which day is today
	// ChangeRequests keeps what waits; nil: nobody changes records over a wire.
	ChangeRequests annona.ChangeRequests
	// Process names this process among all, for Gone; empty: it has no name.
	Process string
	// Gone says whether a process that had a name has ended; known: it can tell. nil: nobody can.
	Gone func(process string) (gone, known bool)
	// Check says whether a client may still be used at that moment, from that network.
	Check func(client *annona.Client, now time.Time, from netip.Addr) error
	// Rates say how often clients may ask, and Buckets counts it for all nodes; nil: without a limit.
	Rates   Rates
	Buckets annona.Buckets
	// Covered says why nothing may be disclosed: the ledger's tree or its signer have failed for
	// too long. nil: nobody watches, as at the command line.
	Covered func() error
	// Spool makes room for what is uploaded until it is written; nil: nothing is attached to cases.
	Spool func() (annona.Spool, error)
	// AttachmentLimit is how many bytes an attachment of a case has at most; 0: DefaultMaxAttachment.
	AttachmentLimit int64
}

// Vault is what the gate needs of the vault.
type Vault interface {
	annona.Vault
	annona.EntryVault
	annona.CellVault
}

// Exchange is the gate. It is safe for concurrent use.
type Exchange struct {
	Config
	dictionary atomic.Pointer[annona.Dictionary]
	terms      sync.Map // termsKey → *policy.Terms
	roles      atomic.Pointer[rolesInForce]
	questions  questions
	outcomes   sync.WaitGroup
	areas      atomic.Pointer[areas] // as they were last read
	sharing    *sharing
	indexing   atomic.Pointer[indexing]
	searches   searches
	limits     limits
	refusals   refusals
	uses       uses
}

type termsKey struct {
	agreement           string
	version, dictionary int
}

// New returns a gate.
func New(c Config) *Exchange {
	x := &Exchange{Config: c, sharing: newSharing()}
	x.Ledger = sealingLedger{c.Ledger, c.Vault}
	x.Writer = followingWriter{sealingWriter{c.Writer, c.Vault}, x}
	x.Reference = sealingReference{c.Reference, c.Vault}
	if x.Remembered == nil {
		x.Remembered = Remember(c.Standings)
	}
	x.dictionary.Store(c.Dictionary)
	return x
}

// CurrentDictionary returns the dictionary in force.
func (x *Exchange) CurrentDictionary() *annona.Dictionary { return x.dictionary.Load() }

// UseDictionary puts an extended dictionary in force for the requests that follow.
func (x *Exchange) UseDictionary(d *annona.Dictionary) { x.dictionary.Store(d) }

func (x *Exchange) today(now time.Time) annona.Date { return annona.DateOf(now.In(x.Zone)) }

// standing reads who the caller is: from the store, at this moment, or from what is remembered,
// which whoever decides by it has to confirm.
func (x *Exchange) standing(ctx context.Context, from annona.Standings, caller annona.Caller) (annona.Standing, error) {
	s := annona.Standing{At: x.Clock()}
	client, err := from.ClientByID(ctx, caller.Client)
	if err != nil {
		return s, err
	}
	if client == nil {
		return s, annona.Unauthenticated("key_invalid", "the API key is not valid; ask the registry for a new one")
	}
	if err := x.Check(client, s.At, caller.Network); err != nil {
		return s, err
	}
	agreement, err := from.Agreement(ctx, client.Agreement)
	if err != nil {
		return s, err
	}
	if s.Policy, err = from.Policy(ctx); err != nil {
		return s, err
	}
	if agreement == nil {
		return s, annona.Forbidden("agreement_not_active", "the agreement of this API key is not on file")
	}
	s.Client, s.Agreement = client, agreement
	if s.Person, err = x.mayAct(ctx, caller, agreement); err != nil {
		return s, err
	}
	if caller.Token == (annona.TokenHash{}) {
		return s, nil
	}
	s.Token, err = from.TokenByHash(ctx, caller.Token)
	switch {
	case err != nil:
		return s, err
	case s.Token == nil || !s.Token.RevokedAt.IsZero() || s.At.After(s.Token.ExpiresAt.Add(longestAnswer)):
		return s, annona.Unauthenticated("invalid_token", "the access token was revoked, or its time is over: ask for another one at the token endpoint")
	}
	return s, nil
}

// longestAnswer is how long an answer may take that began before its access token expired. A token's
// expiry does not cut what is running, its revocation does.
const longestAnswer = time.Hour

// DropTokens removes access tokens that not even a running answer depends on, delegations that have been
// over for as long, and claims that are over. A server asks for it each minute.
func (x *Exchange) DropTokens(ctx context.Context, tokens annona.Tokens, delegations annona.Delegations) error {
	now := x.Clock()
	over := now.Add(-2 * longestAnswer)
	if err := tokens.DropTokens(ctx, over, now); err != nil {
		return err
	}
	return delegations.DropDelegations(ctx, over)
}

// RecordDelegation records that a person lets a client act for them. It comes before the client can.
func (x *Exchange) RecordDelegation(ctx context.Context, caller annona.Caller, d annona.Delegation) error {
	facts := audit.Facts{Verb: annona.VerbDelegate, Agreement: caller.Agreement, Purpose: d.Within.Purpose, Details: map[string]string{"delegation": d.ID.String()}}
	if len(d.Within.Datasets) > 0 {
		facts.Details["datasets"] = strings.Join(d.Within.Datasets, " ")
	}
	if err := x.Ledger.Append(ctx, x.administration(caller, facts)); err != nil {
		return unrecorded(err)
	}
	return nil
}

// AdmitToken says why a client may not have an access token for that. What the token is used for is
// decided again, for every page.
func (x *Exchange) AdmitToken(ctx context.Context, caller annona.Caller, within annona.Authorization) error {
	standing, err := x.standing(ctx, x.Remembered, caller)
	if err != nil {
		return err
	}
	if _, err := x.Take(ctx, caller); err != nil {
		return err // asking for tokens is asking
	}
	terms, err := x.compiledTerms(standing.Agreement)
	if err != nil {
		return err
	}
	return policy.Admit(terms, caller, within, x.today(standing.At))
}

// decide is the first step: a grant for one request under the caller's standing.
func (x *Exchange) decide(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, q Question) (*annona.Grant, error) {
	if caller.IsOperator() {
		return nil, annona.Forbidden("operator_reads_nothing", "the command line administers the registry; people are read under an agreement")
	}
	by, err := x.groundsOf(ctx, from, caller, verb, q)
	if err != nil {
		return nil, err
	}
	grant, err := policy.Decide(by.terms, by.roles, by.request)
	if err == nil && by.glass != nil {
		grant.BreakGlass, grant.RowCeiling = by.glass.ID, min(cmp.Or(grant.RowCeiling, maxGlassSeen), maxGlassSeen)
	}
	return grant, err
}

// grounds are all that a decision is taken from.
type grounds struct {
	terms   *policy.Terms
	roles   *policy.Roles
	request policy.Request
	glass   *annona.BreakGlass // nil: it is no emergency
}

// groundsOf reads the standing of a caller and puts together what its request is decided from.
func (x *Exchange) groundsOf(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, q Question) (g grounds, err error) {
	standing, err := x.standing(ctx, from, caller)
	if err != nil {
		return g, err
	}
	if g.terms, err = x.compiledTerms(standing.Agreement); err != nil {
		return g, err
	}
	if g.roles, err = x.compiledRoles(standing.Policy); err != nil {
		return g, err
	}
	g.request = x.requestOf(standing, caller, verb, q)
	if err := x.inEmergency(ctx, standing, &g); err != nil {
		return g, err
	}
	return g, x.weigh(ctx, &g, q)
}

// requestOf is what a decision is about: who asks what, when, and how it is bound.
func (x *Exchange) requestOf(s annona.Standing, caller annona.Caller, verb annona.Verb, q Question) policy.Request {
	r := policy.Request{
		Caller: caller, Role: s.Client.Role, Verb: verb, Dataset: q.Dataset, Purpose: q.Purpose,
		Today: x.today(s.At), At: s.At.In(x.Zone), Binding: policy.BoundToNothing,
	}
	if s.Person != nil {
		r.Person = append([]string{}, s.Person.RolesOn(r.Today)...)
	}
	if caller.Within != nil {
		r.Within, r.Binding = *caller.Within, cmp.Or(caller.Bound, policy.BoundToNothing)
	}
	if s.Token != nil {
		r.Within, r.Binding = s.Token.Within, boundTo(s.Token)
	}
	return r
}

// boundTo says what an access token is bound to.
func boundTo(t *annona.Token) string {
	switch {
	case len(t.Key) > 0:
		return policy.BoundToKey
	case len(t.Certificate) > 0:
		return policy.BoundToCertificate
	}
	return policy.BoundToNothing
}

// rolesInForce is the policy in force, as it was last compiled.
type rolesInForce struct {
	*policy.Roles
	version, dictionary int
}

func (x *Exchange) compiledRoles(p *annona.Policy) (*policy.Roles, error) {
	d, version := x.CurrentDictionary(), 0
	if p != nil {
		version = p.Version
	}
	if c := x.roles.Load(); c != nil && c.version == version && c.dictionary == d.Version {
		return c.Roles, nil
	}
	if version == 0 {
		shipped := policy.Shipped()
		p = &shipped
	}
	roles, err := policy.CompilePolicy(p, d)
	if err != nil {
		return nil, err
	}
	x.roles.Store(&rolesInForce{roles, p.Version, d.Version})
	return roles, nil
}

func (x *Exchange) compiledTerms(a *annona.Agreement) (*policy.Terms, error) {
	d := x.CurrentDictionary()
	key := termsKey{a.Name, a.Version, d.Version}
	if t, ok := x.terms.Load(key); ok {
		return t.(*policy.Terms), nil
	}
	t, err := policy.Compile(a, d)
	if err != nil {
		return nil, err
	}
	x.terms.Store(key, t)
	return t, nil
}
