package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
)

// testSharesEnd takes back all that is shared of one matter, and nothing that is shared of others.
func testSharesEnd(t *testing.T, r *registry) {
	m := withMatters(t, r)
	r.update(func(tx annona.Tx) error {
		for n, s := range []annona.Share{
			{Dataset: "enrollments", Number: 1, Partner: "clinic"}, {Dataset: "enrollments", Number: 1, Partner: "clinic"}, {Dataset: "enrollments", Number: 1, Partner: "school"},
			{Dataset: "enrollments", Number: 2, Partner: "clinic"}, {Dataset: "benefits", Number: 1, Partner: "clinic"},
		} {
			if s.By = annona.NewUID(); n == 2 {
				s.Until = Today
			}
			if err := tx.PutShare(r.ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	epoch := r.epoch()
	r.update(func(tx annona.Tx) error {
		return tx.EndShares(r.ctx, annona.MatterRef{Dataset: "enrollments", Number: 1})
	})
	if r.epoch() == epoch {
		t.Error("what ends has not moved the epoch")
	}
	m.is("of enrollments, by the clinic", m.seen(m.scope(m.enrollments, annona.MatterTerms{Owner: "clinic"}), annona.MatterChoice{}), 2, 5)
	m.is("of enrollments, by the school", m.seen(m.scope(m.enrollments, annona.MatterTerms{Owner: "school"}), annona.MatterChoice{}), 2)
	m.is("of benefits, by the clinic", m.seen(m.scope(m.benefits, annona.MatterTerms{Owner: "clinic"}), annona.MatterChoice{}), 1)
}

// testKinIsHeldTogether locks a matter's parent with all that belong to it. Who comes by one of those waits for who
// came by another, so that each finds all as the one before has left them.
func testKinIsHeldTogether(t *testing.T, r *registry) {
	m := withMatters(t, r)
	r.update(func(tx annona.Tx) error { // 2, 3 and 4 of benefits: two beside the one of 1, and one of another parent
		more, err := tx.NewMatters(r.ctx, m.benefits, 3)
		for i := range more {
			more[i].Version, more[i].Subject, more[i].Parent = 1, person(r, "a"), []annona.Number{1, 2, 1}[i]
			more[i].Sealed = annona.AppendItem(nil, annona.Image("sealed"))
		}
		if err != nil {
			return err
		}
		return tx.PutMatters(r.ctx, tester, more)
	})
	together := func(of annona.Number) (held []annona.Matter) {
		r.update(func(tx annona.Tx) (err error) {
			held, err = tx.HoldWithParent(r.ctx, m.enrollments, m.benefits, of)
			return err
		})
		return held
	}
	for of, want := range map[annona.Number]string{1: "enrollments 1, benefits 1, benefits 2, benefits 4", 3: "enrollments 2, benefits 3", 9: ""} {
		got := ""
		for n, h := range together(of) {
			if n > 0 {
				got += ", "
			}
			got += fmt.Sprint(h.Dataset.Name, " ", h.Number)
		}
		if got != want {
			t.Errorf("of %d are held %q, want %q", of, got, want)
		}
	}
	const each = 8
	var all sync.WaitGroup
	for n := range 3 * each {
		all.Go(func() {
			err := r.Update(r.ctx, func(tx annona.Tx) error {
				held, err := tx.HoldWithParent(r.ctx, m.enrollments, m.benefits, []annona.Number{1, 2, 4}[n%3])
				if err != nil {
					return err
				}
				for i := range held {
					held[i].Version++
					held[i].Before = []byte("before")
				}
				if err := tx.PutMatters(r.ctx, tester, held[:1]); err != nil {
					return err
				}
				return tx.PutMatters(r.ctx, tester, held[1:])
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, h := range together(1) {
		if h.Version != 1+3*each {
			t.Errorf("%s %d has version %d, want %d", h.Dataset.Name, h.Number, h.Version, 1+3*each)
		}
	}
}
