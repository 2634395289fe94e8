package exchange

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// An erasure has two steps. The first is one transaction: the record goes, with all that hangs on
// it, and a tombstone comes in its place; from its commit on nobody is shown the record, and no
// import brings it back. The second destroys the key. A crash between the two is made good by
// FinishErasures: a tombstone says whether its key is gone.

// tombstoneLife is how long a tombstone keeps a record away: longer than a source may report it
// again from an old file.
const tombstoneLife = 10 * 365 * 24 * time.Hour

// The reasons of an erasure, those of GDPR Article 17(1) in its order, and of its refusal, those of
// Article 17(3).
var (
	erasureReasons = []string{"not_necessary", "consent_withdrawn", "objection", "unlawful", "legal_obligation", "child_consent"}
	refusalReasons = []string{"expression", "legal_obligation", "public_health", "archiving", "legal_claims"}
)

// Erase erases an individual, or a household whose members stay. It returns the tombstone, which
// says from when on nothing can bring the record back. When the key could not be destroyed the
// tombstone comes with an error of code shred_pending: the erasure is effective all the same.
func (x *Exchange) Erase(ctx context.Context, caller annona.Caller, s Subject, reason string) (annona.Tombstone, error) {
	if err := operatorOnly(caller); err != nil {
		return annona.Tombstone{}, err
	}
	if err := checkReason(reason, erasureReasons); err != nil {
		return annona.Tombstone{}, err
	}
	stones, err := x.bury(ctx, caller, s, reason)
	if err != nil {
		return annona.Tombstone{}, err
	}
	for i := range stones {
		if stones[i], err = x.shred(ctx, caller, stones[i]); err != nil {
			break
		}
	}
	return stones[0], err
}

// bury takes the first step. It returns a tombstone for each key that led to the record, that of the
// subject's name first.
func (x *Exchange) bury(ctx context.Context, caller annona.Caller, s Subject, reason string) (stones []annona.Tombstone, err error) {
	dataset := x.subjectDataset(s)
	now := x.Clock()
	stone := annona.Tombstone{ID: annona.NewUID(), Dataset: dataset.Name, Reason: reason, ErasedAt: now, ExpiresAt: now.Add(tombstoneLife)}
	if stone.Number, stone.Source, stone.Key, err = x.nameSubject(ctx, s); err != nil {
		return nil, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		known, err := tx.Find(ctx, []annona.RecordKey{{Dataset: dataset, Source: stone.Source, Key: stone.Key}})
		switch {
		case err != nil:
			return err
		case known[0].Erased:
			return annona.Gone("erased_already", "the record with this key was erased before")
		case known[0].Version == 0:
			return notOnFile()
		}
		stone.Number = known[0].Number
		merged, err := x.mergedWith(ctx, tx, dataset, stone.Number)
		if err != nil {
			return err
		}
		if err := noRefusalStands(ctx, tx, dataset, append(slices.Clone(merged), stone.Number)); err != nil {
			return err
		}
		if stones, err = stonesOf(ctx, tx, dataset, stone, merged); err != nil {
			return err
		}
		for _, number := range append(merged, stone.Number) {
			of, err := eraseMatters(ctx, tx, caller, annona.SubjectRef{Dataset: dataset.Name, Number: number}, stone)
			if err != nil {
				return err
			}
			stones = append(stones, of...)
			if err := tx.Erase(ctx, caller.Operator, dataset, number); err != nil {
				return err
			}
		}
		for _, each := range stones {
			if err := tx.PutTombstone(ctx, each); err != nil {
				return err
			}
		}
		if err := tx.AppendEntry(ctx, x.erasureEntry(caller, dataset, stone, "erased", nil)); err != nil {
			return err
		}
		for _, each := range stones {
			if err := x.Outside.Keep(ctx, each); err != nil { // before the commit: an erasure is never known to the registry alone
				return err
			}
		}
		return nil
	})
	return stones, err
}

// eraseMatters removes what programs and case workers keep about a record. Each has a key of its own, and
// so a tombstone by which that is destroyed; no source reports anything under its name.
func eraseMatters(ctx context.Context, tx annona.Tx, caller annona.Caller, about annona.SubjectRef, stone annona.Tombstone) (stones []annona.Tombstone, err error) {
	gone, err := tx.EraseMatters(ctx, annona.Author{Operator: caller.Operator}, about)
	for _, m := range gone {
		of := stone
		of.ID, of.Dataset, of.Number = annona.NewUID(), m.Dataset, m.Number
		of.Source, of.Key = annona.OwnSource, of.ID.String()
		stones = append(stones, of)
	}
	return stones, err
}

// buryMatter removes one matter, to which no other belongs, and puts a tombstone in its place.
func (x *Exchange) buryMatter(ctx context.Context, tx annona.Tx, by annona.Author, matter annona.MatterRef, stone annona.Tombstone) (annona.Tombstone, error) {
	if _, err := tx.EraseMatter(ctx, by, matter); err != nil {
		return stone, err
	}
	stone.ID, stone.Dataset, stone.Number, stone.Source = annona.NewUID(), matter.Dataset, matter.Number, annona.OwnSource
	stone.Key = stone.ID.String()
	if err := tx.PutTombstone(ctx, stone); err != nil {
		return stone, err
	}
	return stone, x.Outside.Keep(ctx, stone) // before the commit: an erasure is never known to the registry alone
}

