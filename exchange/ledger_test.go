package exchange_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// verify walks the ledger and expects it to be whole.
func (r *registry) verify(t *testing.T) audit.Report {
	t.Helper()
	r.Settle()
	report, err := audit.Verify(t.Context(), audit.Live{Ledger: r.store, Checkpoints: r.store, Vault: r.Vault}, audit.Evidence{})
	if err != nil || !report.Whole() {
		t.Fatalf("the ledger deviates: %+v, %v", report, err)
	}
	return report
}

// everyone returns the source key and, for the registry's partner, the wire id of some people.
func (r *registry) everyone(t *testing.T, count int) (keys, ids []string) {
	t.Helper()
	country, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: count, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	for h := range country.Households() {
		for _, m := range h.Members {
			keys = append(keys, m.Key)
		}
	}
	for _, key := range keys {
		number, err := r.store.SubjectByKey(t.Context(), synthetic.Source, r.Vault.RecordKey("individuals", synthetic.Source, key))
		if err != nil || number == 0 {
			t.Fatalf("somebody is not on file: %v", err)
		}
		ids = append(ids, r.wireID(t, number))
	}
	return keys, ids
}

// wireID is the id of the person with that number, as an export shows it.
func (r *registry) wireID(t *testing.T, number annona.Number) string {
	t.Helper()
	if r.wireIDs == nil {
		r.wireIDs = map[annona.Number]string{}
		to := &receiver{}
		if _, err := r.download(t, everybody, to); err != nil {
			t.Fatal(err)
		}
		for i, n := range to.numbers {
			r.wireIDs[n] = to.ids[i]
		}
	}
	return r.wireIDs[number]
}

