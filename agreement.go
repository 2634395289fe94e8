package annona

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Basis is the lawful basis of a purpose (GDPR Article 6(1)).
type Basis string

// The lawful bases. Consent is required exactly when the basis is BasisConsent; under any
// other, objection applies. Restriction always does.
const (
	BasisConsent            Basis = "consent"             // Article 6(1)(a)
	BasisContract           Basis = "contract"            // Article 6(1)(b)
	BasisLegalObligation    Basis = "legal_obligation"    // Article 6(1)(c)
	BasisVitalInterest      Basis = "vital_interest"      // Article 6(1)(d)
	BasisPublicInterest     Basis = "public_interest"     // Article 6(1)(e)
	BasisLegitimateInterest Basis = "legitimate_interest" // Article 6(1)(f)
)

// Partner is an organization that data may go to. In files it is written in snake_case.
type Partner struct {
	Name             string `json:"name" yaml:"name"`
	OrganizationType string `json:"organization_type" yaml:"organization_type"`
	Country          string `json:"country" yaml:"country"` // ISO 3166-1 alpha-2
	Contact          string `json:"contact,omitempty" yaml:"contact,omitempty"`
	DPOContact       string `json:"dpo_contact,omitempty" yaml:"dpo_contact,omitempty"`
}

// PurposeTerms is a purpose that an agreement allows, with its lawful basis.
type PurposeTerms struct {
	Code          string `json:"code" yaml:"code"`
	Label         string `json:"label,omitempty" yaml:"label,omitempty"`
	Basis         Basis  `json:"legal_basis" yaml:"legal_basis"`
	LawReference  string `json:"law_reference,omitempty" yaml:"law_reference,omitempty"`
	ValidUntil    Date   `json:"valid_until,omitempty" yaml:"valid_until,omitempty"` // end of the lawful basis; empty: open
	SpecialBasis  string `json:"special_category_basis,omitempty" yaml:"special_category_basis,omitempty"`
	DPVIRI        string `json:"dpv_iri,omitempty" yaml:"dpv_iri,omitempty"`
	RetentionDays int    `json:"retention_days,omitempty" yaml:"retention_days,omitempty"`
	AutomatedUse  bool   `json:"automated_decisions,omitempty" yaml:"automated_decisions,omitempty"`
	ReviewContact string `json:"human_review_contact,omitempty" yaml:"human_review_contact,omitempty"`
	PlainLanguage string `json:"plain_language,omitempty" yaml:"plain_language,omitempty"`
}

// DatasetTerms is what an agreement grants of one dataset.
type DatasetTerms struct {
	Sensitivities []Sensitivity        `json:"sensitivities,omitempty" yaml:"sensitivities,omitempty"` // whole classes; Special is never one
	Fields        []string             `json:"fields,omitempty" yaml:"fields,omitempty"`               // by name, in addition
	Except        []string             `json:"except,omitempty" yaml:"except,omitempty"`
	Treatments    map[string]Treatment `json:"treatments,omitempty" yaml:"treatments,omitempty"`
	Bands         map[string]int64     `json:"bands,omitempty" yaml:"bands,omitempty"`
	Condition     string               `json:"condition,omitempty" yaml:"condition,omitempty"` // filter language; root datasets only
	// ValidUntil is the last day on which an agreement grants it; empty: the agreement's own. Rules of roles have days
	// of theirs.
	ValidUntil Date `json:"valid_until,omitempty" yaml:"valid_until,omitempty"`
}

// Over reports whether the last day of the terms is behind a day.
func (d DatasetTerms) Over(today Date) bool { return d.ValidUntil != "" && today > d.ValidUntil }

// CredentialTerms is what credentials of one strength may do.
type CredentialTerms struct {
	RowCeiling    int64  `json:"row_ceiling" yaml:"row_ceiling"` // 0: as many as the agreement grants
	SpecialFields bool   `json:"special_fields" yaml:"special_fields"`
	Reason        string `json:"reason" yaml:"reason"` // why it is raised above the default; required
}

