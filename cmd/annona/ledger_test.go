package main

import (
	"context"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// releases is what the ledger says went out.
type releases struct {
	people, households map[annona.Number]bool
	fields             map[string]bool
	outcomes           map[audit.Ending]int
	byRequest          map[annona.UID]map[annona.Number]bool // people
	endings            map[annona.UID]audit.Facts            // the outcomes, by request
	open               int
	number             func(t testing.TB, wireID string) annona.Number // of a person in the realm eligibility
}

// released reads the ledger of a folder.
func released(t testing.TB, data string) releases {
	t.Helper()
	return releasedIn(t, dataFlag{Data: data})
}

// releasedIn reads the ledger of a registry.
func releasedIn(t testing.TB, d dataFlag) releases {
	t.Helper()
	ctx := context.Background()
	f, err := d.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := releases{
		people: map[annona.Number]bool{}, households: map[annona.Number]bool{}, fields: map[string]bool{},
		outcomes: map[audit.Ending]int{}, byRequest: map[annona.UID]map[annona.Number]bool{}, endings: map[annona.UID]audit.Facts{},
	}
	opener := audit.Opener{Vault: f.vault, Ledger: f.store}
	err = f.store.WalkLedger(ctx, func(row annona.LedgerRow) error {
		entry, err := opener.Open(ctx, row)
		if err != nil {
			return err
		}
		r.add(entry)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	open, err := f.store.OpenRequests(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.open = len(open)
	realm, err := f.vault.Realm("eligibility")
	if err != nil {
		t.Fatal(err)
	}
	r.number = func(t testing.TB, wireID string) annona.Number {
		t.Helper()
		uid, ok := realm.ParseID(wireID)
		if !ok {
			t.Fatal("an id of the export is none")
		}
		number, err := f.store.SubjectByUID(ctx, uid)
		if err != nil {
			t.Fatal(err)
		}
		return number
	}
	return r
}

func (r *releases) add(e audit.Entry) {
	switch e.Kind {
	case annona.EntryOutcome:
		r.outcomes[e.Facts.Outcome]++
		r.endings[e.Request] = *e.Facts
	case annona.EntryRelease:
		if r.byRequest[e.Request] == nil {
			r.byRequest[e.Request] = map[annona.Number]bool{}
		}
		for _, s := range e.Subjects {
			for _, name := range s.Fields {
				r.fields[name] = true
			}
			for _, n := range s.Numbers {
				if s.Noun == "individual" {
					r.people[n] = true
					r.byRequest[e.Request][n] = true
				} else {
					r.households[n] = true
				}
			}
		}
	}
}

// abortReason returns the reason of the one outcome that is aborted.
func abortReason(t testing.TB, data string) string {
	t.Helper()
	got := released(t, data)
	if got.outcomes[audit.Aborted] != 1 || got.open != 0 {
		t.Errorf("outcomes %v, %d requests open", got.outcomes, got.open)
	}
	for _, facts := range got.endings {
		if facts.Outcome == audit.Aborted {
			return facts.Reason
		}
	}
	return ""
}
