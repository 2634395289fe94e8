package annona

import (
	"context"
	"time"
)

// Records reads households and individuals. There is no way in without a Scope.
type Records interface {
	// ReadPage appends rows of the scope to page, which has the scope's shape: those with
	// after < number ≤ until, at most limit, in ascending order of number. until 0 means no
	// upper end. Derived columns are filled; sealed images lie unopened in page.Sealed, of
	// nested pages too. It reports whether rows of that range may remain beyond the last one.
	ReadPage(ctx context.Context, scope Scope, after, until Number, limit int, page *Page) (more bool, err error)
	// ReadNumbers appends the rows of the scope that have one of those numbers, in ascending
	// order of number.
	ReadNumbers(ctx context.Context, scope Scope, numbers []Number, page *Page) error
	// ReadOne appends the row with that UID, or nothing when it is not in the scope.
	ReadOne(ctx context.Context, scope Scope, uid UID, page *Page) error
	// Lookup appends the rows of the scope that hold the identifier: at most two, so that
	// the caller can tell one from several.
	Lookup(ctx context.Context, scope Scope, id IdentifierIndex, page *Page) error
	// CountLeftOut counts the individuals whom the conditions of a scope take in, or whose household they take
	// in, and who are not shown because of what they have said. Somebody may count for several reasons.
	CountLeftOut(ctx context.Context, scope Scope) (map[LeftOut]int64, error)
	// LastNumber returns the highest number given out in a root dataset; 0 when it is empty.
	LastNumber(ctx context.Context, dataset *Dataset) (Number, error)
}

// Tx is one transaction of writing: change, event and ledger entry commit together.
type Tx interface {
	RecordTx
	LifeTx
	RowTx
	AreaTx
	CodesTx
	SpecTx
	ExportTx
	DecisionTx
	MatterTx
	ShareTx
	AttachmentTx
	ProgramTx
	RequestTx
	ChangeRequestTx
	IndexTx
	NameTx
	PolicyTx
	ApprovalTx
	BreakGlassTx
	UserTx
	SignInTx
	OutsideTx
	// PutLoad writes a load. One without a key is new, and gets one; code load_taken when its id is on
	// file.
	PutLoad(ctx context.Context, l *Load) error
	// PutRestriction and PutConsent write a record by its ID and append a touched event.
	PutRestriction(ctx context.Context, r Restriction) error
	PutConsent(ctx context.Context, c Consent) error
	// PutAgreement writes the next version of an agreement and returns it.
	PutAgreement(ctx context.Context, a Agreement) (version int, err error)
	// PutClient writes a client by its ID.
	PutClient(ctx context.Context, c Client) error
	// AppendEntry appends to the ledger.
	AppendEntry(ctx context.Context, rows ...LedgerRow) error
}

// PolicyTx writes what decides.
type PolicyTx interface {
	// PutPolicy writes a version of the policy and moves the epoch. Code policy_version when it is on file:
	// somebody else has put one in the same moment.
	PutPolicy(ctx context.Context, p Policy) error
}

// ApprovalTx writes what waits for a second person, within a transaction.
type ApprovalTx interface {
	// HoldApprovals lets nobody else decide, apply or ask for anything that waits for a second person before
	// the transaction ends, and returns the versions in force of the policy and of an agreement; 0: none.
	HoldApprovals(ctx context.Context, agreement string) (policy, version int, err error)
	// HoldApproval returns one as it is at this moment; nil when there is none. Approvals are held.
	HoldApproval(ctx context.Context, id UID) (*Approval, error)
	// PutApproval writes one by its ID.
	PutApproval(ctx context.Context, a Approval) error
}

// Approvals keeps what waits for a second person, and what became of it. Nothing is ever removed.
type Approvals interface {
	// ApprovalByID returns one; nil when there is none.
	ApprovalByID(ctx context.Context, id UID) (*Approval, error)
	// Approvals returns at most limit, the newest first: of a kind, and in a state, where these are named.
	Approvals(ctx context.Context, kind ApprovalKind, state ApprovalState, limit int) ([]Approval, error)
}