// ImportTerms lets the clients of a partner load records of some sources: they are its registrar.
type ImportTerms struct {
	Sources []string `json:"sources" yaml:"sources"`                 // names of source systems, as mappings have them
	Modes   []string `json:"modes,omitempty" yaml:"modes,omitempty"` // upsert, full; empty: upsert
	// DeleteGuard is the greatest share of a source's records that one of their full loads may delete;
	// nil: two percent.
	DeleteGuard *Percent `json:"delete_guard,omitempty" yaml:"delete_guard,omitempty"`
}

// UpdateTerms is what the partner may change of the records of one dataset.
type UpdateTerms struct {
	Fields []string `json:"fields,omitempty" yaml:"fields,omitempty"` // by name; what the partner does not see unaltered it does not change either
	// Review lets nothing of it take effect before somebody else has approved it.
	Review bool `json:"review,omitempty" yaml:"review,omitempty"`
}

// LifeEventTerms is what a partner may report of people's lives.
type LifeEventTerms struct {
	Types  []string `json:"types" yaml:"types"`                       // Life constants
	Review []string `json:"review,omitempty" yaml:"review,omitempty"` // those of them that somebody else approves before they take effect
}

// The types of life events.
const (
	LifeContact             = "contact_or_address"
	LifeBirth               = "birth"
	LifeDeath               = "death"
	LifeJoins               = "member_joins"
	LifeLeaves              = "member_leaves"
	LifeSplit               = "household_split"
	LifeHead                = "head_change"
	LifeIdentifierAdded     = "identifier_added"
	LifeIdentifierCorrected = "identifier_corrected"
)

// ApprovalLine is up to where an export specification comes on file without a second person.
type ApprovalLine struct {
	SpecialFields bool  `json:"special_fields,omitempty" yaml:"special_fields,omitempty"` // also one that is made of special fields
	Rows          int64 `json:"rows,omitempty" yaml:"rows,omitempty"`                     // up to so many rows on the day it is put; 0: any number
}

// ProgramTerms is what an agreement grants of one program.
type ProgramTerms struct {
	Program string `json:"program" yaml:"program"` // its code
	// See shows its enrollments and benefits, of those who may be seen, as far as the datasets enrollments
	// and benefits are granted.
	See bool `json:"see,omitempty" yaml:"see,omitempty"`
	// Report lets the partner report them.
	Report bool `json:"report,omitempty" yaml:"report,omitempty"`
}

// CaseTerms lets a partner keep cases in the exchange, and see those that others share with it.
type CaseTerms struct {
	// Source is the name of the partner's own case system: what it calls a case is unique with it. Empty: it
	// has none.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// Confidentiality are the codes above normal of the cases and notes that clients of the partner may keep
	// and see: restricted, named_persons. Somebody who signs in sees those that name them all the same.
	Confidentiality []string `json:"confidentiality,omitempty" yaml:"confidentiality,omitempty"`
	// Receives lets others refer cases to the partner, and hand them over.
	Receives bool `json:"receives,omitempty" yaml:"receives,omitempty"`
}

// CheckTerms lets a partner ask whether the holders of identifiers take part in programs, without seeing them.
type CheckTerms struct {
	Purpose  string              `json:"purpose" yaml:"purpose"`                       // of the agreement; checks are for no other one
	Programs []string            `json:"programs,omitempty" yaml:"programs,omitempty"` // codes of those that may be asked about
	Groups   map[string][]string `json:"groups,omitempty" yaml:"groups,omitempty"`     // of programs that are asked about together: whether it is any of them
	// PeoplePerDay is how many people may be asked about each day; 0: DefaultPeoplePerDay.
	PeoplePerDay int `json:"people_per_day,omitempty" yaml:"people_per_day,omitempty"`
}

// DefaultPeoplePerDay is how many people a partner may check each day when its agreement does not say.
const DefaultPeoplePerDay = 1000

// Percent is a share of a hundred, from 0 to 100, written 2%.
type Percent float64

// UnmarshalText reads 2%, 0.5% or 2.
func (p *Percent) UnmarshalText(text []byte) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(string(text), "%"), 64)
	if err != nil || !(n >= 0 && n <= 100) {
		return Invalid("percent_malformed", "a share is written 2%%, from 0%% to 100%%")
	}
	*p = Percent(n)
	return nil
}

