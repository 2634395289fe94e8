package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// A sender fills a folder. What is whole has a marker: NAME.done beside the file, or the folder of
// files, NAME. That is one delivery. It is taken by renaming its marker, which only one process can,
// and then the file; from then on it lies in a folder of ours, where no sender reaches:
//
//	keep/working/ID      being loaded; what a crash leaves here is continued by the next run
//	keep/archive/ID      loaded; removed after archive_days
//	keep/quarantine/ID   not to be loaded, with report.json: codes and counts, no values
//
// IDs ascend with time, so that files of one name never meet.

const (
	markerSuffix = ".done"
	content      = "delivery" // folder in that of a delivery: what the sender has sent, under its own names
	reportFile   = "report.json"
	crashFile    = "attempts" // one byte for each time that a load of the delivery was begun and did not end
	maxCrashes   = 3
	maxMarker    = 64 << 10
)

// keeper is the folder in which deliveries are kept.
type keeper struct{ inbox, working, archive, quarantine string }

// prepareKeeper makes the folders that are missing.
func (s *syncSource) prepareKeeper() (k keeper, err error) {
	k = keeper{s.Folder, filepath.Join(s.Keep, "working"), filepath.Join(s.Keep, "archive"), filepath.Join(s.Keep, "quarantine")}
	for _, folder := range []string{s.Keep, k.working, k.archive, k.quarantine} {
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return k, folderFault(err, "the folder that keeps deliveries cannot be made")
		}
	}
	info, err := os.Lstat(s.Keep)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return k, annona.Invalid("keep_exposed", "the folder that keeps deliveries must be a folder that only this account may enter; run chmod 700").On("keep").Because(err)
	}
	if info, err := os.Stat(s.Folder); err != nil || !info.IsDir() {
		return k, annona.Unavailable("folder_missing", "the folder of the sender is not there, or is no folder").On("folder").Because(err)
	}
	return k, nil
}

// folderFault turns a failure of the file system into an error. A full disk and a missing right may
// pass: somebody will see to them.
func folderFault(err error, what string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return annona.Unavailable("disk_full", "%s: the disk is full", what).Because(err)
	case errors.Is(err, syscall.EXDEV):
		return annona.Invalid("keep_elsewhere", "the folder of the sender and the one that keeps deliveries must lie on one disk, so that a file is taken all at once").On("keep").Because(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return annona.Unavailable("folder_not_allowed", "%s: this account may not; it needs to write in the folder of the sender, and in folders that are delivered", what).Because(err)
	}
	return annona.Unavailable("folder_failed", "%s: %s", what, reason(err)).Because(err)
}

