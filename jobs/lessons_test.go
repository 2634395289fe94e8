package jobs

import (
	"bytes"
	"testing"

	"github.com/annona-exchange/annona"
)

// Zero rows are said: an export of nobody is complete, with a file that is a whole document and a manifest
// that says 0.
func TestZeroRowsAreSaid(t *testing.T) {
	r := newRegistry(t, 30)
	for format, want := range map[string]string{"csv": "id,sex,full_name\r\n", "json": `"individuals":[`, "xml": "<individuals"} {
		r.spec("none-"+format, func(s *annona.ExportSpec) { s.Format, s.Filter = format, `individual.date_of_birth > "2200-01-01"` })
		job := r.finish(r.worker(), r.start("none-"+format, "").ID)
		m, documents := r.manifest(job), r.documents(job)
		if m.Rows != 0 || job.Rows != 0 || len(documents) != 1 || m.Files[0].Rows != 0 || !bytes.Contains(documents[0], []byte(want)) {
			t.Errorf("%s: %d rows in %d files: %q", format, m.Rows, len(documents), documents)
		}
	}
}

// Asking for an export reads nobody: the work begins when a worker takes it up, and is done in pages, however
// many people there are.
func TestAKickOffReadsNobody(t *testing.T) {
	r := newRegistry(t, 900)
	r.spec("all", func(s *annona.ExportSpec) { s.PartRows = 300 })
	before := r.entries()
	job := r.start("all", "")
	after := r.entries()
	if job.State != annona.ExportWaiting || job.Rows != 0 || len(job.Plan) != 0 || after-before > 2 {
		t.Errorf("%s with %d rows and %d entries", job.State, job.Rows, after-before)
	}
	r.finish(r.worker(), job.ID)
	done := r.entries()
	if pages := done - after; pages > 30 {
		t.Errorf("900 people are %d entries: they are not read in pages", pages)
	}
}

// entries is how many entries the ledger has.
func (r *registry) entries() (n int) {
	r.Helper()
	r.must(r.store.WalkLedger(r.Context(), func(annona.LedgerRow) error {
		n++
		return nil
	}))
	return n
}