// MarshalText writes 2%.
func (p Percent) MarshalText() ([]byte, error) {
	return append(strconv.AppendFloat(nil, float64(p), 'f', -1, 64), '%'), nil
}

// The caps of a plain API key whose agreement does not raise them.
const (
	DefaultAPIKeyRows = 10_000
)

// Agreement is a data sharing agreement: what one partner may see, for which purposes. An
// amendment is a new version.
type Agreement struct {
	Name       string                  `json:"name" yaml:"name"`
	Version    int                     `json:"version" yaml:"-"` // from 1, given by the store
	Partner    Partner                 `json:"partner" yaml:"partner"`
	Recipient  string                  `json:"recipient_role" yaml:"recipient_role"` // processor, joint_controller, independent_controller, sub_processor
	Purposes   []PurposeTerms          `json:"purposes" yaml:"purposes"`
	Datasets   map[string]DatasetTerms `json:"datasets" yaml:"datasets"`
	Areas      []string                `json:"areas,omitempty" yaml:"areas,omitempty"` // area codes with all that lies inside; empty: everywhere
	Realm      string                  `json:"id_realm" yaml:"id_realm"`
	Floor      string                  `json:"floor" yaml:"floor"` // weakest credential accepted: api_key, oauth, sender_constrained
	APIKey     *CredentialTerms        `json:"api_key,omitempty" yaml:"api_key,omitempty"`
	RowCeiling int64                   `json:"row_ceiling,omitempty" yaml:"row_ceiling,omitempty"` // rows of one answer, for every credential; 0: none
	// Disclosures lets the partner ask who received the data of an individual whom it may see:
	// for one that answers people's requests for access (GDPR Article 15).
	Disclosures bool `json:"disclosures,omitempty" yaml:"disclosures,omitempty"`
	// Imports lets the partner load records; nil: it may not.
	Imports *ImportTerms `json:"imports,omitempty" yaml:"imports,omitempty"`
	// Decisions are the programs whose eligibility decisions the partner may send back; none: it may not.
	Decisions []string `json:"decisions,omitempty" yaml:"decisions,omitempty"`
	// Updates says what of records the partner may change, by root dataset; none: nothing.
	Updates map[string]UpdateTerms `json:"updates,omitempty" yaml:"updates,omitempty"`
	// LifeEvents says which events of people's lives the partner may report; nil: none.
	LifeEvents *LifeEventTerms `json:"life_events,omitempty" yaml:"life_events,omitempty"`
	// Reviews lets the partner decide change requests about records that it may see, also those of others.
	Reviews bool `json:"reviews,omitempty" yaml:"reviews,omitempty"`
	// UpdateLog lets the partner read who has changed what of the records that it may see.
	UpdateLog bool `json:"update_log,omitempty" yaml:"update_log,omitempty"`
	// Programs are those whose enrollments and benefits the partner may see or report.
	Programs []ProgramTerms `json:"programs,omitempty" yaml:"programs,omitempty"`
	// Cases lets the partner keep cases; nil: it may not.
	Cases *CaseTerms `json:"cases,omitempty" yaml:"cases,omitempty"`
	// Checks lets the partner ask whether somebody takes part in programs; nil: it may not.
	Checks *CheckTerms `json:"checks,omitempty" yaml:"checks,omitempty"`
	// NameSearch lets the partner look for individuals by their names within an area, where the
	// installation has that switched on.
	NameSearch bool `json:"name_search,omitempty" yaml:"name_search,omitempty"`
	// Line says from where on an export specification waits for a second person; nil: where it is made of
	// special fields.
	Line *ApprovalLine `json:"approvals,omitempty" yaml:"approvals,omitempty"`

	ValidFrom  Date   `json:"valid_from" yaml:"valid_from"`
	ValidUntil Date   `json:"valid_until" yaml:"valid_until"` // last day
	Status     string `json:"status" yaml:"status"`           // active or suspended
}

// Purpose returns the terms of a purpose.
func (a *Agreement) Purpose(code string) (PurposeTerms, bool) {
	for _, p := range a.Purposes {
		if p.Code == code {
			return p, true
		}
	}
	return PurposeTerms{}, false
}

