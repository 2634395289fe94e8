package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// testBreakGlass keeps emergencies, one of a person that is not reviewed, and counts whom each has shown.
func testBreakGlass(t *testing.T, r *registry) {
	ama, kofi := annona.NewUID(), annona.NewUID()
	of := func(person annona.UID, after time.Duration) annona.BreakGlass {
		at := Clock().Add(after).UTC()
		return annona.BreakGlass{ID: annona.NewUID(), Person: person, Client: annona.NewUID(), Agreement: "cash", Purpose: "care", Reason: "flood", OpenedAt: at, Until: at.Add(time.Hour)}
	}
	first, others := of(ama, 0), of(kofi, time.Minute)
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.PutBreakGlass(r.ctx, first), tx.PutBreakGlass(r.ctx, others))
	})
	if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutBreakGlass(r.ctx, of(ama, time.Hour)) }); annona.CodeOf(err) != "break_glass_unreviewed" {
		t.Errorf("a second one: %v", err)
	}
	unreviewed := func(person annona.UID, want *annona.BreakGlass) {
		t.Helper()
		got, err := r.UnreviewedBreakGlass(r.ctx, person)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("not reviewed: %v (-want +got):\n%s", err, diff)
		}
	}
	unreviewed(ama, &first)
	unreviewed(annona.NewUID(), nil)

	count := func(id annona.UID, want int, seen ...annona.SubjectRef) {
		t.Helper()
		r.update(func(tx annona.Tx) error {
			got, err := tx.CountBreakGlass(r.ctx, id, seen)
			if got != want {
				t.Errorf("seen: %d, want %d", got, want)
			}
			return err
		})
	}
	one, two, house := annona.SubjectRef{Dataset: "individuals", Number: 1}, annona.SubjectRef{Dataset: "individuals", Number: 2}, annona.SubjectRef{Dataset: "households", Number: 1}
	count(first.ID, 2, one, two)
	count(first.ID, 3, two, house, one)
	count(first.ID, 3)
	count(others.ID, 1, one)

	first.ReviewedBy, first.ReviewedAt, first.Verdict, first.Seen = "person:9", Clock().UTC(), annona.GlassJustified, 3
	r.update(func(tx annona.Tx) error {
		held, err := tx.HoldBreakGlass(r.ctx, others.ID)
		if diff := cmp.Diff(&others, held); diff != "" {
			t.Errorf("held (-want +got):\n%s", diff)
		}
		none, missing := tx.HoldBreakGlass(r.ctx, annona.NewUID())
		if none != nil {
			t.Errorf("one that is not there: %+v", none)
		}
		return errors.Join(err, missing, tx.PutBreakGlass(r.ctx, first))
	})
	unreviewed(ama, nil)
	second := of(ama, 2*time.Hour)
	r.update(func(tx annona.Tx) error { return tx.PutBreakGlass(r.ctx, second) })
	for limit, want := range map[int][]annona.BreakGlass{10: {second, others, first}, 1: {second}} {
		if got, err := r.BreakGlasses(r.ctx, limit); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%d of the list: %v\n%s", limit, err, cmp.Diff(want, got))
		}
	}
}
