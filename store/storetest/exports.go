package storetest

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

func exportOrder(agreement string, key []byte) annona.ExportOrder {
	return annona.ExportOrder{
		Spec: "monthly", Version: 2, Agreement: agreement, AgreementVersion: 3, Partner: "Partner", Purpose: "assessment", Dataset: "individuals", Schema: 1,
		Client: annona.UID{1}, Strength: annona.StrengthOAuth, Within: annona.Authorization{Datasets: []string{"individuals"}}, Key: key,
		At: annona.Moment{Seq: 7, Day: "2026-01-31"}, LogEpoch: annona.UID{2}, Terms: 1 << 63, PartRows: 100, AskedAt: Clock().UTC(),
	}
}

func (r *registry) putExport(agreement string, key []byte) annona.UID {
	r.t.Helper()
	id := annona.NewUID()
	r.update(func(tx annona.Tx) error { return tx.PutExportJob(r.ctx, id, exportOrder(agreement, key)) })
	return id
}

func (r *registry) exportJob(id annona.UID) annona.ExportJob {
	r.t.Helper()
	j, err := r.ExportJob(r.ctx, id)
	if err != nil || j == nil {
		r.t.Fatalf("%v, %v", j, err)
	}
	return *j
}

// claimExport lends the job whose turn it is.
func (r *registry) claimExport(lease time.Duration) annona.ExportClaim {
	r.t.Helper()
	j, err := r.ClaimExport(r.ctx, annona.NewUID(), lease)
	if err != nil || j == nil {
		r.t.Fatalf("%v, %v", j, err)
	}
	return annona.ExportClaim{Job: j.ID, Epoch: j.Epoch}
}

// testExports takes a job from its order to the day on which its files go.
func testExports(t *testing.T, r *registry) {
	if j, err := r.ExportJob(r.ctx, annona.NewUID()); j != nil || err != nil {
		t.Errorf("a job that nobody has asked for: %v, %v", j, err)
	}
	id := r.putExport("cash", []byte("one"))
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		return tx.PutExportJob(r.ctx, annona.NewUID(), exportOrder("cash", []byte("one")))
	})
	if !errors.Is(err, annona.ErrExportKnown) {
		t.Errorf("one key, two jobs: %v", err)
	}
	other := r.putExport("census", nil)
	r.putExport("census", nil) // two without a key are two
	if j := r.exportJob(id); j.State != annona.ExportWaiting || !reflect.DeepEqual(j.ExportOrder, exportOrder("cash", []byte("one"))) {
		t.Errorf("asked for:\n%+v", j)
	}
	if j, err := r.ExportJobByKey(r.ctx, annona.UID{1}, []byte("one")); err != nil || j == nil || j.ID != id {
		t.Errorf("by its key: %v, %v", j, err)
	}
	if j, err := r.ExportJobByKey(r.ctx, annona.UID{9}, []byte("one")); err != nil || j != nil {
		t.Errorf("by the key of another client: %v, %v", j, err)
	}
	for agreement, want := range map[string]int{"": 3, "cash": 1, "census": 2, "nobody": 0} {
		if all, err := r.ExportJobs(r.ctx, agreement, 10); err != nil || len(all) != want {
			t.Errorf("%d jobs of %q, %v", len(all), agreement, err)
		}
	}

	c := r.claimExport(time.Hour)
	part := annona.ExportPart{
		Number: 1, Until: 99, At: annona.Moment{Seq: 9, Day: "2026-01-31"}, Name: "file", Object: "place", Rows: 80, Altered: 1,
		Document: annona.Hashed{Size: 10, SHA256: []byte{1}}, Content: annona.Hashed{Size: 5, SHA256: []byte{2}}, Stored: annona.Hashed{Size: 7, SHA256: []byte{3}},
		Subjects: []byte("sealed"),
	}
	second := part
	second.Number, second.After, second.Until = 2, 99, 200
	again := part
	again.Rows, again.Object = 79, "another"
	for _, err := range []error{
		r.PlanExport(r.ctx, c, []byte("plan"), 160), r.BeatExport(r.ctx, c, time.Hour, 80, 7),
		r.PutExportPart(r.ctx, c, part), r.PutExportPart(r.ctx, c, second), r.PutExportPart(r.ctx, c, again),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	parts, err := r.ExportParts(r.ctx, id)
	if diff := cmp.Diff([]annona.ExportPart{again, second}, parts); err != nil || diff != "" {
		t.Errorf("%v, parts (-want +got):\n%s", err, diff)
	}
	if j := r.exportJob(id); j.State != annona.ExportRunning || j.Total != 160 || j.Rows != 80 || j.Bytes != 7 || j.Parts != 2 || string(j.Plan) != "plan" || j.Attempts != 0 || j.StartedAt.IsZero() {
		t.Errorf("running: %+v", j)
	}
	if due, err := r.UnsweptExports(r.ctx, 10); err != nil || len(due) != 0 {
		t.Errorf("to be swept too early: %v, %v", due, err)
	}
	if err := r.EndExport(r.ctx, c, annona.ExportEnd{State: annona.ExportComplete, Keep: time.Hour, Manifest: "signed"}); err != nil {
		t.Fatal(err)
	}
	if j := r.exportJob(id); j.State != annona.ExportComplete || j.Manifest != "signed" || !j.ExpiresAt.After(j.EndedAt) || j.EndedAt.IsZero() {
		t.Errorf("complete: %+v", j)
	}
	if j, err := r.PreviousExport(r.ctx, []byte("memory")); j != nil || err != nil {
		t.Errorf("it has reached no position, and %v, %v", j, err)
	}
	r.update(func(tx annona.Tx) error { return tx.CancelExport(r.ctx, id) })
	r.update(func(tx annona.Tx) error { return tx.CancelExport(r.ctx, other) })
	if due, err := r.UnsweptExports(r.ctx, 1); err != nil || len(due) != 1 || due[0].ID != id {
		t.Errorf("to be swept: %v, %v", due, err)
	}
	if err := r.SweepExport(r.ctx, id); err != nil {
		t.Fatal(err)
	}
	if parts, err := r.ExportParts(r.ctx, id); err != nil || len(parts) > 0 {
		t.Errorf("swept, and %d parts left, %v", len(parts), err)
	}
	if due, err := r.UnsweptExports(r.ctx, 10); err != nil || len(due) != 1 || due[0].ID != other {
		t.Errorf("to be swept afterwards: %v, %v", due, err)
	}
	if j := r.exportJob(id); j.State != annona.ExportCancelled || !j.Swept || j.Plan != nil {
		t.Errorf("swept: %+v", j)
	}
}

