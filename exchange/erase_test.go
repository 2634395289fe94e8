package exchange_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// shredder notes whose keys were destroyed, and fails when told to.
type shredder struct {
	annona.Shredder
	broken   bool
	shredded []annona.Number
}

func (s *shredder) Shred(ctx context.Context, d *annona.Dataset, number annona.Number) (time.Time, error) {
	if s.broken {
		return time.Time{}, errors.New("the key store is away")
	}
	s.shredded = append(s.shredded, number)
	return s.Shredder.Shred(ctx, d, number)
}

func (r *registry) watchShredder() *shredder {
	s := &shredder{Shredder: r.Shredder}
	r.Shredder = s
	return s
}

// acts returns what the ledger says was done to subjects, with the numbers concerned.
func (r *registry) acts(t *testing.T) (acts []string, numbers []annona.Number) {
	t.Helper()
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	err := r.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(t.Context(), row)
		if err == nil && e.Facts != nil && e.Facts.Verb == annona.VerbSubjectRights {
			acts = append(acts, e.Facts.Details["act"]+" "+e.Facts.Reason)
			for _, s := range e.Subjects {
				numbers = append(numbers, s.Numbers...)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return acts, numbers
}

func ama() exchange.Subject { return exchange.Subject{Source: "survey", Key: "a"} }

func TestErase(t *testing.T) {
	r := newRegistry(t, 0)
	keys := r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	before := time.Now()
	stone, err := r.Erase(t.Context(), operator, ama(), "consent_withdrawn")
	if err != nil {
		t.Fatal(err)
	}
	if stone.Number != 1 || stone.Reason != "consent_withdrawn" || stone.ShreddedAt.Before(before) || !stone.CompleteAt.After(stone.ErasedAt) || !stone.ExpiresAt.After(stone.CompleteAt) {
		t.Errorf("tombstone: %+v", stone)
	}
	if !slices.Equal(keys.shredded, []annona.Number{1}) {
		t.Errorf("keys of %v are destroyed, want that of 1", keys.shredded)
	}
	acts, numbers := r.acts(t)
	if !slices.Equal(acts, []string{"erased consent_withdrawn", "key_destroyed consent_withdrawn"}) || !slices.Equal(numbers, []annona.Number{1, 1}) {
		t.Errorf("the ledger says %q of %v", acts, numbers)
	}
	if got := r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith")); got != (annona.Loaded{Unchanged: 1, Erased: 1}) {
		t.Errorf("reported again: %+v", got)
	}
	to := &receiver{}
	if sent, err := r.download(t, everybody, to); err != nil || sent.Rows != 1 || to.numbers[0] != 2 {
		t.Errorf("an export gives %v, %v", to.numbers, err)
	}
	_, err = r.Erase(t.Context(), operator, ama(), "unlawful")
	if annona.CodeOf(err) != "erased_already" {
		t.Errorf("erased again: %v", err)
	}
	stones, err := r.Erasures(t.Context(), operator)
	if err != nil || len(stones) != 1 || stones[0].ID != stone.ID || !stones[0].CompleteAt.Equal(stone.CompleteAt) {
		t.Errorf("erasures: %+v, %v", stones, err)
	}
}

func TestEraseByTheIDOfAPartner(t *testing.T) {
	r := newRegistry(t, 0)
	r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	to := &receiver{}
	if _, err := r.download(t, everybody, to); err != nil {
		t.Fatal(err)
	}
	stone, err := r.Erase(t.Context(), operator, exchange.Subject{ID: to.ids[1], Realm: "program"}, "unlawful")
	if err != nil || stone.Number != 2 {
		t.Fatalf("erased: %d, %v", stone.Number, err)
	}
	if got := r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith")); got != (annona.Loaded{Unchanged: 1, Erased: 1}) {
		t.Errorf("reported again: %+v", got)
	}
}

// TestAnErasureIsFinished lets the key store be away: the record is gone at once, its key with the
// next start.
func TestAnErasureIsFinished(t *testing.T) {
	r := newRegistry(t, 0)
	keys := r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"))
	keys.broken = true
	stone, err := r.Erase(t.Context(), operator, ama(), "unlawful")
	if annona.CodeOf(err) != "shred_pending" || stone.ErasedAt.IsZero() || !stone.ShreddedAt.IsZero() {
		t.Fatalf("%+v, %v", stone, err)
	}
	if sent, err := r.download(t, everybody, &receiver{}); err != nil || sent.Rows != 0 {
		t.Errorf("the erased individual is still exported: %d rows, %v", sent.Rows, err)
	}
	if _, err := r.FinishErasures(t.Context(), operator); annona.CodeOf(err) != "shred_pending" {
		t.Errorf("finished without a key store: %v", err)
	}
	keys.broken = false
	for _, want := range []int{1, 0} {
		if n, err := r.FinishErasures(t.Context(), operator); n != want || err != nil {
			t.Errorf("%d erasures finished, %v; want %d", n, err, want)
		}
	}
	if !slices.Equal(keys.shredded, []annona.Number{1}) {
		t.Errorf("keys of %v are destroyed, want that of 1", keys.shredded)
	}
}