// RecordTx writes households and individuals within a transaction.
type RecordTx interface {
	// Find returns what is on file under each key, in the order of keys, and sets numbers aside
	// for those that are not. Nobody else changes what it found before the transaction ends.
	// No key stands there twice. A record has the key under which it came on file and any number
	// of other ones (see LifeTx.PutKey). When nothing is on file under a key, the only record that
	// holds one of its Match identifiers is what it finds. Two keys may find one record: it is
	// written once. A record that differs from what is on file is locked, with the households that
	// it joins; one that is the same is not: an import that repeats itself disturbs nobody. Where Found leads,
	// it looks first. It need not look for keys with the hint First, where that is wrong the transaction runs again:
	// whoever gives the hint leaves it out then.
	Find(ctx context.Context, keys []RecordKey) ([]Known, error)
	// Upsert writes records that Find has found new or changed, with their memberships,
	// relationships and identifiers, appends their events and gives each its version. Households
	// precede the individuals who join them; a record joins a household that an earlier batch or
	// this one has written, otherwise errors with code unknown_household. What names the other
	// end by its number is left out (a membership) or waits (a relationship) when that is not on
	// file any more.
	//
	// A record that was deleted comes back under the number and the id that it had. A key that is
	// not the record's first one is kept with it, as PutKey does.
	Upsert(ctx context.Context, by Author, records []StoredRecord) (Loaded, error)
	// Erase removes a record, also one that is deleted, with all that hangs on it: keys,
	// memberships, relationships, identifiers, restrictions and consents. The events that tell of it keep no image, and an erased event
	// follows them; what the record was seen in is touched. A household's members stay.
	Erase(ctx context.Context, actor string, dataset *Dataset, number Number) error
	// PutTombstone writes a tombstone by its ID. What is under it, Find reports as erased, and no
	// membership or relationship leads to it again.
	PutTombstone(ctx context.Context, t Tombstone) error
	// DropTombstones removes the tombstones that have expired by then.
	DropTombstones(ctx context.Context, then time.Time) error
	// PutErasureRefusal writes a refusal by its ID. Erase removes those of a record.
	PutErasureRefusal(ctx context.Context, r ErasureRefusal) error
	// HoldErasureRefusals returns the refusals that stand of those individuals, the first one first. None comes
	// or goes before the transaction ends.
	HoldErasureRefusals(ctx context.Context, subjects []Number) ([]ErasureRefusal, error)
}

// AreaTx writes areas, and which households stand in them, within a transaction.
type AreaTx interface {
	// PutAreas writes areas, by code.
	PutAreas(ctx context.Context, areas []Area) error
	// ExpectAreas makes the transaction depend on the version of the areas that was read. When they
	// have another one, at its end at the latest, it runs again, and fails with the code areas_moved
	// when that does not help.
	ExpectAreas(ctx context.Context, version int64) error
	// KeepFormer remembers which households stand in an area or inside it, also those that are deleted
	// and may come back: an area that is closed still holds those, as long as they stay in its
	// territory. It returns how many of them are on file.
	KeepFormer(ctx context.Context, code string) (households int64, err error)
	// HouseholdsIn returns households whose own code is that one, in order of number, at most
	// limit of them; with a flag only those that do not have that quality flag.
	HouseholdsIn(ctx context.Context, households *Dataset, code, flag string, limit int) ([]RecordKey, error)
	// MoveHouseholds writes households that Find has found: their images, the version they are,
	// and of the index their area and quality flags, with their events; and the area on the lines
	// of those who live in them, who are touched. What else is on file of them stays, as does
	// their digest: their sources have reported nothing.
	MoveHouseholds(ctx context.Context, actor string, moved []StoredRecord) error
	// PutReorganization writes a reorganization by its ID.
	PutReorganization(ctx context.Context, r Reorganization) error
}

// CodesTx writes what sources mean by their codes and their columns, within a transaction.
type CodesTx interface {
	// PutCrosswalk writes a version of a crosswalk. One that is there already stays as it is: code
	// crosswalk_version.
	PutCrosswalk(ctx context.Context, c Crosswalk) error
	// CountUnmapped adds what a load has met to what earlier ones have. FirstAt is the time of the
	// load.
	CountUnmapped(ctx context.Context, met []Unmapped) error
	// PutMapping writes the next version of a mapping: code mapping_version when it is not that.
	PutMapping(ctx context.Context, m StoredMapping) error
	// DropMapping marks all versions of a mapping as dropped.
	DropMapping(ctx context.Context, name string) error
}

// LifeTx is what happens to records in the course of their lives, within a transaction.
type LifeTx interface {
	// Hold locks records by their numbers, which ascend, and returns them with all that Known can
	// say, also of those that are deleted. A number that nobody has, or whose record was erased,
	// gives a Known with version 0.
	Hold(ctx context.Context, dataset *Dataset, numbers []Number) ([]Known, error)
	// MembersOf returns the individuals who belong to any of the households on that day or are going to, in
	// order of number and each once. The households are held.
	MembersOf(ctx context.Context, day Date, households ...Number) ([]Number, error)
	// Delete takes a record out of sight. It is no erasure: the record's images and keys stay, in
	// a place of their own, and Upsert brings it back. Its identifiers are no longer looked up; an
	// individual's memberships and relationships go (what they were is in d.Before), and others'
	// relationships to it wait until it comes back. A household is not deleted while a membership
	// of it has not ended: code household_has_members. What is said of rights stays, and holds when
	// the record comes back. A deleted event is appended and others are touched.
	Delete(ctx context.Context, by Author, d Deletion) error
	// PutKey lets another key lead to a record that is on file, or to nothing again when number
	// is 0. The digest and the moment of what was reported under it are kept with it. It precedes a
	// deleted record that had the key as its first one. A key that is the first one of a record on
	// file leads nowhere else: code key_taken.
	PutKey(ctx context.Context, by Author, key RecordKey, number Number) error
	// PutParts writes what a record consists of, in the place of what it consisted of. None: it is of
	// one piece.
	PutParts(ctx context.Context, dataset *Dataset, record Number, parts []Part) error
	// PutMerge writes a merge by its ID.
	PutMerge(ctx context.Context, m Merge) error
	// PutCandidate writes a match candidate by its ID. A pair has one: code candidate_known.
	PutCandidate(ctx context.Context, c Candidate) error
}

