package audit

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Report is what a walk over the ledger found.
type Report struct {
	Entries      int64     `json:"entries"`
	Releases     int64     `json:"releases"`
	Outcomes     int64     `json:"outcomes"`
	Parts        int64     `json:"parts"`         // still there
	PartsDeleted int64     `json:"parts_deleted"` // committed to, but deleted since
	OpenRequests int       `json:"open_requests"` // have releases and no outcome
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

// Verify walks the whole ledger and checks that positions have no gap, that each leaf says
// what its row says, that each part still there is the one committed to, and that the tree
// over all leaves has the root that the store keeps. It never stops at a deviation; the error
// is that of a ledger that could not be read.
//
// A running server may append meanwhile: the root is compared at the size before the walk and
// once more after it. Somebody who rewrites rows and root together is found out by comparing
// Report.Root with one noted elsewhere, not by Verify alone.
func Verify(ctx context.Context, ledger annona.LedgerReader) (Report, error) {
	size, root, err := ledger.LedgerTree(ctx)
	if err != nil {
		return Report{}, err
	}
	v := verifier{
		tree: (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0),
		open: map[annona.UID]bool{},
	}
	err = ledger.WalkLedger(ctx, func(row annona.LedgerRow) error {
		if err := v.entry(row); err != nil {
			return err
		}
		if v.report.Entries == size {
			v.compareRoot(root)
		}
		return nil
	})
	if err != nil {
		return Report{}, err
	}
	if v.report.Entries < size {
		v.find(OfTree, "entries_missing", fmt.Sprintf("the tree has %d entries, only %d are there", size, v.report.Entries))
	}
	if err := v.finish(ctx, ledger, size); err != nil {
		return Report{}, err
	}
	return v.report, nil
}

// verifier is a walk in progress.
type verifier struct {
	report Report
	tree   *compact.Range
	next   int64 // the position expected next
	open   map[annona.UID]bool
}

func (v *verifier) entry(row annona.LedgerRow) error {
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
	v.report.PartsDeleted += int64(max(0, len(l.parts)-len(row.Parts)))
	switch row.Kind {
	case annona.EntryRelease:
		v.report.Releases++
		v.open[row.Request] = true
	case annona.EntryOutcome:
		v.report.Outcomes++
		delete(v.open, row.Request)
	}
	hash := hashLeaf(row.Leaf)
	return v.tree.Append(hash[:], nil)
}

// finish compares the end of the walk with the tree as it is by now.
func (v *verifier) finish(ctx context.Context, ledger annona.LedgerReader, sizeBefore int64) error {
	size, root, err := ledger.LedgerTree(ctx)
	if err != nil {
		return err
	}
	if v.report.Entries > size {
		v.find(OfTree, "entries_added", fmt.Sprintf("%d entries are there, the tree has only %d", v.report.Entries, size))
	}
	if v.report.Entries == size && size > sizeBefore {
		v.compareRoot(root)
	}
	v.report.OpenRequests = len(v.open)
	v.report.Root = hex.EncodeToString(v.root())
	return nil
}

func (v *verifier) compareRoot(kept [32]byte) {
	if [32]byte(v.root()) != kept {
		v.find(OfTree, "root_changed", fmt.Sprintf("the first %d entries do not have the root that the tree had", v.report.Entries))
	}
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