func (r *registry) disclosuresOf(t *testing.T, key string) []exchange.Disclosure {
	t.Helper()
	told, err := r.DisclosuresOf(t.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	told.Sent(int64(len(told.All)), nil)
	return told.All
}

// TestDisclosuresAreThoseThatWere compares what is told about people with what was done.
func TestDisclosuresAreThoseThatWere(t *testing.T) {
	const people = 2600 // more than the first page of an export
	r := newRegistry(t, people)
	keys, ids := r.everyone(t, people) // a first export, of everybody
	first, last := keys[0], keys[len(keys)-1]

	home := exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"household_id", "members.sex", "members.full_name"}}
	if _, err := r.download(t, home, &receiver{}); err != nil { // its receiver sees households, the people are nested
		t.Fatal(err)
	}
	answer, err := r.Get(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"sex"}}, ids[0], exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	answer.Sent(0, annona.Unavailable("client_gone", "the client went away"))
	broken := &receiver{onPage: func(n int) error { return annona.Unavailable("client_gone", "the client went away") }}
	if _, err := r.download(t, everybody, broken); err == nil {
		t.Fatal("a broken download ended well")
	}
	r.Settle()

	told := func(key string) (lines []string) {
		for _, d := range r.disclosuresOf(t, key) {
			if d.Verb == annona.VerbDisclosures {
				continue
			}
			lines = append(lines, fmt.Sprint(d.Verb, " ", d.Dataset, " ", d.Recipient, " ", d.Purpose, " ", d.Basis, " ", d.Agreement, "/", d.AgreementVersion, " ", strings.Join(d.Fields, ","), " ", d.Pages, " ", d.Outcome))
			if d.First.IsZero() || d.Last.Before(d.First) || time.Since(d.Last) > time.Hour {
				t.Errorf("a disclosure from %v to %v", d.First, d.Last)
			}
		}
		return lines
	}
	const terms = " Program " + purpose + " public_interest program/1 "
	want := []string{
		"export individuals" + terms + "full_name,individual_id 1 aborted",
		"get individuals" + terms + "sex 1 aborted",
		"export households" + terms + "full_name,sex 1 complete",
		"export individuals" + terms + "full_name,individual_id 1 complete",
	}
	if got := told(first); !slices.Equal(got, want) {
		t.Errorf("told about the first person:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The broken export released its first page only, and the record was that of another.
	if got := told(last); !slices.Equal(got, want[2:]) {
		t.Errorf("told about the last person:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want[2:], "\n"))
	}
	asked := r.disclosuresOf(t, first)[0]
	if asked.Verb != annona.VerbDisclosures || asked.Recipient != "" || !slices.Equal(asked.Fields, []string{"disclosures"}) {
		t.Errorf("that the registry asked is told as %+v", asked)
	}
	r.verify(t)
}

// TestNobodyElseIsTold: somebody who stands between two people in a page, and is not in it.
func TestNobodyElseIsTold(t *testing.T) {
	r := newRegistry(t, 60)
	keys, ids := r.everyone(t, 60)
	q := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}, Filter: "individual.sex == 'female'"}
	answer, err := r.Search(t.Context(), r.caller, q, 1000, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	answer.Sent(int64(answer.Page.Count()), nil)
	in := map[string]bool{}
	for row := range answer.Page.Count() {
		in[string(answer.Page.Page().Cell(0, row))] = true
	}
	if len(in) < 10 || len(in) > 50 {
		t.Fatalf("%d of 60 people are in the page", len(in))
	}
	for i, key := range keys {
		told := slices.ContainsFunc(r.disclosuresOf(t, key), func(d exchange.Disclosure) bool { return d.Verb == annona.VerbSearch })
		if told != in[ids[i]] {
			t.Errorf("a person who is in the page: %v, is told so: %v", in[ids[i]], told)
		}
	}
}

// TestDisclosuresUnderAnAgreement: who may ask, about whom, and what others learn from it.
func TestDisclosuresUnderAnAgreement(t *testing.T) {
	r := newRegistry(t, 40)
	keys, ids := r.everyone(t, 40)
	ask := func(id string) ([]exchange.Disclosure, error) {
		told, err := r.Disclosures(t.Context(), r.caller, purpose, id)
		if err != nil {
			return nil, err
		}
		told.Sent(int64(len(told.All)), nil)
		return told.All, nil
	}
	if _, err := ask(ids[0]); annona.CodeOf(err) != "disclosures_not_granted" {
		t.Errorf("an agreement that does not grant it: %v", err)
	}
	r.partner(t, func(a *annona.Agreement) { a.Disclosures = true })
	if told, err := ask(ids[0]); err != nil || len(told) != 1 || told[0].Recipient != "Program" {
		t.Errorf("told %+v, %v", told, err)
	}
	if told, err := ask(ids[0]); err != nil || len(told) != 2 || told[0].Verb != annona.VerbDisclosures {
		t.Errorf("that somebody asked is told as %+v, %v", told, err)
	}
	if _, err := r.Disclosures(t.Context(), r.caller, "", ids[0]); annona.CodeOf(err) != "purpose_missing" {
		t.Errorf("without a purpose: %v", err)
	}
	if _, err := r.DisclosuresOf(t.Context(), r.caller, exchange.Subject{Source: synthetic.Source, Key: keys[0]}); annona.CodeOf(err) != "operator_only" {
		t.Errorf("a client asks as the operator does: %v", err)
	}
	before := r.verify(t).Releases
	if _, err := r.Restrict(t.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: keys[1]}, annona.Restriction{Kind: annona.KindRestriction}); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, id := range []string{ids[1], strings.Repeat("a", 26), "x", ""} {
		_, err := ask(id)
		answers = append(answers, fmt.Sprint(annona.CodeOf(err), err))
	}
	if slices.Sort(answers); answers[0] != answers[3] || !strings.HasPrefix(answers[0], "not_found") {
		t.Errorf("somebody restricted, somebody unknown and no id at all are told apart: %v", answers)
	}
	if after := r.verify(t).Releases; after != before {
		t.Errorf("%d releases tell of nothing", after-before)
	}
	if told := r.disclosuresOf(t, keys[1]); len(told) != 1 {
		t.Errorf("the operator is told %+v of somebody restricted", told)
	}
}

