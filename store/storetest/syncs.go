package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func testSyncs(t *testing.T, r *registry) {
	one, other := annona.NewUID(), annona.NewUID()
	hold := func(source string, holder annona.UID, lease time.Duration) annona.SyncState {
		t.Helper()
		s, err := r.HoldSync(r.ctx, source, holder, lease)
		if err != nil || s.Source != source || s.Holder != holder {
			t.Fatalf("%+v, %v", s, err)
		}
		return s
	}
	put := func(holder annona.UID, body string) error { return r.PutSync(r.ctx, "north", holder, []byte(body)) }

	if s := hold("north", one, time.Hour); s.Body != nil {
		t.Errorf("a new source remembers %s", s.Body)
	}
	hold("south", other, time.Hour)
	if _, err := r.HoldSync(r.ctx, "north", other, time.Hour); !errors.Is(err, annona.ErrSyncHeld) {
		t.Errorf("two have one source: %v", err)
	}
	if err := errors.Join(put(one, `{"a":1}`), put(one, `{"a":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := put(other, `{}`); !errors.Is(err, annona.ErrSyncLost) {
		t.Errorf("somebody else writes: %v", err)
	}
	if err := r.FreeSync(r.ctx, "north", other); err != nil {
		t.Fatal(err)
	}
	if s := hold("north", one, 0); string(s.Body) != `{"a":2}` {
		t.Errorf("held again, %s is kept", s.Body)
	}
	if s := hold("north", other, time.Hour); string(s.Body) != `{"a":2}` { // the lease of the first is over
		t.Errorf("taken over, %s is kept", s.Body)
	}
	if err := put(one, `{"a":3}`); !errors.Is(err, annona.ErrSyncLost) {
		t.Errorf("the one who has lost it writes: %v", err)
	}
	if err := r.FreeSync(r.ctx, "north", other); err != nil {
		t.Fatal(err)
	}
	all, err := r.Syncs(r.ctx)
	if err != nil || len(all) != 2 || all[0].Source != "north" || all[0].Holder != (annona.UID{}) || !all[0].HeldUntil.IsZero() ||
		string(all[0].Body) != `{"a":2}` || all[1].Source != "south" || all[1].Holder != other || all[1].HeldUntil.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	hold("north", one, time.Hour)
}
