package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// testParts gives a record parts, which come with it from then on, until it has none or is erased.
func testParts(t *testing.T, r *registry) {
	a, b := r.person("a", values{"nationality": "a"}), r.person("b", values{"nationality": "b"})
	r.load(a, b)
	parts := []annona.Part{{Number: 1, Version: 2, Own: []byte("one")}, {Number: 2, Version: 2, Own: []byte("two")}}
	put := func(parts []annona.Part) {
		t.Helper()
		r.update(func(tx annona.Tx) error { return tx.PutParts(r.ctx, r.individuals, 1, parts) })
	}
	same := func(when string, k annona.Known, want []annona.Part, keys int) {
		t.Helper()
		equal := func(p, q annona.Part) bool {
			return p.Number == q.Number && p.Version == q.Version && string(p.Own) == string(q.Own)
		}
		if !slices.EqualFunc(k.Parts, want, equal) || len(k.OtherKeys) != keys {
			t.Errorf("%s: %+v with %d other keys", when, k.Parts, len(k.OtherKeys))
		}
	}
	differs := a
	differs.Digest = [16]byte{9}
	put(parts)
	r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "x"}, 1)
	same("found", r.find(differs), parts, 1)
	same("held", r.held(r.individuals, 1), parts, 1)
	same("one of one piece", r.held(r.individuals, 2), nil, 0)
	put(parts[:1])
	same("written again", r.held(r.individuals, 1), parts[:1], 1)
	r.delete(r.individuals, 1)
	same("deleted", r.held(r.individuals, 1), parts[:1], 1)
	put(nil)
	same("of one piece again", r.held(r.individuals, 1), nil, 1)
	put(parts)
	r.update(func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, 2) })
	same("a part was erased", r.held(r.individuals, 1), parts[:1], 1)
}

// testMerges keeps merges, and what the events of a survivor have of somebody who is erased later.
func testMerges(t *testing.T, r *registry) {
	r.load(r.person("a", nil), r.person("b", nil), r.person("c", nil))
	first := annona.Merge{ID: annona.NewUID(), Dataset: "individuals", Survivor: 1, Merged: 2, Version: 2, At: Clock(), Author: annona.Author{Operator: "tester", Reason: "same_card"}, Rights: []byte("{}")}
	second := annona.Merge{ID: annona.NewUID(), Dataset: "individuals", Survivor: 3, Merged: 1, Version: 2, At: Clock()}
	put := func(m annona.Merge) { r.update(func(tx annona.Tx) error { return tx.PutMerge(r.ctx, m) }) }
	put(first)
	put(second)
	of := func(when string, number annona.Number, want ...annona.UID) {
		t.Helper()
		merges, err := r.MergesOf(r.ctx, r.individuals, []annona.Number{number})
		var ids []annona.UID
		for _, m := range merges {
			ids = append(ids, m.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: %v, %v", when, ids, err)
		}
	}
	of("of the first", 1, first.ID, second.ID)
	of("of the second", 2, first.ID)
	of("of nobody", 9)
	if m, err := r.MergeByID(r.ctx, first.ID); err != nil || m == nil || m.Survivor != 1 || m.Merged != 2 || m.Version != 2 || !m.At.Equal(Clock()) || m.Author.Reason != "same_card" || !m.Holds() || string(m.Rights) != "{}" {
		t.Errorf("by id: %+v, %v", m, err)
	}
	if m, err := r.MergeByID(r.ctx, annona.NewUID()); err != nil || m != nil {
		t.Errorf("of no id: %+v, %v", m, err)
	}
	// The survivor changes: to version 2, with the other one; to 3; to 4, alone again; to 5.
	for v := 2; v <= 5; v++ {
		next := r.person("a", values{"nationality": string('a' + rune(v))})
		next.Digest = [16]byte{byte(v)}
		r.load(next)
	}
	first.Undone, first.UndoneAt = 4, Clock()
	put(first)
	if m, err := r.MergeByID(r.ctx, first.ID); err != nil || m.Holds() || m.Undone != 4 || !m.UndoneAt.Equal(Clock()) {
		t.Errorf("undone: %+v, %v", m, err)
	}
	r.update(func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, 2) })
	for _, e := range r.log() {
		if kept := len(e.Before) > 0; e.Record == 1 && e.Kind == annona.EventChanged && kept != (e.Version == 2 || e.Version == 5) {
			t.Errorf("the event of version %d keeps what was before: %v", e.Version, kept)
		}
	}
	of("one of them is erased", 1, first.ID, second.ID)
	r.update(func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, 1) })
	of("both are", 1, second.ID)
}

// testCandidates keeps match candidates: one of a pair, gone with either.
func testCandidates(t *testing.T, r *registry) {
	r.load(r.person("a", nil), r.person("b", nil), r.person("c", nil))
	pair := func(a, b annona.Number) annona.Candidate {
		return annona.Candidate{ID: annona.NewUID(), Dataset: "individuals", A: a, B: b, Origin: "outside_system", Engine: "linker", Score: 0.25, Evidence: "same_name", State: "open", At: Clock()}
	}
	put := func(c annona.Candidate) error {
		return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutCandidate(r.ctx, c) })
	}
	first, second := pair(1, 2), pair(2, 3)
	if err := errors.Join(put(first), put(second)); err != nil {
		t.Fatal(err)
	}
	if err := put(pair(1, 2)); annona.CodeOf(err) != "candidate_known" {
		t.Errorf("a pair twice: %v", err)
	}
	first.State, first.Decided, first.DecidedAt, first.Merge = "same", annona.Author{Operator: "tester", Reason: "looked_at"}, Clock(), annona.NewUID()
	if err := put(first); err != nil {
		t.Fatal(err)
	}
	got, err := r.CandidateByID(r.ctx, first.ID)
	if err != nil || got == nil {
		t.Fatalf("by id: %v", err)
	}
	if first.Key = got.Key; first.Key == 0 || got.Score != 0.25 || got.Merge != first.Merge || got.Decided.Reason != "looked_at" || !got.DecidedAt.Equal(Clock()) || got.Engine != "linker" || got.Evidence != "same_name" {
		t.Errorf("by id: %+v", got)
	}
	if got, err := r.CandidateByID(r.ctx, annona.NewUID()); err != nil || got != nil {
		t.Errorf("of no id: %+v, %v", got, err)
	}
	list := func(when, state string, after int64, limit int, want ...annona.UID) {
		t.Helper()
		all, err := r.Candidates(r.ctx, state, after, limit)
		var ids []annona.UID
		for _, c := range all {
			ids = append(ids, c.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: %v, %v", when, ids, err)
		}
	}
	list("all", "", 0, 10, first.ID, second.ID)
	list("one", "", 0, 1, first.ID)
	list("behind it", "", first.Key, 10, second.ID)
	list("open ones", "open", 0, 10, second.ID)
	of, err := r.CandidatesOf(r.ctx, r.individuals, []annona.Number{1, 3})
	if err != nil || len(of) != 2 || of[0].ID != first.ID {
		t.Errorf("of two: %+v, %v", of, err)
	}
	r.update(func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, 3) })
	list("one was erased", "", 0, 10, first.ID)
}
