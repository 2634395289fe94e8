package annona

import (
	"net/netip"
	"slices"
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
	Operator  string     // account at the command line; empty for a client
}

// IsOperator reports whether the caller is the command line on the machine itself.
func (c Caller) IsOperator() bool { return c.Strength == StrengthOperator }

// Client is what is on file of one API key. The secret itself is not: only its keyed hash.
type Client struct {
	ID        UID
	KeyID     string // the public part of the key, by which it is found
	Hash      []byte // keyed hash of the secret
	Agreement string
	Label     string
	Demo      bool
	Networks  []netip.Prefix // where it may be used from; empty: anywhere
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero while it is not
}

// Verb is something the gate does.
type Verb string

// The verbs of reading.
const (
	VerbGet    Verb = "get"
	VerbLookup Verb = "lookup"
	VerbSearch Verb = "search"
	VerbExport Verb = "export"
	VerbFollow Verb = "follow"
	// VerbDisclosures asks who received the data of one individual.
	VerbDisclosures Verb = "disclosures"
	// VerbNameSearch looks for individuals by their names, within an area.
	VerbNameSearch Verb = "name_search"
)

// The verbs of writing and administration.
const (
	VerbImport          Verb = "import"
	VerbEdit            Verb = "edit" // of records, by a person
	VerbApplyAgreement  Verb = "apply_agreement"
	VerbCreateKey       Verb = "create_key"
	VerbRevokeKey       Verb = "revoke_key"
	VerbApplyDictionary Verb = "apply_dictionary"
	VerbImportAreas     Verb = "import_areas"
	VerbReorganize      Verb = "reorganize_areas"
	VerbApproveAreas    Verb = "approve_areas" // of an agreement
	VerbApplyCrosswalk  Verb = "apply_crosswalk"
	VerbPutSpec         Verb = "put_export_spec"
	VerbDropSpec        Verb = "drop_export_spec"
	VerbPutMapping      Verb = "put_mapping"
	VerbDropMapping     Verb = "drop_mapping"
	VerbRotateKeys      Verb = "rotate_keys"
	VerbIndex           Verb = "index" // an index of hashes is switched, or made anew
	VerbSubjectRights   Verb = "subject_rights"
	VerbMerge           Verb = "merge" // of records, and what may be one
	VerbPruneLog        Verb = "prune_log"
	VerbExportLedger    Verb = "export_ledger"
	VerbPruneLedger     Verb = "prune_ledger"
	VerbRotateKey       Verb = "rotate_checkpoint_key"
	VerbLedger          Verb = "ledger"
	VerbBackup          Verb = "backup"
	VerbCopyKeys        Verb = "copy_keys"
	VerbRestore         Verb = "restore"
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
)

// FieldGrant is a field that may leave, and how.
type FieldGrant struct {
	Field     *Field
	Treatment Treatment
	Band      int64 // for TreatBand: the width of a band, in whole units
}

// Grant is a permission that policy has given to one request: which fields of which datasets
// may leave, for which rows, for which purpose and how many.
type Grant struct {
	Agreement  *Agreement
	Purpose    PurposeTerms
	Fields     map[string][]FieldGrant // by dataset
	Conditions map[string]Condition    // by root dataset; nil: every row
	RowCeiling int64                   // rows of one answer; 0: no ceiling
	Raised     string                  // the reason why a cap of this credential was raised; empty: not raised
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
