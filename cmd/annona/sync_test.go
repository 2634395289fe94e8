package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
)

// watched is a folder that a sender fills, with a registry that is kept in step with it.
type watched struct {
	t                         testing.TB
	data, inbox, keep, config string
}

func newWatched(t testing.TB, data string, keys ...string) *watched {
	t.Helper()
	dir := t.TempDir()
	w := &watched{t: t, data: data, inbox: filepath.Join(dir, "in"), keep: filepath.Join(dir, "keep"), config: filepath.Join(dir, "sync.yaml")}
	check(t, os.Mkdir(w.inbox, 0o755))
	w.configure(keys...)
	return w
}

func (w *watched) configure(keys ...string) {
	w.t.Helper()
	mapping, err := filepath.Abs(ghanaMapping)
	check(w.t, err)
	text := "sources:\n  - name: survey\n    kind: folder\n    folder: in\n    keep: keep\n    schedule: 1s\n    settle: 20ms\n    retries: 0\n    mapping: " + mapping + "\n"
	for _, key := range keys {
		text += "    " + key + "\n"
	}
	writeFile(w.t, w.config, []byte(text))
}

// deliver puts a file and its marker into the folder.
func (w *watched) deliver(name, content, marker string) {
	w.t.Helper()
	writeFile(w.t, filepath.Join(w.inbox, name), []byte(content))
	writeFile(w.t, filepath.Join(w.inbox, name+markerSuffix), []byte(marker))
}

func (w *watched) sync() syncLine {
	w.t.Helper()
	return syncNow(w.t, w.data, w.config)["survey"]
}

// kept returns the files under a folder of the keeper, without the IDs of deliveries.
func (w *watched) kept(folder string) (files []string) {
	w.t.Helper()
	root := filepath.Join(w.keep, folder)
	check(w.t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			_, inside, _ := strings.Cut(rel, string(filepath.Separator))
			files = append(files, inside)
		}
		return err
	}))
	return files
}

func (w *watched) only(folder, file string) string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.keep, folder, "*", file))
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%s/%s: %v, %v", folder, file, found, err)
	}
	return found[0]
}

func rowsOf(from, to int) string {
	var b strings.Builder
	b.WriteString(surveyHeader)
	for i := from; i <= to; i++ {
		b.WriteString(surveyRow(i, "none"))
	}
	return b.String()
}

func TestSyncFolder(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	if l := w.sync(); l.Failures != 0 || l.Last != (syncCount{}) {
		t.Errorf("nothing has arrived: %+v", l)
	}
	writeFile(t, filepath.Join(w.inbox, "north.csv"), []byte(rowsOf(1, 5)))
	writeFile(t, filepath.Join(w.inbox, "gone.csv.done"), nil)
	if l := w.sync(); l.Last.Rows != 0 || l.Last.Orphaned != 1 {
		t.Errorf("a file without marker, a marker without file: %+v", l)
	}
	writeFile(t, filepath.Join(w.inbox, "north.csv.done"), []byte("sent on Sunday\n"))
	if l := w.sync(); l.Last.Created != 10 || l.Last.Loaded != 1 {
		t.Errorf("the file and its marker: %+v", l)
	}
	w.deliver("north.csv", rowsOf(1, 6), fmt.Sprintf("%x  north.csv\n", sha256.Sum256([]byte(rowsOf(1, 6)))))
	if l := w.sync(); l.Last.Created != 2 || l.Last.Unchanged != 10 {
		t.Errorf("a file of the same name: %+v", l)
	}
	if got := w.kept("archive"); strings.Join(got, " ") != "delivery/north.csv delivery/north.csv.done delivery/north.csv delivery/north.csv.done" {
		t.Errorf("the archive holds %v", got)
	}
	if left, err := os.ReadDir(w.inbox); err != nil || len(left) != 1 {
		t.Errorf("left with the sender: %v", left)
	}
	if len(w.kept("working"))+len(w.kept("quarantine")) != 0 {
		t.Error("a folder is not empty")
	}
	must(t, "verify", "--data", w.data)
}