// Merges keeps which records were merged, and which ones may be of one individual.
type Merges interface {
	// MergeByID returns a merge; nil when there is none.
	MergeByID(ctx context.Context, id UID) (*Merge, error)
	// MergesOf returns the merges in which one of those records took part itself, also those that
	// were undone, in the order in which they were made.
	MergesOf(ctx context.Context, dataset *Dataset, numbers []Number) ([]Merge, error)
	// CandidateByID returns a match candidate; nil when there is none.
	CandidateByID(ctx context.Context, id UID) (*Candidate, error)
	// Candidates returns at most limit match candidates of a state (empty: of all) behind the key
	// after, by key.
	Candidates(ctx context.Context, state string, after int64, limit int) ([]Candidate, error)
	// CandidatesOf returns the match candidates that name one of those records.
	CandidatesOf(ctx context.Context, dataset *Dataset, numbers []Number) ([]Candidate, error)
}

// Indexes tells how the indexes of hashes stand, and finds people by the one of names.
type Indexes interface {
	// IndexStates returns the state of each index, and a count that moves whenever one is switched or
	// gets another key.
	IndexStates(ctx context.Context) (states map[IndexKind]IndexState, moves int64, err error)
	// FindNames returns the numbers, behind after and at most limit, of the individuals who have of
	// each list one token. They ascend.
	FindNames(ctx context.Context, tokens [][]uint32, after Number, limit int) ([]Number, error)
	// CountNames returns how many rows the index of names has, and for how many individuals they wait
	// to be made anew.
	CountNames(ctx context.Context) (rows, waiting int64, err error)
}

// IndexTx writes the indexes of hashes anew, within a transaction.
type IndexTx interface {
	// HoldIndex returns the state of an index. Nobody else holds it before the transaction ends.
	HoldIndex(ctx context.Context, kind IndexKind) (IndexState, error)
	// PutIndex writes the state of an index that is held. When it is switched by that, or gets another
	// key, those who write records under the former state are waited for, and others find that it has
	// moved, see FollowIndexes.
	PutIndex(ctx context.Context, state IndexState) error
	// FollowIndexes says before anything is written under which count of moves hashes are made, and
	// whether the index of names is kept. When records were written and the indexes have moved, at the
	// end of the transaction at the latest, it runs again, and fails with the code indexes_moved when
	// that does not help.
	FollowIndexes(ctx context.Context, moves int64, names bool) error
	// RecordsBehind returns the numbers of records on file, behind after and at most limit. They ascend.
	RecordsBehind(ctx context.Context, dataset *Dataset, after Number, limit int) ([]Number, error)
	// PutIdentifiers replaces the blind indexes of a record that LifeTx.Hold has returned. It is no
	// change of the record.
	PutIdentifiers(ctx context.Context, dataset *Dataset, number Number, identifiers []IdentifierIndex) error
}

// NameTx writes the index of names, within a transaction.
type NameTx interface {
	// DueNames returns the individuals on file whose record or area this transaction has written, and
	// those of TakeNames and TakeWaiting, each once; nobody unless names are kept, see FollowIndexes.
	DueNames(ctx context.Context) ([]DueName, error)
	// PutNames replaces the tokens of individuals, in the order of due. Erasing and deleting somebody
	// removes them.
	PutNames(ctx context.Context, due []DueName, tokens [][]uint32) error
	// TakeNames makes the names of individuals due, and locks their records.
	TakeNames(ctx context.Context, numbers []Number) error
	// WaitNames remembers for TakeWaiting everybody whose own area has one of those codes.
	WaitNames(ctx context.Context, codes []string) error
	// TakeWaiting makes the names of at most limit individuals due who wait for it, because of their
	// area or of a day on which a membership began or ended. It returns how many waited.
	TakeWaiting(ctx context.Context, limit int) (int, error)
	// DropNames removes at most limit rows of the index of names, and all that waits. It returns how
	// many rows it has removed.
	DropNames(ctx context.Context, limit int) (int64, error)
}

