package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// History is the ledger as the gate reads it: to prove what it says, and to find what it says
// about somebody.
type History interface {
	annona.LedgerReader
	annona.LedgerIndex
	annona.Checkpoints
}

// Inclusion proves that entries of one request are in the tree of a checkpoint.
type Inclusion struct {
	Checkpoint annona.Checkpoint
	Entries    []ProvedEntry
	More       bool // there are more behind the last one
}

// ProvedEntry is a leaf with its proof. It tells nothing about anybody.
type ProvedEntry struct {
	Index  int64
	Leaf   []byte
	Hashes [][]byte
}

// MaxProofs bounds the entries of one Inclusion.
const MaxProofs = 200

// Checkpoint returns the latest signed checkpoint, for any client whose key is valid: it holds
// nothing about anybody.
func (x *Exchange) Checkpoint(ctx context.Context, caller annona.Caller) (annona.Checkpoint, error) {
	if err := x.recognize(ctx, caller); err != nil {
		return annona.Checkpoint{}, err
	}
	return x.checkpoint(ctx)
}

// Consistency proves that the tree of size to continues the one of size from.
func (x *Exchange) Consistency(ctx context.Context, caller annona.Caller, from, to int64) ([][]byte, error) {
	if err := x.recognize(ctx, caller); err != nil {
		return nil, err
	}
	latest, err := x.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if from < 1 || to < from || to > latest.Size {
		return nil, annona.Invalid("proof_out_of_range", "from and to are numbers of entries, from 1 up to that of the latest checkpoint, from not above to")
	}
	return audit.ConsistencyProof(ctx, x.History, from, to)
}

// Inclusion proves that the entries of a request of the caller's own agreement are in the tree:
// those behind the index after, -1 for the first. Another's request and an unknown one are the
// same answer.
func (x *Exchange) Inclusion(ctx context.Context, caller annona.Caller, request annona.UID, after int64) (*Inclusion, error) {
	if err := x.recognize(ctx, caller); err != nil {
		return nil, err
	}
	latest, err := x.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := x.History.EntriesOf(ctx, request, after, MaxProofs+1)
	if err != nil {
		return nil, err
	}
	if err := x.ownRequest(ctx, caller, rows); err != nil {
		return nil, err
	}
	p := &Inclusion{Checkpoint: latest}
	for _, row := range rows {
		if p.More = len(p.Entries) == MaxProofs || row.Index >= latest.Size; p.More {
			break
		}
		hashes, err := audit.InclusionProof(ctx, x.History, row.Index, latest.Size)
		if err != nil {
			return nil, err
		}
		p.Entries = append(p.Entries, ProvedEntry{row.Index, row.Leaf, hashes})
	}
	return p, nil
}

// ownRequest refuses entries that are not of the caller's agreement, as if there were none.
func (x *Exchange) ownRequest(ctx context.Context, caller annona.Caller, rows []annona.LedgerRow) error {
	none := annona.NotFound("no request with this id, or not one of your agreement")
	if len(rows) == 0 {
		return none
	}
	opener := audit.Opener{Vault: x.Vault, Ledger: x.History}
	e, err := opener.Open(ctx, rows[0])
	if err != nil {
		return err
	}
	if e.Caller == nil || e.Caller.Agreement != caller.Agreement || caller.IsOperator() {
		return none
	}
	return nil
}

// recognize is the whole decision about what holds no personal data: the caller's key is valid.
func (x *Exchange) recognize(ctx context.Context, caller annona.Caller) error {
	if caller.IsOperator() {
		return nil
	}
	_, err := x.standing(ctx, x.Standings, caller)
	return err
}

func (x *Exchange) checkpoint(ctx context.Context) (annona.Checkpoint, error) {
	latest, err := x.History.LatestCheckpoint(ctx)
	if err != nil {
		return annona.Checkpoint{}, err
	}
	if latest == nil {
		return annona.Checkpoint{}, annona.Unavailable("checkpoint_missing", "the ledger has no checkpoint yet; a server signs one within a second")
	}
	return *latest, nil
}