// ExportSpec says what one kind of export holds and how it is written: the recipient's own names and
// codes, in the recipient's order. It belongs to an agreement and can only show less than that grants. A
// version never changes.
type ExportSpec struct {
	Name      string      `json:"name" yaml:"name"`
	Version   int         `json:"version" yaml:"-"` // from 1
	Title     string      `json:"title,omitempty" yaml:"title,omitempty"`
	Agreement string      `json:"agreement" yaml:"agreement"`
	Purpose   string      `json:"purpose" yaml:"purpose"`
	Dataset   string      `json:"dataset" yaml:"dataset"` // households or individuals
	Fields    []SpecField `json:"fields" yaml:"fields"`
	Derived   []SpecRule  `json:"derived,omitempty" yaml:"derived,omitempty"` // columns behind those of Fields
	Filter    string      `json:"filter,omitempty" yaml:"filter,omitempty"`
	AsOf      Date        `json:"as_of,omitempty" yaml:"as_of,omitempty"` // empty: the day of the export
	Mode      string      `json:"mode,omitempty" yaml:"mode,omitempty"`   // full or delta; empty: full
	Format    string      `json:"format" yaml:"format"`
	Layout    string      `json:"layout,omitempty" yaml:"layout,omitempty"`
	Profile   string      `json:"profile,omitempty" yaml:"profile,omitempty"`

	// Of exports that become files.
	Recipient   string `json:"recipient,omitempty" yaml:"recipient,omitempty"`     // public key of age: only its holder can read them; empty: whoever may download them
	Compression string `json:"compression,omitempty" yaml:"compression,omitempty"` // gzip, zstd or none; empty: gzip, and none of what is compressed by itself
	PartRows    int64  `json:"part_rows,omitempty" yaml:"part_rows,omitempty"`     // of a file; 0: 50,000
	KeepHours   int    `json:"keep_hours,omitempty" yaml:"keep_hours,omitempty"`   // how long files are kept; 0: 72

	Schedule *Schedule `json:"schedule,omitempty" yaml:"schedule,omitempty"` // nil: nobody but its client starts it

	PutAt   time.Time `json:"put_at,omitzero" yaml:"-"`
	Dropped bool      `json:"dropped,omitempty" yaml:"-"` // no export follows it any more
}

// Schedule says when exports by a specification start by themselves.
type Schedule struct {
	Cron     string `json:"cron" yaml:"cron"`                           // minute, hour, day of month, month, day of week
	TimeZone string `json:"time_zone" yaml:"time_zone"`                 // of the IANA database, as Africa/Accra
	Client   string `json:"client" yaml:"client"`                       // id of the client in whose name they run, with the rights of a plain API key
	Webhook  string `json:"webhook,omitempty" yaml:"webhook,omitempty"` // https address that is told what went wrong
}

// SpecField is a column of an export specification.
type SpecField struct {
	Field     string            `json:"field" yaml:"field"`                             // of the dataset; of a group as members.sex
	As        string            `json:"as,omitempty" yaml:"as,omitempty"`               // the recipient's name; empty: the field's
	Codes     map[string]string `json:"codes,omitempty" yaml:"codes,omitempty"`         // the recipient's code for each of the list
	Treatment Treatment         `json:"treatment,omitempty" yaml:"treatment,omitempty"` // beside that of the agreement; empty: pass
	Band      int64             `json:"band,omitempty" yaml:"band,omitempty"`           // for TreatBand, TreatRound and TreatAge: the width
	Level     int               `json:"level,omitempty" yaml:"level,omitempty"`         // for TreatArea: from 1
}

// SpecRule is a column of an export specification that is derived from what does not leave: a yes or
// no, or a number of members.
type SpecRule struct {
	As   string `json:"as" yaml:"as"`
	Rule string `json:"rule" yaml:"rule"`                     // filter language; members.count(m, …) alone is a number
	Type string `json:"type,omitempty" yaml:"type,omitempty"` // yes_no or count; empty: what the rule is
}

// The types of derived columns.
const (
	RuleYesNo = "yes_no"
	RuleCount = "count"
)

// The modes of export specifications. Exports in the mode delta hold what has changed since an earlier one, where
// there is one.
const (
	SpecFull  = "full"
	SpecDelta = "delta"
)

