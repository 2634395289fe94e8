package annona

import "time"

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
	Household          Number // of a membership on file; 0: HouseholdKey says which household
	Source             string // who reports it; empty: the source of the record's first key
	HouseholdKey       string // source key of the household
	Role               string // code of group_role; empty when it is unknown
	RoleSourceCode     string
	RelationshipToHead string
	RecipientType      string
	StartDate          Date
	EndDate            Date // the first day on which it no longer holds
	NotPrimary         bool
	// Decided: the registry itself has decided how it stands. Until its source says the same, what
	// that source reports of it does not count.
	Decided bool
}

// OwnSource is the source of what the registry itself decides about records. No load is of it but edits.
const OwnSource = "annona"

// Relationship joins two individuals, as a source reports it.
type Relationship struct {
	To        Number // of a relationship on file; 0: ToKey says who it is, or nobody is on file yet
	Source    string // who reports it; empty: the source of the record's first key
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
	// File and Line are where its source says it: which file of the load, and which line of that, both
	// from 1. Line 0: it has no place, or stands on several.
	File, Line int
}

// RecordKey is how a source names a record, with what it reports of it.
type RecordKey struct {
	Dataset *Dataset
	Source  string
	Key     string   // never the source's own: a keyed hash, see Vault.RecordKey
	Digest  [16]byte // keyed digest of all that the source reports; equal digests mean nothing changed
	Joins   []string // of an individual: keys of the households that it joins, which are held as well
	// AsOf is the moment for which the source reports; zero: it does not say.
	AsOf time.Time
	// Match are identifiers by which the record may be on file under the key of another source.
	Match []IdentifierIndex
	// Found is where the record was when the source reported the same the last time; 0: nobody knows. It
	// is a hint: what lies there is compared with the key and the digest.
	Found Number
	// First says that the source is believed to report the record for the first time. It is a hint: see RecordTx.
	First bool
}

// SourceRow is a row of a source: what it has become, or, of one that is known from an earlier load, what
// it would become. Its records lie with whoever has read it.
type SourceRow struct {
	Sum                     [16]byte // keyed, of the row and of all that decides what becomes of it; zero: it is not to be remembered
	Notes                   []byte   // what its reader wants to know when the row comes again
	File, Line              int      // where it stands, as in Record
	Households, Individuals []Record
	// Known is what the row became in an earlier load; then it has no records, and Map makes them.
	Known *KnownRow
	Map   func() (households, individuals []Record, err error)
}

// KnownRow is what is kept of a row that a source has reported: nothing that the row says, only what
// tells whether all its records are on file as it says them.
type KnownRow struct {
	Sum     [16]byte
	Notes   []byte
	Records []KnownRecord // households before individuals
	Block   int64         // in which it is kept; 0: in none yet
}

// KnownRecord is a record of a row, as a source reported it.
type KnownRecord struct {
	Household bool     // otherwise an individual
	Key       string   // as in RecordKey
	Digest    [16]byte // as in RecordKey
	Number    Number   // where it was found
	Misfits   bool     // an identifier is not of the form of its declared type
	Placeless bool     // it stands on several rows
}

// RowBlock is some rows of a source as they are kept, and between which numbers their records lie: 0 and
// 0, when there are none of a dataset.
type RowBlock struct {
	Source                          string
	FirstHousehold, LastHousehold   Number
	FirstIndividual, LastIndividual Number
	Rows                            []byte
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

	// What follows is filled of records that differ from what is reported, and by LifeTx.Hold.

	Key           RecordKey      // the first key of the record on file, with the digest and the moment of what was last reported under it
	Reported      RecordKey      // likewise of the key that was asked for; its Source is empty when that key is not on file
	Deleted       bool           // the record is deleted: the version is that of the delete marker, the images and keys are those of the version before it
	Before        []byte         // of a deleted record: what it was, as Deletion.Before gave it
	Matched       []Number       // records that hold a Match identifier, when nothing is on file under the key; found is the one that there is only
	Memberships   []Membership   // each with Household and Source
	Relationships []Relationship // each with ToKey and Source
	Parts         []Part         // of a record that others were merged into: itself first, then those
	OtherKeys     []RecordKey    // of the record, with digests and moments; filled by LifeTx.Hold, and where Parts are
	Marks         Marks          // of the record on file
}

