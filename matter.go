package annona

import (
	"context"
	"slices"
	"time"
)

// Matter is what a program or a case worker keeps about somebody: an enrollment, a benefit, a case, a
// note of a case, a referral. What it says is described by the dictionary, like all else; beside its
// images stand the few things by which matters are found and walled.
//
// Each matter has a key of its own, so that it can be forgotten with whomever it is about, or alone.
type Matter struct {
	Dataset *Dataset
	Number  Number // of its dataset: assigned once, never reused, never shown
	UID     UID
	Version int // from 1; 0: it is not on file yet. PutMatters writes the one that stands here
	Subject SubjectRef
	// Parent is the matter of Dataset.Parent that it belongs to, the
	// enrollment of a benefit, the case of a note. 0: it stands by itself.
	Parent  Number
	Program string // code of the program; of a case, codes of all that it names, joined by ListSeparator; empty: none
	// Owner is the name of the partner that answers for it. There is one at every instant. Empty: it
	// belongs to whoever its parent belongs to, and is seen by nobody who may not see that.
	Owner string
	// Worker is a keyed hash of the worker who has it; empty: nobody.
	Worker string
	State  string // code of where it stands
	// Confidentiality is a code of the list of that name; empty: normal.
	Confidentiality string
	Due             Date // when somebody is to look at it next
	// Source and Key are how the system that reports it names it, unique together in a dataset. The key
	// is a keyed hash, see Hashes.RecordKey. Both empty: it has no such name.
	Source, Key  string
	Clear        Image
	Sealed       []byte
	Before       []byte // what it was, see Former; empty when it is new
	RegisteredAt time.Time
	UpdatedAt    time.Time
}

// MatterVersion is the column of the version of matters. It is in no dictionary: the gate reads it, and nobody is
// shown it.
func MatterVersion() *Field {
	f := &Field{Code: "version", Type: TypeInt, Derived: true}
	f.Base = f
	return f
}

// SubjectRef names whom a matter is about. The zero SubjectRef is nobody on file.
type SubjectRef struct {
	Dataset string // individuals or households
	Number  Number
}

// MatterRef names a matter.
type MatterRef struct {
	Dataset string
	Number  Number
}

// IsZero reports whether it names nobody.
func (r SubjectRef) IsZero() bool { return r == SubjectRef{} }

// Share lets a partner see a matter that another one owns, until it ends by itself.
type Share struct {
	Dataset string
	Number  Number // of the matter
	Partner string
	By      UID      // of the transition that gives it; one may end while another goes on
	Until   Date     // the last day; empty: open
	Consent string   // the purpose of a consent without which it ends: one of whom the matter is about, to the partner; empty: it needs none
	Fields  []string // what of it may be seen; none: what the partner's own agreement shows
	Edit    bool     // it may be changed as well
}

// MatterScope is the narrow way in to matters: what of one dataset one request may reach. Only the
// gate makes one; ports refuse the zero MatterScope.
type MatterScope struct {
	shape      *Shape
	terms      MatterTerms
	people     Scope
	households Scope
}

// MatterTerms say which matters may be seen, beside whom they are about.
type MatterTerms struct {
	// Programs are those whose matters may be seen where their subject may be; none: of no program. A
	// matter above normal confidentiality is not seen this way.
	Programs []string
	// Owner is the partner that sees what it owns and what is shared with it, whoever that is about;
	// what its subject has said (restriction, objection, consent) still holds. Empty: nobody is.
	Owner string
	// Cleared are the codes of confidentiality that the caller may see of what Owner has. Normal needs
	// no clearance.
	Cleared []string
	// Worker is the keyed hash of who asks: they see matters of named persons that name them.
	Worker string
	// Said holds purpose, recipient, basis and days: by those it is decided whether what a subject has
	// said stops what Owner sees.
	Said ScopeTerms
}

// NewMatterScope makes a scope over the dataset of shape. people and households say which of those may
// be seen; the zero Scope: none of them.
func NewMatterScope(shape *Shape, terms MatterTerms, people, households Scope) MatterScope {
	return MatterScope{shape: shape, terms: terms, people: people, households: households}
}

// Shape returns what is to be fetched.
func (s MatterScope) Shape() *Shape { return s.shape }

// Terms returns which matters may be seen.
func (s MatterScope) Terms() MatterTerms { return s.terms }

// People returns the scope of the individuals whose matters may be seen, Households that of households.
func (s MatterScope) People() Scope     { return s.people }
func (s MatterScope) Households() Scope { return s.households }