// testExportExpiry lets files go when their time is over.
func testExportExpiry(t *testing.T, r *registry) {
	id := r.putExport("cash", nil)
	if err := r.EndExport(r.ctx, r.claimExport(time.Hour), annona.ExportEnd{State: annona.ExportComplete}); err != nil {
		t.Fatal(err)
	}
	due, err := r.UnsweptExports(r.ctx, 10)
	if err != nil || len(due) != 1 || due[0].ID != id || due[0].State != annona.ExportExpired {
		t.Errorf("%v, %v", due, err)
	}
}

// testPreviousExports finds the newest export with a memory that is complete.
func testPreviousExports(t *testing.T, r *registry) {
	order := exportOrder("cash", nil)
	order.Memory, order.Since, order.Areas = []byte("memory"), []byte("before"), 5
	run := func(end annona.ExportEnd) annona.UID {
		id := annona.NewUID()
		r.update(func(tx annona.Tx) error { return tx.PutExportJob(r.ctx, id, order) })
		if err := r.EndExport(r.ctx, r.claimExport(time.Hour), end); err != nil {
			t.Fatal(err)
		}
		return id
	}
	complete := func(keep time.Duration, reached string) annona.ExportEnd {
		return annona.ExportEnd{State: annona.ExportComplete, Keep: keep, Reached: []byte(reached)}
	}
	previous := func(want annona.UID, reached string) {
		t.Helper()
		j, err := r.PreviousExport(r.ctx, []byte("memory"))
		if err != nil || j == nil || j.ID != want || string(j.Reached) != reached || !reflect.DeepEqual(j.ExportOrder, order) {
			t.Errorf("%+v, %v", j, err)
		}
	}
	first := run(complete(-time.Second, "first"))
	if _, err := r.UnsweptExports(r.ctx, 10); err != nil {
		t.Fatal(err)
	}
	previous(first, "first") // it has expired, and somebody may have had it
	run(annona.ExportEnd{State: annona.ExportFailed, Code: "key_invalid"})
	previous(first, "first")
	second := run(complete(time.Hour, "second"))
	previous(second, "second")
	r.update(func(tx annona.Tx) error { return tx.CancelExport(r.ctx, second) })
	previous(first, "first")
	if j, err := r.PreviousExport(r.ctx, []byte("another")); j != nil || err != nil {
		t.Errorf("of another memory: %v, %v", j, err)
	}
}

