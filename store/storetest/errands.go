package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/annona-exchange/annona"
)

// counters are matters that errands count up.
func (m *matters) counters(count int) (numbers []annona.Number) {
	m.t.Helper()
	m.update(func(tx annona.Tx) error {
		fresh, err := tx.NewMatters(m.ctx, m.enrollments, count)
		if err != nil {
			return err
		}
		for i := range fresh {
			fresh[i].Version, fresh[i].Owner, fresh[i].State, fresh[i].Program = 1, "mis", "active", "cash"
			fresh[i].Clear, fresh[i].Sealed = m.image(m.enrollments, "cash"), annona.AppendItem(nil, annona.Image("sealed"))
			numbers = append(numbers, fresh[i].Number)
			m.uids[fresh[i].Number] = fresh[i].UID
		}
		return tx.PutMatters(m.ctx, tester, fresh)
	})
	return numbers
}

// count is an errand that makes the next version of a matter, under a key of its own.
func (m *matters) count(n annona.Number, request annona.UID, then func(tx annona.Tx) error) annona.Errand {
	scope := annona.NewMatterScope(m.counted, annona.MatterTerms{Owner: "mis", Said: terms()}, annona.Scope{}, annona.Scope{})
	find := &annona.MatterQuestion{Scope: scope, Choice: annona.MatterChoice{UIDs: []annona.UID{m.uids[n]}}, Limit: 1, Page: annona.NewPage(m.counted)}
	return annona.Errand{
		Request: request, Find: find,
		Do: func(tx annona.Tx, _ annona.Cells) error {
			if !slices.Equal(find.Page.Numbers, []annona.Number{n}) || find.Page.Subjects[0] != (annona.SubjectRef{}) || find.Page.Epoch == 0 {
				return fmt.Errorf("found is %v, about %v, at %d", find.Page.Numbers, find.Page.Subjects, find.Page.Epoch)
			}
			if request != (annona.UID{}) {
				if earlier, err := tx.ClaimRequest(m.ctx, keyed(request)); err != nil || earlier != nil {
					return err
				}
			}
			held, err := tx.HoldMatters(m.ctx, m.enrollments, []annona.Number{n})
			if err != nil {
				return err
			}
			if len(held) != 1 {
				return fmt.Errorf("%d matters are held", len(held))
			}
			next := held[0]
			next.Version++
			if err := tx.PutMatters(m.ctx, tester, []annona.Matter{next}); err != nil {
				return err
			}
			if request != (annona.UID{}) {
				ended := keyed(request)
				ended.Status, ended.Noun, ended.Version = 200, "enrollments", int64(next.Version)
				if err := tx.EndRequest(m.ctx, ended); err != nil {
					return err
				}
			}
			return then(tx)
		},
	}
}

func (m *matters) versions(numbers []annona.Number) map[annona.Number]int {
	m.t.Helper()
	versions := map[annona.Number]int{}
	m.update(func(tx annona.Tx) error {
		held, err := tx.HoldMatters(m.ctx, m.enrollments, numbers)
		for _, h := range held {
			versions[h.Number] = h.Version
		}
		return err
	})
	return versions
}

