package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

func keyed(id annona.UID) annona.KeyedRequest {
	at := Clock().UTC()
	return annona.KeyedRequest{ID: id, Digest: [16]byte{1, 2}, At: at, Until: at.Add(time.Hour)}
}

// testRequests claims a key, ends its request and claims it again until its time is over.
func testRequests(t *testing.T, r *registry) {
	claim := func(k annona.KeyedRequest) (earlier *annona.KeyedRequest) {
		t.Helper()
		r.update(func(tx annona.Tx) (err error) {
			earlier, err = tx.ClaimRequest(r.ctx, k)
			return err
		})
		return earlier
	}
	first := keyed(annona.NewUID())
	if earlier := claim(first); earlier != nil {
		t.Fatalf("a key that nobody has used: %+v", earlier)
	}
	if diff := cmp.Diff(&first, claim(first)); diff != "" {
		t.Errorf("a request that has not ended (-want +got):\n%s", diff)
	}
	ended := first
	ended.Until, ended.Status, ended.Noun, ended.Record, ended.Version = first.Until.Add(time.Hour), 200, "individuals", annona.NewUID(), 7
	r.update(func(tx annona.Tx) error { return tx.EndRequest(r.ctx, ended) })
	if diff := cmp.Diff(&ended, claim(keyed(first.ID))); diff != "" {
		t.Errorf("a request that has ended (-want +got):\n%s", diff)
	}

	late := keyed(first.ID)
	late.At, late.Until, late.Digest = ended.Until, ended.Until.Add(time.Hour), [16]byte{3}
	if earlier := claim(late); earlier != nil {
		t.Errorf("a key whose time is over: %+v", earlier)
	}
	if diff := cmp.Diff(&late, claim(late)); diff != "" {
		t.Errorf("a key that was used again (-want +got):\n%s", diff)
	}

	r.update(func(tx annona.Tx) error {
		for range 3 {
			if _, err := tx.ClaimRequest(r.ctx, keyed(annona.NewUID())); err != nil {
				return err
			}
		}
		return nil
	})
	for _, want := range []int64{2, 1, 0} {
		r.update(func(tx annona.Tx) error {
			n, err := tx.DropRequests(r.ctx, first.Until, 2)
			if n != want {
				t.Errorf("%d requests were swept, want %d", n, want)
			}
			return err
		})
	}
	if claim(late) == nil {
		t.Error("a request was swept before its time")
	}
}

// testRequestsAtOnce delivers one request a hundred times at once: it has one effect. A delivery that
// fails has none, and leaves the key free.
func testRequestsAtOnce(t *testing.T, r *registry) {
	id, done := annona.NewUID(), keyed(annona.NewUID())
	errFails := annona.Unavailable("broken", "a delivery that fails")
	var effects, replays, failures atomic.Int64
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			var replayed bool
			err := r.Update(r.ctx, func(tx annona.Tx) error {
				earlier, err := tx.ClaimRequest(r.ctx, keyed(id))
				replayed = earlier != nil
				if err != nil || replayed {
					return err
				}
				if n%10 == 0 {
					return errFails
				}
				ended := keyed(id)
				ended.Status, ended.Noun, ended.Record = 200, "individuals", done.ID
				return tx.EndRequest(r.ctx, ended)
			})
			switch {
			case annona.CodeOf(err) == "broken":
				failures.Add(1)
			case err != nil:
				t.Error(err)
			case replayed:
				replays.Add(1)
			default:
				effects.Add(1)
			}
		})
	}
	all.Wait()
	if effects.Load() != 1 || replays.Load()+failures.Load() != 99 {
		t.Errorf("%d effects, %d replays, %d failures", effects.Load(), replays.Load(), failures.Load())
	}
	r.update(func(tx annona.Tx) error {
		earlier, err := tx.ClaimRequest(r.ctx, keyed(id))
		if err == nil && (earlier == nil || earlier.Record != done.ID) {
			t.Errorf("behind it: %+v", earlier)
		}
		return err
	})
}
