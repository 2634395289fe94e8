package postgres

import (
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// TestErrandsBesideALock does errands while another transaction holds what one of them is about: the others
// do not wait for it.
func TestErrandsBesideALock(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	cases, _ := annona.Standard().Dataset("cases")
	var numbers []annona.Number
	uids := map[annona.Number]annona.UID{}
	key, _ := cases.Field("case_id")
	shape := &annona.Shape{Dataset: cases, Columns: []*annona.Field{key}}
	said := annona.ScopeTerms{Purpose: "care", Recipient: "town", Basis: annona.BasisPublicInterest, Today: "2024-03-01"}
	scope := annona.NewMatterScope(shape, annona.MatterTerms{Owner: "town", Said: said}, annona.Scope{}, annona.Scope{})
	find := func(n annona.Number) *annona.MatterQuestion {
		return &annona.MatterQuestion{Scope: scope, Choice: annona.MatterChoice{UIDs: []annona.UID{uids[n]}}, Limit: 1, Page: annona.NewPage(shape)}
	}
	update := func(fn func(tx annona.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Error(err)
		}
	}
	next := func(tx annona.Tx, of ...annona.Matter) error {
		for i := range of {
			of[i].Version, of[i].Owner, of[i].State, of[i].Sealed = of[i].Version+1, "town", "open", annona.AppendItem(nil, annona.Image("sealed"))
		}
		return tx.PutMatters(t.Context(), annona.Author{Operator: "tester"}, of)
	}
	update(func(tx annona.Tx) error {
		fresh, err := tx.NewMatters(t.Context(), cases, 6)
		if err != nil {
			return err
		}
		for _, m := range fresh {
			numbers, uids[m.Number] = append(numbers, m.Number), m.UID
		}
		return next(tx, fresh...)
	})
	edit := func(n annona.Number) {
		err := s.Share(t.Context(), annona.Errand{
			Find: find(n),
			Do: func(tx annona.Tx, _ annona.Cells) error {
				held, err := tx.HoldMatters(t.Context(), cases, []annona.Number{n})
				if err != nil {
					return err
				}
				return next(tx, held...)
			},
		})
		if err != nil {
			t.Error(err)
		}
	}
	held, goOn := make(chan struct{}), make(chan struct{})
	var all, others sync.WaitGroup
	all.Go(func() {
		update(func(tx annona.Tx) error {
			_, err := tx.HoldMatters(t.Context(), cases, numbers[:1])
			close(held)
			<-goOn
			return err
		})
	})
	<-held
	all.Go(func() { edit(numbers[0]) })
	for len(s.errands.doing) == 0 { // it waits for the lock
		time.Sleep(time.Millisecond)
	}
	for i := range 40 {
		others.Go(func() { edit(numbers[1+i%5]) })
	}
	others.Wait() // the lock is held until they are done: if they waited for it, this would never end
	close(goOn)
	all.Wait()
	update(func(tx annona.Tx) error {
		after, err := tx.HoldMatters(t.Context(), cases, numbers)
		for i, m := range after {
			if want := []int{2, 9, 9, 9, 9, 9}[i]; m.Version != want {
				t.Errorf("matter %d has version %d, want %d", i, m.Version, want)
			}
		}
		return err
	})
}
