package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// testUses keeps when a client last used what it is granted: the later time of several nodes, in order.
func testUses(t *testing.T, r *registry) {
	client, other := annona.NewUID(), annona.NewUID()
	at := Clock().UTC().Truncate(time.Second)
	use := func(verb annona.Verb, dataset, field string, after time.Duration) annona.Use {
		return annona.Use{Client: client, Verb: verb, Purpose: "care", Dataset: dataset, Field: field, At: at.Add(after)}
	}
	write := func(uses ...annona.Use) {
		t.Helper()
		if err := r.PutUses(r.ctx, uses); err != nil {
			t.Error(err)
		}
	}
	read := func(want ...annona.Use) {
		t.Helper()
		got, err := r.UsesOf(r.ctx, client)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	read()
	write()
	write(use(annona.VerbGet, "individuals", "", 0), use(annona.VerbGet, "individuals", "sex", 0), use(annona.VerbImport, "", "", 0))
	write(annona.Use{Client: other, Verb: annona.VerbGet, At: at})
	var nodes sync.WaitGroup
	for n := range 5 { // the later time stays, whoever comes last
		nodes.Go(func() {
			write(use(annona.VerbGet, "individuals", "", time.Duration(n)*time.Hour), use(annona.VerbSearch, "households", "", time.Duration(-n)*time.Hour))
		})
	}
	nodes.Wait()
	read(use(annona.VerbGet, "individuals", "", 4*time.Hour), use(annona.VerbGet, "individuals", "sex", 0), use(annona.VerbImport, "", "", 0), use(annona.VerbSearch, "households", "", 0))
}