// takeIn continues what an earlier run has left, and then loads what has arrived.
func (r *syncing) takeIn(ctx context.Context, m *ingest.Mapping) error {
	k, err := r.source.prepareKeeper()
	if err != nil {
		return err
	}
	if err := errors.Join(sweep(k.archive, *r.source.ArchiveDays), sweep(k.quarantine, r.source.QuarantineDays)); err != nil {
		r.log.Warn("deliveries that are due to go could not be removed", "code", annona.CodeOf(err))
	}
	if err := k.recover(); err != nil {
		return err
	}
	left, err := names(k.working)
	if err != nil {
		return err
	}
	for _, id := range left {
		if err := r.loadDelivery(ctx, m, k, id); err != nil {
			return err
		}
	}
	arrived, err := r.arrived(ctx, k)
	if err != nil {
		return err
	}
	for _, name := range arrived {
		id, err := k.take(name)
		if err != nil || id == "" {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.loadDelivery(ctx, m, k, id); err != nil {
			return err
		}
	}
	return nil
}

// names returns the entries of a folder, sorted.
func names(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, folderFault(err, "a folder cannot be read")
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return all, nil
}

// sweep removes deliveries that are older than so many days; 0: none goes. The archive keeps none
// at all when it keeps them for no day, see settle.
func sweep(folder string, days int) error {
	if days == 0 {
		return nil
	}
	all, err := names(folder)
	if err != nil {
		return err
	}
	before := time.Now().UTC().AddDate(0, 0, -days).Format(idLayout)
	var failed error
	for _, id := range all {
		if isID(id) && id < before {
			failed = errors.Join(failed, os.RemoveAll(filepath.Join(folder, id)))
		}
	}
	return failed
}

const idLayout = "20060102T150405.000000000"

var deliveryID = regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}-[0-9a-f]{8}$`)

func isID(name string) bool { return deliveryID.MatchString(name) }

func newDeliveryID() string {
	var some [4]byte
	_, _ = rand.Read(some[:]) // it never fails
	return time.Now().UTC().Format(idLayout) + "-" + hex.EncodeToString(some[:])
}

// arrived returns the names of deliveries that are whole, in the order of their markers. Those that
// still grow, in spite of their marker, are left for the next run.
func (r *syncing) arrived(ctx context.Context, k keeper) ([]string, error) {
	type marked struct {
		name string
		at   time.Time
		size string
	}
	all, err := names(k.inbox)
	if err != nil {
		return nil, err
	}
	var waiting []marked
	r.state.Last.Orphaned, r.state.Last.Growing = 0, 0
	for _, entry := range all {
		name, isMarker := strings.CutSuffix(entry, markerSuffix)
		marker, err := os.Lstat(filepath.Join(k.inbox, entry))
		if !isMarker || name == "" || err != nil || !marker.Mode().IsRegular() {
			continue
		}
		if _, err := os.Lstat(filepath.Join(k.inbox, name)); err != nil {
			r.state.Last.Orphaned++
			continue
		}
		waiting = append(waiting, marked{name: name, at: marker.ModTime(), size: extent(filepath.Join(k.inbox, name))})
	}
	if len(waiting) == 0 {
		return nil, nil
	}
	if !pauseFor(ctx, r.source.settle) {
		return nil, ctx.Err()
	}
	slices.SortStableFunc(waiting, func(a, b marked) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name)) })
	var settled []string
	for _, w := range waiting {
		if extent(filepath.Join(k.inbox, w.name)) != w.size {
			r.state.Last.Growing++
			continue
		}
		settled = append(settled, w.name)
	}
	return settled, nil
}

// extent tells whether something is still being written: it changes with the size and the time of
// every file.
func extent(path string) string {
	var b strings.Builder
	note := func(info fs.FileInfo) {
		fmt.Fprintf(&b, "%s %d %d %s\n", info.Name(), info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	info, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	note(info)
	if !info.IsDir() {
		return b.String()
	}
	entries, _ := os.ReadDir(path) // what cannot be read is found out when it is loaded
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			note(info)
		}
	}
	return b.String()
}

// take moves a delivery into a working folder of its own: first its marker, so that nobody else takes
// it, then what it marks. It returns no ID when somebody else was faster.
func (k keeper) take(name string) (id string, err error) {
	id = newDeliveryID()
	folder := filepath.Join(k.working, id, content)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", folderFault(err, "a delivery cannot be taken")
	}
	for _, part := range []string{name + markerSuffix, name} {
		err := os.Rename(filepath.Join(k.inbox, part), filepath.Join(folder, part))
		if err == nil {
			continue
		}
		if back := k.putBack(id); back != nil {
			return "", back
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return "", folderFault(err, "a delivery cannot be taken")
	}
	return id, nil
}

// putBack undoes a take of which only the marker has come.
func (k keeper) putBack(id string) error {
	folder := filepath.Join(k.working, id, content)
	entries, err := names(folder)
	if err != nil {
		return err
	}
	for _, name := range entries {
		if err := os.Rename(filepath.Join(folder, name), filepath.Join(k.inbox, name)); err != nil {
			return folderFault(err, "a delivery cannot be put back")
		}
	}
	if err := os.RemoveAll(filepath.Join(k.working, id)); err != nil {
		return folderFault(err, "a delivery cannot be put back")
	}
	return nil
}

// recover puts markers back whose delivery a crash has left with the sender.
func (k keeper) recover() error {
	ids, err := names(k.working)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !isID(id) {
			return annona.Invalid("working_foreign", "the working folder of deliveries holds something that is none; take it away").On("keep")
		}
		folder := filepath.Join(k.working, id, content)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return folderFault(err, "a delivery cannot be continued")
		}
		entries, err := names(folder)
		if err != nil {
			return err
		}
		if len(entries) == 0 || len(entries) == 1 && strings.HasSuffix(entries[0], markerSuffix) {
			if err := k.putBack(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// delivery is what lies in a working folder.
type delivery struct {
	marker string
	files  []string // paths
	infos  []fs.FileInfo
}

// loadDelivery loads a delivery and moves it to the archive or to quarantine. It fails when the
// delivery is not to blame; then it stays where it is, for the next attempt.
func (r *syncing) loadDelivery(ctx context.Context, m *ingest.Mapping, k keeper, id string) error {
	folder := filepath.Join(k.working, id)
	crashes, err := beginAttempt(folder)
	if err != nil {
		return err
	}
	var count syncCount
	if crashes >= maxCrashes {
		err = annona.Invalid("delivery_crashes", "the process has ended %d times while it loaded this delivery", crashes)
	} else {
		count, err = r.loadFiles(ctx, m, folder)
	}
	if ctx.Err() != nil || err != nil && mayPass(err) {
		return errors.Join(err, os.Remove(filepath.Join(folder, crashFile)))
	}
	r.state.Last.add(count)
	if err != nil {
		r.state.Last.Quarantined++
		r.log.Error("a delivery went to quarantine", "delivery", id, "code", annona.CodeOf(err), "error", err.Error())
		return r.toQuarantine(k, id, count, err)
	}
	r.state.Last.Loaded++
	return r.toArchive(k, id)
}

// beginAttempt counts that the delivery is being loaded, so that one that kills the process is not
// loaded for ever.
func beginAttempt(folder string) (before int, err error) {
	file, err := os.OpenFile(filepath.Join(folder, crashFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, folderFault(err, "a delivery cannot be worked on")
	}
	info, err := file.Stat()
	if err == nil {
		before = int(info.Size())
		_, err = file.Write([]byte{'.'})
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, folderFault(err, "a delivery cannot be worked on")
	}
	return before, nil
}

// loadFiles loads the files of a delivery together.
func (r *syncing) loadFiles(ctx context.Context, m *ingest.Mapping, folder string) (syncCount, error) {
	d, err := openDelivery(filepath.Join(folder, content))
	if err != nil {
		return syncCount{}, err
	}
	if err := d.checkSums(); err != nil {
		return syncCount{}, err
	}
	l := syncLoad{mapping: m, mode: r.source.Mode, guard: r.source.guard, asOf: d.asOf(r.source.AsOf), readings: [][]ingest.Source{d.sources()}}
	count, err := r.load(ctx, l)
	if changed := d.check(); changed != nil {
		return count, changed // whatever else went wrong came of it
	}
	return count, err
}

// openDelivery looks at what a delivery is made of: one file, or one folder of files. Nothing but
// files is opened: a link or a device may lead anywhere.
func openDelivery(folder string) (*delivery, error) {
	d := &delivery{}
	all, err := names(folder)
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		path := filepath.Join(folder, name)
		info, err := os.Lstat(path)
		switch {
		case err != nil:
			return nil, folderFault(err, "a delivery cannot be looked at")
		case d.marker == "" && info.Mode().IsRegular() && strings.HasSuffix(name, markerSuffix) && slices.Contains(all, strings.TrimSuffix(name, markerSuffix)):
			d.marker = path
		case info.IsDir():
			if err := d.addFolder(path); err != nil {
				return nil, err
			}
		default:
			if err := d.add(path); err != nil {
				return nil, err
			}
		}
	}
	if len(d.files) == 0 {
		return nil, annona.Invalid("delivery_empty", "the delivery holds no files")
	}
	return d, nil
}

func (d *delivery) addFolder(path string) error {
	all, err := os.ReadDir(path)
	if err != nil {
		return annona.Invalid("delivery_unreadable", "the folder of the delivery cannot be read: this account may not, or it is damaged").Because(err)
	}
	for _, e := range all {
		if err := d.add(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) add(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return annona.Invalid("delivery_not_files", "a delivery is one file, or one folder of files; links, devices and folders in folders are not followed").Because(err)
	}
	file, err := os.Open(path)
	if err != nil {
		return annona.Invalid("delivery_unreadable", "a file of the delivery cannot be opened: %s", reason(err)).Because(err)
	}
	d.files, d.infos = append(d.files, path), append(d.infos, info)
	return file.Close()
}

// sources are the files for the reader. A name that could be anything is not repeated in messages.
func (d *delivery) sources() []ingest.Source {
	sources := make([]ingest.Source, len(d.files))
	for i, path := range d.files {
		name := filepath.Base(path)
		if !plainName.MatchString(name) {
			name = fmt.Sprintf("file %d", i+1)
		}
		sources[i] = ingest.Source{Name: name, Size: d.infos[i].Size(), Open: func() (io.ReadCloser, error) { return d.open(i) }}
	}
	return sources
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$`)

