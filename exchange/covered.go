package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Holding is what somebody holds of one request: ids of individuals as that partner knows them.
type Holding struct {
	Request annona.UID
	IDs     []string
}

// Coverage compares a holding with the ledger.
type Coverage struct {
	Released int      // individuals whom the releases of the request name
	Missing  []string // ids held that no release of the request names
}

// CompareHoldings compares what somebody holds with what the ledger says left, under the id realm of
// the agreement: it tells whether a file stems from a request. It never tells who else is in
// that request. Only the operator may ask, and the asking is recorded.
func (x *Exchange) CompareHoldings(ctx context.Context, caller annona.Caller, ledger annona.LedgerReader, realm string, held []Holding) ([]Coverage, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	entry := x.administration(caller, audit.Facts{Verb: annona.VerbLedger, Details: map[string]string{"act": "holding_compared", "id_realm": realm}})
	if err := x.Ledger.Append(ctx, entry); err != nil {
		return nil, unrecorded(err)
	}
	released, err := x.releasedBy(ctx, ledger, held)
	if err != nil {
		return nil, err
	}
	find, err := x.finder(realm)
	if err != nil {
		return nil, err
	}
	out := make([]Coverage, len(held))
	for i, h := range held {
		people := released[h.Request]
		out[i].Released = len(people)
		for _, id := range h.IDs {
			number, err := find(ctx, id)
			if err != nil {
				return nil, err
			}
			if !people[number] {
				out[i].Missing = append(out[i].Missing, id)
			}
		}
	}
	return out, nil
}

// releasedBy reads the individuals whom the releases of these requests name.
func (x *Exchange) releasedBy(ctx context.Context, ledger annona.LedgerReader, held []Holding) (map[annona.UID]map[annona.Number]bool, error) {
	released := make(map[annona.UID]map[annona.Number]bool, len(held))
	for _, h := range held {
		released[h.Request] = map[annona.Number]bool{}
	}
	opener := audit.Opener{Vault: x.Vault, Ledger: x.History}
	return released, ledger.WalkLedger(ctx, func(row annona.LedgerRow) error {
		people := released[row.Request]
		if people == nil || row.Kind != annona.EntryRelease {
			return nil
		}
		entry, err := opener.Open(ctx, row)
		if err != nil {
			return err
		}
		for _, set := range entry.Subjects {
			if set.Noun != "individual" {
				continue
			}
			for _, n := range set.Numbers {
				people[n] = true
			}
		}
		return nil
	})
}

// finder returns what finds an individual by its id in a realm; 0 when nobody has it. It
// remembers what it found.
func (x *Exchange) finder(name string) (func(context.Context, string) (annona.Number, error), error) {
	realm, err := x.Vault.Realm(name)
	if err != nil {
		return nil, err
	}
	known := map[string]annona.Number{}
	return func(ctx context.Context, id string) (annona.Number, error) {
		if n, ok := known[id]; ok {
			return n, nil
		}
		uid, ok := realm.ParseID(id)
		if !ok {
			return 0, nil
		}
		n, err := x.Subjects.SubjectByUID(ctx, uid)
		known[id] = n
		return n, err
	}, nil
}