// Loads keeps the runs of imports and what each of them did.
type Loads interface {
	// LoadByID returns a load; nil when there is none.
	LoadByID(ctx context.Context, id UID) (*Load, error)
	// Loads returns at most limit loads, the newest first; those of one source when it is named.
	Loads(ctx context.Context, source string, limit int) ([]Load, error)
	// LoadsByKey returns the loads with those keys, in order of key. One that is not there is left out.
	LoadsByKey(ctx context.Context, keys []int64) ([]Load, error)
	// Confirmed returns the loads of a source that have confirmed records: those as of a later moment,
	// and undos; in the order in which they began.
	Confirmed(ctx context.Context, source string, after time.Time) ([]Load, error)
	// LoadEvents returns at most limit events of a load behind the event after, in the order in
	// which they were made.
	LoadEvents(ctx context.Context, l *Load, after int64, limit int) ([]LoadEvent, error)
	// Numbers returns the numbers of the records on file that have one of those keys, in the
	// order of keys; 0 where there is none, and where the record is deleted. It locks nothing.
	Numbers(ctx context.Context, keys []RecordKey) ([]Number, error)
	// NumbersOfSource returns the numbers, behind after and at most limit, of the records on file
	// that have a key of a source. They ascend.
	NumbersOfSource(ctx context.Context, dataset *Dataset, source string, after Number, limit int) ([]Number, error)
	KnownRows
}

// KnownRows keeps what rows of sources became, so that one that comes again is told from those that have
// changed before anything is made of it. What it says is a hint, and may be lost at any time.
type KnownRows interface {
	// RowBlocks returns the ids of the blocks of a source, in the order in which they were written.
	RowBlocks(ctx context.Context, source string) ([]int64, error)
	// RowBlock returns the rows of a block; nil when it is gone.
	RowBlock(ctx context.Context, id int64) ([]byte, error)
}

// RowTx writes what rows became. Erase removes the blocks between whose numbers the erased record lies.
type RowTx interface {
	// PutRowBlock writes a block and returns its id.
	PutRowBlock(ctx context.Context, b RowBlock) (id int64, err error)
	// DropRowBlocks removes blocks. One that is gone is left out.
	DropRowBlocks(ctx context.Context, ids []int64) error
}

// SpecTx writes export specifications, within a transaction.
type SpecTx interface {
	// PutExportSpec writes the next version of a specification: code spec_version when it is not that.
	PutExportSpec(ctx context.Context, s ExportSpec) error
	// DropExportSpec marks all versions of a specification as dropped.
	DropExportSpec(ctx context.Context, name string) error
}

// DecisionTx writes eligibility decisions, within a transaction.
type DecisionTx interface {
	// DecisionsUnder returns the decisions of an agreement that have one of those references.
	DecisionsUnder(ctx context.Context, agreement string, references []string) ([]EligibilityDecision, error)
	// PutDecision appends a decision and a touched event for its subject, which LifeTx.Hold has
	// returned. It fails with ErrDecisionTaken when its agreement has one with that reference.
	PutDecision(ctx context.Context, d EligibilityDecision) error
}

// RequestTx remembers which requests of writing were done, under the keys that clients gave them, within
// the transaction that does what they ask.
type RequestTx interface {
	// ClaimRequest keeps a request, unless one that is kept at r.At lies under its ID: that one comes back,
	// and nothing is written. Of several who claim an ID at once one gets it; the others wait for the end of
	// its transaction.
	ClaimRequest(ctx context.Context, r KeyedRequest) (earlier *KeyedRequest, err error)
	// EndRequest writes what came of a request that this or an earlier transaction has claimed: Status,
	// Noun, Record, Version and Until.
	EndRequest(ctx context.Context, r KeyedRequest) error
	// DropRequests removes at most limit requests that are kept until then, or less long. It returns how
	// many.
	DropRequests(ctx context.Context, then time.Time, limit int) (int64, error)
}

// KeyedRequest is a request of writing under the key that its client gave it: what was asked, and what
// came of it. The answer is not kept: whoever repeats a request is answered by what may be seen then.
type KeyedRequest struct {
	ID     UID      // keyed hash of the client, the route and the key
	Digest [16]byte // keyed, of what was asked
	At     time.Time
	Until  time.Time // it is kept; then its key is free again
	// Status is the one that its first answer had. 0: the request has not ended, it takes several
	// transactions.
	Status  int
	Noun    string // of what it was about or has made: individuals, change_requests …
	Record  UID
	Version int64 // of the record behind the request
}

// ChangeRequestTx writes what was asked of records and waits, within a transaction.
type ChangeRequestTx interface {
	// PutChangeRequest writes a change request by its ID, and a touched event for its subject, which
	// LifeTx.Hold has returned.
	PutChangeRequest(ctx context.Context, c ChangeRequest) error
	// HoldChangeRequest returns a change request, nil when there is none. Nobody else changes it before
	// the transaction ends.
	HoldChangeRequest(ctx context.Context, id UID) (*ChangeRequest, error)
}

// ChangeRequests keeps what was asked of records and waits, and tells what records were.
type ChangeRequests interface {
	// ChangeRequestByID returns a change request; nil when there is none.
	ChangeRequestByID(ctx context.Context, id UID) (*ChangeRequest, error)
	// ChangeRequests returns at most limit change requests behind the key after, by key.
	ChangeRequests(ctx context.Context, of WhichRequests, after int64, limit int) ([]ChangeRequest, error)
	// FormersOf returns the newest events of a record that keep what it was, at most limit and those
	// below a version only, 0: all. The last one comes first. An event that has no place in the log yet
	// is among them; Seq is not filled.
	FormersOf(ctx context.Context, dataset *Dataset, record Number, below, limit int) ([]Event, error)
}

