package exchange

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Backup is one backup, or one copy of the keys, as the ledger tells of it.
type Backup struct {
	Verb       annona.Verb // VerbBackup or VerbCopyKeys
	Recipients []string    // fingerprints of those who can open it
	// Begin returns where the tables go, for the state that they have.
	Begin func(annona.StoreState) (annona.TableSink, error)
	// Finish ends the file, durably, and returns how many bytes and rows it has.
	Finish func() (bytes, rows int64, err error)
}

// TakeBackup gives a whole store out, sealed to its recipients. It is a disclosure of everybody:
// an entry is durable before the first byte leaves, and another one says how it ended, also when it
// was broken off. Only the operator may.
func (x *Exchange) TakeBackup(ctx context.Context, caller annona.Caller, from annona.Dumper, b Backup) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	request := annona.NewUID()
	details := map[string]string{"step": "started", "recipients": strings.Join(b.Recipients, " ")}
	if err := x.Ledger.Append(ctx, x.backupEntry(caller, request, audit.Facts{Verb: b.Verb, Details: details})); err != nil {
		return err
	}
	ended := audit.Facts{Verb: b.Verb, Outcome: audit.Complete, Details: map[string]string{"step": "ended", "recipients": details["recipients"]}}
	err := from.Dump(ctx, func(state annona.StoreState) (annona.TableSink, error) {
		ended.Details["log_position"] = strconv.FormatInt(state.Position, 10)
		ended.Details["ledger_size"] = strconv.FormatInt(state.LedgerSize, 10)
		return b.Begin(state)
	})
	if err == nil {
		var bytes int64
		bytes, ended.Rows, err = b.Finish()
		ended.Details["bytes"] = strconv.FormatInt(bytes, 10)
	}
	if err != nil {
		ended.Outcome, ended.Reason, ended.Rows = audit.Aborted, reasonOf(err), 0
	}
	return errors.Join(err, x.Ledger.Append(context.WithoutCancel(ctx), x.backupEntry(caller, request, ended)))
}

// reasonOf is the code under which the ledger keeps why something broke off.
func reasonOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	return annona.CodeOf(err)
}

func (x *Exchange) backupEntry(caller annona.Caller, request annona.UID, facts audit.Facts) annona.LedgerRow {
	return audit.Administration(x.Clock(), request, facts, caller)
}

// Restored is what a store was restored from.
type Restored struct {
	Made       string // when the backup was made
	Position   int64  // of the log, in the backup
	LedgerSize int64  // of the tree, in the backup
	Proof      string // what tells this backup from every other
	Keys       string // kept, or when the copy of the keys was made
	Drill      bool
	Last       map[string]annona.Number // numbers that are not given out again, by dataset
}

// Revive makes a store that was loaded from a backup fit to serve: a new epoch of the log, numbers
// that were never given out, and an entry that says what happened, the first one after those of
// the backup. Only the operator may.
func (x *Exchange) Revive(ctx context.Context, caller annona.Caller, s annona.Reviver, r Restored) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	facts := audit.Facts{Verb: annona.VerbRestore, Details: map[string]string{
		"backup": r.Proof, "made_at": r.Made, "keys": r.Keys,
		"log_position": strconv.FormatInt(r.Position, 10), "ledger_size": strconv.FormatInt(r.LedgerSize, 10),
	}}
	if r.Drill {
		facts.Details["drill"] = "true"
	}
	return s.Renew(ctx, r.Last, x.Vault.SealEntry(audit.Administration(x.Clock(), annona.NewUID(), facts, caller)))
}

// Rebury takes those out of a restored registry again who were erased after the backup was made,
// and keeps all tombstones. Keys that a copy may have brought back are destroyed again; when the
// key store was kept, only those of erasures that were interrupted. It returns how many records it
// took out. It may run again.
func (x *Exchange) Rebury(ctx context.Context, caller annona.Caller, stones []annona.Tombstone, keysCopied bool) (erased int, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	known, err := x.Subjects.Tombstones(ctx)
	if err != nil {
		return 0, err
	}
	onFile := make(map[annona.UID]annona.Tombstone, len(known))
	for _, stone := range known {
		onFile[stone.ID] = stone
	}
	for _, stone := range stones {
		if !x.Clock().Before(stone.ExpiresAt) {
			continue
		}
		already, buried := onFile[stone.ID]
		if buried {
			stone = already
		}
		place, err := x.placeOf(ctx, stone)
		if err != nil {
			return erased, err
		}
		if !buried {
			if err := x.buryAgain(ctx, caller, stone, place); err != nil {
				return erased, err
			}
			if place == placeOwn {
				erased++
			}
		}
		if of, _ := x.CurrentDictionary().Dataset(stone.Dataset); of.Matter && buried && !stone.ShreddedAt.IsZero() {
			continue // its number may be another one's by now
		}
		if place != placeOthers && (keysCopied || stone.ShreddedAt.IsZero()) {
			if _, err := x.shred(ctx, caller, stone); err != nil {
				return erased, err
			}
		}
	}
	return erased, nil
}

