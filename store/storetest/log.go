package storetest

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// testLogConcurrent lets writers stall and commit late, each with a record of its own and one
// that all of them change, while a reader follows the log. Whatever the reader has seen stays
// as it was; at the end every change is there once, and the versions of each record ascend.
func testLogConcurrent(t *testing.T, r *registry) {
	const writers, each = 6, 12
	ended := make(chan struct{})
	var following, writing sync.WaitGroup
	following.Go(func() { r.followLog(ended) })
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				sex := []string{"female", "male"}[i%2]
				own := r.person("own "+strconv.Itoa(w), values{"sex": sex})
				all := r.person("everybody's", values{"occupation": strconv.Itoa(w*each + i)})
				err := r.Update(r.ctx, func(tx annona.Tx) error {
					_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{own, all})
					time.Sleep(rand.N(3 * time.Millisecond))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(ended)
	following.Wait()
	versions := map[annona.Number]int{}
	for _, e := range r.log() {
		if versions[e.Record]++; e.Version != versions[e.Record] {
			t.Fatalf("change %d of a record is its version %d", versions[e.Record], e.Version)
		}
	}
	if shared := versions[r.number("everybody's")]; shared != writers*each || len(versions) != writers+1 {
		t.Fatalf("the log has %d changes of the record that all have changed, want %d; %d records, want %d", shared, writers*each, len(versions), writers+1)
	}
}

// followLog reads the log again and again: what was there before is there still.
func (r *registry) followLog(ended <-chan struct{}) {
	var before []annona.Event
	for {
		events, err := r.Events(r.ctx)
		if err != nil {
			r.t.Error(err)
			return
		}
		for i, e := range events {
			if e.Seq != int64(i+1) || i < len(before) && (e.Record != before[i].Record || e.Version != before[i].Version) {
				r.t.Errorf("place %d of the log holds another event than before", i+1)
				return
			}
		}
		if len(events) < len(before) {
			r.t.Error("events have left the log")
			return
		}
		before = events
		select {
		case <-ended:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
