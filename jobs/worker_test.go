package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

func TestAnExportBecomesFilesAndAManifest(t *testing.T) {
	r := newRegistry(t, 250)
	r.spec("all", nil)
	job := r.finish(r.worker(), r.start("all", "").ID)
	m := r.manifest(job)
	if len(m.Files) != 3 || m.Rows != 250 || job.Rows != 250 || job.Total != 250 || m.Files[2].Rows != 50 || m.LeftOut["individuals"] != "<10" || m.LeftOut["households"] != "0" {
		t.Errorf("%d files, %+v", len(m.Files), m)
	}
	rows := 0
	for n, document := range r.documents(job) {
		rows += bytes.Count(document, []byte("\n"))
		if sum := sha256.Sum256(document); hex.EncodeToString(sum[:]) != m.Files[n].DocumentSHA256 {
			t.Errorf("the document of file %d has another hash than the manifest says", n)
		}
		sent, err := r.open(job.ID, m.Files[n].Name)
		if sum := sha256.Sum256(sent); err != nil || hex.EncodeToString(sum[:]) != m.Files[n].SHA256 || int64(len(sent)) != m.Files[n].Size {
			t.Errorf("file %d has another hash than the manifest says, %v", n, err)
		}
	}
	if rows != 250 {
		t.Errorf("%d rows in files", rows)
	}
	// Nothing of it lies in clear on the disk.
	r.must(filepath.WalkDir(r.folder, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("full_name")) || !bytes.HasPrefix(b, []byte("age-encryption.org/v1")) {
			t.Errorf("%s is not sealed", filepath.Base(path))
		}
		return err
	}))
}