// Households and members arrive together in one folder, as its marker says.
func TestSyncFolderOfFiles(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	text, err := os.ReadFile(w.config)
	check(t, err)
	mapping, err := filepath.Abs("../../examples/two-files/mapping.yaml")
	check(t, err)
	writeFile(t, w.config, []byte(replaceLine(string(text), "    mapping:", "    mapping: "+mapping)))
	check(t, os.Mkdir(filepath.Join(w.inbox, "2026-11"), 0o755))
	for _, name := range []string{"households.csv", "members.csv"} {
		copyFile(t, filepath.Join("../../examples/two-files", name), filepath.Join(w.inbox, "2026-11", name))
	}
	writeFile(t, filepath.Join(w.inbox, "2026-11.done"), nil)
	if l := w.sync(); l.Last.Households == 0 || l.Last.Individuals == 0 || l.Last.Created != l.Last.Households+l.Last.Individuals || l.Last.Loaded != 1 {
		t.Errorf("%+v", l)
	}
	w.only("archive", "delivery/2026-11/members.csv")
}

// What cannot be loaded goes to quarantine with a report that says why and repeats no value; what is
// behind it is loaded.
func TestSyncQuarantine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arrive func(w *watched)
		code   string
	}{
		"another header":  {func(w *watched) { w.deliver("a.csv", "name,"+planted+"\nx,"+planted+"\n", "") }, "input_columns"},
		"empty":           {func(w *watched) { w.deliver("a.csv", "", "") }, "input_empty"},
		"another sum":     {func(w *watched) { w.deliver("a.csv", rowsOf(1, 2), strings.Repeat("0", 64)+"  a.csv\n") }, "checksum_mismatch"},
		"sum of another":  {func(w *watched) { w.deliver("a.csv", rowsOf(1, 2), strings.Repeat("0", 64)+"  b.csv\n") }, "checksum_mismatch"},
		"reserved name":   {func(w *watched) { w.deliver(reportFile, planted, "") }, "input_columns"},
		"UTF-16":          {func(w *watched) { w.deliver("a.csv", "\xff\xfea\x00", "") }, "input_encoding"},
		"no gzip":         {func(w *watched) { w.deliver("a.csv", "\x1f\x8bno", "") }, "input_unreadable"},
		"an empty folder": {func(w *watched) { w.folder(); w.mark("a.csv") }, "delivery_empty"},
		"a link": {func(w *watched) {
			check(t, os.Symlink(filepath.Join(w.data, "root.key"), filepath.Join(w.inbox, "a.csv")))
			w.mark("a.csv")
		}, "delivery_not_files"},
		"a link in a folder": {func(w *watched) {
			check(t, os.Symlink("/etc/passwd", filepath.Join(w.folder(), "members.csv")))
			w.mark("a.csv")
		}, "delivery_not_files"},
		"a folder in a folder": {func(w *watched) { check(t, os.Mkdir(filepath.Join(w.folder(), "b"), 0o755)); w.mark("a.csv") }, "delivery_not_files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, newRegistry(t))
			c.arrive(w)
			time.Sleep(5 * time.Millisecond)
			w.deliver("z.csv", rowsOf(1, 3), "")
			l := w.sync()
			if l.Last.Quarantined != 1 || l.Last.Loaded != 1 || l.Last.Created != 6 || l.Failures != 0 {
				t.Errorf("%+v", l)
			}
			report, err := os.ReadFile(w.only("quarantine", reportFile))
			check(t, err)
			if !strings.Contains(string(report), `"code": "`+c.code+`"`) || strings.Contains(string(report), planted) {
				t.Errorf("%s", report)
			}
			if out := must(t, "sync", "status", "--data", w.data); !strings.Contains(out, "quarantine") || strings.Contains(out, planted) {
				t.Error(out)
			}
		})
	}
}

func (w *watched) folder() string {
	w.t.Helper()
	path := filepath.Join(w.inbox, "a.csv")
	check(w.t, os.Mkdir(path, 0o755))
	return path
}

func (w *watched) mark(name string) {
	w.t.Helper()
	writeFile(w.t, filepath.Join(w.inbox, name+markerSuffix), nil)
}