// ErrSpecVersion says that somebody else has put a version of the specification in the same moment.
var ErrSpecVersion = Conflict("spec_version", "somebody has put this specification in this moment; try again")

// ErrPolicyVersion says that somebody else has put a version of the policy in the same moment.
var ErrPolicyVersion = Conflict("policy_version", "somebody has changed the policy in this moment; look at it and try again")

// ExportState is how far an export job has come.
type ExportState string

// The states. Those behind running are ends.
const (
	ExportWaiting   ExportState = "waiting"
	ExportRunning   ExportState = "running"
	ExportComplete  ExportState = "complete"
	ExportFailed    ExportState = "failed"
	ExportCancelled ExportState = "cancelled"
	ExportExpired   ExportState = "expired" // it was complete; its files and their key are gone
)

// ExportOrder is what an export job was asked to do, by whom and where the log stood. It never changes.
type ExportOrder struct {
	Spec             string        `json:"spec"`
	Version          int           `json:"version"`
	Agreement        string        `json:"agreement"`
	AgreementVersion int           `json:"agreement_version"`
	Partner          string        `json:"partner"`
	Purpose          string        `json:"purpose"`
	Dataset          string        `json:"dataset"`
	Schema           int           `json:"schema"` // version of the dictionary
	Client           UID           `json:"client"`
	Strength         Strength      `json:"strength"`
	Network          netip.Addr    `json:"network,omitzero"`
	Acting           SignedIn      `json:"acting,omitzero"`  // the person for whom the client has asked
	Within           Authorization `json:"within"`           // of the access token that it was asked with
	Bound            string        `json:"bound,omitempty"`  // what that was bound to: key, certificate; empty: to nothing
	Key              []byte        `json:"key,omitempty"`    // hash of the key of the request; empty: it has none
	Asked            []byte        `json:"asked,omitempty"`  // hash of what was asked for with it
	At               Moment        `json:"at"`               // the position: every part is read there
	Since            []byte        `json:"since,omitempty"`  // of a delta: the position behind which it begins, as the gate writes it
	Memory           []byte        `json:"memory,omitempty"` // of the mode delta: in which it is remembered what was shown
	Areas            int64         `json:"areas,omitempty"`  // version of the areas when it was asked for
	LogEpoch         UID           `json:"log_epoch"`
	Terms            uint64        `json:"terms"`     // of the scope, see the gate
	PartRows         int64         `json:"part_rows"` // of a part, when nobody leaves it
	AskedAt          time.Time     `json:"asked_at"`
}

// ExportJob is an export by a specification that runs by itself. Its parts become files.
type ExportJob struct {
	ID UID
	ExportOrder
	State     ExportState
	Code      string    // why it failed, or why it waits again
	Epoch     int64     // moves with each claim: who has an earlier one has lost the job
	Attempts  int       // claims since a part was complete
	Plan      []byte    // sealed: who was in it when it began; empty before
	Total     int64     // rows when it began
	Parts     int       // of them complete, while it runs
	Rows      int64     // written
	Bytes     int64     // of files, written
	StartedAt time.Time // when it was first claimed
	EndedAt   time.Time
	ExpiresAt time.Time // when its files go; zero before it is complete
	Manifest  string    // signed; of a complete one
	Reached   []byte    // of a complete one in the mode delta: the position where the next one begins, as the gate writes it
	Swept     bool      // its files and their key are gone
}

// ExportClaim is what a worker has of a job that was lent to it.
type ExportClaim struct {
	Job   UID
	Epoch int64
}

// ExportEnd is how a claim ends. A job that goes back to waiting waits for Delay at least.
type ExportEnd struct {
	State    ExportState
	Code     string
	Delay    time.Duration
	Keep     time.Duration // of one that is complete: how long its files are kept
	Manifest string
	Reached  []byte
}

// ExportPart is one part of an export job, and the file that holds it. What leaves is the file as it is
// stored, when it is sealed to the recipient, and otherwise what it holds.
type ExportPart struct {
	Number int    `json:"number"` // from 1
	After  Number `json:"after"`  // rows with after < number ≤ until
	Until  Number `json:"until"`
	At     Moment `json:"at"` // of the log when it was read: who left since is still in it

	Name     string `json:"name"`   // of the file
	Object   string `json:"object"` // under which it is stored
	Rows     int64  `json:"rows"`
	Altered  int64  `json:"altered"`  // cells that the spreadsheet profile changed
	Document Hashed `json:"document"` // the rows as they were written
	Content  Hashed `json:"content"`  // the same, compressed
	Stored   Hashed `json:"stored"`   // the same, sealed

	Subjects []byte `json:"-"` // sealed: everybody who is in it
}