// open opens a file of the delivery, if it is still the one that was looked at.
func (d *delivery) open(i int) (io.ReadCloser, error) {
	file, err := os.Open(d.files[i])
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !os.SameFile(info, d.infos[i]) {
		return nil, errors.Join(errChanged(), file.Close())
	}
	return file, nil
}

func errChanged() error {
	return annona.Invalid("input_changed", "a file of the delivery changed while it was loaded; it must be whole before its marker is there. What was complete before is on file; send it again")
}

// check reports whether the files are as they were.
func (d *delivery) check() error {
	for i, path := range d.files {
		info, err := os.Lstat(path)
		if err != nil || !os.SameFile(info, d.infos[i]) || info.Size() != d.infos[i].Size() || !info.ModTime().Equal(d.infos[i].ModTime()) {
			return errChanged()
		}
	}
	return nil
}

// asOf is the moment for which the delivery reports.
func (d *delivery) asOf(what string) (latest time.Time) {
	now := time.Now()
	if what == asOfArrived {
		return now
	}
	for _, info := range d.infos {
		if info.ModTime().After(latest) {
			latest = info.ModTime()
		}
	}
	return earlier(latest, now)
}

// checkSums compares the files with the sums in the marker, where it holds lines of sha256sum. A
// marker may hold anything else, or nothing.
func (d *delivery) checkSums() error {
	if d.marker == "" {
		return nil
	}
	marker, err := os.Open(d.marker)
	if err != nil {
		return nil // the files count; the marker has done its work
	}
	defer marker.Close()
	lines := bufio.NewScanner(io.LimitReader(marker, maxMarker))
	for lines.Scan() {
		m := sumLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		i := slices.IndexFunc(d.files, func(path string) bool {
			return m[2] == "" && len(d.files) == 1 || filepath.Base(path) == filepath.Base(m[2])
		})
		if i < 0 {
			return annona.Invalid("checksum_mismatch", "the marker has the checksum of a file that the delivery does not hold")
		}
		sum, err := sumOf(d.files[i])
		if err != nil {
			return folderFault(err, "a file of the delivery cannot be read")
		}
		if sum != strings.ToLower(m[1]) {
			return annona.Invalid("checksum_mismatch", "a file of the delivery is not the one of which the marker has the checksum; send it again")
		}
	}
	return nil
}