// A file that still grows behind its marker is left for the next run.
func TestSyncGrowingFile(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t), "archive_days: 1")
	w.deliver("a.csv", rowsOf(1, 3), "")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		file, err := os.OpenFile(filepath.Join(w.inbox, "a.csv"), os.O_APPEND|os.O_WRONLY, 0)
		for i := 4; err == nil; i++ {
			select {
			case <-stop:
				_ = file.Close()
				return
			case <-time.After(time.Millisecond):
				_, err = file.WriteString(surveyRow(i, "none"))
			}
		}
	}()
	if l := w.sync(); l.Last.Growing != 1 || l.Last.Rows != 0 || len(w.kept("quarantine")) != 0 {
		t.Errorf("%+v", l)
	}
	close(stop)
	<-stopped
	if l := w.sync(); l.Last.Growing != 0 || l.Last.Loaded != 1 || l.Last.Created < 6 {
		t.Errorf("%+v", l)
	}
}

// A file that changes while it is loaded is found out, however it changed.
func TestDeliveryThatChanges(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"longer":   func(path string) error { return os.WriteFile(path, []byte("ab"), 0o600) },
		"touched":  func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)) },
		"replaced": func(path string) error { _ = os.Rename(path, path+"2"); return os.WriteFile(path, []byte("a"), 0o600) },
		"removed":  os.Remove,
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "f"), []byte("a"))
		d, err := openDelivery(dir)
		check(t, err)
		check(t, d.check())
		check(t, change(d.files[0]))
		if err := d.check(); annona.CodeOf(err) != "input_changed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The archive is sealed to a recipient, refused rows too, and goes after its days.
func TestSyncSealedArchive(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	check(t, err)
	w := newWatched(t, newRegistry(t), "seal_to: ["+identity.Recipient().String()+"]", "archive_days: 2")
	w.deliver("a.csv", rowsOf(1, 3)+"too,few\n", "")
	if l := w.sync(); l.Last.Created != 6 || l.Last.Rejected != 1 {
		t.Errorf("%+v", l)
	}
	opened := func(path string) string {
		t.Helper()
		sealed, err := os.ReadFile(path)
		check(t, err)
		r, err := age.Decrypt(bytes.NewReader(sealed), identity)
		check(t, err)
		text, err := io.ReadAll(r)
		check(t, err)
		return string(text)
	}
	archived := w.only("archive", "a.csv.age")
	if opened(archived) != rowsOf(1, 3)+"too,few\n" || len(w.kept("archive")) != 1 || len(w.kept("working")) != 0 {
		t.Errorf("archive %v, working %v", w.kept("archive"), w.kept("working"))
	}
	rejects, err := filepath.Glob(filepath.Join(w.data, "rejects", "survey", "*"))
	if err != nil || len(rejects) != 1 || !strings.Contains(opened(rejects[0]), "too,few") {
		t.Errorf("rejects %v", rejects)
	}
	old := filepath.Join(w.keep, "archive", time.Now().UTC().AddDate(0, 0, -3).Format(idLayout)+"-00000000")
	check(t, os.Rename(filepath.Dir(archived), old))
	w.sync()
	if left := w.kept("archive"); len(left) != 0 {
		t.Errorf("after its days: %v", left)
	}
	w.configure("archive_days: 0")
	w.deliver("a.csv", rowsOf(1, 3), "")
	if l := w.sync(); l.Last.Unchanged != 6 || len(w.kept("archive"))+len(w.kept("working")) != 0 {
		t.Errorf("kept for no day: %+v, %v", l, w.kept("archive"))
	}
}

// Two processes never take one file, nor one source at once.
func TestTwoSyncsAtOnce(t *testing.T) {
	t.Parallel()
	const files = 12
	w := newWatched(t, newRegistry(t))
	for i := range files {
		w.deliver(fmt.Sprintf("%02d.csv", i), rowsOf(10*i+1, 10*i+10), "")
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if r := command("sync", "--data", w.data, "--config", w.config, "--once"); r.code != 0 {
				t.Error(r)
			}
		})
	}
	all.Wait()
	if n := len(w.kept("archive")); n != 2*files || len(w.kept("quarantine"))+len(w.kept("working")) != 0 {
		t.Errorf("%d of %d files in the archive", n, 2*files)
	}
	if r := importInto(t, w.data, ghanaMapping, writeTemp(t, rowsOf(1, 10*files))); r.Unchanged != 20*files {
		t.Errorf("%+v", r)
	}
}

