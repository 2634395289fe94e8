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