// testExportLeases lends each job to one worker, and to another one when the first has let its lease pass:
// then the first writes nothing more.
func testExportLeases(t *testing.T, r *registry) {
	if j, err := r.ClaimExport(r.ctx, annona.NewUID(), time.Hour); j != nil || err != nil {
		t.Fatalf("nothing waits, and %v, %v", j, err)
	}
	id := r.putExport("cash", nil)
	dead := r.claimExport(-time.Second)
	alive := r.claimExport(time.Hour)
	if dead.Job != id || alive.Job != id || dead.Epoch == alive.Epoch {
		t.Fatalf("%+v, then %+v", dead, alive)
	}
	if j, err := r.ClaimExport(r.ctx, annona.NewUID(), time.Hour); j != nil || err != nil {
		t.Errorf("two have one job: %v, %v", j, err)
	}
	for what, err := range map[string]error{
		"beat": r.BeatExport(r.ctx, dead, time.Hour, 1, 1), "plan": r.PlanExport(r.ctx, dead, nil, 1),
		"part": r.PutExportPart(r.ctx, dead, annona.ExportPart{Number: 1}), "end": r.EndExport(r.ctx, dead, annona.ExportEnd{State: annona.ExportComplete}),
	} {
		if !errors.Is(err, annona.ErrExportLost) {
			t.Errorf("%s by who has lost it: %v", what, err)
		}
	}
	if parts, err := r.ExportParts(r.ctx, id); err != nil || len(parts) > 0 {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	if j := r.exportJob(id); j.Attempts != 2 || j.Rows != 0 {
		t.Errorf("%+v", j)
	}
	if err := r.BeatExport(r.ctx, alive, -time.Second, 5, 5); err != nil {
		t.Fatal(err)
	}
	if err := r.PutExportPart(r.ctx, alive, annona.ExportPart{Number: 1}); !errors.Is(err, annona.ErrExportLost) {
		t.Errorf("the lease is over, and a part is written: %v", err)
	}
	last := r.claimExport(time.Hour)
	if err := r.EndExport(r.ctx, last, annona.ExportEnd{State: annona.ExportWaiting, Code: "files_full", Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if j, err := r.ClaimExport(r.ctx, annona.NewUID(), time.Hour); j != nil || err != nil {
		t.Errorf("it was to wait for an hour: %v, %v", j, err)
	}
	if j := r.exportJob(id); j.State != annona.ExportWaiting || j.Code != "files_full" {
		t.Errorf("%+v", j)
	}
	if err := r.EndExport(r.ctx, last, annona.ExportEnd{State: annona.ExportFailed}); !errors.Is(err, annona.ErrExportLost) {
		t.Errorf("ended twice: %v", err)
	}
}

// testExportTurns takes agreements in turn, and the jobs of one in their order.
func testExportTurns(t *testing.T, r *registry) {
	var order []annona.UID
	first := []annona.UID{r.putExport("a", nil), r.putExport("a", nil), r.putExport("a", nil)}
	for _, agreement := range []string{"b", "c", "b"} {
		order = append(order, r.putExport(agreement, nil))
	}
	want := []annona.UID{first[0], order[0], order[1], first[1], order[2], first[2]}
	for n := range want {
		if got := r.claimExport(time.Hour); got.Job != want[n] {
			t.Errorf("turn %d is of another job", n)
		}
	}
}

// testExportsConcurrent lends no job to two workers.
func testExportsConcurrent(t *testing.T, r *registry) {
	const jobs, workers = 6, 4
	for range jobs {
		r.putExport("a", nil)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	lent := map[annona.UID]int{}
	for range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				done := len(lent) == jobs
				mu.Unlock()
				if done {
					return
				}
				j, err := r.ClaimExport(r.ctx, annona.NewUID(), time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if j != nil {
					mu.Lock()
					lent[j.ID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for id, times := range lent {
		if times != 1 {
			t.Errorf("job %v was lent %d times", id, times)
		}
	}
}