// Marks are what a store gave a record on file and what hangs on it, so that it can be shown later
// as it was. A store takes none of them back.
type Marks struct {
	UpdatedAt     string // when this version was written, as the record shows it
	Home          Number // household of its line; 0: it has none
	Memberships   []Mark // of its memberships, in their order
	Relationships []Mark // of its relationships, in their order
}

// Mark is the number and the id of a membership or a relationship.
type Mark struct {
	Number int64
	UID    UID
}

// Part is what one of the records that were merged into one is by itself: what its own sources say.
// The record on file is put together from its parts.
type Part struct {
	Number  Number
	Version int    // that it was sealed at, as PartOwn of that number
	Own     []byte // sealed under the key of Number
}

// Merge says that two records were of one individual. Undone, it stays as history.
type Merge struct {
	ID       UID
	Dataset  string
	Survivor Number
	Merged   Number
	Version  int // of the survivor: the first one that shows both
	At       time.Time
	Author   Author // with the reason, a code
	Undone   int    // version of the survivor that shows it alone again; 0: the merge holds
	UndoneAt time.Time
	Rights   []byte // JSON: ids of restrictions and consents that the merge has made or withdrawn
}

// Holds reports whether the merge has not been undone.
func (m *Merge) Holds() bool { return m.Undone == 0 }

// Candidate is two records that may be of one individual, and what was decided about them. It has
// numbers and codes only.
type Candidate struct {
	ID        UID
	Key       int64 // order in which they came; given by the store
	Dataset   string
	A, B      Number  // A < B
	Origin    string  // identifier_clash or outside_system
	Engine    string  // code of the outside system
	Score     float64 // 0 to 1; of an identifier clash 1
	Evidence  string  // code of the rule that found them; of an identifier clash its type
	State     string  // open, same, different or unsure
	At        time.Time
	Decided   Author // with the reason, a code
	DecidedAt time.Time
	Merge     UID // of the decision same
}

// ChangeRequest is something that was asked of one record and is not done: it waits for somebody who may
// decide it, or it clashes with what somebody else has done. Decided, it stays as history.
type ChangeRequest struct {
	ID        UID
	Key       int64  // order in which they came; given by the store
	Type      string // update or conflict
	Dataset   string // of the subject
	Subject   Number // with whom it is erased
	State     string // see the gate
	Source    string // that decides the field, where the request waits for it; empty otherwise
	Agreement string // of the applicant
	Client    UID
	Person    UID // for whom the client asks; zero: for itself
	Purpose   string
	Version   int    // of the subject when it was asked; Sealed is bound to it
	Sealed    []byte // what is asked, sealed under the subject's key as PartRequest
	At        time.Time
	Until     time.Time // when it times out; zero: never
	DecidedAt time.Time // zero: it is open
	DecidedBy Author    // with the reason, a code
	Load      UID       // the edit that it became; zero: none
}

// Author is who changes records, and for what.
type Author struct {
	Operator string // account at the command line; empty for a client
	Client   UID    // zero for the operator
	Load     int64  // key of the load; 0: it is none
	Reason   string // code; empty: what was reported has changed
}

// Deletion takes a record out of sight.
type Deletion struct {
	Dataset *Dataset
	Number  Number
	Version int      // of the delete marker: one more than that of the record
	Into    []Number // what the record was merged into or replaced by
	Before  []byte   // what it was, see Former
	// Kept is what stays for whoever brings it back, where that is something else than Before.
	Kept []byte
}

// Stays returns what stays of the record for whoever brings it back.
func (d *Deletion) Stays() []byte {
	if len(d.Kept) > 0 {
		return d.Kept
	}
	return d.Before
}

// Load is one run of an import.
type Load struct {
	ID         UID
	Key        int64 // short name in events; given by the store
	Source     string
	Mode       string // upsert, full or undo
	Author     Author
	AsOf       time.Time // the moment for which the source reports
	StartedAt  time.Time
	FinishedAt time.Time // zero while it runs
	State      string    // running, finished, failed, refused or undone
	Undoes     UID       // of a load that takes another one back
	// Confirmed are the records that it found unchanged, in a form of the gate's own; of an undo, those
	// that it has changed back. PutLoad leaves what is on file when it is nil; only Loads.Confirmed reads it.
	Confirmed []byte
	Report    []byte // JSON: counts and codes, never values
}