// WhichRequests chooses change requests. What is empty chooses nothing.
type WhichRequests struct {
	Conflicts bool   // conflicts; otherwise those that are none
	Agreement string // of the applicant
	State     string
	Dataset   string
	Subject   Number // of the dataset; 0: each
}

// Decisions keeps what programs have decided.
type Decisions interface {
	// Decisions returns at most limit decisions of an agreement about subjects of a dataset, behind the
	// key after, by key.
	Decisions(ctx context.Context, agreement, dataset string, after int64, limit int) ([]EligibilityDecision, error)
	// DecisionsAbout returns the newest decisions of an agreement about a record on file, or about one that
	// was merged into it: at most limit, the newest first.
	DecisionsAbout(ctx context.Context, agreement string, subject SubjectRef, limit int) ([]EligibilityDecision, error)
}

// ExportSpecs keeps the export specifications, each in versions.
type ExportSpecs interface {
	// ExportSpec returns a version of a specification, the latest one when version is 0; nil when there
	// is none.
	ExportSpec(ctx context.Context, name string, version int) (*ExportSpec, error)
	// ExportSpecs returns the latest version of each specification of an agreement, by name; of all
	// agreements when it is empty.
	ExportSpecs(ctx context.Context, agreement string) ([]ExportSpec, error)
}

// ExportTx writes export jobs, within a transaction.
type ExportTx interface {
	// PutExportJob keeps a new job, which waits. ErrExportKnown: the client has one with that key.
	PutExportJob(ctx context.Context, id UID, order ExportOrder) error
	// CancelExport ends a job that has not ended, and one that is complete. Whoever has it loses it.
	CancelExport(ctx context.Context, id UID) error
}

// ExportJobs keeps the exports that run by themselves.
type ExportJobs interface {
	// ExportJob returns a job; nil when there is none.
	ExportJob(ctx context.Context, id UID) (*ExportJob, error)
	// ExportJobByKey returns the job that a client has asked for with that key; nil when there is none.
	ExportJobByKey(ctx context.Context, client UID, key []byte) (*ExportJob, error)
	// ExportJobs returns at most limit jobs of an agreement, of all when it is empty, the newest first.
	ExportJobs(ctx context.Context, agreement string, limit int) ([]ExportJob, error)
	// PreviousExport returns the newest job with that memory that is complete, or was before it expired; nil
	// when there is none.
	PreviousExport(ctx context.Context, memory []byte) (*ExportJob, error)
	// ExportParts returns the parts of a job that are complete, by number.
	ExportParts(ctx context.Context, id UID) ([]ExportPart, error)
	// UnsweptExports marks as expired what has expired, and returns at most limit jobs that have ended
	// and whose files are to go, the oldest first.
	UnsweptExports(ctx context.Context, limit int) ([]ExportJob, error)
	// SweepExport says that the files of a job that has ended are gone. Its parts go.
	SweepExport(ctx context.Context, id UID) error
}

// ExportQueue lends export jobs to workers, each to one at a time and for as long as a lease says. A
// worker whose lease is over can write nothing more of the job: ErrExportLost.
type ExportQueue interface {
	// ClaimExport lends a job that waits, or whose worker has let its lease pass: of the agreements that
	// have one the agreement whose turn is the longest ago, of its jobs the oldest. nil: there is none.
	ClaimExport(ctx context.Context, worker UID, lease time.Duration) (*ExportJob, error)
	// BeatExport extends the lease, and says how many rows and bytes are written.
	BeatExport(ctx context.Context, c ExportClaim, lease time.Duration, rows, bytes int64) error
	// PlanExport keeps who is in the export, sealed, and how many rows that is.
	PlanExport(ctx context.Context, c ExportClaim, plan []byte, total int64) error
	// PutExportPart keeps a part that is complete, also in the place of an earlier one of its number.
	PutExportPart(ctx context.Context, c ExportClaim, p ExportPart) error
	// EndExport ends a claim.
	EndExport(ctx context.Context, c ExportClaim, end ExportEnd) error
}

// Mappings keeps the mappings that are on file, each in versions.
type Mappings interface {
	// Mapping returns a version of a mapping, the latest one when version is 0; nil when there is none.
	Mapping(ctx context.Context, name string, version int) (*StoredMapping, error)
	// Mappings returns the latest version of each mapping, by name.
	Mappings(ctx context.Context) ([]StoredMapping, error)
}

