package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

// Report is what a walk over the ledger found.
type Report struct {
	Entries      int64     `json:"entries"`
	Releases     int64     `json:"releases"`
	Outcomes     int64     `json:"outcomes"`
	Parts        int64     `json:"parts"`         // still there
	PartsDeleted int64     `json:"parts_deleted"` // committed to, but deleted since
	PrunedBelow  int64     `json:"pruned_below"`  // entries below this position were pruned, the ledger says so itself
	OpenRequests int       `json:"open_requests"` // have releases and no outcome
	Checkpoints  int64     `json:"checkpoints"`   // that were checked, those from elsewhere included
	Signed       int64     `json:"signed"`        // entries that the latest checkpoint covers
	Root         string    `json:"root"`          // of the tree over all entries, hexadecimal
	Deviations   int64     `json:"deviations"`    // how many there are; 0: the ledger is whole
	Findings     []Finding `json:"findings"`      // the first of them, at most MaxFindings
}

// Finding is one deviation.
type Finding struct {
	Index   int64  `json:"index"`   // of the entry; OfTree when it concerns the tree as a whole
	Code    string `json:"code"`    // stable, snake_case
	Message string `json:"message"` // for the person who reads it
}

// OfTree is the Index of a finding that concerns no single entry.
const OfTree = -1

// MaxFindings bounds the list of findings; further ones are counted only.
const MaxFindings = 100

// Whole reports whether nothing deviates.
func (r Report) Whole() bool { return r.Deviations == 0 }

// Evidence is what a ledger is held against, beside itself.
type Evidence struct {
	Keys  []string // public keys of checkpoints
	Noted []string // checkpoints, as signed notes, that somebody else has kept
}

// Live is a ledger in its store.
type Live struct {
	Ledger      annona.LedgerReader
	Checkpoints annona.Checkpoints
	Vault       annona.EntryVault
}

// Verify walks the whole ledger and checks that positions have no gap, that each leaf says
// what its row says, that each part still there opens and is the one committed to, that only
// content which the ledger says was pruned is missing, that the tree over all leaves has the
// root that the store keeps, and that every checkpoint is signed and states a root that the
// tree had. It never stops at a deviation; the error is that of a ledger that could not be
// read, or of evidence that is malformed.
//
// A running server may append meanwhile: the root is compared at the size before the walk and
// once more after it. Somebody who rewrites everything, checkpoints included, is found out by
// a checkpoint noted elsewhere, not by Verify alone.
func Verify(ctx context.Context, l Live, e Evidence) (Report, error) {
	size, root, err := l.Ledger.LedgerTree(ctx)
	if err != nil {
		return Report{}, err
	}
	v, err := newVerifier(e)
	if err != nil {
		return Report{}, err
	}
	v.expect(milestone{annona.Checkpoint{Size: size, Root: root}, "root_changed", "the tree that the store keeps"})
	signed := &checkpointStream{ctx: ctx, of: l.Checkpoints}
	content := liveContent{Opener{Vault: l.Vault, Ledger: l.Ledger}}
	err = l.Ledger.WalkLedger(ctx, func(row annona.LedgerRow) error {
		if err := content.check(ctx, v, row); err != nil {
			return err
		}
		return signed.upTo(v.report.Entries, func(c annona.Checkpoint) error { v.checkpoint(c); return nil })
	})
	if err != nil {
		return Report{}, err
	}
	if v.report.Entries < size {
		v.find(OfTree, "entries_missing", fmt.Sprintf("the tree has %d entries, only %d are there", size, v.report.Entries))
		v.dropTree()
	}
	after, rootAfter, err := l.Ledger.LedgerTree(ctx)
	if err != nil {
		return Report{}, err
	}
	if v.report.Entries > after {
		v.find(OfTree, "entries_added", fmt.Sprintf("%d entries are there, the tree has only %d", v.report.Entries, after))
	}
	if v.report.Entries == after && after > size {
		v.compare(milestone{annona.Checkpoint{Size: after, Root: rootAfter}, "root_changed", "the tree that the store keeps"})
	}
	if err := v.rest(signed, after); err != nil {
		return Report{}, err
	}
	v.checkMissing()
	return v.finish(), nil
}

// liveContent opens what entries of a store say.
type liveContent struct{ Opener }