func TestAManifestThatWasChangedIsRefused(t *testing.T) {
	r := newRegistry(t, 20)
	r.spec("all", nil)
	job := r.finish(r.worker(), r.start("all", "").ID)
	keys, err := r.vault.ManifestKeys()
	r.must(err)
	for what, changed := range map[string]string{
		"rows": strings.Replace(job.Manifest, `"rows": 20`, `"rows": 21`, 1), "its end": job.Manifest[:len(job.Manifest)-5], "nothing": "",
	} {
		if changed == job.Manifest {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := OpenManifest(changed, keys...); annona.CodeOf(err) != "manifest_invalid" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := OpenManifest(job.Manifest, "nobody"); annona.CodeOf(err) != "key_malformed" {
		t.Errorf("a key that is none: %v", err)
	}
}

// errKilled is what a worker meets that was killed: from then on it does nothing.
var errKilled = errors.New("killed")

// mortal is a queue that a worker of this life asks. It dies at a step that the test has drawn, before
// that step is done or behind it.
type mortal struct {
	annona.ExportQueue
	steps int
	dead  bool
}

func (m *mortal) step(do func() error) error {
	if m.dead {
		return errKilled
	}
	m.steps--
	before := rand.IntN(2) == 0
	if m.steps == 0 {
		m.dead = true
		if before {
			return errKilled
		}
		_ = do()
		return errKilled
	}
	return do()
}

func (m *mortal) BeatExport(ctx context.Context, c annona.ExportClaim, lease time.Duration, rows, bytes int64) error {
	return m.step(func() error { return m.ExportQueue.BeatExport(ctx, c, lease, rows, bytes) })
}

func (m *mortal) PlanExport(ctx context.Context, c annona.ExportClaim, plan []byte, total int64) error {
	return m.step(func() error { return m.ExportQueue.PlanExport(ctx, c, plan, total) })
}

func (m *mortal) PutExportPart(ctx context.Context, c annona.ExportClaim, p annona.ExportPart) error {
	return m.step(func() error { return m.ExportQueue.PutExportPart(ctx, c, p) })
}

func (m *mortal) EndExport(ctx context.Context, c annona.ExportClaim, end annona.ExportEnd) error {
	return m.step(func() error { return m.ExportQueue.EndExport(ctx, c, end) })
}

var kills = flag.Int("kills", 10, "how often the worker of one export is killed")

// TestAKilledExportIsTheSame kills a worker ten times in one export, or more often. Its files hold what
// those of an undisturbed export at the same position hold, byte for byte.
func TestAKilledExportIsTheSame(t *testing.T) {
	for name, specify := range map[string]func(r *registry, rows int64){
		"one file": func(r *registry, rows int64) {
			r.spec("all", func(s *annona.ExportSpec) { s.PartRows = rows })
		},
		"files side by side": func(r *registry, rows int64) { r.linked("all", rows) },
	} {
		t.Run(name, func(t *testing.T) { killedIsTheSame(t, specify) })
	}
}

func killedIsTheSame(t *testing.T, specify func(*registry, int64)) {
	r := newRegistry(t, 950)
	files := 2 * *kills
	specify(r, int64((950+files-1)/files))
	undisturbed := r.start("all", "")
	position := r.gate.ExportPosition(&undisturbed)
	want := r.documents(r.finish(r.worker(), undisturbed.ID))
	disturbed := r.start("all", position)
	killed := 0
	for r.job(disturbed.ID).State != annona.ExportComplete {
		w := r.worker()
		w.Attempts = 100
		if killed < *kills {
			w.Queue = &mortal{ExportQueue: r.store, steps: 1 + rand.IntN(7)}
			killed++
		}
		_, err := w.Next(r.Context())
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		r.move(2 * time.Hour) // its lease is over
	}
	got := r.documents(r.job(disturbed.ID))
	if !slices.EqualFunc(want, got, bytes.Equal) {
		t.Errorf("after %d kills the files hold something else", killed)
	}
	m := r.manifest(r.job(disturbed.ID))
	if killed != *kills || len(m.Files) != len(want) || m.Rows != 950 {
		t.Errorf("%d kills, %d files with %d rows", killed, len(m.Files), m.Rows)
	}
	objects, err := os.ReadDir(filepath.Join(r.folder, disturbed.ID.String()))
	if err != nil || len(objects) != len(want) {
		t.Errorf("%d objects are left, %v", len(objects), err)
	}
}

// TestSomebodyWhoLeavesIsInNoPart restricts people in the midst of an export, of parts that are written
// and of one that is not.
func TestSomebodyWhoLeavesIsInNoPart(t *testing.T) {
	r := newRegistry(t, 500)
	r.spec("all", nil)
	job := r.start("all", "")
	w := r.worker()
	w.Queue = &mortal{ExportQueue: r.store, steps: 8}
	_, _ = w.Next(r.Context())
	if n := r.job(job.ID).Parts; n == 0 || n == 5 {
		t.Fatalf("%d parts were written", n)
	}
	var gone []string
	for n := 3; n < 500; n += 41 {
		gone = append(gone, fmt.Sprintf("I%07d", n))
	}
	r.restrict(gone...)
	r.move(2 * time.Hour)
	done := r.finish(r.worker(), job.ID)
	m := r.manifest(done)
	if m.Rows != int64(500-len(gone)) || m.LeftOut["individuals"] != "15" || len(gone) != 13 {
		t.Errorf("%d rows, left out %v of %d", m.Rows, m.LeftOut, len(gone))
	}
	rows := bytes.Join(r.documents(done), nil)
	if n := bytes.Count(rows, []byte("\n")); n != 500-len(gone) {
		t.Errorf("%d rows in files", n)
	}
	// And once it is complete, the file with somebody who leaves is not given out any more.
	r.restrict("I0000002")
	refused := 0
	for _, f := range m.Files {
		switch _, err := r.open(job.ID, f.Name); {
		case annona.CodeOf(err) == "regenerate":
			refused++
		case err != nil:
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of %d files are refused after one person left", refused, len(m.Files))
	}
}

// TestWhoWithdrawsInTheMidstIsInNoPart withdraws consents while an export runs whose purpose needs them.
func TestWhoWithdrawsInTheMidstIsInNoPart(t *testing.T) {
	r := newRegistry(t, 60)
	r.caller = r.partner("asking", func(a *annona.Agreement) { a.Purposes[0].Basis = annona.BasisConsent })
	r.spec("willing", func(s *annona.ExportSpec) { s.PartRows = 10 })
	person := func(n int) exchange.Subject {
		return exchange.Subject{Source: synthetic.Source, Key: fmt.Sprintf("I%07d", n)}
	}
	for n := 1; n <= 40; n++ {
		_, err := r.gate.GiveConsent(r.Context(), operator, person(n), annona.Consent{Purposes: []string{purpose}, Recipients: []string{"asking"}})
		r.must(err)
	}
	job := r.start("willing", "")
	w := r.worker()
	w.Queue = &interrupting{ExportQueue: r.store, before: func() {
		if r.job(job.ID).Parts != 2 {
			return
		}
		for n := 1; n <= 11; n++ { // of the first two parts
			_, err := r.gate.WithdrawConsent(r.Context(), operator, person(n), purpose)
			r.must(err)
		}
	}}
	done := r.finish(w, job.ID)
	m := r.manifest(done)
	rows := bytes.Count(bytes.Join(r.documents(done), nil), []byte("\n"))
	if done.Total != 40 || m.Rows != 29 || rows != 29 || m.LeftOut["individuals"] != "10" || len(m.Files) != 4 {
		t.Errorf("%d rows of %d in %d files, left out %v", rows, done.Total, len(m.Files), m.LeftOut)
	}
}

func TestTheAuthorityOfAnExportIsItsInitiators(t *testing.T) {
	for code, change := range map[string]func(r *registry){
		"key_invalid":       func(r *registry) { r.must(r.gate.RevokeClient(r.Context(), operator, r.caller.Client)) },
		"agreement_changed": func(r *registry) { r.partner("program", func(a *annona.Agreement) { a.RowCeiling = 5 }) },
		"not_found":         func(r *registry) { r.must(r.gate.DropExportSpec(r.Context(), operator, "all")) },
	} {
		t.Run(code, func(t *testing.T) {
			r := newRegistry(t, 30)
			r.spec("all", nil)
			waiting, complete := r.start("all", ""), r.start("all", "")
			// The first one waits in the queue, the second one is complete.
			_, err := r.worker().Next(r.Context())
			r.must(err)
			waiting, complete = complete, waiting
			name := r.manifest(r.job(complete.ID)).Files[0].Name
			change(r)
			_, err = r.worker().Next(r.Context())
			r.must(err)
			if j := r.job(waiting.ID); j.State != annona.ExportFailed || j.Code != code {
				t.Errorf("%s, %s", j.State, j.Code)
			}
			if _, err := r.open(complete.ID, name); err == nil {
				t.Error("a file is given out all the same")
			}
		})
	}
}

// An export that would hold more rows than its client may have is refused, of all rows and of changes. A file of one that
// is complete is given out to nobody who may have fewer by now.
func TestAnExportStaysBelowItsCeiling(t *testing.T) {
	r := newRegistry(t, 250)
	r.spec("all", nil)
	r.spec("changes", func(s *annona.ExportSpec) { s.Mode = annona.SpecDelta })
	complete := r.finish(r.worker(), r.start("all", "").ID)
	r.finish(r.worker(), r.start("changes", "").ID)
	p, err := r.gate.PolicyVersion(r.Context(), operator, 0)
	r.must(err)
	p.Roles = append(p.Roles, annona.Role{Name: "desk", Rules: []annona.RoleRule{{Name: "few", RowCeiling: 200}}})
	_, err = r.gate.ApplyPolicy(r.Context(), operator, *p)
	r.must(err)
	r.must(r.gate.SetRole(r.Context(), operator, r.caller.Client, "desk"))
	for _, spec := range []string{"all", "changes"} {
		if _, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: spec}); annona.CodeOf(err) != "row_ceiling" {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := r.open(complete.ID, r.manifest(complete).Files[0].Name); annona.CodeOf(err) != "regenerate" {
		t.Errorf("a file of before: %v", err)
	}
}

// TestWhatEndsADownload: a download that has begun is asked about again, and ends with what it was allowed by.
func TestWhatEndsADownload(t *testing.T) {
	for code, change := range map[string]func(r *registry, job annona.UID){
		"":            func(r *registry, _ annona.UID) { r.partner("another", nil) },
		"key_invalid": func(r *registry, _ annona.UID) { r.must(r.gate.RevokeClient(r.Context(), operator, r.caller.Client)) },
		"regenerate":  func(r *registry, _ annona.UID) { r.restrict("I0000003") },
		"export_gone": func(r *registry, job annona.UID) { r.must(r.gate.CancelExport(r.Context(), operator, job.String())) },
		"role_not_granted": func(r *registry, _ annona.UID) {
			r.must(r.gate.SetRole(r.Context(), operator, r.caller.Client, "auditor"))
		},
	} {
		t.Run(code, func(t *testing.T) {
			r := newRegistry(t, 30)
			r.spec("all", nil)
			job := r.finish(r.worker(), r.start("all", "").ID)
			fetch, err := r.gate.OpenExport(r.Context(), r.caller, job.ID.String(), r.manifest(job).Files[0].Name, "all")
			r.must(err)
			r.must(fetch.Ask(r.Context()))
			caller := r.caller
			change(r, job.ID)
			r.caller = caller
			for range 2 { // it does not come back
				if err := fetch.Ask(r.Context()); (err != nil || code != "") && annona.CodeOf(err) != code {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// A download ends with the day on which its agreement ends, though nothing is written then.
func TestADownloadEndsWithItsAgreement(t *testing.T) {
	r := newRegistry(t, 30)
	r.caller = r.partner("program", func(a *annona.Agreement) { a.ValidUntil = annona.DateOf(r.clock()).AddDays(1) })
	r.spec("all", nil)
	job := r.finish(r.worker(), r.start("all", "").ID)
	fetch, err := r.gate.OpenExport(r.Context(), r.caller, job.ID.String(), r.manifest(job).Files[0].Name, "all")
	r.must(err)
	r.must(fetch.Ask(r.Context()))
	r.move(48 * time.Hour)
	if err := fetch.Ask(r.Context()); annona.CodeOf(err) != "agreement_not_active" {
		t.Errorf("behind its last day: %v", err)
	}
}

func TestAPartnerSeesItsOwnExportsOnly(t *testing.T) {
	r := newRegistry(t, 20)
	r.spec("all", nil)
	job := r.finish(r.worker(), r.start("all", "").ID)
	name := r.manifest(job).Files[0].Name
	other := r.partner("other", nil)
	unknown := annona.NewUID().String()
	for _, id := range []string{job.ID.String(), unknown, "nonsense"} {
		_, shown := r.gate.ExportStatus(r.Context(), other, id)
		_, opened := r.gate.OpenExport(r.Context(), other, id, name, "all")
		cancelled := r.gate.CancelExport(r.Context(), other, id)
		for what, err := range map[string]error{"shown": shown, "opened": opened, "cancelled": cancelled} {
			if !errors.Is(err, shown) || annona.KindOf(err) != annona.KindNotFound {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if all, err := r.gate.ListExports(r.Context(), other); err != nil || len(all) != 0 {
		t.Errorf("%d exports of somebody else, %v", len(all), err)
	}
	if all, err := r.gate.ListExports(r.Context(), r.caller); err != nil || len(all) != 1 {
		t.Errorf("%d exports of one's own, %v", len(all), err)
	}
}

func TestAnExportIsAskedForOnce(t *testing.T) {
	r := newRegistry(t, 20)
	r.spec("all", nil)
	ask := func(request exchange.ExportRequest) (annona.ExportJob, bool, error) {
		return r.gate.StartExport(r.Context(), r.caller, request)
	}
	first, repeated, err := ask(exchange.ExportRequest{Spec: "all", Key: "monday"})
	if err != nil || repeated {
		t.Fatal(err)
	}
	if again, repeated, err := ask(exchange.ExportRequest{Spec: "all", Key: "monday"}); err != nil || !repeated || again.ID != first.ID {
		t.Errorf("again: %v, %v", repeated, err)
	}
	if _, _, err := ask(exchange.ExportRequest{Spec: "all", Version: 1, Key: "monday"}); annona.CodeOf(err) != "key_reused" {
		t.Errorf("something else with the same key: %v", err)
	}
	if _, _, err := ask(exchange.ExportRequest{Spec: "all", Key: "a b"}); annona.CodeOf(err) != "key_malformed" {
		t.Errorf("a malformed key: %v", err)
	}
	if other, _, err := ask(exchange.ExportRequest{Spec: "all"}); err != nil || other.ID == first.ID {
		t.Errorf("without a key: %v", err)
	}
	if _, _, err := ask(exchange.ExportRequest{Spec: "all", Position: "nonsense"}); annona.CodeOf(err) != "position_invalid" {
		t.Errorf("a position that is none: %v", err)
	}
}

func TestFilesGoWithTheirKey(t *testing.T) {
	r := newRegistry(t, 20)
	r.spec("all", func(s *annona.ExportSpec) { s.KeepHours = 5 })
	expiring, cancelled := r.start("all", ""), r.start("all", "")
	w := r.worker()
	for range 2 {
		_, err := w.Next(r.Context())
		r.must(err)
	}
	name := r.manifest(r.job(expiring.ID)).Files[0].Name
	r.must(r.gate.CancelExport(r.Context(), r.caller, cancelled.ID.String()))
	for _, id := range []annona.UID{cancelled.ID, expiring.ID} {
		r.must(w.Sweep(r.Context()))
		if _, err := r.open(id, name); annona.CodeOf(err) != "export_gone" {
			t.Errorf("a file that is gone: %v", err)
		}
		if left, err := os.ReadDir(filepath.Join(r.folder, id.String())); err == nil && len(left) > 0 {
			t.Errorf("%d objects are left", len(left))
		}
		if _, err := r.vault.OpenNote(id, "plan", nil); annona.CodeOf(err) != "export_gone" {
			t.Errorf("its key is there: %v", err)
		}
		r.move(6 * time.Hour)
	}
	if j := r.job(expiring.ID); j.State != annona.ExportExpired || j.Manifest == "" {
		t.Errorf("%+v", j)
	}
}

// TestTwoWorkersWriteEachPartOnce lets a second worker take over while the first one, which had been
// silent for too long, still writes: nothing of what that one brings is kept.
func TestTwoWorkersWriteEachPartOnce(t *testing.T) {
	r := newRegistry(t, 450)
	r.spec("all", nil)
	job := r.start("all", "")
	slow := r.worker()
	written := 0
	slow.Queue = &interrupting{ExportQueue: r.store, before: func() {
		if written++; written == 3 {
			r.move(2 * time.Hour)
			if taken, err := r.store.ClaimExport(r.Context(), annona.NewUID(), time.Hour); err != nil || taken == nil {
				t.Fatalf("the second worker does not get it: %v", err)
			}
		}
	}}
	_, err := slow.Next(r.Context())
	r.must(err)
	parts, err := r.store.ExportParts(r.Context(), job.ID)
	r.must(err)
	if j := r.job(job.ID); written != 3 || len(parts) != 2 || j.State != annona.ExportRunning {
		t.Errorf("%d parts are kept of the %d that the first worker wrote, and the export is %s", len(parts), written, j.State)
	}
	r.move(2 * time.Hour) // the second worker has died
	done := r.finish(r.worker(), job.ID)
	if rows := bytes.Count(bytes.Join(r.documents(done), nil), []byte("\n")); rows != 450 || done.Epoch != 3 {
		t.Errorf("%d rows, epoch %d", rows, done.Epoch)
	}
}

// interrupting is a queue in which something happens before a part is kept.
type interrupting struct {
	annona.ExportQueue
	before func()
}

func (i *interrupting) PutExportPart(ctx context.Context, c annona.ExportClaim, p annona.ExportPart) error {
	i.before()
	return i.ExportQueue.PutExportPart(ctx, c, p)
}

func TestAnExportThatNeverMovesFails(t *testing.T) {
	r := newRegistry(t, 20)
	r.spec("all", nil)
	job := r.start("all", "")
	w := r.worker()
	w.Attempts = 3
	for range 4 {
		dying := *w
		dying.Queue = &mortal{ExportQueue: r.store, steps: 1}
		_, _ = dying.Next(r.Context())
		r.move(2 * time.Hour)
	}
	_, err := w.Next(r.Context())
	r.must(err)
	if j := r.job(job.ID); j.State != annona.ExportFailed || j.Code != "export_stuck" {
		t.Errorf("%s, %s", j.State, j.Code)
	}
}

// TestAFencedWorkerLeavesNoKey cancels an export while its worker writes, and sweeps it: what the worker makes
// behind the sweep goes too.
func TestAFencedWorkerLeavesNoKey(t *testing.T) {
	r := newRegistry(t, 250)
	r.spec("all", nil)
	job := r.start("all", "")
	w := r.worker()
	swept := false
	w.Queue = &interrupting{ExportQueue: r.store, before: func() {
		if swept {
			return
		}
		swept = true
		r.must(r.gate.CancelExport(r.Context(), r.caller, job.ID.String()))
		r.must(r.worker().Sweep(r.Context()))
		// The part was sealed before, and the next note makes a key anew.
		if _, err := r.vault.SealNote(job.ID, "part", []byte("x")); err != nil {
			t.Log("no key is made for an export that is gone:", err)
		}
	}}
	if worked, err := w.Next(r.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	if _, err := r.vault.OpenNote(job.ID, "part", []byte("x")); annona.CodeOf(err) != "export_gone" {
		t.Errorf("its key is there: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(r.folder, job.ID.String())); err == nil && len(left) > 0 {
		t.Errorf("%d objects are left", len(left))
	}
}