// Equal reports whether two scopes show the same. Those over people or households are not compared: they are
// never equal.
func (s MatterScope) Equal(to MatterScope) bool {
	if s.people.Valid() || s.households.Valid() || to.people.Valid() || to.households.Valid() {
		return false
	}
	a, b := s.terms, to.terms
	return s.shape == to.shape && a.Owner == b.Owner && a.Worker == b.Worker && a.Said == b.Said &&
		slices.Equal(a.Programs, b.Programs) && slices.Equal(a.Cleared, b.Cleared)
}

// Valid reports whether the scope was made by NewMatterScope.
func (s MatterScope) Valid() bool { return s.shape != nil }

// MatterChoice is what a caller picks from the matters of a scope. What is empty picks all.
type MatterChoice struct {
	Numbers  []Number
	UIDs     []UID
	Subjects []SubjectRef
	Parents  []Number
	Programs []string // of one of these: a matter of none, or of several, is of none of them
	Concerns string   // a program that it names, alone or among others
	States   []string
	Owner    string
	Worker   string
	DueFrom  Date
	DueUntil Date
	Since    time.Time // changed then or later
	// Asked are the fields by which the others pick. A matter that is another partner's is picked only where what is
	// shared of it shows each of them: otherwise a choice would tell what no row does.
	Asked []string
}

// Participating is what it takes to take part: an enrollment in one of the programs, in one of the states, of
// normal confidentiality. It may be of an individual, or of the household in which they are seen.
type Participating struct {
	Programs []string // none: nobody takes part
	States   []string // none: in each
}

// Holder is an individual who holds one of several identifiers.
type Holder struct {
	At     int // position of the identifier
	Number Number
	Takes  bool // they take part
}

// MatterKey names a matter as the system that reports it does.
type MatterKey struct {
	Source, Key string
}

// Program is a program of social protection: reference data, nothing about anybody. A version never
// changes. In files it is written in snake_case.
type Program struct {
	Code        string            `json:"code" yaml:"code"`
	Version     int               `json:"version" yaml:"-"` // from 1, given by the gate; the latest one holds
	Names       map[string]string `json:"names" yaml:"names"`
	Description map[string]string `json:"description,omitempty" yaml:"description,omitempty"`
	Institution string            `json:"implementing_institution,omitempty" yaml:"implementing_institution,omitempty"` // name of a partner
	// AssistanceUnit is whom it assists: individual, household or family.
	AssistanceUnit string   `json:"assistance_unit" yaml:"assistance_unit"`
	BenefitTypes   []string `json:"benefit_types,omitempty" yaml:"benefit_types,omitempty"` // none: each
	StartDate      Date     `json:"start_date,omitempty" yaml:"start_date,omitempty"`
	EndDate        Date     `json:"end_date,omitempty" yaml:"end_date,omitempty"`                       // last day
	Ceiling        int64    `json:"beneficiary_ceiling,omitempty" yaml:"beneficiary_ceiling,omitempty"` // active enrollments of one cycle that it plans for; 0: none is stated
	// Codes are the program's own codes for those of code lists: list → own code → canonical code.
	Codes  map[string]map[string]string `json:"code_map,omitempty" yaml:"code_map,omitempty"`
	Cycles []ProgramCycle               `json:"cycles,omitempty" yaml:"cycles,omitempty"`

	PutAt time.Time `json:"put_at,omitzero" yaml:"-"`
}

// ProgramCycle is one round of a program.
type ProgramCycle struct {
	Code     string           `json:"code" yaml:"code"`
	Start    Date             `json:"period_start" yaml:"period_start"`
	End      Date             `json:"period_end" yaml:"period_end"`                 // last day
	Status   string           `json:"status" yaml:"status"`                         // planned, open, closed or cancelled
	Ceilings map[string]int64 `json:"ceilings,omitempty" yaml:"ceilings,omitempty"` // by area code
}

// Cycle returns the cycle of that code.
func (p *Program) Cycle(code string) (ProgramCycle, bool) {
	for _, c := range p.Cycles {
		if c.Code == code {
			return c, true
		}
	}
	return ProgramCycle{}, false
}

// Canonical returns the code of a list that the program's own code means; code itself where it says
// nothing of it.
func (p *Program) Canonical(list, code string) string {
	if means, ok := p.Codes[list][code]; ok {
		return means
	}
	return code
}

// ErrProgramVersion says that somebody else has put a version of the program in the same moment.
var ErrProgramVersion = Conflict("program_version", "somebody has put this program in this moment; try again")