// mergedWith returns the records that were merged into one, whose erasure is theirs.
func (x *Exchange) mergedWith(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, number annona.Number) ([]annona.Number, error) {
	held, err := tx.Hold(ctx, dataset, []annona.Number{number})
	if err != nil {
		return nil, err
	}
	var merged []annona.Number
	for _, p := range held[0].Parts {
		if p.Number != number {
			merged = append(merged, p.Number)
		}
	}
	return merged, nil
}

// stonesOf returns a tombstone for each key that leads to a record, the given one first; of one that was
// merged into it, its first key has its number: by that its own key is destroyed.
func stonesOf(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, stone annona.Tombstone, merged []annona.Number) ([]annona.Tombstone, error) {
	numbers := append(slices.Clone(merged), stone.Number)
	slices.Sort(numbers)
	held, err := tx.Hold(ctx, dataset, numbers)
	if err != nil {
		return nil, err
	}
	numberOf := map[keptKey]annona.Number{} // where the record's own does not stand
	var keys []annona.RecordKey
	for _, k := range held {
		if k.Number == stone.Number {
			keys = append(k.OtherKeys, k.Key)
		} else {
			numberOf[keptKey{source: k.Key.Source, key: k.Key.Key}] = k.Number
		}
	}
	stones := []annona.Tombstone{stone}
	for _, k := range keys {
		other := stone
		other.ID, other.Source, other.Key = annona.NewUID(), k.Source, k.Key
		number, ofMerged := numberOf[keptKey{source: k.Source, key: k.Key}]
		switch {
		case ofMerged:
			other.Number = number
			stones = append(stones, other)
		case k.Source != stone.Source || k.Key != stone.Key:
			stones = append(stones, other)
		}
	}
	return stones, nil
}

// nameSubject returns the record key of a subject, and its number when it was asked for by id.
func (x *Exchange) nameSubject(ctx context.Context, s Subject) (number annona.Number, source, key string, err error) {
	dataset := x.subjectDataset(s)
	if s.ID == "" {
		return 0, s.Source, x.Vault.RecordKey(dataset.Name, s.Source, s.Key), nil
	}
	if s.Household {
		return 0, "", "", annona.Invalid("household_by_key", "a household is named by its source and its key there")
	}
	if number, err = x.subject(ctx, s); err != nil {
		return 0, "", "", err
	}
	keys, err := x.Subjects.KeysOf(ctx, dataset, number)
	if err == nil && len(keys) == 0 {
		err = notOnFile()
	}
	if err != nil {
		return 0, "", "", err
	}
	return number, keys[0].Source, keys[0].Key, nil
}

func (x *Exchange) subjectDataset(s Subject) *annona.Dataset {
	name := "individuals"
	if s.Household {
		name = "households"
	}
	dataset, _ := x.CurrentDictionary().Dataset(name)
	return dataset
}

// shred takes the second step, which may be taken again.
func (x *Exchange) shred(ctx context.Context, caller annona.Caller, stone annona.Tombstone) (annona.Tombstone, error) {
	dataset, _ := x.CurrentDictionary().Dataset(stone.Dataset)
	complete, err := x.Shredder.Shred(ctx, dataset, stone.Number)
	if err != nil {
		return stone, annona.Unavailable("shred_pending",
			"the record is erased and nobody is shown it; its key could not be destroyed, which is tried again when the server starts").Because(err)
	}
	stone.ShreddedAt, stone.CompleteAt = x.Clock(), complete
	return stone, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutTombstone(ctx, stone); err != nil || dataset.Matter {
			return err // of a matter, the entry of its subject tells
		}
		return tx.AppendEntry(ctx, x.erasureEntry(caller, dataset, stone, "key_destroyed", nil))
	})
}

// FinishErasures takes the second step of erasures that were interrupted behind the first one, and
// removes tombstones that have expired. It returns how many it finished. A server does so before
// its first request.
func (x *Exchange) FinishErasures(ctx context.Context, caller annona.Caller) (int, error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	stones, err := x.Subjects.Tombstones(ctx)
	if err != nil {
		return 0, err
	}
	finished, expired := 0, false
	for _, stone := range stones {
		expired = expired || !x.Clock().Before(stone.ExpiresAt)
		if !stone.ShreddedAt.IsZero() {
			continue
		}
		if _, err := x.shred(ctx, caller, stone); err != nil {
			return finished, err
		}
		finished++
	}
	if !expired {
		return finished, nil
	}
	return finished, x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.DropTombstones(ctx, x.Clock()) })
}

// Erasures returns what stays of those who were erased, in the order of erasure.
func (x *Exchange) Erasures(ctx context.Context, caller annona.Caller) ([]annona.Tombstone, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.Subjects.Tombstones(ctx)
}

// erasureEntry is the entry of an act that is about the erasure of one record; details are what more there is to
// say of it.
func (x *Exchange) erasureEntry(caller annona.Caller, dataset *annona.Dataset, stone annona.Tombstone, act string, details map[string]string) annona.LedgerRow {
	details = withDetail(withDetail(details, "act", act), "record", stone.ID.String())
	if !stone.CompleteAt.IsZero() {
		details["complete_at"] = annona.Instant(stone.CompleteAt)
	}
	facts := audit.Facts{Verb: annona.VerbSubjectRights, Dataset: dataset.Name, Reason: stone.Reason, Details: details}
	subjects := []audit.Subjects{{Noun: dataset.Noun, Numbers: []annona.Number{stone.Number}}}
	return audit.Change(x.Clock(), annona.NewUID(), facts, caller, subjects)
}

func checkReason(reason string, known []string) error {
	if !slices.Contains(known, reason) {
		return annona.Invalid("unknown_reason", "the reason is one of these codes: %s", strings.Join(known, ", ")).On("reason")
	}
	return nil
}