// check checks one entry and what it says.
func (c *liveContent) check(ctx context.Context, v *verifier, row annona.LedgerRow) error {
	opened, err := c.Vault.OpenEntry(row)
	if err != nil {
		if annona.CodeOf(err) != "part_unopened" {
			return err
		}
		v.find(row.Index, "part_unopened", err.Error())
		opened = row
		opened.Parts = nil // what cannot be opened is neither there nor lawfully deleted
		v.unopened = true
	}
	v.entry(opened)
	v.unopened = false
	for i := range opened.Parts {
		if err := c.checkList(ctx, v, opened, opened.Parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkList looks for the list of fields that a part names.
func (c *liveContent) checkList(ctx context.Context, v *verifier, row annona.LedgerRow, p annona.LedgerPart) error {
	h, ok := listOf(p)
	if !ok || h == (hash{}) {
		return nil
	}
	_, err := c.list(ctx, h)
	if code := annona.CodeOf(err); err != nil && code != "fields_missing" && code != "part_malformed" {
		return err
	}
	if err != nil {
		v.find(row.Index, "fields_missing", errFields.Message)
	}
	return nil
}

// listOf returns the hash of the list that a part names; false when it does not decode, which
// another check reports.
func listOf(p annona.LedgerPart) (hash, bool) {
	switch {
	case p.Name == partFacts:
		var named struct {
			Fields string `json:"fields"`
		}
		if json.Unmarshal(p.Content, &named) != nil {
			return hash{}, false
		}
		h, err := parseHash(named.Fields)
		return h, err == nil
	case p.Noun != "":
		s, err := decodeSubjects(p.Content)
		return s.fields, err == nil
	}
	return hash{}, false
}

// verifier is a walk in progress.
type verifier struct {
	report    Report
	keys      note.Verifiers
	tree      *compact.Range
	next      int64 // the position expected next
	open      map[annona.UID]bool
	ahead     []milestone // by size
	missing   []entryRun  // entries that lack content, in runs
	tooMany   int64       // runs that were not kept
	unopened  bool        // the parts of the entry at hand are there but do not open
	commanded int64       // pruning that the ledger itself tells of
}

// milestone is a root that the tree has to have at one size.
type milestone struct {
	annona.Checkpoint
	code  string // of the finding when it does not
	named string // what states it
}

// entryRun is entries one behind the other: from, up to but without to.
type entryRun struct{ from, to int64 }

func newVerifier(e Evidence) (*verifier, error) {
	keys, err := verifiersOf(e.Keys)
	if err != nil {
		return nil, err
	}
	v := &verifier{keys: keys, tree: ranges().NewEmptyRange(0), open: map[annona.UID]bool{}}
	for _, signed := range e.Noted {
		c, err := openCheckpoint(signed, keys)
		if err != nil {
			return nil, err
		}
		v.expect(milestone{c, "checkpoint_contradicted", "the checkpoint noted elsewhere"})
		v.report.Checkpoints++
	}
	return v, nil
}

func (v *verifier) expect(m milestone) {
	v.ahead = append(v.ahead, m)
	slices.SortStableFunc(v.ahead, func(a, b milestone) int { return int(a.Size - b.Size) })
}

// reach compares the tree with what is expected of it at its present size.
func (v *verifier) reach() {
	for len(v.ahead) > 0 && v.ahead[0].Size == v.report.Entries {
		v.compare(v.ahead[0])
		v.ahead = v.ahead[1:]
	}
}

func (v *verifier) compare(m milestone) {
	if [32]byte(v.root()) != m.Root {
		v.find(OfTree, m.code, fmt.Sprintf("the first %d entries do not have the root that %s says", m.Size, m.named))
	}
}

// dropTree forgets the tree of the store as something to be reached: that it cannot be was
// found already.
func (v *verifier) dropTree() {
	v.ahead = slices.DeleteFunc(v.ahead, func(m milestone) bool { return m.code == "root_changed" })
}

// entry checks one entry, whose parts are open.
func (v *verifier) entry(row annona.LedgerRow) {
	if row.Index != v.next {
		v.find(row.Index, "position_wrong", fmt.Sprintf("position %d was expected here", v.next))
	}
	v.next = row.Index + 1
	l, findings := checkRow(row)
	for _, f := range findings {
		v.find(f.Index, f.Code, f.Message)
	}
	v.report.Entries++
	v.report.Parts += int64(len(row.Parts))
	if deleted := len(l.parts) - len(row.Parts); deleted > 0 && !v.unopened {
		v.report.PartsDeleted += int64(deleted)
		v.lacks(row.Index)
	}
	switch row.Kind {
	case annona.EntryRelease:
		v.report.Releases++
		v.open[row.Request] = true
	case annona.EntryOutcome:
		v.report.Outcomes++
		delete(v.open, row.Request)
	case annona.EntryAdministration:
		v.commanded = max(v.commanded, pruning(row))
	}
	h := hashLeaf(row.Leaf)
	_ = v.tree.Append(h[:], nil) // only a visitor can fail
	v.reach()
}

// lacks remembers that an entry has lost content.
func (v *verifier) lacks(index int64) {
	last := len(v.missing) - 1
	switch {
	case last >= 0 && v.missing[last].to == index:
		v.missing[last].to++
	case len(v.missing) <= MaxFindings:
		v.missing = append(v.missing, entryRun{index, index + 1})
	default:
		v.tooMany++
	}
}

// pruneBound is the detail of a pruning's entry that says up to where content was deleted.
const pruneBound = "entries_below"

// PruneFacts are the facts of an entry that tells of a pruning. Without it, content that is
// missing is a deviation.
func PruneFacts(before annona.Date, below int64) Facts {
	return Facts{Verb: annona.VerbPruneLedger, Details: map[string]string{
		"before": string(before), pruneBound: strconv.FormatInt(below, 10),
	}}
}

// pruning returns the bound of the pruning that an entry tells of; 0 when it tells of none.
func pruning(row annona.LedgerRow) int64 {
	for _, p := range row.Parts {
		if p.Name != partFacts {
			continue
		}
		facts, _, err := decodeFacts(p.Content)
		if err != nil || facts.Verb != annona.VerbPruneLedger {
			return 0
		}
		below, err := strconv.ParseInt(facts.Details[pruneBound], 10, 64)
		if err != nil || below > row.Index {
			return 0
		}
		return below
	}
	return 0
}

// finish reports what is known only at the end.
func (v *verifier) finish() Report {
	v.reach()
	for _, m := range v.ahead {
		v.find(OfTree, "entries_missing", fmt.Sprintf("%s has %d entries, only %d are there: the ledger was cut off, or an older copy was put in its place",
			m.named, m.Size, v.report.Entries))
	}
	v.report.PrunedBelow = v.commanded
	v.report.OpenRequests = len(v.open)
	v.report.Root = hex.EncodeToString(v.root())
	return v.report
}

// checkMissing reports content that is missing although no pruning tells of it.
func (v *verifier) checkMissing() {
	for _, s := range v.missing {
		if s.to > v.commanded {
			from := max(s.from, v.commanded)
			v.find(from, "content_missing", fmt.Sprintf("content of %d entries from here on is gone, and no entry tells of a pruning", s.to-from))
		}
	}
	v.report.Deviations += v.tooMany
}

func (v *verifier) root() []byte {
	root, err := v.tree.GetRootHash(nil)
	if err != nil || root == nil {
		return rfc6962.DefaultHasher.EmptyRoot()
	}
	return root
}

func (v *verifier) find(index int64, code, message string) {
	v.report.Deviations++
	if len(v.report.Findings) < MaxFindings {
		v.report.Findings = append(v.report.Findings, Finding{Index: index, Code: code, Message: message})
	}
}

// checkpoint checks a checkpoint at the size that the tree has now: its signature, what its
// note says, and the root.
func (v *verifier) checkpoint(c annona.Checkpoint) {
	v.report.Checkpoints++
	v.report.Signed = max(v.report.Signed, c.Size)
	signed, err := openCheckpoint(c.Note, v.keys)
	if err != nil || signed.Size != c.Size || signed.Root != c.Root {
		v.find(OfTree, "checkpoint_unsigned", fmt.Sprintf("the checkpoint of %d entries is not signed by the keys of this ledger, or was changed", c.Size))
		return
	}
	if c.Size == v.report.Entries {
		v.compare(milestone{c, "checkpoint_contradicted", "their signed checkpoint"})
	}
}

// rest checks the checkpoints that are left: those of entries that came during the walk are
// another walk's, those of entries that are not there at all are found.
func (v *verifier) rest(left *checkpointStream, size int64) error {
	return left.upTo(1<<62, func(c annona.Checkpoint) error {
		switch {
		case c.Size > size:
			v.find(OfTree, "entries_missing", fmt.Sprintf("a checkpoint states %d entries, the ledger has %d: it was cut off, or an older copy was put in its place", c.Size, size))
		case c.Size <= v.report.Entries:
			v.checkpoint(c)
		}
		return nil
	})
}

// checkpointStream hands out the checkpoints of a store as a walk comes by.
type checkpointStream struct {
	ctx  context.Context
	of   annona.Checkpoints
	page []annona.Checkpoint
	last int64 // size of the last one handed out
	done bool
}

// checkpointPage is how many checkpoints are fetched at a time.
const checkpointPage = 1000

// upTo calls fn for each checkpoint that is left up to that size.
func (s *checkpointStream) upTo(size int64, fn func(annona.Checkpoint) error) error {
	for {
		if len(s.page) == 0 && !s.done {
			var err error
			if s.page, err = s.of.CheckpointsAfter(s.ctx, s.last, checkpointPage); err != nil {
				return err
			}
			s.done = len(s.page) == 0
		}
		if len(s.page) == 0 || s.page[0].Size > size {
			return nil
		}
		c := s.page[0]
		s.last, s.page = c.Size, s.page[1:]
		if err := fn(c); err != nil {
			return err
		}
	}
}
