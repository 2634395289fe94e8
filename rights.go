package annona

import "time"

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
