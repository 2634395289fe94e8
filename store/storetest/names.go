package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// indexes returns the state of an index and the count of moves.
func (r *registry) indexes(kind annona.IndexKind) (annona.IndexState, int64) {
	r.t.Helper()
	states, moves, err := r.IndexStates(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return states[kind], moves
}

// switchNames writes the state of the index of names.
func (r *registry) switchNames(on bool, version int) {
	r.t.Helper()
	r.update(func(tx annona.Tx) error {
		state, err := tx.HoldIndex(r.ctx, annona.IndexNames)
		if err != nil {
			return err
		}
		state.On, state.Version, state.StartedAt = on, version, Clock().UTC()
		return tx.PutIndex(r.ctx, state)
	})
}

// naming runs a transaction while names are kept, and returns whose are due in the end.
func (r *registry) naming(fn func(annona.Tx) error) (due []string) {
	r.t.Helper()
	_, moves := r.indexes(annona.IndexNames)
	r.update(func(tx annona.Tx) error {
		due = nil
		if err := tx.FollowIndexes(r.ctx, moves, true); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		all, err := tx.DueNames(r.ctx)
		for _, one := range all {
			due = append(due, fmt.Sprintf("%d %s %d %t", one.Number, one.Area, one.Version, len(one.Sealed) > 0))
		}
		return err
	})
	return due
}

func (r *registry) loading(records ...annona.StoredRecord) func(annona.Tx) error {
	for i := range records {
		records[i] = digested(records[i])
	}
	return func(tx annona.Tx) error {
		_, err := Load(r.ctx, tx, "tester", records)
		return err
	}
}

// testDueNames says whose names are to be indexed by what a transaction has written.
func testDueNames(t *testing.T, r *registry) {
	r.load(r.household("h", values{"area_code": "A"}), r.household("o", values{"area_code": "B"}), r.person("p", nil, member("h", "head")))
	r.switchNames(true, 1)
	r.same("somebody new", r.naming(r.loading(r.person("q", nil, member("h", "child")))), []string{"2 A 1 true"})
	r.same("somebody who changes", r.naming(r.loading(r.person("p", values{"sex": "female"}, member("h", "head")))), []string{"1 A 2 true"})
	r.same("the same again", r.naming(r.loading(r.person("p", values{"sex": "female"}, member("h", "head")))), nil)
	r.same("somebody who moves", r.naming(r.loading(r.person("p", values{"sex": "female"}, member("o", "head")))), []string{"1 B 3 true"})
	r.same("a household that changes", r.naming(r.loading(r.household("h", values{"area_code": "A", "settlement_type": "urban"}))), nil)
	r.same("a household that moves", r.naming(r.loading(r.household("h", values{"area_code": "C"}))), []string{"2 C 1 true"})
	r.same("somebody without a household", r.naming(r.loading(r.person("q", nil))), []string{"2  2 true"})
	r.same("somebody who is taken", r.naming(func(tx annona.Tx) error { return tx.TakeNames(r.ctx, []annona.Number{2, 99, 1}) }), []string{"1 B 3 true", "2  2 true"})
	r.same("somebody who waits", r.naming(func(tx annona.Tx) error {
		if err := tx.WaitNames(r.ctx, []string{"A", "B"}); err != nil {
			return err
		}
		n, err := tx.TakeWaiting(r.ctx, 10)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d were waiting", n)
		}
		return err
	}), []string{"1 B 3 true"})
	r.same("nobody waits any more", r.naming(func(tx annona.Tx) error {
		_, err := tx.TakeWaiting(r.ctx, 10)
		return err
	}), nil)
	r.same("somebody who is erased", r.naming(func(tx annona.Tx) error {
		return errors.Join(tx.TakeNames(r.ctx, []annona.Number{2}), tx.Erase(r.ctx, "tester", r.individuals, 2))
	}), nil)
	r.update(func(tx annona.Tx) error {
		_, moves := r.indexes(annona.IndexNames)
		if err := errors.Join(tx.FollowIndexes(r.ctx, moves, false), tx.TakeNames(r.ctx, []annona.Number{1})); err != nil {
			return err
		}
		due, err := tx.DueNames(r.ctx)
		if len(due) > 0 {
			t.Error("names are due though they are not kept")
		}
		return err
	})
}