// What is on file under the number of a tombstone.
const (
	placeEmpty  = iota
	placeOwn    // the record that was erased
	placeOthers // another record: a number is given once, but its key is worth a look
)

func (x *Exchange) placeOf(ctx context.Context, stone annona.Tombstone) (int, error) {
	dataset, ok := x.CurrentDictionary().Dataset(stone.Dataset)
	if !ok {
		return 0, annona.Conflict("tombstones_damaged", "a tombstone is of no dataset that this registry has; use another copy of the file")
	}
	if dataset.Matter {
		return placeEmpty, nil // it goes with its subject
	}
	keys, err := x.Subjects.KeysOf(ctx, dataset, stone.Number)
	if err != nil || len(keys) == 0 {
		return placeEmpty, err
	}
	if slices.ContainsFunc(keys, func(k annona.RecordKey) bool { return k.Source == stone.Source && k.Key == stone.Key }) {
		return placeOwn, nil
	}
	return placeOthers, nil
}

// buryAgain puts a tombstone into the registry, and takes the record out that is under it.
func (x *Exchange) buryAgain(ctx context.Context, caller annona.Caller, stone annona.Tombstone, place int) error {
	dataset, _ := x.CurrentDictionary().Dataset(stone.Dataset)
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		if place == placeOwn {
			if _, err := tx.EraseMatters(ctx, annona.Author{Operator: caller.Operator}, annona.SubjectRef{Dataset: dataset.Name, Number: stone.Number}); err != nil {
				return err
			}
			if err := tx.Erase(ctx, caller.Operator, dataset, stone.Number); err != nil {
				return err
			}
		}
		if dataset.Matter { // which was removed by itself: one that went with its subject is not there any more
			if _, err := tx.EraseMatter(ctx, annona.Author{Operator: caller.Operator}, annona.MatterRef{Dataset: dataset.Name, Number: stone.Number}); err != nil {
				return err
			}
		}
		if err := tx.PutTombstone(ctx, stone); err != nil || dataset.Matter {
			return err
		}
		return tx.AppendEntry(ctx, x.erasureEntry(caller, dataset, stone, "erased_again", nil))
	})
}

// checkPage is how many records are opened at a time.
const checkPage = 4096

// CheckSealed opens the sealed part of every record that is not restricted, shows it to nobody,
// and returns how many it opened. Records whose key is missing are refused with code key_gone.
func (x *Exchange) CheckSealed(ctx context.Context, caller annona.Caller) (opened int64, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	for _, name := range []string{"households", "individuals"} {
		dataset, _ := x.CurrentDictionary().Dataset(name)
		sealed := slices.IndexFunc(dataset.Fields, func(f *annona.Field) bool { return f.IsSealed() && !f.Derived && f.Type != annona.TypeGroup })
		if sealed < 0 {
			continue
		}
		shape := &annona.Shape{Dataset: dataset, Columns: dataset.Fields[sealed : sealed+1]}
		n, err := x.checkSealed(ctx, shape)
		if opened += n; err != nil {
			return opened, err
		}
	}
	return opened, nil
}

func (x *Exchange) checkSealed(ctx context.Context, shape *annona.Shape) (opened int64, err error) {
	today := x.today(x.Clock())
	scope := annona.NewScope(shape, nil, nil, annona.ScopeTerms{Basis: annona.BasisLegalObligation, AsOf: today, Today: today})
	page := annona.NewPage(shape)
	for after, more := annona.Number(0), true; more; {
		page.Reset()
		if more, err = x.Records.ReadPage(ctx, scope, after, 0, checkPage, page); err != nil {
			return opened, err
		}
		if page.Count > 0 {
			after = page.Numbers[page.Count-1]
		}
		if err := x.Vault.Open(ctx, page); err != nil {
			return opened, err
		}
		opened += int64(page.Count)
	}
	return opened, nil
}