var sumLine = regexp.MustCompile(`^([0-9a-fA-F]{64})(?: [ *](.+))?\s*$`)

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// toArchive keeps a delivery that was loaded, sealed when there are recipients, or removes it when
// nothing is to be kept.
func (r *syncing) toArchive(k keeper, id string) error {
	from, to := filepath.Join(k.working, id), filepath.Join(k.archive, id)
	const archiving = "a delivery that was loaded cannot be archived"
	if err := os.Remove(filepath.Join(from, crashFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return folderFault(err, archiving)
	}
	if *r.source.ArchiveDays > 0 && len(r.source.recipients) == 0 {
		if err := os.Rename(from, to); err != nil {
			return folderFault(err, archiving)
		}
		return nil
	}
	if *r.source.ArchiveDays > 0 {
		if err := r.sealDelivery(from, to); err != nil {
			return folderFault(err, archiving)
		}
	}
	if err := os.RemoveAll(from); err != nil {
		return folderFault(err, archiving)
	}
	return nil
}

func (r *syncing) sealDelivery(from, to string) error {
	d, err := openDelivery(filepath.Join(from, content))
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, path := range d.files {
		if err := sealFile(path, filepath.Join(to, filepath.Base(path)+".age"), r.source.recipients); err != nil {
			return err
		}
	}
	return syncFolder(to)
}

// quarantined is the report beside a delivery that was not loaded.
type quarantined struct {
	Delivery string    `json:"delivery"`
	Source   string    `json:"source"`
	At       time.Time `json:"at"`
	Code     string    `json:"code"`
	Error    string    `json:"error"`
	Counts   syncCount `json:"counts"` // what was loaded before
}

// toQuarantine keeps a delivery for somebody to look at.
func (r *syncing) toQuarantine(k keeper, id string, count syncCount, why error) error {
	from := filepath.Join(k.working, id)
	report, err := json.MarshalIndent(quarantined{Delivery: id, Source: r.source.Name, At: time.Now().UTC(), Code: annona.CodeOf(why), Error: why.Error(), Counts: count}, "", "  ")
	if err != nil {
		return annona.Internal("write the report of a delivery", err)
	}
	if err := os.WriteFile(filepath.Join(from, reportFile), append(report, '\n'), 0o600); err != nil {
		return folderFault(err, "the report of a delivery cannot be written")
	}
	_ = os.Remove(filepath.Join(from, crashFile)) // it means nothing there
	if err := os.Rename(from, filepath.Join(k.quarantine, id)); err != nil {
		return folderFault(err, "a delivery cannot be put into quarantine")
	}
	return nil
}
