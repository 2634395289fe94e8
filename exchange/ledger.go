package exchange

import (
	"context"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// PruneLedger deletes what entries of days before the given one say. Their leaves stay, and
// with them every proof. The entry that tells of it comes first: content that is missing
// without one is a deviation. It returns below which index content is gone, and how many
// entries lost some.
func (x *Exchange) PruneLedger(ctx context.Context, caller annona.Caller, before annona.Date, ledger annona.LedgerPruner) (below, entries int64, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, 0, err
	}
	day, err := annona.ParseDate(string(before))
	if err != nil {
		return 0, 0, err
	}
	if day > x.today(x.Clock()) {
		return 0, 0, annona.Invalid("prune_too_new", "content of days that have passed can be deleted, of later ones not").On("before")
	}
	midnight, err := time.ParseInLocation(time.DateOnly, string(day), x.Zone)
	if err != nil {
		return 0, 0, annona.Internal("read a day", err)
	}
	if _, err := ledger.PruneLedger(ctx, 0); err != nil {
		return 0, 0, err // may not, and nothing tells of it
	}
	if below, err = ledger.FirstEntryAt(ctx, midnight); err != nil || below == 0 {
		return below, 0, err
	}
	if err := x.Ledger.Append(ctx, x.administration(caller, audit.PruneFacts(day, below))); err != nil {
		return below, 0, unrecorded(err)
	}
	entries, err = ledger.PruneLedger(ctx, below)
	return below, entries, err
}

// RecordLedgerCopy records that a copy of the ledger is made, and whether it says what entries
// say. It comes before the copy.
func (x *Exchange) RecordLedgerCopy(ctx context.Context, caller annona.Caller, content bool) error {
	return x.recordAct(ctx, caller, audit.Facts{Verb: annona.VerbExportLedger, Details: map[string]string{"content": strconv.FormatBool(content)}})
}

// RecordKeyRotation records that checkpoints have a new public key.
func (x *Exchange) RecordKeyRotation(ctx context.Context, caller annona.Caller, key string) error {
	return x.recordAct(ctx, caller, audit.Facts{Verb: annona.VerbRotateKey, Details: map[string]string{"public_key": key}})
}

func (x *Exchange) recordAct(ctx context.Context, caller annona.Caller, facts audit.Facts) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	if err := x.Ledger.Append(ctx, x.administration(caller, facts)); err != nil {
		return unrecorded(err)
	}
	return nil
}
