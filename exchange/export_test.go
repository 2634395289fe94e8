package exchange_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// entries reads the ledger.
func (r *registry) entries(t *testing.T) []audit.Entry {
	t.Helper()
	r.Settle()
	var all []audit.Entry
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	if err := r.store.WalkLedger(context.Background(), func(row annona.LedgerRow) error {
		e, err := opener.Open(context.Background(), row)
		all = append(all, e)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// released returns everybody in release entries, and the outcomes.
func (r *registry) released(t *testing.T) (people map[annona.Number]bool, outcomes []audit.Facts) {
	t.Helper()
	people = map[annona.Number]bool{}
	for _, e := range r.entries(t) {
		switch e.Kind {
		case annona.EntryRelease:
			for _, s := range e.Subjects {
				for _, n := range s.Numbers {
					people[n] = true
				}
			}
		case annona.EntryOutcome:
			outcomes = append(outcomes, *e.Facts)
		}
	}
	return people, outcomes
}

// country is large enough for both readers to have several ranges.
const country = 20_000

func TestAnExportIsWholeAndInOrder(t *testing.T) {
	r := newRegistry(t, country)
	var to receiver
	sent, err := r.download(t, everybody, &to)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Rows != country || len(to.numbers) != country || to.began != 1 || !to.ended {
		t.Errorf("sent %+v, received %d rows, began %d, ended %v", sent, len(to.numbers), to.began, to.ended)
	}
	if !slices.IsSorted(to.numbers) || len(slices.Compact(to.numbers)) != country {
		t.Error("rows came out of order or twice")
	}
	people, outcomes := r.released(t)
	if len(people) != country || len(outcomes) != 1 || outcomes[0].Outcome != audit.Complete || outcomes[0].Rows != country {
		t.Errorf("released %d, outcomes %+v", len(people), outcomes)
	}
}

func TestNothingIsHandedOverBeforeItIsRecorded(t *testing.T) {
	r := newRegistry(t, 3000)
	to := &receiver{}
	to.onPage = func(n int) error {
		people, _ := r.released(t)
		if len(people) < len(to.numbers)+1 {
			t.Errorf("page %d was handed over with %d people in the ledger and %d out before it", n, len(people), len(to.numbers))
		}
		return nil
	}
	if _, err := r.download(t, everybody, to); err != nil {
		t.Fatal(err)
	}
	if to.pages < 2 {
		t.Fatalf("%d pages are too few for this test", to.pages)
	}
}

func TestNoLedgerNoData(t *testing.T) {
	r := newRegistry(t, 50)
	r.ledger.broken = true
	var to receiver
	if _, err := r.download(t, everybody, &to); annona.CodeOf(err) != "ledger_unavailable" || to.pages > 0 || to.began > 0 {
		t.Errorf("export: %v, %d pages", err, to.pages)
	}
	if _, err := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{}); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("search: %v", err)
	}
	r.ledger.broken = false
	answer, err := r.Search(t.Context(), r.caller, everybody, 1, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	id := string(answer.Page.Page().Cell(0, 0))
	r.ledger.broken = true
	if _, err := r.Get(t.Context(), r.caller, everybody, id, exchange.Form{}); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("get: %v", err)
	}
}

// TestARestrictionReachesPagesThatWereReadAhead restricts somebody on a later page while the
// second is being handed over: the readers have that later page already.
func TestARestrictionReachesPagesThatWereReadAhead(t *testing.T) {
	r := newRegistry(t, country)
	subject := exchange.Subject{Source: synthetic.Source, Key: "I0012000"}
	number, err := r.store.SubjectByKey(t.Context(), subject.Source, r.Vault.RecordKey("individuals", subject.Source, subject.Key))
	if err != nil || number == 0 {
		t.Fatalf("no such individual: %v", err)
	}
	to := &receiver{}
	to.onPage = func(n int) error {
		if n != 2 {
			return nil
		}
		time.Sleep(200 * time.Millisecond) // time for the readers to read ahead
		_, err := r.Restrict(t.Context(), operator, subject, annona.Restriction{Kind: annona.KindRestriction})
		return err
	}
	sent, err := r.download(t, everybody, to)
	if err != nil {
		t.Fatal(err)
	}
	people, _ := r.released(t)
	if slices.Contains(to.numbers, number) || people[number] || sent.Rows != country-1 {
		t.Errorf("somebody left the registry after the restriction: %d rows", sent.Rows)
	}
}

func TestARevocationEndsARunningExport(t *testing.T) {
	r := newRegistry(t, country)
	to := &receiver{}
	to.onPage = func(n int) error {
		if n != 2 {
			return nil
		}
		return r.RevokeClient(t.Context(), operator, r.caller.Client)
	}
	sent, err := r.download(t, everybody, to)
	if annona.CodeOf(err) != "key_invalid" || sent.Rows == country || to.ended {
		t.Errorf("%v after %d rows, ended %v", err, sent.Rows, to.ended)
	}
	_, outcomes := r.released(t)
	if len(outcomes) != 1 || outcomes[0].Outcome != audit.Aborted || outcomes[0].Reason != "key_invalid" || outcomes[0].Rows != sent.Rows {
		t.Errorf("outcomes %+v", outcomes)
	}
}

// TestARevocationCutsABlockedWrite revokes while the receiver waits for a reader that does not
// read. Only cut can end that wait.
func TestARevocationCutsABlockedWrite(t *testing.T) {
	r := newRegistry(t, 3000)
	export, err := r.Export(t.Context(), r.caller, everybody, exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	freed := make(chan struct{})
	to := &receiver{}
	to.onPage = func(int) error {
		if err := r.RevokeClient(t.Context(), operator, r.caller.Client); err != nil {
			return err
		}
		<-freed
		return errors.New("the write was cut")
	}
	_, err = export.Run(t.Context(), []*annona.Shape{export.Shape()}, to, func() { close(freed) })
	if annona.CodeOf(err) != "key_invalid" {
		t.Errorf("got %v", err)
	}
}

func TestAChangedAgreementEndsARunningExport(t *testing.T) {
	r := newRegistry(t, 3000)
	client := r.caller
	to := &receiver{}
	to.onPage = func(n int) error {
		if n == 1 {
			r.partner(t, func(a *annona.Agreement) { a.Areas = []string{"AN-01"} })
		}
		return nil
	}
	r.caller = client
	if _, err := r.download(t, everybody, to); annona.CodeOf(err) != "agreement_changed" {
		t.Errorf("got %v", err)
	}
}

func TestACeilingIsSaidBeforeTheFirstByte(t *testing.T) {
	r := newRegistry(t, 3000)
	r.partner(t, func(a *annona.Agreement) { a.RowCeiling = 2999 })
	var to receiver
	if _, err := r.download(t, everybody, &to); annona.CodeOf(err) != "row_ceiling" || to.began > 0 {
		t.Errorf("got %v, began %d", err, to.began)
	}
	r.partner(t, func(a *annona.Agreement) { a.RowCeiling = 3000 })
	if sent, err := r.download(t, everybody, &to); err != nil || sent.Rows != 3000 {
		t.Errorf("exactly at the ceiling: %+v, %v", sent, err)
	}
}

// TestReceivedIsReleased aborts exports at random pages: whoever was received stands in the
// ledger, and no more than the pages in flight stand there beyond.
func TestReceivedIsReleased(t *testing.T) {
	r := newRegistry(t, country)
	before := runtime.NumGoroutine()
	const inFlight = 5 * 8192
	received := map[annona.Number]bool{}
	for range 8 {
		to := &receiver{}
		stopAt := 1 + rand.IntN(4)
		to.onPage = func(n int) error {
			if n == stopAt {
				return errors.New("the reader went away")
			}
			return nil
		}
		if _, err := r.download(t, everybody, to); err == nil {
			t.Fatalf("an export that was stopped at page %d ended well", stopAt)
		}
		for _, n := range to.numbers {
			received[n] = true
		}
	}
	people, outcomes := r.released(t)
	for n := range received {
		if !people[n] {
			t.Fatal("somebody was received and not released")
		}
	}
	if len(people)-len(received) > inFlight || len(outcomes) != 8 {
		t.Errorf("released %d, received %d, outcomes %d", len(people), len(received), len(outcomes))
	}
	for _, o := range outcomes {
		if o.Outcome != audit.Aborted {
			t.Errorf("outcome %+v", o)
		}
	}
	for range 50 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestACrashLeavesUnknown(t *testing.T) {
	r := newRegistry(t, 50)
	entry := audit.Release(time.Now(), annona.NewUID(), audit.Facts{Verb: annona.VerbExport, Rows: 1}, "", r.caller,
		[]audit.Subjects{{Noun: "individual", Numbers: []annona.Number{1}}})
	if err := r.Ledger.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := r.CloseOpenRequests(t.Context(), operator, r.store); err != nil || n != want {
			t.Errorf("closed %d, %v; want %d", n, err, want)
		}
	}
	_, outcomes := r.released(t)
	if len(outcomes) != 1 || outcomes[0].Outcome != audit.Unknown {
		t.Errorf("outcomes %+v", outcomes)
	}
}