func writeTemp(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.csv")
	writeFile(t, path, []byte(text))
	return path
}

// A process that is killed leaves its delivery; the next one waits for its lease and continues.
func TestSyncKilled(t *testing.T) {
	t.Parallel()
	for range 5 {
		if killedInALoad(t) {
			return
		}
	}
	t.Error("the process was never killed in the midst of a load")
}

// killedInALoad kills a sync and runs it again. It reports whether the kill met a load that had written
// something and was not at its end: on a busy machine it may come early or late.
func killedInALoad(t *testing.T) bool {
	const people = 8_000
	w := newWatched(t, newRegistry(t))
	survey, err := os.ReadFile(surveyOf(t, people))
	check(t, err)
	w.deliver("a.csv", string(survey), "")
	p := start(t, "sync", "--data", w.data, "--config", w.config)
	p.waitUntilWritten(w.data, 2<<20)
	p.kill()
	if len(w.kept("working")) == 0 {
		return false
	}
	l := w.sync()
	if l.Last.Loaded != 1 || l.Last.Created+l.Last.Unchanged != 2*people || l.Last.Changed != 0 {
		t.Errorf("%+v", l)
	}
	if len(w.kept("working")) != 0 || len(w.kept("archive")) != 2 {
		t.Errorf("working %v, archive %v", w.kept("working"), w.kept("archive"))
	}
	must(t, "verify", "--data", w.data)
	return l.Last.Unchanged > 0
}

// A crash between the two renames of a take leaves the marker with us: it goes back. A delivery that
// has killed the process again and again is not loaded for ever.
func TestSyncAfterCrashes(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	w.sync()
	half, poison := filepath.Join(w.keep, "working", newDeliveryID()), filepath.Join(w.keep, "working", newDeliveryID())
	check(t, os.MkdirAll(filepath.Join(half, content), 0o700))
	check(t, os.MkdirAll(filepath.Join(poison, content), 0o700))
	writeFile(t, filepath.Join(w.inbox, "a.csv"), []byte(rowsOf(1, 3)))
	writeFile(t, filepath.Join(half, content, "a.csv.done"), nil)
	writeFile(t, filepath.Join(poison, content, "b.csv"), []byte(rowsOf(4, 6)))
	writeFile(t, filepath.Join(poison, crashFile), []byte("..."))
	l := w.sync()
	if l.Last.Loaded != 1 || l.Last.Created != 6 || l.Last.Quarantined != 1 {
		t.Errorf("%+v", l)
	}
	if report, err := os.ReadFile(w.only("quarantine", reportFile)); err != nil || !strings.Contains(string(report), "delivery_crashes") {
		t.Errorf("%s, %v", report, err)
	}
}

// A failure that is not the delivery's leaves it where it is.
func TestSyncWhenTheFolderIsWrong(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	w.deliver("a.csv", rowsOf(1, 3), "")
	check(t, os.Mkdir(w.keep, 0o755))
	refused(t, "keep_exposed", "sync", "--data", w.data, "--config", w.config, "--once")
	check(t, os.Chmod(w.keep, 0o700))
	check(t, os.Rename(w.inbox, w.inbox+"2"))
	refused(t, "folder_missing", "sync", "--data", w.data, "--config", w.config, "--once")
	if l := syncStatusOf(t, w.data)["survey"]; l.Failures != 2 || l.Code != "folder_missing" || !l.SucceededAt.IsZero() {
		t.Errorf("%+v", l)
	}
	check(t, os.Rename(w.inbox+"2", w.inbox))
	if l := w.sync(); l.Failures != 0 || l.Code != "" || l.Last.Created != 6 {
		t.Errorf("%+v", l)
	}
}