// testNames finds people by tokens.
func testNames(t *testing.T, r *registry) {
	r.load(r.person("a", nil), r.person("b", nil), r.person("c", nil), r.person("d", nil))
	r.switchNames(true, 1)
	put := func(tokens ...[]uint32) {
		t.Helper()
		r.naming(func(tx annona.Tx) error {
			due := make([]annona.DueName, len(tokens))
			for i := range due {
				due[i].Number = annona.Number(i + 1)
			}
			return tx.PutNames(r.ctx, due, tokens)
		})
	}
	found := func(after annona.Number, limit int, tokens ...[]uint32) []annona.Number {
		t.Helper()
		numbers, err := r.FindNames(r.ctx, tokens, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return numbers
	}
	want := func(what string, got []annona.Number, numbers ...annona.Number) {
		t.Helper()
		if !slices.Equal(got, numbers) {
			t.Errorf("%s: %v, want %v", what, got, numbers)
		}
	}
	const most = 1<<24 - 1
	put([]uint32{1, 2, 2, most}, []uint32{1}, []uint32{2, 3}, nil)
	want("one token", found(0, 10, []uint32{1}), 1, 2)
	want("the greatest token", found(0, 10, []uint32{most}), 1)
	want("two tokens", found(0, 10, []uint32{1}, []uint32{2}), 1)
	want("one of two tokens", found(0, 10, []uint32{1, 3}), 1, 2, 3)
	want("one of two tokens, and another", found(0, 10, []uint32{1, 3}, []uint32{2}), 1, 3)
	want("a page", found(0, 2, []uint32{1, 3}), 1, 2)
	want("the next page", found(2, 2, []uint32{1, 3}), 3)
	want("a token that nobody has", found(0, 10, []uint32{7}))
	want("no tokens", found(0, 10))
	put([]uint32{5})
	want("a former name", found(0, 10, []uint32{1}), 2)
	r.delete(r.individuals, 2)
	want("somebody who is deleted", found(0, 10, []uint32{1}))
	r.erase(r.person("c", nil), 3)
	want("somebody who is erased", found(0, 10, []uint32{2}))
	if rows, waiting, err := r.CountNames(r.ctx); err != nil || rows != 1 || waiting != 0 {
		t.Errorf("%d rows, %d wait, %v", rows, waiting, err)
	}
	put([]uint32{1, 2, 3})
	for _, n := range []int64{2, 1, 0} {
		r.naming(func(tx annona.Tx) error {
			dropped, err := tx.DropNames(r.ctx, 2)
			if err == nil && dropped != n {
				err = fmt.Errorf("%d rows were removed, not %d", dropped, n)
			}
			return err
		})
	}
	want("after the switch", found(0, 10, []uint32{5}))
}

// testIndexes switches an index, and holds writers to its state.
func testIndexes(t *testing.T, r *registry) {
	if s, _ := r.indexes(annona.IndexNames); s.On || !s.Whole || s.Kind != annona.IndexNames {
		t.Errorf("names of a new registry: %+v", s)
	}
	if s, _ := r.indexes(annona.IndexIdentifiers); !s.On || !s.Whole || s.Kind != annona.IndexIdentifiers {
		t.Errorf("identifiers of a new registry: %+v", s)
	}
	_, before := r.indexes(annona.IndexNames)
	r.switchNames(true, 3)
	s, moves := r.indexes(annona.IndexNames)
	if !s.On || s.Version != 3 || moves != before+1 || !s.StartedAt.Equal(Clock()) {
		t.Errorf("switched on: %+v, %d moves", s, moves-before)
	}
	s.Whole, s.Dataset, s.After = false, "individuals", 77
	r.update(func(tx annona.Tx) error { return tx.PutIndex(r.ctx, s) })
	again, moved := r.indexes(annona.IndexNames)
	if again.Whole || again.Dataset != "individuals" || again.After != 77 || moved != moves {
		t.Errorf("on its way: %+v, %d moves", again, moved-moves)
	}
	late := func(write bool) (runs int, err error) {
		return runs, r.Update(r.ctx, func(tx annona.Tx) error {
			if runs++; runs > 1 {
				return nil
			}
			if err := tx.FollowIndexes(r.ctx, before, false); err != nil || !write {
				return err
			}
			return r.loading(r.person("late", nil))(tx)
		})
	}
	if runs, err := late(true); runs < 2 && annona.CodeOf(err) != "indexes_moved" {
		t.Errorf("a transaction wrote under a former state of the indexes: %d runs, %v", runs, err)
	}
	if n, err := r.SubjectByKey(r.ctx, source, "late"); n != 0 || err != nil {
		t.Errorf("what it wrote is on file: %d, %v", n, err)
	}
}

// testReindex writes the blind indexes of records anew, and nothing else of them.
func testReindex(t *testing.T, r *registry) {
	id := func(hash string) annona.IdentifierIndex {
		return annona.IdentifierIndex{Scheme: "national_id", Hash: []byte(hash)}
	}
	p, h := r.person("p", nil, member("h", "head")), r.household("h", nil)
	p.Identifiers, h.Identifiers = []annona.IdentifierIndex{id("old"), id("other")}, []annona.IdentifierIndex{id("old")}
	r.load(h, p, r.person("q", nil), r.person("r", nil))
	r.delete(r.individuals, 2)
	r.update(func(tx annona.Tx) error {
		numbers, err := tx.RecordsBehind(r.ctx, r.individuals, 0, 10)
		if err == nil && !slices.Equal(numbers, []annona.Number{1, 3}) {
			err = fmt.Errorf("records on file: %v", numbers)
		}
		if more, _ := tx.RecordsBehind(r.ctx, r.individuals, 1, 1); !slices.Equal(more, []annona.Number{3}) {
			t.Errorf("behind the first: %v", more)
		}
		return err
	})
	events, err := r.Events(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.update(func(tx annona.Tx) error {
		if _, err := tx.Hold(r.ctx, r.individuals, []annona.Number{1}); err != nil {
			return err
		}
		return tx.PutIdentifiers(r.ctx, r.individuals, 1, []annona.IdentifierIndex{id("new"), id("other"), id("new")})
	})
	found := func(d *annona.Dataset, hash string) int {
		t.Helper()
		page := annona.NewPage(r.shape(d))
		if err := r.Lookup(r.ctx, annona.NewScope(page.Shape, nil, nil, terms()), id(hash), page); err != nil {
			t.Fatal(err)
		}
		return page.Count
	}
	for hash, n := range map[string]int{"old": 0, "new": 1, "other": 1} {
		if got := found(r.individuals, hash); got != n {
			t.Errorf("%s finds %d individuals", hash, got)
		}
	}
	if found(r.households, "old") != 1 {
		t.Error("the household of that number has lost its identifier")
	}
	after, err := r.Events(r.ctx)
	if err != nil || len(after) != len(events) {
		t.Errorf("it has made %d events, %v", len(after)-len(events), err)
	}
}