func TestTombstonesExpire(t *testing.T) {
	r := newRegistry(t, 0)
	r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"))
	stone, err := r.Erase(t.Context(), operator, ama(), "unlawful")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		at   time.Time
		left int
	}{{stone.ExpiresAt.Add(-time.Second), 1}, {stone.ExpiresAt, 0}} {
		r.Clock = func() time.Time { return x.at }
		if _, err := r.FinishErasures(t.Context(), operator); err != nil {
			t.Fatal(err)
		}
		if stones, err := r.Erasures(t.Context(), operator); err != nil || len(stones) != x.left {
			t.Errorf("%d tombstones at %s, want %d; %v", len(stones), x.at, x.left, err)
		}
	}
}

func TestRefuseErasure(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"))
	if _, err := r.RefuseErasure(t.Context(), operator, ama(), "legal_claims"); err != nil {
		t.Fatal(err)
	}
	acts, numbers := r.acts(t)
	if !slices.Equal(acts, []string{"erasure_refused legal_claims"}) || !slices.Equal(numbers, []annona.Number{1}) {
		t.Errorf("the ledger says %q of %v", acts, numbers)
	}
	if sent, err := r.download(t, everybody, &receiver{}); err != nil || sent.Rows != 1 {
		t.Errorf("%d rows after a refusal, %v", sent.Rows, err)
	}
}