// LoadEvent is what a load did to one record.
type LoadEvent struct {
	Event   int64 // ascends; the argument after of the next page
	Dataset string
	Record  Number
	Version int // that it made
	Kind    EventKind
	Before  []byte // see Former
}

// StoredRecord is a record ready for a store: split into its clear and its sealed image, with
// the values that filters need beside them.
type StoredRecord struct {
	RecordKey            // the key under which it was reported: the record's first one, or another that Find has found or matched and that is kept with it
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
	// Shareable indexes (a household's number on each member's card; the one without issuer of an
	// identifier that has one) are not disputed when several hold them.
	Shareable bool
}

// IndexKind is an index of hashes that are made with a key of their own.
type IndexKind string

// The indexes. Their names are those of the classes of their keys.
const (
	IndexIdentifiers IndexKind = "index"
	IndexNames       IndexKind = "name-search"
)

// IndexState is how an index of hashes stands.
type IndexState struct {
	Kind    IndexKind
	On      bool // it is kept; that of identifiers always
	Version int  // of its key, when its rows were last begun to be made anew; 0: never
	// Whole: all rows were made with that key, or a later one. Until then Dataset and After say how far
	// that is.
	Whole     bool
	Dataset   string // empty: none has begun
	After     Number
	StartedAt time.Time // when its rows were last begun to be made anew
}

// Kept reports whether two states differ in nothing but how far rows are made anew.
func (s IndexState) Kept(o IndexState) bool { return s.On == o.On && s.Version == o.Version }

// ErrIndexesMoved says that an index was switched, or got another key, while hashes for it were made.
var ErrIndexesMoved = Conflict("indexes_moved", "the indexes of the registry have changed in this moment; try again")

// DueName is an individual whose names are to be indexed.
type DueName struct {
	Number  Number
	Version int
	Area    string // own code of its household; empty when it has none
	Sealed  []byte
}

// Dispute is one identifier that several records hold, though it has one holder.
type Dispute struct {
	IdentifierIndex
	Holders []Number
	UIDs    []UID // of the holders
}

// Loaded counts what one batch of records did.
type Loaded struct {
	Created, Changed, Unchanged int
	// Erased counts records that were left out because they were erased.
	Erased int
	// Unresolved counts relationships to a record that is not on file yet; they take effect
	// when it arrives.
	Unresolved int
	// Deleted counts records that were taken out of sight, Restored those that came back (they
	// are counted as changed as well), Stale those that were left as they are because what is on
	// file is younger.
	Deleted, Restored, Stale int
}

// Area is a place in the country's tree of areas: reference data, nothing personal. A code is
// never given to another place: an area that is renamed, split, merged or given up is closed and
// stays on file, so that old data and old agreements can be read.
type Area struct {
	Code       string            `json:"code"`
	Parent     string            `json:"parent,omitempty"` // empty for a root, the country for one
	Level      int               `json:"level"`            // 0: the country; greater than that of the parent
	Names      map[string]string `json:"names,omitempty"`  // by language tag
	ValidFrom  Date              `json:"valid_from,omitempty"`
	ValidTo    Date              `json:"valid_to,omitempty"`    // last day; with one, the area is closed
	ReplacedBy []string          `json:"replaced_by,omitempty"` // of a closed area: what it became
}

// The bounds of areas.
const (
	MaxAreaCode  = 40 // bytes of a code
	MaxAreaLevel = 20
)

// Check refuses an area that contradicts itself, with the code area_malformed.
func (a *Area) Check() error {
	switch {
	case !IsCode(a.Code) || len(a.Code) > MaxAreaCode:
		return Invalid("area_malformed", "an area has a code of at most %d characters, without semicolons and control characters", MaxAreaCode).On(a.Code)
	case a.Level < 0 || a.Level > MaxAreaLevel:
		return Invalid("area_malformed", "the level of an area is 0, the country, to %d", MaxAreaLevel).On(a.Code)
	case !a.IsClosed() && len(a.ReplacedBy) > 0:
		return Invalid("area_malformed", "an area that was replaced has a last day, valid_to").On(a.Code)
	case a.ValidFrom != "" && a.IsClosed() && a.ValidTo < a.ValidFrom:
		return Invalid("area_malformed", "valid_to lies before valid_from").On(a.Code)
	}
	return nil
}