// Hashed is the size of something in bytes, and its SHA-256.
type Hashed struct {
	Size   int64  `json:"size"`
	SHA256 []byte `json:"sha256"`
}

// ErrExportLost says that a worker has lost an export job: its lease is over, or the job was cancelled.
var ErrExportLost = Conflict("export_lost", "another worker has taken over this export, or it was cancelled")

// ErrExportKnown says that a client has asked for an export with a key that it has used before.
var ErrExportKnown = Conflict("key_reused", "this key has been used for another export; give each export a key of its own").On("Idempotency-Key")

// Standing is what decides about a caller at one moment: the agreement in force and the
// state of the credential. It is read anew for every page.
type Standing struct {
	Agreement *Agreement
	Policy    *Policy // nil: what Annona comes with
	Client    *Client // nil for the operator
	Person    *User   // for whom the client acts; nil: for itself
	Token     *Token  // nil when the caller shows none
	At        time.Time
}

// RestrictionKind tells restriction of processing (GDPR Article 18) from objection (Article 21).
type RestrictionKind string

// The kinds of restrictions. An objection stops nothing where the basis is consent: there,
// withdrawal does.
const (
	KindRestriction RestrictionKind = "restriction"
	KindObjection   RestrictionKind = "objection"
)

// Restriction stops disclosures of one individual. Purposes and recipients that are empty
// mean all.
type Restriction struct {
	ID            UID
	Subject       Number // individual
	Kind          RestrictionKind
	Purposes      []string
	Recipients    []string // partner names
	Ground        string   // code
	EffectiveDate Date
	ExpiryDate    Date // last day; empty: until lifted
	LiftedAt      time.Time
	RecordedAt    time.Time
}

// ErasureRefusal says that an individual has asked to be erased and that it was refused. As long as it stands
// the record is not erased.
type ErasureRefusal struct {
	ID        UID
	Subject   Number // individual
	Reason    string // code, of GDPR Article 17(3)
	RefusedAt time.Time
	LiftedAt  time.Time // zero: it stands
}

// Consent is one individual's consent to disclosures to named recipients for named purposes.
type Consent struct {
	ID            UID
	Subject       Number // individual
	Purposes      []string
	Recipients    []string // partner names
	Status        string   // given or withdrawn
	NoticeVersion string
	Medium        string // collection medium
	SignedDate    Date
	EffectiveDate Date
	ExpiryDate    Date // last day; empty: open
	WithdrawnAt   time.Time
	RecordedAt    time.Time
}

// Tombstone is what stays of a record that was erased, so that no import brings it back. It is
// personal data of its own and expires.
type Tombstone struct {
	ID         UID // of the erasure: it stands on the certificate and in the ledger
	Dataset    string
	Source     string
	Key        string // the record key, see Vault.RecordKey
	Number     Number // that the record had; nobody gets it again
	Reason     string // code
	ErasedAt   time.Time
	ExpiresAt  time.Time
	ShreddedAt time.Time // when its key was destroyed; zero: that is still to be done
	CompleteAt time.Time // when nothing can open an old copy anymore; zero while the key is there
}

// EligibilityDecision is what a program has decided about an individual or a household, as its partner
// has sent it back. It never changes; a later one supersedes it.
type EligibilityDecision struct {
	ID        UID
	Key       int64 // order in which they came; given by the store
	Agreement string
	Client    UID
	Reference string   // keyed hash of the program's own key for it
	Dataset   string   // of the subject
	Subject   Number   // with whom it is erased
	Digest    [16]byte // keyed, of the content
	At        time.Time
	Body      []byte // JSON: codes, days and numbers, no text
}

// ErrDecisionTaken says that somebody else has put a decision under the same reference in this moment.
var ErrDecisionTaken = Conflict("decision_taken", "somebody has sent a decision with this key in this moment; send it again")
