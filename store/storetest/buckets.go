package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func testBuckets(t *testing.T, r *registry) {
	for _, lasting := range []bool{false, true} {
		r.drawsFrom(t, lasting)
	}
}

func (r *registry) drawsFrom(t *testing.T, lasting bool) {
	began := Clock()
	for i, c := range []struct {
		after        time.Duration
		unused, want int
		got, room    int
		wait         time.Duration
	}{
		{0, 0, 4, 4, 6, 0},                      // a new one is full
		{0, 1, 3, 3, 4, 0},                      // what was not used is back
		{0, 0, 8, 4, 0, 0},                      // what is there of it
		{0, 0, 1, 0, 0, 100 * time.Millisecond}, // nothing
		{50 * time.Millisecond, 0, 1, 0, 0, 50 * time.Millisecond},                    // half of one has come
		{100 * time.Millisecond, 0, 1, 1, 0, 0},                                       // one has
		{time.Hour, 0, 4, 4, 6, 0},                                                    // never more than fits
		{time.Hour, 100, 1, 1, 9, 0},                                                  // not by giving back either
		{time.Hour - 5*time.Second, 0, 1, 0, 0, 5*time.Second - 800*time.Millisecond}, // a clock that is behind
	} {
		got, room, wait, err := r.Draw(r.ctx, annona.Draw{
			Bucket: "client a", Unused: c.unused, Want: c.want, Burst: 10, Every: 100 * time.Millisecond, Now: began.Add(c.after), Lasting: lasting,
		})
		if err != nil || got != c.got || room != c.room || wait != c.wait {
			t.Errorf("lasting %v, %d: got %d, room %d, wait %s, %v", lasting, i+1, got, room, wait, err)
		}
	}
	if got, _, _, err := r.Draw(r.ctx, annona.Draw{Bucket: "client b", Want: 20, Burst: 10, Every: time.Second, Now: began, Lasting: lasting}); err != nil || got != 10 {
		t.Errorf("another bucket, and more than fits: %d, %v", got, err)
	}
}

func testBucketsShared(t *testing.T, r *registry) {
	var drawn atomic.Int64
	var many sync.WaitGroup
	for range 50 {
		many.Go(func() {
			got, _, _, err := r.Draw(r.ctx, annona.Draw{Bucket: "partner", Want: 3, Burst: 100, Every: time.Second, Now: Clock()})
			if err != nil {
				t.Error(err)
			}
			drawn.Add(int64(got))
		})
	}
	many.Wait()
	if drawn.Load() != 100 {
		t.Errorf("50 draw %d of 100", drawn.Load())
	}
}
