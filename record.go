package annona

// Value is one value of a record, as ingestion hands it to the gate: canonical text.
type Value struct {
	Field *Field
	Text  string
}

// GroupItems are the items of one repeated group of a record; each item is its values.
type GroupItems struct {
	Field *Field
	Items [][]Value
}

// Membership joins an individual to a household, as a source reports it.
type Membership struct {
	HouseholdKey       string // source key of the household
	Role               string // code of group_role; empty when it is unknown
	RoleSourceCode     string
	RelationshipToHead string
	RecipientType      string
	StartDate          Date
	EndDate            Date // the first day on which it no longer holds
	NotPrimary         bool
}

// Relationship joins two individuals, as a source reports it.
type Relationship struct {
	ToKey     string // source key of the other individual
	Type      string // parent, guardian, caregiver, spouse: what the record's individual is to the other
	StartDate Date
	EndDate   Date
	EndReason string
}

// Record is one household or individual as a source reports it. Its key is the source's own
// and identifies it when it comes again.
type Record struct {
	Dataset       *Dataset
	Source        string // name of the source system
	Key           string
	Values        []Value // any order; the gate sorts them
	Groups        []GroupItems
	Memberships   []Membership   // of an individual
	Relationships []Relationship // of an individual
}

// RecordKey is how a source names a record, with what it reports of it.
type RecordKey struct {
	Dataset *Dataset
	Source  string
	Key     string   // never the source's own: a keyed hash, see Vault.RecordKey
	Digest  [16]byte // keyed digest of all that the source reports; equal digests mean nothing changed
	Joins   []string // of an individual: keys of the households that it joins, which are held as well
}

// Known is what a store has on file under a RecordKey, or has set aside for it. Number and version
// are part of what a sealed image is bound to, so they are known before it is sealed.
type Known struct {
	Number  Number
	Version int   // of the record on file; 0: there is none
	Same    bool  // the source reports what is on file; no image is filled
	Erased  bool  // the record was erased and does not come back; nothing else is filled
	Clear   Image // of the record on file
	Sealed  []byte
}

// StoredRecord is a record ready for a store: split into its clear and its sealed image, with
// the values that filters need beside them.
type StoredRecord struct {
	RecordKey
	Number        Number // as Tx.Find gave it
	Version       int    // the one that is written: one more than Tx.Find found
	Clear         Image
	Sealed        []byte  // the sealed image, sealed by the vault
	Before        []byte  // what the record was, see Former; empty when it is new
	Index         []Value // of fields with FilterRange that are not derived
	Identifiers   []IdentifierIndex
	Memberships   []Membership
	Relationships []Relationship
}

// IdentifierIndex is the blind index of one identifier.
type IdentifierIndex struct {
	Scheme string // identifier_type
	Hash   []byte // 256 bit
	// Shareable identifiers (a household's number on each member's card) are not disputed
	// when several hold them.
	Shareable bool
}

// Loaded counts what one batch of records did.
type Loaded struct {
	Created, Changed, Unchanged int
	// Erased counts records that were left out because they were erased.
	Erased int
	// Unresolved counts relationships to a record that is not on file yet; they take effect
	// when it arrives.
	Unresolved int
}

// Area is a place in the country's tree of areas: reference data, nothing personal.
type Area struct {
	Code       string
	Parent     string            // empty for the country
	Level      int               // 0: the country
	Names      map[string]string // by language tag
	ValidFrom  Date
	ValidTo    Date
	ReplacedBy []string
}