// TestPruningKeepsTheProof deletes what old entries say.
func TestPruningKeepsTheProof(t *testing.T) {
	r := newRegistry(t, 20)
	keys, _ := r.everyone(t, 20)
	r.Settle()
	entries := r.verify(t).Entries
	today, tomorrow := annona.DateOf(time.Now().UTC()), annona.DateOf(time.Now().UTC().AddDate(0, 0, 1))
	if _, _, err := r.PruneLedger(t.Context(), operator, tomorrow, r.store); annona.CodeOf(err) != "prune_too_new" {
		t.Errorf("pruning what has not passed: %v", err)
	}
	if _, _, err := r.PruneLedger(t.Context(), r.caller, today, r.store); annona.CodeOf(err) != "operator_only" {
		t.Errorf("a client prunes: %v", err)
	}
	if below, _, err := r.PruneLedger(t.Context(), operator, today, r.store); err != nil || below != 0 {
		t.Errorf("pruning a ledger of today: below %d, %v", below, err)
	}
	r.Clock = func() time.Time { return time.Now().AddDate(0, 0, 2) }
	below, pruned, err := r.PruneLedger(t.Context(), operator, tomorrow, r.store)
	if err != nil || below != entries || pruned != entries {
		t.Errorf("pruned %d entries below %d, %v; want %d", pruned, below, err, entries)
	}
	report := r.verify(t)
	if report.Entries != entries+1 || report.PartsDeleted == 0 || report.PrunedBelow != entries {
		t.Errorf("after pruning: %+v", report)
	}
	if told := r.disclosuresOf(t, keys[0]); len(told) != 0 {
		t.Errorf("deleted content is told: %+v", told)
	}
}

// TestWithoutSignatureNothingLeaves stops disclosures, also in the midst of an export.
func TestWithoutSignatureNothingLeaves(t *testing.T) {
	r := newRegistry(t, 3000)
	unsigned := annona.Unavailable("ledger_unsigned", "the ledger is not signed")
	covered := true
	r.Covered = func() error {
		if !covered {
			return unsigned
		}
		return nil
	}
	to := &receiver{onPage: func(n int) error { covered = false; return nil }}
	if _, err := r.download(t, everybody, to); annona.CodeOf(err) != "ledger_unsigned" || to.ended || to.pages != 1 {
		t.Errorf("the export got %d pages, ended: %v, %v", to.pages, to.ended, err)
	}
	if _, err := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{}); annona.CodeOf(err) != "ledger_unsigned" {
		t.Errorf("a search: %v", err)
	}
	covered = true
	answer, err := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	answer.Sent(10, nil)
}

// TestSigner signs what grows, refuses what does not continue, and says when it is late.
func TestSigner(t *testing.T) {
	r := newRegistry(t, 10)
	now := time.Now()
	key := r.Vault.(annona.CheckpointSigner)
	s := &audit.Signer{Ledger: r.store, Checkpoints: r.store, Key: key, Clock: func() time.Time { return now }}
	first, err := s.Sign(t.Context())
	if err != nil || first.Size == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := s.Sign(t.Context()); err != nil || again.Note != first.Note {
		t.Errorf("the same tree was signed twice: %v", err)
	}
	r.partner(t, nil)
	second, err := s.Sign(t.Context())
	if err != nil || second.Size <= first.Size {
		t.Fatalf("%+v, %v", second, err)
	}
	proof, err := r.Consistency(t.Context(), r.caller, first.Size, second.Size)
	if err != nil || !audit.CheckConsistency(first, second, proof) {
		t.Errorf("the second checkpoint does not continue the first: %v", err)
	}
	if now = now.Add(59 * time.Second); s.Covered() != nil {
		t.Error("late too soon")
	}
	if now = now.Add(2 * time.Second); annona.CodeOf(s.Covered()) != "ledger_unsigned" {
		t.Error("after a minute without a signature disclosures go on")
	}
	if _, err := s.Sign(t.Context()); err != nil || s.Covered() != nil {
		t.Errorf("signed again, but %v, %v", err, s.Covered())
	}
	if kept, err := r.store.PutCheckpoint(t.Context(), annona.Checkpoint{Size: second.Size + 1, At: now, Note: "another history"}); !kept || err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context()); annona.CodeOf(err) != "ledger_rolled_back" {
		t.Errorf("a tree shorter than its checkpoint: %v", err)
	}
	r.partner(t, nil)
	if _, err := s.Sign(t.Context()); annona.CodeOf(err) != "ledger_deviates" {
		t.Errorf("a tree that does not continue its checkpoint: %v", err)
	}
}