// IsClosed reports whether the area is no place to live in anymore.
func (a *Area) IsClosed() bool { return a.ValidTo != "" }

// Around returns the area in which this one lies directly; empty for a root. A closed area with
// one successor (it was renamed, or merged with others) lies inside that.
func (a *Area) Around() string {
	if a.IsClosed() && len(a.ReplacedBy) == 1 {
		return a.ReplacedBy[0]
	}
	return a.Parent
}

// AreaLink leads from an area to another: to one that lies directly inside it or, when Inside is
// false, to one that replaced it.
type AreaLink struct {
	Origin, Code string
	Inside       bool
}

// Links returns the links of the tree that the area makes: from the area around it to it, and from
// it to its successors.
func (a *Area) Links() []AreaLink {
	var links []AreaLink
	if around := a.Around(); around != "" {
		links = append(links, AreaLink{around, a.Code, true})
	}
	for _, successor := range a.ReplacedBy {
		if successor != a.Code {
			links = append(links, AreaLink{a.Code, successor, false})
		}
	}
	return links
}

// Crosswalk says what the codes of a source mean: each leads to a canonical code of a list.
type Crosswalk struct {
	Source    string
	List      string
	Version   int               // from 1; the latest one holds
	Codes     map[string]string // the source's code to ours
	AppliedAt time.Time
}

// ErrCrosswalkVersion says that a crosswalk has that version, or a later one, already.
var ErrCrosswalkVersion = Conflict("crosswalk_version", "a crosswalk of this version or a later one is on file; give the new one the next version")

// StoredMapping is a mapping that is on file, for loads that are asked for over a wire.
type StoredMapping struct {
	Name    string
	Version int    // from 1; a version never changes
	Source  string // whose records the mapping makes
	Body    string // the mapping as it was written
	PutAt   time.Time
	Dropped bool // no load may be asked for with it any more
}

// ErrMappingVersion says that somebody else has put a version of the mapping in the same moment.
var ErrMappingVersion = Conflict("mapping_version", "somebody has put this mapping in this moment; try again")

// ErrLoadTaken says that a load with that id is on file already.
var ErrLoadTaken = Conflict("load_taken", "a load with this id is on file already")

// Unmapped is how often loads have met a code of a source that nothing leads on from.
type Unmapped struct {
	Source, Field string
	Code          string // empty: all that did not look like codes, together
	Times         int64
	Loads         int64 // that have met it
	FirstAt       time.Time
	LastAt        time.Time
}

// AreaAssignment says in which successor of a closed area a household is.
type AreaAssignment struct {
	Key  string // source key of the household
	Area string
	Line int // in its file
}

// ErrAreasMoved says that areas were written while somebody relied on those that were there.
var ErrAreasMoved = Conflict("areas_moved", "the areas have changed in this moment; try again")

// Reorganization is a country's decision to draw its areas anew on some day.
type Reorganization struct {
	ID         UID // of what it says: the same decision has the same one
	Effective  Date
	Reference  string // the decree; may be empty
	Changes    []AreaChange
	RecordedAt time.Time
	AppliedAt  time.Time // zero: its day has not come
}

// AreaChangeKind says what becomes of areas.
type AreaChangeKind string

// The kinds of changes. All but AreaMove close the areas that they name.
const (
	AreaRename AreaChangeKind = "rename" // one area becomes one new area
	AreaSplit  AreaChangeKind = "split"  // one area becomes several
	AreaMerge  AreaChangeKind = "merge"  // areas become one: a new one, or one on file that goes on
	AreaMove   AreaChangeKind = "move"   // an area goes over to another parent
	AreaClose  AreaChangeKind = "close"  // an area is given up
)

// AreaChange is one change of a reorganization. Changes apply one behind the other.
type AreaChange struct {
	Kind AreaChangeKind
	From []string // the areas concerned; several in a merge
	// Into is what they become. An area that is on file is named by its code alone. A new one has,
	// unless it says otherwise, the parent and the level of the first of From.
	Into     []Area            `json:",omitempty"`
	Parent   string            `json:",omitempty"` // of a move
	Children map[string]string `json:",omitempty"` // of a split: the successor of each area inside
	Line     int               `json:"-"`          // in its file; 0 when unknown
}