// An erasure that was refused stays refused until the refusal is lifted, of whoever was merged into somebody too. Lifting
// it erases nobody.
func TestARefusedErasureStaysRefused(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	kofi := exchange.Subject{Source: "survey", Key: "b"}
	lift := func(s exchange.Subject, reason string) error {
		return r.LiftErasureRefusal(t.Context(), operator, s, reason)
	}
	is := func(what string, err error, code string) {
		t.Helper()
		if codeOf(err) != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	is("what was never refused", lift(ama(), "unlawful"), "no_refusal")
	for range 2 {
		if _, err := r.RefuseErasure(t.Context(), operator, ama(), "legal_claims"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.Erase(t.Context(), operator, ama(), "consent_withdrawn")
	is("an erasure behind a refusal", err, "refusal_stands")
	is("a reason to refuse", lift(ama(), "legal_claims"), "unknown_reason")
	is("a partner", r.LiftErasureRefusal(t.Context(), r.caller, ama(), "unlawful"), "operator_only")
	household := ama()
	household.Household = true
	is("a household", lift(household, "unlawful"), "refusal_of_household")
	if sent, err := r.download(t, everybody, &receiver{}); err != nil || sent.Rows != 2 {
		t.Errorf("%d rows behind a refusal, %v", sent.Rows, err)
	}
	if _, err := r.Merge(t.Context(), operator, kofi, ama(), "same_card"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Erase(t.Context(), operator, kofi, "unlawful")
	is("an erasure of whoever the refused one was merged into", err, "refusal_stands")
	is("both refusals at once", lift(kofi, "consent_withdrawn"), "")
	is("lifted again", lift(kofi, "consent_withdrawn"), "no_refusal")
	if sent, err := r.download(t, everybody, &receiver{}); err != nil || sent.Rows != 1 {
		t.Errorf("%d rows when the refusal is lifted, %v", sent.Rows, err)
	}
	_, err = r.Erase(t.Context(), operator, kofi, "consent_withdrawn")
	is("an erasure behind that", err, "")
	acts, _ := r.acts(t)
	want := []string{
		"erasure_refused legal_claims", "erasure_refused legal_claims", "refusal_lifted consent_withdrawn", "refusal_lifted consent_withdrawn",
		"erased consent_withdrawn", "key_destroyed consent_withdrawn", "key_destroyed consent_withdrawn",
	}
	if !slices.Equal(acts, want) {
		t.Errorf("the ledger says %q", acts)
	}
}

// To lift a refusal needs a second person. What was approved is what was seen: a refusal that came meanwhile stands.
func TestLiftingARefusalWaitsForASecondPerson(t *testing.T) {
	h := newBureau(t)
	h.load(t, person(t, "a", "Ama", "baker"))
	lift := func() annona.Approval {
		t.Helper()
		if err := h.LiftErasureRefusal(t.Context(), operator, ama(), "unlawful"); annona.CodeOf(err) != "approval_needed" {
			t.Fatalf("lifted by one person: %v", err)
		}
		return h.waiting()
	}
	refuse := func() {
		t.Helper()
		_, err := h.RefuseErasure(t.Context(), operator, ama(), "archiving")
		h.must(err)
	}
	erased := func() string {
		_, err := h.Erase(t.Context(), operator, ama(), "unlawful")
		return codeOf(err)
	}
	esi := h.comes("esi", nil)
	h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	refuse()
	first := lift()
	if first.Kind != annona.ApproveErasure || len(first.Shows) != 1 || !strings.Contains(first.Shows[0], "archiving") || strings.Contains(first.Shows[0]+first.Object, "Ama") {
		t.Errorf("what a second person sees: %+v", first)
	}
	if code := erased(); code != "refusal_stands" {
		t.Errorf("erased while it waits: %q", code)
	}
	h.now = h.now.Add(time.Second)
	refuse() // once more
	if err := h.approve(h.as(esi), first); annona.CodeOf(err) != "approval_void" {
		t.Errorf("approved what was not seen: %v", err)
	}
	second := lift()
	if len(second.Shows) != 2 {
		t.Errorf("two refusals stand: %q", second.Shows)
	}
	h.must(h.approve(h.as(esi), second))
	if code := erased(); code != "" {
		t.Errorf("erased when it is lifted: %q", code)
	}
}

func TestEraseRefuses(t *testing.T) {
	r := newRegistry(t, 0)
	keys := r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"))
	household := ama()
	household.Household = true
	for name, x := range map[string]struct {
		caller  annona.Caller
		subject exchange.Subject
		reason  string
		code    string
	}{
		"a partner":                {r.caller, ama(), "unlawful", "operator_only"},
		"no reason":                {operator, ama(), "", "unknown_reason"},
		"a reason in words":        {operator, ama(), "Ama asked for it", "unknown_reason"},
		"a reason to refuse":       {operator, ama(), "archiving", "unknown_reason"},
		"nobody":                   {operator, exchange.Subject{Source: "survey", Key: "x"}, "unlawful", "not_found"},
		"another source":           {operator, exchange.Subject{Source: "other", Key: "a"}, "unlawful", "not_found"},
		"an individual's key":      {operator, household, "unlawful", "not_found"},
		"an id that is none":       {operator, exchange.Subject{ID: "x", Realm: "program"}, "unlawful", "not_found"},
		"the id of a household":    {operator, exchange.Subject{ID: "x", Realm: "program", Household: true}, "unlawful", "household_by_key"},
		"an empty source and key":  {operator, exchange.Subject{}, "unlawful", "record_without_key"},
		"the store's own key hash": {operator, exchange.Subject{Source: "survey", Key: r.Vault.RecordKey("individuals", "survey", "a")}, "unlawful", "not_found"},
	} {
		if _, err := r.Erase(t.Context(), x.caller, x.subject, x.reason); annona.CodeOf(err) != x.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sent, err := r.download(t, everybody, &receiver{}); err != nil || sent.Rows != 1 || len(keys.shredded) > 0 {
		t.Errorf("%d rows and %d destroyed keys after refusals, %v", sent.Rows, len(keys.shredded), err)
	}
}

// TestErasedWhileAnExportRuns erases somebody on a page that was read ahead.
func TestErasedWhileAnExportRuns(t *testing.T) {
	r := newRegistry(t, country)
	r.watchShredder()
	to := &receiver{}
	var erased annona.Number
	to.onPage = func(n int) error {
		if n != 2 {
			return nil
		}
		time.Sleep(200 * time.Millisecond) // time for the readers to read ahead
		stone, err := r.Erase(t.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "I0012000"}, "objection")
		erased = stone.Number
		return err
	}
	sent, err := r.download(t, everybody, to)
	if err != nil {
		t.Fatal(err)
	}
	if erased == 0 || slices.Contains(to.numbers, erased) || sent.Rows != country-1 {
		t.Errorf("somebody left the registry after the erasure: %d rows", sent.Rows)
	}
}

// TestEraseAHousehold erases a household of the country: its members stay.
func TestEraseAHousehold(t *testing.T) {
	r := newRegistry(t, 50)
	r.watchShredder()
	count := func(dataset string) int64 {
		t.Helper()
		sent, err := r.download(t, exchange.Question{Dataset: dataset, Purpose: purpose}, &receiver{})
		if err != nil {
			t.Fatal(err)
		}
		return sent.Rows
	}
	people, homes := count("individuals"), count("households")
	stone, err := r.Erase(t.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "H000001", Household: true}, "unlawful")
	if err != nil || stone.Dataset != "households" {
		t.Fatalf("%+v, %v", stone, err)
	}
	if p, h := count("individuals"), count("households"); p != people || h != homes-1 {
		t.Errorf("%d individuals became %d, %d households became %d", people, p, homes, h)
	}
}