// Writer runs transactions. fn may run again when the store asks for it; on error nothing of
// it is kept.
type Writer interface {
	Update(ctx context.Context, fn func(Tx) error) error
	// Share does an errand in a transaction of its own, or in one with the errands of others who come at the
	// same moment: most of what a transaction costs is the same for one and for many. What an errand refuses
	// is its own affair and leaves nothing behind; nobody's errand fails through another one's.
	Share(ctx context.Context, e Errand) error
	// Alone reports whether nobody else has written for some time or waits to write, where writers
	// take turns: whoever writes much then takes long ones. Where writers do not wait for each
	// other it is always true.
	Alone() bool
}

// Errand is a small transaction that may share one with others. It says beforehand what it is about, so that
// a store looks that up for many at once.
type Errand struct {
	Request UID // that Do claims; zero: none
	// Find asks, in the transaction and before Do, for the one matter of a UID that Do holds; nil: it holds
	// none. Its page has clear columns only, and is empty where the scope does not show that matter.
	Find *MatterQuestion
	// Holding calls do with what opens and seals the matters that were found, whose keys it has read at once. All
	// errands of a writer have the same one, so that it is asked for all that share a transaction; nil: cells is nil.
	Holding func(ctx context.Context, found []*Page, do func(cells Cells) error) error
	Do      func(tx Tx, cells Cells) error // may run again, behind Find
}

// ByItself does an errand whose matter was found, and nobody else's.
func (e *Errand) ByItself(ctx context.Context, tx Tx) error {
	do := func(cells Cells) error { return e.Do(tx, cells) }
	if e.Holding == nil || e.Find == nil {
		return do(nil)
	}
	return e.Holding(ctx, []*Page{e.Find.Page}, do)
}

// Requests tells which requests will never end by themselves.
type Requests interface {
	// AbandonedRequests returns requests that have releases and no outcome, and whose process does
	// not run any more: nobody else will end them.
	AbandonedRequests(ctx context.Context) ([]UID, error)
}

// Standings answers who a caller is at this moment. It is asked again for every page.
type Standings interface {
	// ClientByKeyID finds a client by the public part of its key; nil when there is none.
	ClientByKeyID(ctx context.Context, keyID string) (*Client, error)
	// ClientByID finds a client; nil when there is none.
	ClientByID(ctx context.Context, id UID) (*Client, error)
	// Agreement returns the latest version of an agreement; nil when there is none.
	Agreement(ctx context.Context, name string) (*Agreement, error)
	// Policy returns the policy in force; nil when none is on file.
	Policy(ctx context.Context) (*Policy, error)
	// TokenByHash finds an access token; nil when there is none.
	TokenByHash(ctx context.Context, hash TokenHash) (*Token, error)
	// Epoch moves with every change of a client, agreement, policy, restriction, consent or area, and with
	// the revocation of a token. What was read under another epoch must be decided and read again.
	Epoch(ctx context.Context) (int64, error)
}

// Roster lists what standings are read from.
type Roster interface {
	// Clients returns all clients, newest first.
	Clients(ctx context.Context) ([]Client, error)
	// Agreements returns the latest version of every agreement, by name.
	Agreements(ctx context.Context) ([]Agreement, error)
	// Policies returns the versions of the policy, newest first.
	Policies(ctx context.Context) ([]Policy, error)
}

// Tokens keeps access tokens, and remembers what may be shown once.
//
// Assertions are remembered durably. Proofs are too many for that: they are remembered under an
// epoch, which ends when the memory is lost. All nodes share it, or each has its own.
type Tokens interface {
	// PutToken keeps a token and claims what it was asked with. The assertion or the proof may be nil.
	// When one of them was shown before there is no token, and the other one may be claimed all the
	// same. Errors: ErrClaimed, ErrProofEpoch. When it returns, the token and the claim of the assertion
	// are durable.
	PutToken(ctx context.Context, t Token, assertion, proof *Claim, epoch UID) error
	// ClaimAssertion claims an assertion, durably. Of several who claim it at once, one succeeds; the
	// others get ErrClaimed.
	ClaimAssertion(ctx context.Context, c Claim) error
	// ClaimProof claims a proof. Of several who claim it at once, one succeeds; the others get
	// ErrClaimed. ErrProofEpoch says that the epoch is over: whoever made the proof makes another.
	ClaimProof(ctx context.Context, c Claim, epoch UID) error
	// ProofEpoch returns the epoch in force. It is never used again once it has ended.
	ProofEpoch(ctx context.Context) (UID, error)
	// RevokeToken revokes a token of that client. One that is revoked, or that is not there, stays so.
	RevokeToken(ctx context.Context, hash TokenHash, client UID, at time.Time) error
	// DropTokens removes tokens that expired before a moment, and claims and outside ends whose time is over now.
	DropTokens(ctx context.Context, expired, now time.Time) error
}