// MatterTx writes matters, within a transaction.
type MatterTx interface {
	// FindMatters returns what is on file under each key, in their order, locked until the transaction
	// ends; where nothing is, a matter of version 0 with a number set aside and a fresh UID.
	FindMatters(ctx context.Context, dataset *Dataset, keys []MatterKey) ([]Matter, error)
	// HoldMatters locks matters by their numbers, which ascend, and returns those that are on file.
	HoldMatters(ctx context.Context, dataset *Dataset, numbers []Number) ([]Matter, error)
	// NewMatters sets numbers and UIDs aside for matters that no key names.
	NewMatters(ctx context.Context, dataset *Dataset, count int) ([]Matter, error)
	// PutMatters writes matters that this transaction has found, held or got, each as the version after
	// that, which it names, with an event. Its subject is not touched: no page of it shows matters.
	PutMatters(ctx context.Context, by Author, matters []Matter) error
	// EraseMatters removes the matters about somebody with those that belong to them, their shares, and
	// the images that their events keep; an erased event follows each. It returns whose keys are to be
	// destroyed.
	EraseMatters(ctx context.Context, by Author, subject SubjectRef) ([]MatterRef, error)
}

// ShareTx writes what is shared of matters, within a transaction. What it writes of shares moves the policy epoch.
type ShareTx interface {
	// PutShare writes what a transition lets a partner see of a matter, EndShare takes it back.
	PutShare(ctx context.Context, s Share) error
	EndShare(ctx context.Context, s Share) error
	// EndShares takes back all that is shared of a matter, whoever it is shared with.
	EndShares(ctx context.Context, matter MatterRef) error
	// HoldWithParent locks the matter to which one belongs, and then all of its dataset that belong to that one:
	// the parent stands first, the others behind it in order of number. None are returned when the matter, or its
	// parent, is not on file.
	HoldWithParent(ctx context.Context, parents, dataset *Dataset, number Number) ([]Matter, error)
}

// AttachmentTx writes what attachments of cases contain, within a transaction.
type AttachmentTx interface {
	// PutAttachmentPart writes a part of the content of an attachment that this transaction has put. Parts
	// count from 1.
	PutAttachmentPart(ctx context.Context, attachment Number, part int, sealed []byte) error
	// EraseMatter removes one matter as EraseMatters removes those about somebody: with what belongs to it.
	EraseMatter(ctx context.Context, by Author, matter MatterRef) ([]MatterRef, error)
}

// Attachments reads what attachments of cases contain.
type Attachments interface {
	// AttachmentPart returns a part of the content of an attachment that is in somebody's sight, sealed; nil
	// when there is none. Parts count from 1.
	AttachmentPart(ctx context.Context, attachment Number, part int) ([]byte, error)
}

// MatterQuestion asks for a page of matters.
type MatterQuestion struct {
	Scope  MatterScope
	Choice MatterChoice
	After  Number // those behind it
	Limit  int    // of rows that are appended; 0: none
	Page   *Page  // of the shape of the scope
	More   bool   // set by the answer: as many rows were appended as the limit lets, and there may be others
}

// Matters reads what programs and case workers keep about people.
type Matters interface {
	// ReadMatters appends to the page of each question the matters of its scope that its choice picks, in
	// ascending order of number. Each page is of one moment, and its epoch with it. Page.Subjects says whom
	// each matter is about: the record on file, also where it was merged into that; Page.Shares what of it is
	// shared with the owner of the scope. Of derived columns it fills Dataset.Key, individual_id and
	// household_id (of the subject), the id of the parent (enrollment_id, case_id), source_system, owner,
	// version, registered_at and last_updated.
	ReadMatters(ctx context.Context, questions ...*MatterQuestion) error
	// MatterEvents returns at most limit events of matters, behind the event after: of those numbers,
	// which are in somebody's sight.
	MatterEvents(ctx context.Context, dataset *Dataset, numbers []Number, after int64, limit int) ([]Event, error)
	// MatterShares returns what a partner is let see of matters by the shares that have not ended on that
	// day, in order of number.
	MatterShares(ctx context.Context, dataset *Dataset, numbers []Number, partner string, day Date) ([]Share, error)
	// Holders returns who in a scope over individuals holds those identifiers, and whether they take part.
	// epoch is the policy epoch of the moment that this is of.
	Holders(ctx context.Context, scope Scope, in Participating, identifiers []IdentifierIndex) (found []Holder, epoch int64, err error)
	// UIDsByKey returns the UIDs of households or individuals by their record keys in a source, see
	// Hashes.RecordKey. One that is not on file is not there. For the operator only.
	UIDsByKey(ctx context.Context, dataset *Dataset, source string, keys []string) (map[string]UID, error)
}

// ProgramTx writes programs, within a transaction.
type ProgramTx interface {
	// PutProgram writes the next version of a program: code program_version when it is not that.
	PutProgram(ctx context.Context, p Program) error
}

// Programs keeps the programs, each in versions.
type Programs interface {
	// Program returns the version of a program that holds; nil when there is none.
	Program(ctx context.Context, code string) (*Program, error)
	// Programs returns the version of each that holds, in order of code.
	Programs(ctx context.Context) ([]Program, error)
}