// A process that has died gives its sources back when its lease is over; one that lives keeps them.
func TestSyncTakesOver(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	f, err := openFolder(t.Context(), w.data)
	check(t, err)
	dead := annona.NewUID()
	_, err = f.store.HoldSync(t.Context(), "survey", dead, 2*time.Second)
	check(t, err)
	w.deliver("a.csv", rowsOf(1, 3), "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var out, failed bytes.Buffer
	if code := run(ctx, []string{"sync", "--data", w.data, "--config", w.config, "--once"}, console{nil, &out, &failed}); code == 0 {
		t.Error("it ran while another one has the source")
	}
	if _, err := os.Stat(filepath.Join(w.inbox, "a.csv")); err != nil {
		t.Error("it took what another one has")
	}
	if l := w.sync(); l.Last.Created != 6 {
		t.Errorf("%+v", l)
	}
	if err := f.store.PutSync(t.Context(), "survey", dead, []byte("{}")); annona.CodeOf(err) != "sync_lost" {
		t.Error(err)
	}
	check(t, f.Close())
}

// The program goes on by its schedule, shows how it does, and ends when it is asked to.
func TestSyncRuns(t *testing.T) {
	t.Parallel()
	w := newWatched(t, newRegistry(t))
	address := freeAddress(t)
	p := start(t, "sync", "--data", w.data, "--config", w.config, "--metrics", address)
	w.deliver("a.csv", rowsOf(1, 3), "")
	shows := func(line string) func() bool {
		return func() bool {
			response, err := http.Get("http://" + address + "/metrics")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			check(t, err)
			return strings.Contains(string(text), line)
		}
	}
	eventually(t, "the first delivery", shows(`annona_sync_rows_total{outcome="created",source="survey"} 6`))
	w.deliver("b.csv", rowsOf(1, 4), "")
	eventually(t, "the second delivery", shows(`annona_sync_rows_total{outcome="created",source="survey"} 8`))
	w.deliver("c.csv", "", "")
	eventually(t, "the quarantine", shows(`annona_sync_failures_total{code="quarantined",source="survey"} 1`))
	for _, name := range []string{"annona_sync_lag_seconds{", "annona_sync_last_success_timestamp_seconds{"} {
		eventually(t, name, shows(name))
	}
	if code := p.stop(); code != 0 || !strings.Contains(p.err.String(), `"msg":"stopped"`) {
		t.Errorf("exit %d: %s", code, p.err)
	}
	if l := syncStatusOf(t, w.data)["survey"]; l.Running {
		t.Errorf("%+v", l)
	}
}

// Asked to end while it loads, the process leaves the delivery for the next one, and the source free.
func TestSyncInterrupted(t *testing.T) {
	t.Parallel()
	const people = 20_000
	w := newWatched(t, newRegistry(t))
	survey, err := os.ReadFile(surveyOf(t, people))
	check(t, err)
	w.deliver("a.csv", string(survey), "")
	p := start(t, "sync", "--data", w.data, "--config", w.config)
	p.waitUntilWritten(w.data, 2<<20)
	if code := p.stop(); code != 0 {
		t.Errorf("exit %d: %s", code, p.err)
	}
	begun := time.Now()
	if l := w.sync(); l.Last.Created+l.Last.Unchanged != 2*people || l.StartedAt.Sub(begun) > lease/2 {
		t.Errorf("after %v: %+v", time.Since(begun), l)
	}
}

func TestSyncConfigurations(t *testing.T) {
	t.Parallel()
	const folder = "sources:\n  - name: a\n    kind: folder\n    folder: in\n    keep: keep\n    schedule: 15m\n    mapping: m.yaml\n"
	const database = "sources:\n  - name: a\n    kind: sqlite\n    file: a.sqlite\n    schedule: 15m\n    mapping: m.yaml\n    compare: 24h\n    queries:\n      - {name: q, sql: SELECT 1, mark: m, overlap: 10m}\n"
	path := filepath.Join(t.TempDir(), "sync.yaml")
	parse := func(text string) error {
		writeFile(t, path, []byte(text))
		_, err := readSyncConfig(path, nil)
		return err
	}
	for _, text := range []string{folder, database, strings.Replace(folder, "15m", "'30 2 * * *'\n    time_zone: Asia/Kathmandu", 1)} {
		if err := parse(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"no sources":             "sources: []",
		"no YAML":                "sources: [",
		"an unknown key":         folder + "    modus: full\n",
		"a name twice":           folder + strings.TrimPrefix(folder, "sources:\n"),
		"a malformed name":       strings.Replace(folder, "name: a", "name: A b", 1),
		"an unknown kind":        strings.Replace(folder, "kind: folder", "kind: mysql", 1),
		"a key of another kind":  folder + "    file: a.sqlite\n",
		"keep inside the folder": strings.Replace(folder, "keep: keep", "keep: in/keep", 1),
		"no schedule":            strings.Replace(folder, "    schedule: 15m\n", "", 1),
		"a malformed schedule":   strings.Replace(folder, "15m", "every day", 1),
		"a zone in the schedule": strings.Replace(folder, "15m", "CRON_TZ=UTC 1 2 * * *", 1),
		"an unknown zone":        folder + "    time_zone: Mars/Olympus\n",
		"a guard without full":   folder + "    delete_guard: 5%\n",
		"an impossible guard":    folder + "    mode: full\n    delete_guard: 200%\n",
		"an unknown mode":        folder + "    mode: replace\n",
		"a malformed recipient":  folder + "    seal_to: [age1]\n",
		"a mark without overlap": strings.Replace(database, ", overlap: 10m", "", 1),
		"a mark never compared":  strings.Replace(database, "    compare: 24h\n", "", 1),
		"compared by nothing":    strings.Replace(database, "compare: 24h", "compare: 0 runs", 1),
		"a malformed overlap":    strings.Replace(database, "10m", "ten", 1),
		"no queries":             database[:strings.Index(database, "    queries")],
		"a query twice":          database + "      - {name: q, sql: SELECT 2}\n",
	} {
		err := parse(text)
		if annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := parse(database); err != nil {
		t.Fatal(err)
	}
	two := folder + strings.NewReplacer("sources:\n", "", "name: a", "name: b", "m.yaml", "n.yaml").Replace(folder)
	for mappings, wrong := range map[[2]string]bool{{"office", "office"}: true, {"office", "' office '"}: true, {"office", "clinic"}: false, {"office", ""}: false} {
		for i, name := range []string{"m.yaml", "n.yaml"} {
			writeFile(t, filepath.Join(filepath.Dir(path), name), []byte("source: "+mappings[i]+"\n"))
		}
		if err := parse(two); (annona.CodeOf(err) == "config_malformed") != wrong || err != nil != wrong {
			t.Errorf("two sources whose mappings are of %v: %v", mappings, err)
		}
	}
	check(t, parse(database))
	if _, err := readSyncConfig(path, []string{"b"}); annona.CodeOf(err) != "source_unknown" {
		t.Error(err)
	}
}

// A schedule means the time of its zone.
func TestSyncSchedules(t *testing.T) {
	t.Parallel()
	s := syncSource{Schedule: "30 2 * * *", TimeZone: "Asia/Kathmandu"}
	check(t, s.completeSchedule())
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	if next := s.next(syncState{StartedAt: at}); !next.Equal(time.Date(2026, 11, 22, 20, 45, 0, 0, time.UTC)) { // 02:30 at UTC+05:45
		t.Error(next)
	}
	if next := s.next(syncState{}); !next.IsZero() {
		t.Errorf("what was never synchronized is due: %v", next)
	}
}

func TestSyncPasswords(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	writeFile(t, secret, []byte("hush\n"))
	t.Setenv("ANNONA_TEST_PASSWORD", "hush")
	for _, s := range []syncSource{{PasswordFile: secret}, {PasswordEnv: "ANNONA_TEST_PASSWORD"}} {
		if p, err := s.password(); p != "hush" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
	}
	check(t, os.Chmod(secret, 0o644))
	for code, s := range map[string]syncSource{
		"password_file_exposed": {PasswordFile: secret}, "password_missing": {PasswordFile: secret + "2"},
	} {
		if _, err := s.password(); annona.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := (&syncSource{PasswordEnv: "ANNONA_TEST_NONE"}).password(); annona.CodeOf(err) != "password_missing" {
		t.Error(err)
	}
}
