package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of that size, or skips the test and says why.
func smallDisk(t *testing.T, size string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted here (%v); root may", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(folder, unix.MNT_DETACH)) })
	return folder
}

func resize(t *testing.T, folder string, flags uintptr, size string) {
	t.Helper()
	check(t, unix.Mount("tmpfs", folder, "tmpfs", unix.MS_REMOUNT|flags, "size="+size))
}

// TestFullDisk: a disk that fills up ends an import with a clear error. What was committed stays;
// with room again, the same import completes.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const people = 12_000
	disk := smallDisk(t, "12m")
	data := filepath.Join(disk, "registry")
	fillEmpty(t, data)
	key := createKey(t, data, "eligibility").Key
	input := surveyOf(t, people)

	r := refused(t, "store_full", "import", "--data", data, "--mapping", ghanaMapping, "--json", input)
	first := parseImport(t, r.out)
	if first.Created == 0 || first.Created >= 2*people {
		t.Fatalf("the disk has the wrong size for this test: %+v", first)
	}
	if r := command("verify", "--data", data); r.code == 0 {
		t.Log("the full disk can still be verified")
	} else {
		checkMannerly(t, r)
	}
	resize(t, disk, 0, "96m")
	must(t, "verify", "--data", data)
	second := importInto(t, data, ghanaMapping, input)
	if second.Unchanged != first.Created || second.Created+second.Unchanged != 2*people || second.Changed != 0 {
		t.Errorf("%d records were committed before, the second import has %+v", first.Created, second)
	}
	s := serveFolder(t, data, key)
	if rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id"))); rows != people {
		t.Errorf("%d individuals", rows)
	}

	t.Run("nothing leaves that cannot be recorded", func(t *testing.T) {
		ballast, err := os.Create(filepath.Join(disk, "ballast"))
		check(t, err)
		for err == nil {
			_, err = ballast.Write(make([]byte, 1<<16))
		}
		check(t, ballast.Close())
		a := fillUntilRefused(t, s)
		if a.status != http.StatusServiceUnavailable || strings.Contains(string(a.body), "individual_id") {
			t.Errorf("status %d %s: %.200s", a.status, a.code(), a.body)
		}
		check(t, os.Remove(ballast.Name()))
		s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id"))
	})
	s.stop()
	must(t, "verify", "--data", data)
}

// fillUntilRefused asks until the last free bytes are used up.
func fillUntilRefused(t *testing.T, s *server) (a answer) {
	t.Helper()
	for range 500 {
		if a = s.get("/v1/individuals", about(eligibility, "limit", "1", "fields", "individual_id")); a.status != http.StatusOK {
			return a
		}
	}
	return a
}

// usedOf is how many bytes a file system holds.
func usedOf(t *testing.T, folder string) int64 {
	t.Helper()
	var s unix.Statfs_t
	check(t, unix.Statfs(folder, &s))
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// TestFullDiskOfADatabase does with the tables of a database what TestFullDisk does with a folder.
func TestFullDiskOfADatabase(t *testing.T) {
	t.Parallel()
	const people = 12_000
	disk, c := smallDisk(t, "256m"), ownCluster(t)
	check(t, os.Chmod(filepath.Dir(disk), 0o755))
	check(t, c.Give(disk))
	sql(t, c.URL("postgres", "postgres"), "CREATE TABLESPACE small LOCATION '"+disk+"'")
	r, input := newInDatabase(t, c, "TABLESPACE small"), surveyOf(t, people)
	var first importReport
	for room := int64(4 << 20); first.Created == 0; room += 2 << 20 { // until some of it fits
		resize(t, disk, 0, fmt.Sprint(usedOf(t, disk)+room))
		first = parseImport(t, refused(t, "store_full", r.importing(input)...).out)
	}
	if n := r.count(t, "SELECT (SELECT count(*) FROM annona.individuals) + (SELECT count(*) FROM annona.households)"); n != int64(first.Created) || n == 0 || n >= 2*people {
		t.Fatalf("%d records are there; the disk has the wrong size for this test, or the import lies: %+v", n, first)
	}
	s := r.serve(t)
	if a := fillUntilRefused(t, s); a.status == http.StatusOK {
		t.Log("there is still room for the ledger")
	} else if a.status != http.StatusServiceUnavailable || a.code() != "store_full" || strings.Contains(string(a.body), "individual_id") {
		t.Errorf("nothing leaves that cannot be recorded: status %d %.200s", a.status, a.body)
	}
	resize(t, disk, 0, "256m")
	must(t, r.serving("verify")...)
	second := parseImport(t, must(t, r.importing(input)...))
	if second.Unchanged != first.Created || second.Created+second.Unchanged != 2*people || second.Changed != 0 {
		t.Errorf("%d records were committed before, the second import has %+v", first.Created, second)
	}
	if rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id"))); rows != people {
		t.Errorf("%d individuals", rows)
	}
	s.stop()
	must(t, r.serving("verify")...)
}

func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "16m")
	data := filepath.Join(disk, "registry")
	fillEmpty(t, data)
	resize(t, disk, unix.MS_RDONLY, "16m")
	for _, args := range [][]string{
		{"verify", "--data", data},
		{"serve", "--data", data, "--listen", "127.0.0.1:0"},
		{"import", "--data", data, "--mapping", ghanaMapping, ghanaSample},
		{"key", "create", "--data", data, "--agreement", "eligibility"},
	} {
		refused(t, "store_unreadable", args...)
	}
	refused(t, "folder_unusable", "init", "--data", filepath.Join(disk, "another"))
}