func (m *matters) sameCounts(what string, want, got map[annona.Number]int) {
	m.t.Helper()
	if !maps.Equal(want, got) {
		m.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// testErrands does many errands at once, about the same and about others. What one refuses, early or late,
// with or without having written at once, leaves nothing, and is nobody else's affair.
func testErrands(t *testing.T, r *registry) {
	m := withMatters(t, r)
	numbers := m.counters(8)
	const rounds = 40
	refuse := func(annona.Tx) error { return annona.Conflict("refused", "an errand that refuses") }
	writesAndRefuses := func(tx annona.Tx) error {
		share := annona.Share{Dataset: "enrollments", Number: numbers[0], Partner: "clinic", By: annona.NewUID()}
		if err := tx.PutShare(r.ctx, share); err != nil {
			return err
		}
		return refuse(tx)
	}
	keeps := func(annona.Tx) error { return nil }
	replayed := annona.NewUID()
	var done, refused atomic.Int64
	var all sync.WaitGroup
	for n := range rounds * len(numbers) {
		all.Go(func() {
			request, then := annona.NewUID(), keeps
			switch {
			case n%10 == 3:
				then = refuse
			case n%40 == 7:
				then = writesAndRefuses
			case n%8 == 0:
				request = replayed // of the first matter
			case n%5 == 0:
				request = annona.UID{}
			}
			switch err := r.Share(r.ctx, m.count(numbers[n%len(numbers)], request, then)); {
			case annona.CodeOf(err) == "refused":
				refused.Add(1)
			case err != nil:
				t.Error(err)
			default:
				done.Add(1)
			}
		})
	}
	all.Wait()
	want := map[annona.Number]int{}
	for n := range rounds * len(numbers) {
		k := numbers[n%len(numbers)]
		if n%10 != 3 && n%40 != 7 && n%8 != 0 {
			want[k]++
		}
	}
	for i, k := range numbers {
		want[k]++ // the first one
		if i == 0 {
			want[k]++ // the one that was repeated
		}
	}
	got := m.versions(numbers)
	m.sameCounts("versions", want, got)
	if refused.Load() != 32+8 || done.Load()+refused.Load() != rounds*8 {
		t.Errorf("%d done, %d refused", done.Load(), refused.Load())
	}
	if shares, err := m.MatterShares(r.ctx, m.enrollments, numbers, "clinic", ""); err != nil || len(shares) > 0 {
		t.Errorf("shares of errands that have refused: %v, %v", shares, err)
	}
	events := map[annona.Number]int{}
	for _, e := range m.log() {
		if e.Dataset == "enrollments" && e.Record >= numbers[0] {
			events[e.Record]++
			if e.Version != events[e.Record] {
				t.Errorf("event %d of a matter tells of version %d", events[e.Record], e.Version)
			}
		}
	}
	m.sameCounts("events", want, events)
}

// testErrandsFindWhatTheirScopeShows does errands of several partners for the same matters at once: each finds what
// its own scope shows, with what is shared with it, and nobody else's.
func testErrandsFindWhatTheirScopeShows(t *testing.T, r *registry) {
	m := withMatters(t, r)
	page := m.read(m.scope(m.enrollments, annona.MatterTerms{Programs: []string{"cash", "school"}}), annona.MatterChoice{})
	numbers := page.Numbers
	for row, n := range numbers {
		m.uids[n] = page.UIDs[row]
	}
	for _, n := range []annona.Number{2, 3} {
		share := annona.Share{Dataset: "enrollments", Number: n, Partner: "clinic", By: annona.NewUID(), Fields: []string{"status"}}
		r.update(func(tx annona.Tx) error { return tx.PutShare(r.ctx, share) })
	}
	sees := map[string][]annona.Number{"mis": {1, 3}, "school": {2}, "clinic": {2, 3}, "nobody": nil}
	var all sync.WaitGroup
	for n := range 120 {
		for owner, shown := range sees {
			number := numbers[n%len(numbers)]
			scope := annona.NewMatterScope(m.counted, annona.MatterTerms{Owner: owner, Said: terms()}, annona.Scope{}, annona.Scope{})
			find := &annona.MatterQuestion{Scope: scope, Choice: annona.MatterChoice{UIDs: []annona.UID{m.uids[number]}}, Limit: 1, Page: annona.NewPage(m.counted)}
			all.Go(func() {
				err := r.Share(r.ctx, annona.Errand{Find: find, Do: func(annona.Tx, annona.Cells) error {
					if got := find.Page.Count == 1; got != slices.Contains(shown, number) || got && find.Page.Numbers[0] != number {
						return fmt.Errorf("%s finds %v in place of %d", owner, find.Page.Numbers, number)
					}
					shared := owner == "clinic" && find.Page.Count == 1
					if got := find.Page.Shares; shared != (len(got) == 1) || shared && got[0].Number != number || find.Page.Epoch == 0 {
						return fmt.Errorf("%s finds %d with shares %v at %d", owner, number, got, find.Page.Epoch)
					}
					return nil
				}})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	bad := annona.Errand{Find: &annona.MatterQuestion{Page: annona.NewPage(m.counted)}, Do: func(annona.Tx, annona.Cells) error { t.Error("done without a scope"); return nil }}
	if err := r.Share(r.ctx, bad); err == nil {
		t.Error("an errand without a scope was done")
	}
}

// testErrandOfAnExpiredKey does an errand under a key whose time is over.
func testErrandOfAnExpiredKey(t *testing.T, r *registry) {
	m := withMatters(t, r)
	of := m.counters(1)
	old := keyed(annona.NewUID())
	old.At, old.Until = old.At.Add(-2*3600e9), old.At
	r.update(func(tx annona.Tx) error {
		_, err := tx.ClaimRequest(r.ctx, old)
		return err
	})
	for range 3 {
		if err := r.Share(r.ctx, m.count(of[0], old.ID, func(annona.Tx) error { return nil })); err != nil {
			t.Fatal(err)
		}
	}
	m.sameCounts("versions", map[annona.Number]int{of[0]: 2}, m.versions(of))
}

// heldCells are cells of the matters that were on pages.
type heldCells struct {
	annona.Cells
	pages []*annona.Page
}

// testErrandsHoldKeys does errands whose keys are held: each is done under those of what it has found, once they are
// there. When keys cannot be read, nothing is done, and whoever asks is told.
func testErrandsHoldKeys(t *testing.T, r *registry) {
	m := withMatters(t, r)
	numbers := m.counters(6)
	broken := annona.Unavailable("keys_gone", "the keys cannot be read")
	var fails atomic.Bool
	var all sync.WaitGroup
	share := func(n annona.Number) error {
		e := m.count(n, annona.NewUID(), func(annona.Tx) error { return nil })
		counts := e.Do
		e.Holding = func(_ context.Context, found []*annona.Page, do func(annona.Cells) error) error {
			if fails.Load() {
				return broken
			}
			return do(heldCells{pages: found})
		}
		e.Do = func(tx annona.Tx, cells annona.Cells) error {
			if held, ok := cells.(heldCells); !ok || !slices.Contains(held.pages, e.Find.Page) {
				return fmt.Errorf("done under %v", cells)
			}
			return counts(tx, cells)
		}
		return r.Share(r.ctx, e)
	}
	for range 20 {
		for _, n := range numbers {
			all.Go(func() {
				if err := share(n); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	before := m.versions(numbers)
	m.sameCounts("under keys", map[annona.Number]int{numbers[0]: 21, numbers[1]: 21, numbers[2]: 21, numbers[3]: 21, numbers[4]: 21, numbers[5]: 21}, before)
	fails.Store(true)
	for _, n := range numbers {
		all.Go(func() {
			if err := share(n); annona.CodeOf(err) != broken.Code {
				t.Errorf("without keys: %v", err)
			}
		})
	}
	all.Wait()
	m.sameCounts("without keys", before, m.versions(numbers))
}