// TestProofsOfOnesOwnRequests: leaves of one's own requests, and of nobody else's.
func TestProofsOfOnesOwnRequests(t *testing.T) {
	r := newRegistry(t, 3000)
	export, err := r.Export(t.Context(), r.caller, everybody, exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := export.Run(t.Context(), []*annona.Shape{export.Shape()}, &receiver{}, func() {}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Checkpoint(t.Context(), r.caller); annona.CodeOf(err) != "checkpoint_missing" {
		t.Errorf("before the first signature: %v", err)
	}
	s := &audit.Signer{Ledger: r.store, Checkpoints: r.store, Key: r.Vault.(annona.CheckpointSigner), Clock: time.Now}
	if _, err := s.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := r.Inclusion(t.Context(), r.caller, export.Request(), -1)
	if err != nil || len(p.Entries) != 3 || p.More { // two pages and the outcome
		t.Fatalf("%+v, %v", p, err)
	}
	for _, e := range p.Entries {
		if !audit.CheckInclusion(p.Checkpoint, e.Index, e.Leaf, e.Hashes) {
			t.Errorf("the proof of entry %d does not hold", e.Index)
		}
		e.Leaf[20] ^= 1
		if audit.CheckInclusion(p.Checkpoint, e.Index, e.Leaf, e.Hashes) {
			t.Errorf("the proof of entry %d holds for another leaf", e.Index)
		}
	}
	stranger := r.caller
	r.partner(t, func(a *annona.Agreement) { a.Name = "other" })
	_, foreign := r.Inclusion(t.Context(), r.caller, export.Request(), -1)
	_, unknown := r.Inclusion(t.Context(), r.caller, annona.NewUID(), -1)
	if annona.CodeOf(foreign) != "not_found" || fmt.Sprint(foreign) != fmt.Sprint(unknown) {
		t.Errorf("another's request: %v; an unknown one: %v", foreign, unknown)
	}
	stranger.Client = annona.NewUID()
	if _, err := r.Checkpoint(t.Context(), stranger); annona.KindOf(err) != annona.KindUnauthenticated {
		t.Errorf("an unknown client: %v", err)
	}
	for _, c := range [][2]int64{{0, 1}, {2, 1}, {1, 1 << 40}, {-1, 2}} {
		if _, err := r.Consistency(t.Context(), r.caller, c[0], c[1]); annona.CodeOf(err) != "proof_out_of_range" {
			t.Errorf("a proof from %d to %d: %v", c[0], c[1], err)
		}
	}
}

// TestEveryEntryIsSealed reads what the store holds after one of each verb.
func TestEveryEntryIsSealed(t *testing.T) {
	r := newRegistry(t, 10)
	keys, _ := r.everyone(t, 10)
	subject := exchange.Subject{Source: synthetic.Source, Key: keys[0]}
	if _, err := r.GiveConsent(t.Context(), operator, subject, annona.Consent{Purposes: []string{purpose}, Recipients: []string{"Program"}}); err != nil {
		t.Fatal(err)
	}
	x := annona.Extension{Country: "XA", Fields: []annona.Field{{Dataset: "individuals", Code: "xa_tribe", Type: annona.TypeText, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterNone}}}
	if _, err := r.Declare(t.Context(), operator, x); err != nil {
		t.Fatal(err)
	}
	r.Settle()
	parts := 0
	if err := r.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		for _, p := range row.Parts {
			parts++
			for _, clear := range []string{"Program", "operator", purpose, "tester", "{"} {
				if len(p.Content) > 0 || p.Salt != [32]byte{} || len(clear) > 1 && strings.Contains(string(p.Sealed), clear) {
					t.Errorf("the part %s of a %s lies in clear", p.Name, row.Kind)
				}
			}
		}
		return nil
	}); err != nil || parts < 18 {
		t.Fatalf("%d parts, %v", parts, err)
	}
	r.verify(t)
}
