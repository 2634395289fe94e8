package jobs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
)

// TestStockAgeOpensAFile has the program age open a file that is sealed to a recipient, and refuse one
// that was cut off.
func TestStockAgeOpensAFile(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Skip("the program age is not installed: apt-get install age")
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r := newRegistry(t, 60)
	r.spec("all", func(s *annona.ExportSpec) { s.Recipient, s.Compression = identity.Recipient().String(), "none" })
	job := r.finish(r.worker(), r.start("all", "").ID)
	m := r.manifest(job)
	if m.Recipient != Fingerprint(identity.Recipient().String()) || m.Files[0].Name != "all-00001.ndjson.age" {
		t.Errorf("%+v", m)
	}
	sealed, err := r.open(job.ID, m.Files[0].Name)
	r.must(err)
	dir := t.TempDir()
	key, whole, cut := filepath.Join(dir, "key"), filepath.Join(dir, "whole"), filepath.Join(dir, "cut")
	r.must(os.WriteFile(key, []byte(identity.String()), 0o600))
	r.must(os.WriteFile(whole, sealed, 0o600))
	r.must(os.WriteFile(cut, sealed[:len(sealed)-20], 0o600))
	out, err := exec.Command(program, "-d", "-i", key, whole).Output()
	if err != nil || bytes.Count(out, []byte("\n")) != 60 {
		t.Errorf("%d rows, %v", bytes.Count(out, []byte("\n")), err)
	}
	if _, err := exec.Command(program, "-d", "-i", key, cut).Output(); err == nil {
		t.Error("age takes a file that was cut off for a whole one")
	}
	if found, err := CheckFile(dir, ManifestFile{Name: "cut", Size: m.Files[0].Size, SHA256: m.Files[0].SHA256}); !found || annona.CodeOf(err) != "file_differs" {
		t.Errorf("the manifest takes it: %v", err)
	}
}

// fullDisk is a vault whose files meet a full disk while it says so.
type fullDisk struct {
	annona.FileVault
	full bool
}

func (v *fullDisk) SealFile(w io.Writer, export annona.UID, recipient string) (io.WriteCloser, error) {
	return v.FileVault.SealFile(&fullWriter{w, v, 0}, export, recipient)
}

type fullWriter struct {
	io.Writer
	of   *fullDisk
	size int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.size += len(p); w.of.full && w.size > 500 {
		return 0, &os.PathError{Op: "write", Path: "file", Err: syscall.ENOSPC}
	}
	return w.Writer.Write(p)
}

// TestAFullDiskDuringAnExport lets the disk be full: no part is kept, the state says why, and the export
// goes on once there is room.
func TestAFullDiskDuringAnExport(t *testing.T) {
	t.Run("where files lie", func(t *testing.T) {
		r := newRegistry(t, 250)
		r.spec("all", nil)
		w, disk := r.worker(), &fullDisk{FileVault: r.vault, full: true}
		w.Vault = disk
		fullDiskDuringAnExport(r, w, "files_full", func() { disk.full = false })
	})
	t.Run("where tables wait", func(t *testing.T) {
		r := newRegistry(t, 250)
		r.linked("all", 100)
		w := r.worker()
		room := w.Spool
		w.Spool = func() (annona.Spool, error) { return nil, annona.Unavailable("spool_full", "there is no room") }
		fullDiskDuringAnExport(r, w, "spool_full", func() { w.Spool = room })
	})
}

func fullDiskDuringAnExport(r *registry, w *Worker, code string, makeRoom func()) {
	t := r.T
	job := r.start("all", "")
	for range 2 {
		_, err := w.Next(r.Context())
		r.must(err)
		parts, err := r.store.ExportParts(r.Context(), job.ID)
		if j := r.job(job.ID); err != nil || len(parts) != 0 || j.State != annona.ExportWaiting || j.Code != code || j.Rows > 250 {
			t.Fatalf("%s, %s, %d parts, %v", j.State, j.Code, len(parts), err)
		}
		if left, err := os.ReadDir(filepath.Join(r.folder, job.ID.String())); err == nil && len(left) > 0 {
			t.Errorf("%d objects are left of what did not fit", len(left))
		}
		if worked, err := w.Next(r.Context()); worked || err != nil {
			t.Errorf("it is tried again at once: %v, %v", worked, err)
		}
		r.move(longestDelay)
	}
	makeRoom()
	if m := r.manifest(r.finish(w, job.ID)); m.Rows != 250 || len(m.Files) != 3 {
		t.Errorf("%d rows in %d files", m.Rows, len(m.Files))
	}
}

// TestEveryFormatIsTheSameTwice writes each format twice at one position.
func TestEveryFormatIsTheSameTwice(t *testing.T) {
	r := newRegistry(t, 120)
	for name, form := range map[string][3]string{
		"csv": {"csv", "plain", "gzip"}, "linked": {"csv", "linked", ""}, "flat": {"csv", "flat", "zstd"}, "xml": {"xml", "", ""}, "json": {"json", "", "zstd"},
		"jsonld": {"jsonld", "", ""}, "xlsx": {"xlsx", "linked", ""}, "parquet": {"parquet", "plain", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r.spec(name, func(s *annona.ExportSpec) {
				s.Dataset, s.Format, s.Layout, s.Compression, s.PartRows = "households", form[0], form[1], form[2], 20
				s.Fields = []annona.SpecField{{Field: "household_id"}, {Field: "area_code"}}
				if form[1] != "plain" {
					s.Fields = append(s.Fields, annona.SpecField{Field: "members.individual_id"}, annona.SpecField{Field: "members.sex"})
				}
			})
			first := r.start(name, "")
			second := r.start(name, r.gate.ExportPosition(&first))
			one, two := r.manifest(r.finish(r.worker(), first.ID)), r.manifest(r.finish(r.worker(), second.ID))
			if len(one.Files) < 2 || !slices.Equal(one.Files, two.Files) {
				t.Errorf("twice at one position:\n%+v\n%+v", one.Files, two.Files)
			}
		})
	}
}

// TestAWorkerEndsWithItsServer leaves a job to others as soon as the server shuts down.
func TestAWorkerEndsWithItsServer(t *testing.T) {
	r := newRegistry(t, 250)
	r.spec("all", nil)
	job := r.start("all", "")
	ctx, stop := context.WithCancel(r.Context())
	w := r.worker()
	w.Log = slog.New(slog.DiscardHandler)
	w.Queue = &interrupting{ExportQueue: r.store, before: stop}
	_, _ = w.Next(ctx)
	if j := r.job(job.ID); j.State != annona.ExportWaiting || j.Code != "" {
		t.Errorf("%s, %s", j.State, j.Code)
	}
	if m := r.manifest(r.finish(r.worker(), job.ID)); m.Rows != 250 {
		t.Errorf("%d rows", m.Rows)
	}
}
