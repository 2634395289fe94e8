package annona

import (
	"context"
	"crypto/x509"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Strength orders credentials: what a thief would need besides reading one.
type Strength uint8

// The strengths of credentials, weakest first.
const (
	StrengthNone Strength = iota
	StrengthAPIKey
	StrengthOAuth
	StrengthSenderConstrained
	StrengthOperator // the command line on the machine itself
)

var strengthWords = [...]string{"none", "api_key", "oauth", "sender_constrained", "operator"}

func (s Strength) String() string { return strengthWords[s] }

// Caller is who asks: a client of a partner, or the operator at the command line. It is an
// argument of every verb, never fished out of a context.
type Caller struct {
	Client    UID    // the API key or client that asks; zero for the operator
	Agreement string // name of the agreement that the credential is bound to
	Strength  Strength
	Network   netip.Addr // where the request came from; zero for the operator
	Token     TokenHash  // of the access token that was shown; zero for an API key and the operator
	Operator  string     // account at the command line; empty for a client
	Acting    SignedIn   // the person for whom the client acts; zero: it acts for itself
	// Within is what the access token was good for with which the client has asked for an export that
	// runs by itself: the export outlives the token, and has no more rights. nil: see Token.
	Within *Authorization
	// Bound is what that access token was bound to, as request.binding says it; empty: to nothing, or see Token.
	Bound string
}

// IsOperator reports whether the caller is the command line on the machine itself.
func (c Caller) IsOperator() bool { return c.Strength == StrengthOperator }

// SignedIn is a person who has proved who they are. The zero SignedIn is nobody.
type SignedIn struct {
	Person    UID // opaque: no name and no e-mail address
	Assurance Assurance
	At        time.Time // of the proof
}

// Meets reports whether somebody has signed in as a demand wants it, at that moment.
func (s SignedIn) Meets(d Demand, now time.Time) bool {
	return s.Person != (UID{}) && s.Assurance >= d.Assurance && (d.MaxAge == 0 || s.isRecent(d.MaxAge, now))
}

// clocksDiffer is how far ahead the clock of whoever has seen a proof may be.
const clocksDiffer = time.Minute

// isRecent reports whether the proof is no older than that. One that is yet to come is none: it would be
// recent for as long as it lies ahead.
func (s SignedIn) isRecent(most time.Duration, now time.Time) bool {
	age := now.Sub(s.At)
	return -clocksDiffer <= age && age <= most
}

// Demand says how somebody must have signed in (RFC 9470). The zero Demand takes everybody who has.
type Demand struct {
	Assurance Assurance
	MaxAge    time.Duration // since the proof; 0: however long ago
}

// And returns the demand that is both.
func (d Demand) And(o Demand) Demand {
	d.Assurance = max(d.Assurance, o.Assurance)
	if d.MaxAge == 0 || o.MaxAge != 0 && o.MaxAge < d.MaxAge {
		d.MaxAge = o.MaxAge
	}
	return d
}

// Assurance orders the ways in which people prove who they are.
type Assurance uint8

// The assurances, weakest first.
const (
	AssuranceNone       Assurance = iota
	AssuranceOutside              // another issuer says so
	AssuranceTwoFactors           // a password and a second factor
	AssurancePasskey              // a passkey, which no other site can ask for
)

// assuranceWords are values of acr: mfa is of RFC 8176, phr of the OpenID profile of phishing resistance.
var assuranceWords = [...]string{"", "outside", "mfa", "phr"}

func (a Assurance) String() string { return assuranceWords[a] }

// ParseAssurance reads a value of acr.
func ParseAssurance(word string) (a Assurance, ok bool) {
	i := slices.Index(assuranceWords[1:], word)
	return Assurance(i + 1), i >= 0
}

// Delegation is a person's leave for a client to act for them. The client pushes a request, the person
// allows it, the client takes the delegation up with a code, and refreshes its access tokens by it until
// it ends.
type Delegation struct {
	ID      UID
	Client  UID
	Stage   DelegationStage
	Hash    TokenHash // of what the client shows next: the request_uri, the code, the refresh token
	Code    TokenHash // of the code that the delegation was taken up with; zero before
	Request []byte    // what the client has pushed, as package identity writes it
	Within  Authorization
	Acting  SignedIn // zero until the person has allowed it
	BeganAt time.Time
	Until   time.Time // the end of the stage
	EndedAt time.Time // zero while it has not ended; its access tokens end with it
}

// DelegationStage is how far a delegation has come.
type DelegationStage string

// The stages, in order.
const (
	DelegationPushed  DelegationStage = "pushed"
	DelegationAllowed DelegationStage = "allowed"
	DelegationTaken   DelegationStage = "taken"
)

// ClientMethod is how a client proves who it is. The words of OAuth 2.0 are those of its registry
// of methods at the token endpoint.
type ClientMethod string

// The methods.
const (
	MethodAPIKey        ClientMethod = ""                    // shows its key with every request
	MethodPrivateKeyJWT ClientMethod = "private_key_jwt"     // signs an assertion (RFC 7523)
	MethodTLS           ClientMethod = "tls_client_auth"     // has a certificate with a known subject (RFC 8705)
	MethodSecret        ClientMethod = "client_secret_basic" // knows a secret: the weaker rung
	MethodOutside       ClientMethod = "identity_provider"   // an identity provider of others says who it is, see IdentityProvider
)

// Client is what is on file of one API key, or of one client of the authorization server. No secret
// is: only its keyed hash.
type Client struct {
	ID        UID
	KeyID     string // the public part of the key, by which it is found; the client_id of OAuth 2.0
	Hash      []byte // keyed hash of the secret; of something random where there is none
	Method    ClientMethod
	Keys      []byte   // JWK set with the public keys of MethodPrivateKeyJWT
	Subject   string   // of the certificate, RFC 4514, for MethodTLS; for MethodOutside the issuer, a space and the client_id there
	Redirects []string // where a browser may be sent back to; none: it acts for nobody
	Agreement string
	Role      string // of the policy, in which it acts; empty: RolePartner
	Label     string
	Demo      bool
	Networks  []netip.Prefix // where it may be used from; empty: anywhere
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero while it is not
}

// TokenHash is the keyed hash of an access token. The token itself is on file nowhere.
type TokenHash [32]byte

// Token is an access token as it is kept. A client holds it for some minutes in the place of what
// it proves itself by.
type Token struct {
	Hash        TokenHash
	Client      UID
	Key         []byte // SHA-256 thumbprint (RFC 7638) of the key that must sign proofs of DPoP; empty: none must
	Certificate []byte // SHA-256 of the certificate that the connection must have; empty: none must
	Within      Authorization
	Acting      SignedIn // the person for whom the client acts; zero: it acts for itself
	Delegation  UID      // that it comes of, and ends with; zero: of none
	IssuedAt    time.Time
	ExpiresAt   time.Time
	RevokedAt   time.Time // zero while it is not, nor its delegation has ended
}

// Authorization is what a token is good for, a part of what the client's agreement grants (RFC 9396).
// The zero Authorization is all of it.
type Authorization struct {
	Purpose  string   // code; empty: every purpose of the agreement
	Datasets []string // root datasets; none: every one of the agreement
}

// ShownToken is what a request shows of an access token, and what of the request its proof is about.
type ShownToken struct {
	Scheme      string // Bearer or DPoP, as it was written
	Token       string
	Proofs      []string // every header DPoP of the request
	Method      string
	Path        string            // of the URL, as it was sent
	Certificate *x509.Certificate // the client's certificate of this connection; nil: none
	From        netip.Addr
}

// Claim is something that a client may show once.
type Claim struct {
	Client UID
	Hash   [32]byte  // of its name, the jti
	Until  time.Time // from then on it is refused for another reason: at most MaxClaim from now
}

// MaxClaim is how long a claim must be remembered at most.
const MaxClaim = 2 * time.Minute

// IdentityProvider is an issuer of access tokens that others run, and what its tokens count for here.
// Who somebody is at an issuer is iss and sub, never a name or an address.
type IdentityProvider struct {
	Name     string `json:"name" yaml:"name"`
	Issuer   string `json:"issuer" yaml:"issuer"`                   // as in iss, letter by letter
	Audience string `json:"audience" yaml:"audience"`               // that its tokens name: this registry
	Scope    string `json:"scope,omitempty" yaml:"scope,omitempty"` // that its tokens hold; empty: none
	// Networks are where the provider stands when that is no public address, as 10.2.0.0/16.
	Networks []string `json:"networks,omitempty" yaml:"networks,omitempty"`
	// LongestToken is how many minutes a token may live, 1 to 1440; 0: 60.
	LongestToken int `json:"longest_token,omitempty" yaml:"longest_token,omitempty"`
	// Machines says how a token tells that nobody is behind it; nil: its sub is the client_id.
	Machines *ClaimValue `json:"machines,omitempty" yaml:"machines,omitempty"`
	// Assurance says what values of acr count for: mfa or phr. Others count as AssuranceOutside.
	Assurance map[string]string `json:"assurance,omitempty" yaml:"assurance,omitempty"`
	People    []PeopleRule      `json:"people,omitempty" yaml:"people,omitempty"` // none: nobody
	// Privileged are the roles over the registry itself that People may name.
	Privileged []string `json:"privileged,omitempty" yaml:"privileged,omitempty"`

	Version   int       `json:"-" yaml:"-"`
	PutAt     time.Time `json:"-" yaml:"-"`
	RemovedAt time.Time `json:"-" yaml:"-"` // zero while its tokens count
}

// ClaimValue is a claim that has a value, or a list with that value in it. The name of a claim within
// another one is written with a dot: realm_access.roles.
type ClaimValue struct {
	Claim string `json:"claim" yaml:"claim"`
	Is    string `json:"is" yaml:"is"`
}

// PeopleRule gives a partner and roles to those whose tokens have a claim. The roles of all rules that fit
// add up; rules of two partners do not fit together.
type PeopleRule struct {
	When    *ClaimValue `json:"when,omitempty" yaml:"when,omitempty"`       // nil: everybody
	Partner string      `json:"partner,omitempty" yaml:"partner,omitempty"` // empty: the registry itself
	Roles   []string    `json:"roles" yaml:"roles"`
}

// OutsideEnd says that tokens of an identity provider of others do not count any more.
type OutsideEnd struct {
	ID    UID       // of a person (SignedIn.Person), or of a sign-in (Token.Delegation)
	Until time.Time // tokens that were issued then or before are over
	Kept  time.Time // how long this must be remembered: no such token lives longer
	At    time.Time // when it was said
}

// User is somebody who signs in: an administrator, or somebody who works for a partner.
type User struct {
	ID       UID
	Provider string // name of the identity provider that vouches for them; empty: they sign in here
	Name     string // by which they sign in; nobody else ever gets it
	Display  string // what pages and lists call them
	Partner  string // name of the partner they work for; empty: the registry itself
	Roles    []string
	// RolesUntil is the last day on which they have these roles; empty: no end. See RolesOn.
	RolesUntil Date
	Status     UserStatus
	// Version moves with every change that ends what they are signed in to: of roles, status or ways to
	// sign in that somebody else has changed.
	Version      int
	Invitation   TokenHash // of the invitation that waits for them; zero: none
	InvitedUntil time.Time
	CreatedAt    time.Time
	// GrantedAt is when somebody else has last given them a role or a way to sign in; zero: when they came.
	GrantedAt time.Time
	// MadeBy is who did, as Actor writes it; none: nobody could have been asked yet.
	MadeBy []string
	// EndedAt is when all that they were signed in to was last ended, and all that acts for them by a sign-in
	// of then or before; zero: never.
	EndedAt time.Time
}

// RolesOn returns the roles that somebody has on a day: none when their time is over.
func (u *User) RolesOn(day Date) []string {
	if u.RolesUntil != "" && day > u.RolesUntil {
		return nil
	}
	return u.Roles
}

// End ends all that somebody is signed in to, and all that acts for them.
func (u *User) End(now time.Time) { u.Version, u.EndedAt = u.Version+1, now }

// Held is since when somebody has what they have.
func (u *User) Held() time.Time {
	if u.GrantedAt.IsZero() {
		return u.CreatedAt
	}
	return u.GrantedAt
}

// Actor names who does something, for all time: a person, a client that acts for itself, or an account at
// the command line.
func (c Caller) Actor() string {
	switch {
	case c.Acting.Person != UID{}:
		return "person:" + c.Acting.Person.String()
	case c.IsOperator():
		return "operator:" + c.Operator
	}
	return "client:" + c.Client.String()
}

// Approval is something that waits for a second person, and later what became of it. It is about one state
// of things: when any of that moves, it is void.
type Approval struct {
	ID     UID          `json:"id"`
	Kind   ApprovalKind `json:"kind"`
	Object string       `json:"object"`          // name of what changes; of a policy: policy
	Body   []byte       `json:"body"`            // JSON: what it becomes
	Shows  []string     `json:"shows,omitempty"` // what that changes, in plain words
	Reason string       `json:"reason,omitempty"`

	// What it is bound to, and the SHA-256 of all of that and of Object and Body.
	Policy           int      `json:"policy"` // version in force
	Agreement        string   `json:"agreement,omitempty"`
	AgreementVersion int      `json:"agreement_version,omitempty"`
	Base             int      `json:"base,omitempty"` // version of the object before
	Hash             [32]byte `json:"hash"`

	By      string    `json:"by"` // who asked, see Caller.Actor
	AskedAt time.Time `json:"asked_at"`
	Until   time.Time `json:"until"` // then nobody can approve it any more

	State     ApprovalState `json:"state"`
	DecidedBy string        `json:"decided_by,omitempty"`
	DecidedAt time.Time     `json:"decided_at,omitzero"`
	Note      string        `json:"note,omitempty"` // code: why it is void
}

// ApprovalKind is what waits.
type ApprovalKind string

// The kinds of what waits for a second person.
const (
	ApprovePolicy    ApprovalKind = "policy"
	ApproveAgreement ApprovalKind = "agreement"
	ApproveSpec      ApprovalKind = "export_spec"
	ApproveClient    ApprovalKind = "client" // with more than plain API keys have, or than the role partner allows
	ApproveRole      ApprovalKind = "role"   // of a client, which allows it more
	ApproveUser      ApprovalKind = "user"   // who is given a role
	ApproveProvider  ApprovalKind = "identity_provider"
	ApproveErasure   ApprovalKind = "erasure" // of somebody to whom it was refused
	ApproveRequest   ApprovalKind = "request" // of a client whose role asks for a second person
)

// ApprovalState is how far it has come.
type ApprovalState string

// The states of approvals. All but the first are ends.
const (
	ApprovalWaiting  ApprovalState = "waiting"
	ApprovalApproved ApprovalState = "approved"
	ApprovalRejected ApprovalState = "rejected"
	ApprovalVoid     ApprovalState = "void" // what it was about has moved, or nobody came in time
)

// UserStatus says whether somebody may sign in.
type UserStatus string

// The states of users.
const (
	UserInvited  UserStatus = "invited" // has no way to sign in yet
	UserActive   UserStatus = "active"
	UserDisabled UserStatus = "disabled"
)

// FactorKind is a kind of proof of who somebody is.
type FactorKind string

// The kinds of factors. A password proves nothing without a one-time code or a recovery code.
const (
	FactorPasskey  FactorKind = "passkey"
	FactorPassword FactorKind = "password"
	FactorTOTP     FactorKind = "totp"          // one-time codes of an app (RFC 6238)
	FactorRecovery FactorKind = "recovery_code" // in the place of a one-time code, once
)

// Factor is one proof that a user has registered.
type Factor struct {
	ID        UID
	User      UID
	Kind      FactorKind
	Label     string // what its owner calls it
	Sealed    []byte // what it is checked by, sealed by the vault for this factor of this user
	Counter   int64  // of a passkey: of its signatures; of one-time codes: the last time step that was used
	CreatedAt time.Time
	UsedAt    time.Time // zero: never
}

// Session is one browser in which somebody is signed in.
type Session struct {
	Hash        TokenHash // of its id, which is on file nowhere
	User        UID
	UserVersion int // it ends when the user has another one
	Assurance   Assurance
	Device      TokenHash // of what the browser keeps beyond the session
	Label       string    // what kind of browser it is
	CreatedAt   time.Time // when the first session of this sign-in began
	ProvedAt    time.Time // when they last proved who they are
	SeenAt      time.Time
}

// Attempts counts what went wrong in one lane: one account tried from one place.
type Attempts struct {
	Lane   TokenHash
	Failed int
	At     time.Time // of the last one
}

// Verb is something the gate does.
type Verb string

// The verbs of reading.
const (
	VerbGet       Verb = "get"
	VerbLookup    Verb = "lookup"
	VerbSearch    Verb = "search"
	VerbExport    Verb = "export"
	VerbFollow    Verb = "follow"
	VerbTryExport Verb = "try_export" // counts of an export by a specification, and invented rows
	// VerbDisclosures asks who received the data of one individual.
	VerbDisclosures Verb = "disclosures"
	VerbReadUpdates Verb = "read_updates" // who has changed what of a record
	// VerbNameSearch looks for individuals by their names, within an area.
	VerbNameSearch Verb = "name_search"
)

// The verbs of writing and administration.
const (
	VerbImport            Verb = "import"
	VerbEdit              Verb = "edit"               // of records, by a person
	VerbDecideEligibility Verb = "decide_eligibility" // a program sends back what it has decided
	VerbUpdate            Verb = "update"             // an outside system says what it knows of a record
	VerbReportLifeEvent   Verb = "report_life_event"  // a birth, a death, a household that splits
	VerbReview            Verb = "review"             // change requests are decided
	VerbReportEnrollments Verb = "report_enrollments" // with benefits and payments
	VerbCheckEnrolled     Verb = "check_enrolled"     // whether holders of identifiers take part in programs
	VerbReadCases         Verb = "read_cases"         // with notes, referrals and transfers
	VerbWriteCases        Verb = "write_cases"
	VerbTransferCases     Verb = "transfer_cases" // a case is referred or handed over, or that is answered
	VerbApplyAgreement    Verb = "apply_agreement"
	VerbCreateKey         Verb = "create_key"
	VerbRevokeKey         Verb = "revoke_key"
	VerbCreateClient      Verb = "create_client"
	VerbRevokeClient      Verb = "revoke_client"
	VerbDelegate          Verb = "delegate" // a person lets a client act for them
	VerbApplyPolicy       Verb = "apply_policy"
	VerbApplyProgram      Verb = "apply_program"
	VerbSetRole           Verb = "set_role"
	VerbApplyDictionary   Verb = "apply_dictionary"
	VerbImportAreas       Verb = "import_areas"
	VerbReorganize        Verb = "reorganize_areas"
	VerbApproveAreas      Verb = "approve_areas" // of an agreement
	VerbApplyCrosswalk    Verb = "apply_crosswalk"
	VerbPutSpec           Verb = "put_export_spec"
	VerbDropSpec          Verb = "drop_export_spec"
	VerbStartExport       Verb = "start_export"
	VerbCancelExport      Verb = "cancel_export"
	VerbFetchExport       Verb = "fetch_export" // a file of it
	VerbPutMapping        Verb = "put_mapping"
	VerbDropMapping       Verb = "drop_mapping"
	VerbRotateKeys        Verb = "rotate_keys"
	VerbIndex             Verb = "index" // an index of hashes is switched, or made anew
	VerbSubjectRights     Verb = "subject_rights"
	VerbMerge             Verb = "merge" // of records, and what may be one
	VerbPruneLog          Verb = "prune_log"
	VerbExportLedger      Verb = "export_ledger"
	VerbPruneLedger       Verb = "prune_ledger"
	VerbRotateKey         Verb = "rotate_checkpoint_key"
	VerbLedger            Verb = "ledger"
	VerbBackup            Verb = "backup"
	VerbCopyKeys          Verb = "copy_keys"
	VerbRestore           Verb = "restore"
	VerbUser              Verb = "user"        // somebody who signs in is invited, changed, disabled, reset
	VerbBreakGlass        Verb = "break_glass" // somebody reads in an emergency role, or that is ended or reviewed
	VerbApproval          Verb = "approval"    // something waits for a second person, or was decided by one
	VerbSignIn            Verb = "sign_in"     // and what people do about it themselves
	VerbIdentityProvider  Verb = "identity_provider"
)

// Treatment says what becomes of a field on its way out.
type Treatment string

// The treatments. Only a field that passes unaltered can be filtered.
const (
	TreatPass  Treatment = "pass"
	TreatMask  Treatment = "mask"  // only the last four characters stay, of values longer than eight
	TreatYear  Treatment = "year"  // a date becomes the first of January of its year
	TreatMonth Treatment = "month" // a date becomes the first of its month
	TreatBand  Treatment = "band"  // a number becomes the lower end of its band, see FieldGrant.Band
	// TreatPseudonym makes of a text a name that stands for it: the same in one realm, another one in each other.
	TreatPseudonym Treatment = "pseudonym"
	// These three stand in export specifications only.
	TreatRound Treatment = "round" // a number becomes the nearest multiple of a width
	TreatAge   Treatment = "age"   // a date becomes the completed years since then, in bands of a width
	TreatArea  Treatment = "area"  // an area becomes the one of a level in which it lies
	// TreatDerive lets a field be named by the derived columns of export specifications. It does not
	// leave, and no filter names it. In agreements only.
	TreatDerive Treatment = "derive"
)

// Fits refuses a treatment that makes no sense of a field, with code treatment_misplaced. A treatment
// alters one value: a field that holds many passes or does not leave. width is that of a band, of rounding
// and of an age; nothing else has one. TreatArea and TreatDerive are not about the field alone: they do
// not fit.
func (t Treatment) Fits(f *Field, width int64) error {
	fits, wide := false, false
	switch t {
	case TreatPass:
		fits = true
	case TreatMask, TreatPseudonym:
		fits = f.Type == TypeText && !f.Many
	case TreatYear, TreatMonth:
		fits = f.Type == TypeDate && !f.Many
	case TreatBand, TreatRound:
		fits, wide = (f.Type == TypeInt || f.Type == TypeDec) && !f.Many, true
	case TreatAge:
		fits, wide = f.Type == TypeDate && !f.Many, true
	}
	if !fits || width < 0 || wide != (width > 0) {
		return Invalid("treatment_misplaced",
			"mask and pseudonym are for text, year and month for dates, age with its band for dates, band and round with their width for numbers; a field of many values is not altered").On(f.Dataset + "." + f.Code)
	}
	return nil
}

// FieldGrant is a field that may leave, and how.
type FieldGrant struct {
	Field     *Field
	Treatment Treatment
	Band      int64 // for TreatBand: the width of a band, in whole units
}

// RolePartner is the role of a client for which none is named: what its agreement grants, unless the
// policy says less.
const RolePartner = "partner"

// Policy is what each role may do, all of it in one document. A version never changes. A role only
// narrows: nobody may do what the agreement does not grant. In files it is written in snake_case.
type Policy struct {
	Version  int                       `json:"version" yaml:"-"`                             // from 1; 0: what Annona comes with
	Networks map[string][]netip.Prefix `json:"networks,omitempty" yaml:"networks,omitempty"` // by name, for conditions on a request
	Roles    []Role                    `json:"roles" yaml:"roles"`

	PutAt time.Time `json:"put_at,omitzero" yaml:"-"`
	Hash  string    `json:"hash,omitempty" yaml:"-"` // SHA-256 of what it says, hexadecimal
}

// Role is what somebody may do in one capacity. What no rule allows is denied.
type Role struct {
	Name  string `json:"name" yaml:"name"`
	Title string `json:"title,omitempty" yaml:"title,omitempty"`
	// Emergency lets the role hold only while glass is broken, for people who have it, see BreakGlass.
	Emergency bool       `json:"emergency,omitempty" yaml:"emergency,omitempty"`
	Rules     []RoleRule `json:"rules" yaml:"rules"`
}

// RoleRule allows something in a role, or denies it. A rule that denies wins over all that allow.
type RoleRule struct {
	Name     string   `json:"name" yaml:"name"` // unique within its role
	Deny     bool     `json:"deny,omitempty" yaml:"deny,omitempty"`
	Verbs    []Verb   `json:"verbs,omitempty" yaml:"verbs,omitempty"`       // none: each
	Purposes []string `json:"purposes,omitempty" yaml:"purposes,omitempty"` // none: each
	// Datasets says which fields and rows; none: all. Terms that are empty are all of that dataset.
	Datasets   map[string]DatasetTerms `json:"datasets,omitempty" yaml:"datasets,omitempty"`
	When       string                  `json:"when,omitempty" yaml:"when,omitempty"` // filter language, about the request
	ValidFrom  Date                    `json:"valid_from,omitempty" yaml:"valid_from,omitempty"`
	ValidUntil Date                    `json:"valid_until,omitempty" yaml:"valid_until,omitempty"` // last day
	RowCeiling int64                   `json:"row_ceiling,omitempty" yaml:"row_ceiling,omitempty"` // rows of one answer; 0: none
	StepUp     *StepUp                 `json:"step_up,omitempty" yaml:"step_up,omitempty"`
	// SecondPerson lets each request wait until a second person has approved it, see ApproveRequest.
	SecondPerson bool `json:"second_person,omitempty" yaml:"second_person,omitempty"`
}

// StepUp is how a person for whom a client acts must have signed in for what a rule allows.
type StepUp struct {
	ACR    string `json:"acr" yaml:"acr"`                             // outside, mfa or phr
	MaxAge int    `json:"max_age,omitempty" yaml:"max_age,omitempty"` // minutes since the proof; 0: however long ago
}

// Decision is why something was granted: which policy, role and rules.
type Decision struct {
	Policy int // version
	Role   string
	Rules  []string // names of those that matched, in the order of the policy
	Inputs [32]byte // SHA-256 of all that it was decided from
	Effect uint64   // of fields, rows and ceiling that agreement and role leave: another one is another grant
	// Weighed are the facts that rules have asked about; nil: none has.
	Weighed *Weighed
}

// Weighed are facts about a request that the gate has to find out. It does so when the request begins, and they
// hold until it ends.
type Weighed struct {
	Rows Estimate
	Risk Risk
}

// Estimate is how many rows a request would release. Unless it is Known nobody can say.
type Estimate struct {
	Rows  int64
	Known bool
}

// Risk says how unlike its client a request is, and why. The zero Risk is not known.
type Risk struct {
	Level   string   // RiskLow, RiskMedium or RiskHigh; empty: not known
	Factors []string // of network, hour, sign_in and volume those that count, in that order
}

// The levels of risk: nothing counts, one thing does, several do.
const (
	RiskLow    = "low"
	RiskMedium = "medium"
	RiskHigh   = "high"
)

// Habit is how much a client did on one day in one respect. It tells nothing about anybody.
type Habit struct {
	Client UID
	Day    Date // of the installation
	Kind   HabitKind
	Value  string // the network as 192.0.2.0/24, the hour as 0 to 23; of rows: all
	Count  int64  // requests that were granted; of rows: those that were released
}

// HabitKind is a respect in which a client has habits.
type HabitKind string

// The kinds of habits.
const (
	HabitNetwork HabitKind = "network"
	HabitHour    HabitKind = "hour"
	HabitRows    HabitKind = "rows"
)

// Grant is a permission that policy has given to one request: which fields of which datasets
// may leave, for which rows, for which purpose and how many.
type Grant struct {
	Agreement  *Agreement
	Purpose    PurposeTerms
	Fields     map[string][]FieldGrant // by dataset
	Derivable  map[string][]FieldGrant // by dataset: granted for derived columns only; they are not among Fields
	Conditions map[string]Condition    // by root dataset; nil: every row
	RowCeiling int64                   // rows of one answer; 0: no ceiling
	Within     Authorization           // of the access token, when it narrows the fields
	Raised     string                  // the reason why a cap of this credential was raised; empty: not raised
	StepUp     Demand                  // how a person for whom the client acts must have signed in when the request begins
	// SecondPerson says that a request waits for a second person, and Approval which approval it has; zero: none.
	SecondPerson bool
	Approval     UID
	BreakGlass   UID // the emergency in which the grant holds; zero: none
	Decision     Decision
}

// Field returns the grant of a field.
func (g *Grant) Field(f *Field) (FieldGrant, bool) {
	for _, granted := range g.Fields[f.Dataset] {
		if granted.Field.Code == f.Code {
			return granted, true
		}
	}
	return FieldGrant{}, false
}

// Obligations are what the grant asks for beside letting pass, as far as it is about some fields, one word each:
//
//	row_ceiling=200                  at most so many rows of one answer
//	second_person=0123…              which approval a request has that waits for a second person; needed: none
//	step_up=phr/15m0s                how a person signs in who begins it by hand, and how long ago at most
//	individuals.date_of_birth=year   how a field is altered before it leaves
func (g *Grant) Obligations(fields iter.Seq[FieldGrant]) (all []string) {
	if g.RowCeiling > 0 {
		all = append(all, "row_ceiling="+strconv.FormatInt(g.RowCeiling, 10))
	}
	if g.SecondPerson {
		approval := "needed"
		if g.Approval != (UID{}) {
			approval = g.Approval.String()
		}
		all = append(all, "second_person="+approval)
	}
	if g.StepUp != (Demand{}) {
		all = append(all, "step_up="+g.StepUp.Assurance.String()+"/"+g.StepUp.MaxAge.String())
	}
	for f := range fields {
		if f.Treatment != TreatPass {
			all = append(all, f.Field.Dataset+"."+f.Field.Code+"="+string(f.Treatment))
		}
	}
	return all
}

// Derives reports whether a derived column may be computed from a field: it passes unaltered, or is
// granted for that alone.
func (g *Grant) Derives(f *Field) bool {
	if granted, ok := g.Field(f); ok && granted.Treatment == TreatPass {
		return true
	}
	return g.DerivesOnly(f)
}

// DerivesOnly reports whether a field is granted for derived columns and for nothing else.
func (g *Grant) DerivesOnly(f *Field) bool {
	return slices.ContainsFunc(g.Derivable[f.Dataset], func(in FieldGrant) bool { return in.Field.Code == f.Code })
}

// Passes reports whether the grant gives a field of d unaltered. The name is one of a column, of
// a group, or group.column, as quality flags name what they are about.
func (g *Grant) Passes(d *Dataset, name string) bool {
	head, column, nested := strings.Cut(name, ".")
	f, ok := d.Field(head)
	if !ok {
		return false
	}
	granted, ok := g.Field(f)
	if !ok || granted.Treatment != TreatPass {
		return false
	}
	return !nested || slices.ContainsFunc(g.Fields[f.Group], func(in FieldGrant) bool {
		return in.Field.Code == column && in.Treatment == TreatPass
	})
}

// Use says when a client last used something that it is granted: a verb, for a purpose, on a dataset; or a
// field of a dataset with it. It tells nothing about anybody.
type Use struct {
	Client  UID
	Verb    Verb
	Purpose string
	Dataset string    // that was asked for; of a field, the one that it belongs to; empty: the verb has none
	Field   string    // empty: it is of the verb itself
	At      time.Time // to the minute or so
}

// Uses keeps what clients have used of what they are granted. It is written now and then: a crash loses the
// last minutes.
type Uses interface {
	// PutUses writes some, in one transaction. Of the same the later time stays, whichever node has seen it.
	// Whoever calls it has them in order of client, verb, purpose, dataset and field.
	PutUses(ctx context.Context, uses []Use) error
	// UsesOf returns what a client has used, in that order.
	UsesOf(ctx context.Context, client UID) ([]Use, error)
	// AddHabits adds to what is kept, in one transaction, whichever node has seen it, and forgets the days before
	// one. Whoever calls it has them in order of client, day, kind and value.
	AddHabits(ctx context.Context, habits []Habit, forget Date) error
	// HabitsOf returns what a client did on the days that are kept, in that order.
	HabitsOf(ctx context.Context, client UID) ([]Habit, error)
}

// BreakGlass is an emergency in which a person reads, through one client, in the emergency roles that they
// have: for a while, and only some people. Somebody else reviews it, and until then there is no other one.
type BreakGlass struct {
	ID         UID       `json:"id"`
	Person     UID       `json:"person"`
	Client     UID       `json:"client"`
	Agreement  string    `json:"agreement"`
	Purpose    string    `json:"purpose"`
	Reason     string    `json:"reason"` // a code, never personal data
	OpenedAt   time.Time `json:"opened_at"`
	Until      time.Time `json:"until"`
	EndedAt    time.Time `json:"ended_at,omitzero"` // before its time
	Seen       int       `json:"seen"`              // individuals and households that were shown, each once
	ReviewedBy string    `json:"reviewed_by,omitempty"`
	ReviewedAt time.Time `json:"reviewed_at,omitzero"`
	Verdict    string    `json:"verdict,omitempty"` // of the review, see GlassJustified
	Note       string    `json:"note,omitempty"`    // of the review: a code
}

// What a review finds.
const (
	GlassJustified   = "justified"
	GlassUnjustified = "unjustified"
)

// Open reports whether somebody may still read because of it.
func (g *BreakGlass) Open(now time.Time) bool { return g.EndedAt.IsZero() && now.Before(g.Until) }

// BreakGlassTx writes emergencies, within a transaction.
type BreakGlassTx interface {
	// PutBreakGlass writes one by its ID. ErrGlassUnreviewed: another one of its person is not reviewed.
	PutBreakGlass(ctx context.Context, g BreakGlass) error
	// HoldBreakGlass returns one as it is at this moment, nil when there is none. Nobody else changes it
	// before the transaction ends.
	HoldBreakGlass(ctx context.Context, id UID) (*BreakGlass, error)
	// CountBreakGlass adds to one that is held who has been seen, and returns how many that are.
	CountBreakGlass(ctx context.Context, id UID, seen []SubjectRef) (total int, err error)
}

// BreakGlasses keeps emergencies, for ever.
type BreakGlasses interface {
	// UnreviewedBreakGlass returns the one of a person that nobody has reviewed; nil when there is none.
	UnreviewedBreakGlass(ctx context.Context, person UID) (*BreakGlass, error)
	// BreakGlasses returns at most limit, the newest first.
	BreakGlasses(ctx context.Context, limit int) ([]BreakGlass, error)
}

// ErrGlassUnreviewed says that somebody had an emergency that nobody has looked at.
var ErrGlassUnreviewed = Conflict("break_glass_unreviewed", "your last emergency has not been reviewed by somebody else; ask the data protection officer of the registry")