// Delegations keeps which clients act for which people.
type Delegations interface {
	// PutDelegation keeps a new one.
	PutDelegation(ctx context.Context, d Delegation) error
	// DelegationByHash finds the one with that hash, also that of the code it was taken up with; nil when
	// there is none.
	DelegationByHash(ctx context.Context, hash TokenHash) (*Delegation, error)
	// MoveDelegation writes d in the place of the one with its ID, if that has the hash from and has not
	// ended, and keeps the token with it, if there is one. Of several who do so at once, one succeeds; the
	// others get ErrClaimed. When it returns, both are durable.
	MoveDelegation(ctx context.Context, from TokenHash, d Delegation, token *Token) error
	// EndDelegation ends one, and with it its access tokens. One that has ended, or is not there, stays so.
	EndDelegation(ctx context.Context, id UID, at time.Time) error
	// DelegationsOf returns those of a person that were taken up and have not ended, the newest first.
	DelegationsOf(ctx context.Context, person UID) ([]Delegation, error)
	// DropDelegations removes those whose stage ended before a moment.
	DropDelegations(ctx context.Context, before time.Time) error
}

// Users tells who signs in, by what, and where they are signed in: always as it is at this moment.
type Users interface {
	// UserByID returns a user; nil when there is none.
	UserByID(ctx context.Context, id UID) (*User, error)
	// UserByName returns the user with that name; nil when there is none.
	UserByName(ctx context.Context, name string) (*User, error)
	// UserByInvitation returns the user whom an invitation waits for; nil when there is none.
	UserByInvitation(ctx context.Context, hash TokenHash) (*User, error)
	// Users returns all users, by name.
	Users(ctx context.Context) ([]User, error)
	// Factors returns what a user has registered, the oldest first.
	Factors(ctx context.Context, user UID) ([]Factor, error)
	// SessionByHash returns a session; nil when there is none.
	SessionByHash(ctx context.Context, hash TokenHash) (*Session, error)
	// SessionsOf returns where a user is signed in, the newest first.
	SessionsOf(ctx context.Context, user UID) ([]Session, error)
}

// UserTx writes users within a transaction.
type UserTx interface {
	// HoldUser locks a user and returns it, with what it has registered; nil when there is none.
	// Nobody else changes anything of it before the transaction ends.
	HoldUser(ctx context.Context, id UID) (*User, []Factor, error)
	// PutUser writes a user by its ID: code user_name_taken when another one has its name.
	PutUser(ctx context.Context, u User) error
	// PutFactor writes a factor by its ID; DropFactor removes one. Their user is held.
	PutFactor(ctx context.Context, f Factor) error
	DropFactor(ctx context.Context, user, factor UID) error
}

// SignInTx writes where people are signed in, and what went wrong on the way, within a transaction.
type SignInTx interface {
	// PutSession begins a session. TouchSession says when its browser was last seen, while it is there.
	PutSession(ctx context.Context, s Session) error
	TouchSession(ctx context.Context, hash TokenHash, seen time.Time) error
	// DropSession ends a session of a user and reports whether it was there; DropSessions ends all of
	// them.
	DropSession(ctx context.Context, user UID, hash TokenHash) (bool, error)
	DropSessions(ctx context.Context, user UID) error
	// HoldAttempts locks a lane and returns what is counted there; nobody else counts there before the
	// transaction ends. PutAttempts writes it, and forgets the lane when nothing failed.
	HoldAttempts(ctx context.Context, lane TokenHash) (Attempts, error)
	PutAttempts(ctx context.Context, a Attempts) error
	// DropSignIns removes sessions that nobody has seen, and lanes in which nothing failed, since then.
	DropSignIns(ctx context.Context, seen, failed time.Time) error
}

// Outside tells whose tokens count here although others issue them.
type Outside interface {
	// IdentityProviders returns those that count, by name.
	IdentityProviders(ctx context.Context) ([]IdentityProvider, error)
}

// OutsideTx writes what identity providers of others say, within a transaction.
type OutsideTx interface {
	// PutIdentityProvider writes the next version of a provider, by its name, and moves the epoch. Code
	// identity_provider_known when another one in force has its issuer.
	PutIdentityProvider(ctx context.Context, p IdentityProvider) error
	// PutOutsideToken keeps a token that an outside issuer has made. One that is over because of an
	// OutsideEnd is kept as revoked. It returns whether the token holds. Whoever keeps tokens of one person,
	// or ends them, waits for the others.
	PutOutsideToken(ctx context.Context, t Token) (holds bool, err error)
	// EndOutside ends tokens, also those that are going to be shown only later.
	EndOutside(ctx context.Context, e OutsideEnd) error
}

// ErrProviderKnown says that an issuer belongs to another identity provider.
var ErrProviderKnown = Conflict("identity_provider_known", "another identity provider on file has this issuer; remove that one first").On("issuer")

// ErrUserName says that a name belongs to another user.
var ErrUserName = Conflict("user_name_taken", "another user has this name, or had it: choose another one")

// Buckets counts requests for all nodes: a bucket holds so many, and gets another one every so often.
type Buckets interface {
	// Draw puts back what was drawn and not used, and draws what is wanted, or what is there of it. room
	// is how much stays. When nothing is there, wait is how long until one is.
	Draw(ctx context.Context, d Draw) (got, room int, wait time.Duration, err error)
}

