package storetest

import (
	"context"

	"github.com/annona-exchange/annona"
)

// Load finds records and writes those that are new or changed, as the gate does: with their
// numbers and versions, and with what they were before. Nothing is sealed in truth.
func Load(ctx context.Context, tx annona.Tx, actor string, records []annona.StoredRecord) (annona.Loaded, error) {
	return LoadBy(ctx, tx, annona.Author{Operator: actor}, records)
}

// LoadBy does so for any author.
func LoadBy(ctx context.Context, tx annona.Tx, by annona.Author, records []annona.StoredRecord) (annona.Loaded, error) {
	keys := make([]annona.RecordKey, len(records))
	for i := range records {
		keys[i] = records[i].RecordKey
		for _, m := range records[i].Memberships {
			if m.Household == 0 {
				keys[i].Joins = append(keys[i].Joins, m.HouseholdKey)
			}
		}
	}
	known, err := tx.Find(ctx, keys)
	if err != nil {
		return annona.Loaded{}, err
	}
	var changed []annona.StoredRecord
	var left annona.Loaded
	for i, k := range known {
		switch {
		case k.Erased:
			left.Erased++
		case k.Same:
			left.Unchanged++
		default:
			changed = append(changed, next(records[i], k))
		}
	}
	loaded, err := tx.Upsert(ctx, by, changed)
	loaded.Unchanged, loaded.Erased = left.Unchanged, left.Erased
	return loaded, err
}

func next(r annona.StoredRecord, known annona.Known) annona.StoredRecord {
	r.Number, r.Version = known.Number, known.Version+1
	if known.Version > 0 {
		r.Before = former(known).Append(nil)
	}
	return r
}

func former(known annona.Known) annona.Former {
	return annona.Former{Version: known.Version, Clear: append([]byte("before:"), known.Clear...), Sealed: known.Sealed}
}

// Hanging is somebody on whom something hangs in every table of a store, to be loaded with the
// other two: number 1, with what a registry keeps of an individual. What it leaves behind when it
// is erased is for the tests of each store to count.
func Hanging() []annona.StoredRecord {
	p := Person("p", map[string]string{"sex": "female"}, annona.Membership{HouseholdKey: "h"})
	p.Identifiers = []annona.IdentifierIndex{{Scheme: "national_id", Hash: []byte("hash")}}
	p.Relationships = []annona.Relationship{{ToKey: "q", Type: "parent"}}
	q := Person("q", nil)
	q.Relationships = []annona.Relationship{{ToKey: "p", Type: "child"}}
	return []annona.StoredRecord{Household("h", nil), p, q}
}