// Draw is what is drawn from a bucket. Nobody has drawn from a new one: it is full.
type Draw struct {
	Bucket       string
	Unused, Want int
	Burst        int           // requests in a bucket that is full
	Every        time.Duration // between one that comes and the next
	Now          time.Time
	// Lasting: what was drawn is remembered whatever happens to process and machine. Such buckets are others.
	Lasting bool
}

// ErrClaimed says that something was shown that may be shown once.
var ErrClaimed = Unauthenticated("shown_before", "what proves the request was shown before; make another for each request")

// ErrProofEpoch says that proofs of an epoch that has ended were claimed.
var ErrProofEpoch = Unauthenticated("use_dpop_nonce", "the proof needs a nonce of this server that is younger than a minute: sign it again with the one in the header DPoP-Nonce")

// Subjects finds the people whose rights are exercised, and what they have said.
type Subjects interface {
	// SubjectByKey returns the number of the individual with that record key, the first one or
	// another, also of one that is deleted; 0 when there is none. For the operator only.
	SubjectByKey(ctx context.Context, source, key string) (Number, error)
	// SubjectByUID returns the number of the individual with that UID, also of one that is deleted;
	// 0 when there is none.
	SubjectByUID(ctx context.Context, uid UID) (Number, error)
	Restrictions(ctx context.Context, subject Number) ([]Restriction, error)
	Consents(ctx context.Context, subject Number) ([]Consent, error)
	// KeysOf returns all keys that lead to a record, its first one first, without what was reported
	// under them. Those of a deleted record are those that it had; none when it is not on file.
	KeysOf(ctx context.Context, dataset *Dataset, number Number) ([]RecordKey, error)
	// Tombstones returns the tombstones on file, in the order of erasure.
	Tombstones(ctx context.Context) ([]Tombstone, error)
	// Disputes returns identifiers that are not shareable and that several records on file hold, in
	// order of hash: at most limit, with a greater hash than after.
	Disputes(ctx context.Context, dataset *Dataset, after []byte, limit int) ([]Dispute, error)
}

// Reference holds what describes the data and is nobody's: the declared part of the
// dictionary and the areas.
type Reference interface {
	// Extensions returns what was declared, in order of declaration.
	Extensions(ctx context.Context) ([]Extension, error)
	// Declare stores an extension and prepares columns for its filterable fields.
	Declare(ctx context.Context, x Extension, extended *Dictionary, entry LedgerRow) error
	// Areas returns all areas, by level and code, and their version.
	Areas(ctx context.Context) (areas []Area, version int64, err error)
	// Reorganizations returns all that were recorded, in order of their effective day.
	Reorganizations(ctx context.Context) ([]Reorganization, error)
	// AreaExists reports which of the codes are areas on file.
	AreaExists(ctx context.Context, codes []string) (map[string]bool, error)
	// Crosswalks returns the latest version of each crosswalk, by source and list.
	Crosswalks(ctx context.Context) ([]Crosswalk, error)
	// Unmapped returns what loads have met that no crosswalk has, of one source when it is named,
	// by source, field and number of times, the greatest first.
	Unmapped(ctx context.Context, source string) ([]Unmapped, error)
}

// SyncState is what is kept of a source that is synchronized, from one run to the next.
type SyncState struct {
	Source string // its name in the configuration
	Holder UID    // the process that synchronizes it; zero: none does
	// HeldUntil is when the holder loses the source, unless it asks for it again.
	HeldUntil time.Time
	// Body is JSON of whoever synchronizes: how far each query was read, counts and codes.
	Body []byte
}

// Syncs keeps the state of sources that are synchronized and lends each of them to one process at
// a time.
type Syncs interface {
	// HoldSync lends a source to a holder for as long as lease says, again when it has it already,
	// and returns what is kept of it. It fails with code sync_held while another one has it.
	HoldSync(ctx context.Context, source string, holder UID, lease time.Duration) (SyncState, error)
	// PutSync keeps the body of a source. It fails with code sync_lost when another one has taken
	// the source meanwhile.
	PutSync(ctx context.Context, source string, holder UID, body []byte) error
	// FreeSync gives a source back, if the holder still has it.
	FreeSync(ctx context.Context, source string, holder UID) error
	// Syncs returns what is kept of all sources, by name.
	Syncs(ctx context.Context) ([]SyncState, error)
}

// ScheduleSync is the name under which the schedules of exports are lent like a source. No source has
// it: their names have no slash.
const ScheduleSync = "exports/schedules"

// ErrSyncHeld says that a source is being synchronized by another process.
var ErrSyncHeld = Conflict("sync_held", "another process synchronizes this source; stop that one first, or wait a minute if it has died")

// ErrSyncLost says that a process has lost a source, because it did not answer for too long.
var ErrSyncLost = Conflict("sync_lost", "another process has taken over this source, because this one did not answer for too long; nothing more of it is kept")
