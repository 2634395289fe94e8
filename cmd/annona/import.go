package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/intake"
)

type importCommand struct {
	maybeDataFlag
	Mapping string         `type:"existingfile" placeholder:"FILE" help:"Mapping of the source, as YAML; see docs/spec/mapping.md."`
	Suggest bool           `help:"Draft a mapping for the files and print it; nothing is imported. Needs neither --mapping nor a registry; with --data it knows the attributes declared there."`
	Mode    string         `enum:"upsert,full" default:"upsert" help:"upsert: what the files say is written. full: the files are all that the source has, and whom they do not name is deleted."`
	Guard   annona.Percent `name:"delete-guard" default:"2%" placeholder:"PERCENT" help:"Of a full load: how many of the source's records may be deleted; above it nothing at all is applied. 2% when left out."`
	AsOf    moment         `placeholder:"DATE" help:"Day or instant for which the source reports; now when left out. What is on file of a later one stays."`
	Source  string         `placeholder:"NAME" help:"Name of the source, to be sure: it must be that of the mapping."`
	DryRun  bool           `help:"Read and check everything, write nothing, and report on the quality of the data."`
	Report  bool           `help:"Report on the quality of the data, also when it is written."`
	Rejects string         `type:"path" placeholder:"DIR" help:"Folder for refused rows; DIR/rejects of the data folder when left out."`
	JSON    bool           `name:"json" help:"Print the report as JSON, on one line."`
	Input   []string       `arg:"" help:"Files of the source, CSV or NDJSON, gzip too; - for standard input."`
}

// imported is the report of an import.
type imported struct {
	ingest.Report
	Created   int      `json:"created"`
	Changed   int      `json:"changed"`
	Unchanged int      `json:"unchanged"`
	Load      string   `json:"load,omitempty"` // its id, see annona load
	Deleted   int      `json:"deleted"`
	Restored  int      `json:"restored"`
	Stale     int      `json:"stale"`                   // left as they are: what is on file is younger
	Erased    int      `json:"erased"`                  // left out: they were erased and do not come back
	LeftOut   int      `json:"repeated_rows,omitempty"` // an earlier row has the same key and says something else
	Repeats   []repeat `json:"repeats,omitempty"`       // where these stood, the first of them
	Pending   int      `json:"pending_relationships"`   // to somebody who is not on file yet
	Seconds   float64  `json:"seconds"`
	DryRun    bool     `json:"dry_run,omitempty"`
	Rejects   []string `json:"rejects,omitempty"` // files of refused rows

	Quality []ingest.Finding `json:"quality,omitempty"` // of a dry run, or where it was asked for
}

func (i importCommand) Run(ctx context.Context, c console) error {
	switch {
	case i.Suggest:
		return i.suggest(ctx, c)
	case i.Data == "":
		return annona.Invalid("data_missing", "name the data folder of the registry").On("data")
	case i.Mapping == "":
		return annona.Invalid("mapping_missing", "name the mapping of the source; annona import --suggest FILE drafts one").On("mapping")
	}
	return i.with(ctx, func(f *folder) error {
		if f.vault.Demo() {
			return annona.Forbidden("demo_takes_no_import", "this is a demo folder: it holds invented people only; make a registry with annona init")
		}
		mapping, err := i.readMapping(ctx, f)
		if err != nil {
			return err
		}
		if i.Source != "" && i.Source != mapping.Source() {
			return annona.Invalid("source_differs", "the mapping is for the source %s; name that one, or use the mapping of the other", mapping.Source()).On("source")
		}
		if i.Mode == exchange.ModeFull && slices.Contains(i.Input, "-") {
			return annona.Invalid("input_once", "a full load is read twice, which standard input cannot be; name a file").On("mode")
		}
		report, err := i.load(ctx, c, f, mapping)
		return errors.Join(err, i.print(c, report, err))
	})
}

func (i importCommand) readMapping(ctx context.Context, f *folder) (*ingest.Mapping, error) {
	crosswalks, err := f.store.Crosswalks(ctx)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(i.Mapping)
	if err != nil {
		return nil, annona.Invalid("file_unreadable", "the mapping cannot be read: %s", reason(err)).On("mapping")
	}
	defer file.Close()
	return ingest.ParseMapping(file, f.gate.CurrentDictionary(), crosswalks...)
}

// load reads the inputs and writes their batches, one while the next is read.
func (i importCommand) load(ctx context.Context, c console, f *folder, m *ingest.Mapping) (imported, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(loadGC))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(min(loadMemory, debug.SetMemoryLimit(-1))))
	giveWay()
	started := time.Now()
	report := imported{DryRun: i.DryRun}
	sources, size, err := sourcesOf(i.Input, c)
	if err != nil {
		return report, err
	}
	bar := newProgress(c, size, "bytes read")
	for n := range sources {
		sources[n].Open = counted(sources[n].Open, bar)
	}
	refused := &rejectFiles{folder: i.rejectFolder(), started: started, dry: i.DryRun}
	w, err := i.startWriting(ctx, f, m)
	if err != nil {
		return report, err
	}
	memory, readErr := i.memory(ctx, w)
	if readErr == nil {
		readErr = w.FirstPass(ctx, i.Mode, func(yield func(ingest.Batch) error) error {
			_, err := ingest.ReadAgain(ctx, m, sources, f.knownArea, memory, nil, yield)
			return err
		})
	}
	yield, findings := i.looking(m, w.Write)
	if readErr == nil {
		report.Report, readErr = ingest.ReadAgain(ctx, m, sources, f.knownArea, memory, ingest.NewRejects(refused.open), yield)
	}
	report.Quality = findings(report.Report)
	loaded, writeErr := w.Finish(ctx, report.Report, readErr)
	bar.done()
	if !i.DryRun && writeErr == nil {
		writeErr = f.noteUnmapped(ctx, m.Source(), report.Report)
	}
	if id, ok := w.Load(); ok {
		report.Load = id.String()
	}
	report.Deleted, report.Restored, report.Stale = loaded.Deleted, loaded.Restored, loaded.Stale
	report.Created, report.Changed, report.Unchanged, report.Pending = loaded.Created, loaded.Changed, loaded.Unchanged, loaded.Unresolved
	report.Erased = loaded.Erased
	report.LeftOut, report.Repeats = repeatsOf(w, m, sources)
	report.Rejects, report.Seconds = refused.paths, time.Since(started).Seconds()
	if writeErr != nil && errors.Is(readErr, intake.ErrWriting) {
		readErr = nil // reading stopped because writing had
	}
	return report, errors.Join(readErr, writeErr, refused.close())
}

// memory is what is known of the rows of the source. Who asks for the quality of the data has all of it looked at.
func (i importCommand) memory(ctx context.Context, w *intake.Writing) (ingest.Memory, error) {
	if i.Report {
		return nil, nil
	}
	return w.Memory(ctx)
}

// loadGC has the collector of garbage come seldom: a load leaves much behind and holds little.
const loadGC = 260

// loadMemory is from where on the collector comes as often as it must: what a load remembers of its rows grows with
// them, and must not have the garbage beside it grow as well. GOMEMLIMIT may say less. In bytes, of the Go runtime.
const loadMemory = 256 << 20

// loadNice is the priority of a process that loads, as nice(1) counts: whoever looks people up in a server
// beside it comes first, and it is not so low that a load would hold the one turn of writing for long.
const loadNice = 5

// startWriting begins a load, but in a dry run, and the writing of its batches.
func (i importCommand) startWriting(ctx context.Context, f *folder, m *ingest.Mapping) (*intake.Writing, error) {
	if i.DryRun {
		return f.writeBehind(ctx, nil), nil
	}
	load, err := f.gate.BeginLoad(ctx, operator(), exchange.LoadOrder{
		Source: m.Source(), Mode: i.Mode, AsOf: time.Time(i.AsOf), Guard: float64(i.Guard), Areas: m.Areas(), Covers: m.Covers(), Match: m.Match(),
	})
	if err != nil {
		return nil, err
	}
	return f.writeBehind(ctx, load), nil
}

// repeat says where a row stood that was left out, and the one that counts.
type repeat struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	FirstFile string `json:"first_file"`
	FirstLine int    `json:"first_line"`
}

// repeatsOf tells which rows were left out, by the names of the files.
func repeatsOf(w *intake.Writing, m *ingest.Mapping, sources []ingest.Source) (count int, all []repeat) {
	names, err := ingest.Order(m, sources)
	count, places := w.Repeats()
	if err != nil {
		return count, nil
	}
	for _, p := range places {
		all = append(all, repeat{names[p.File-1], p.Line, names[p.First.File-1], p.First.Line})
	}
	return count, all
}

// writeBehind begins to write the batches of a load; of none, when load is nil.
func (f *folder) writeBehind(ctx context.Context, load *exchange.Loading) *intake.Writing {
	return intake.WriteBehind(ctx, load, f.turn())
}

func (f *folder) turn() time.Duration {
	if f.database != "" {
		return intake.DatabaseTurn
	}
	return intake.FileTurn
}

func (f *folder) knownArea(ctx context.Context, code string) (bool, error) {
	known, err := f.store.AreaExists(ctx, []string{code})
	return known[code], err
}

func (i importCommand) rejectFolder() string {
	if i.Rejects != "" {
		return i.Rejects
	}
	return filepath.Join(i.Data, "rejects")
}

// rejectFiles are the files of refused rows, one for each input that has some. They hold
// personal data: only their owner may read them.
type rejectFiles struct {
	folder  string
	started time.Time
	dry     bool
	paths   []string
	files   []*os.File
}

func (r *rejectFiles) open(input, format string) (io.Writer, error) {
	if r.dry {
		return io.Discard, nil
	}
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(r.folder, fmt.Sprintf("%s-%s.%s", r.started.UTC().Format("20060102T150405.000"), input, format))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	r.paths, r.files = append(r.paths, path), append(r.files, file)
	return file, nil
}

func (r *rejectFiles) close() error {
	var failed error
	for _, file := range r.files {
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			failed = annona.Internal("write the file of refused rows; the rows in it may be incomplete", err)
		}
	}
	return failed
}

// print writes the report, also of an import that failed half-way: what it did stands.
func (i importCommand) print(c console, r imported, failed error) error {
	if i.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	if failed != nil && r.Rows == 0 {
		return nil // the error says it all
	}
	fmt.Fprintf(c.out, "rows %d: individuals %d, households %d, rejected %d, in %.1f s\n", r.Rows, r.Individuals, r.Households, r.Rejected, r.Seconds)
	switch {
	case r.DryRun:
		fmt.Fprintln(c.out, "This was a dry run: nothing was written.")
	case failed == nil && r.Rows == 0:
		fmt.Fprintln(c.out, "The files hold no rows.")
	case failed == nil && r.Individuals+r.Households == 0:
		fmt.Fprintln(c.out, "Every row was refused.")
	case failed == nil && r.Created+r.Changed+r.Erased+r.Deleted+r.Stale == 0:
		fmt.Fprintln(c.out, "Nothing changed: every record was on file as it is.")
	default:
		fmt.Fprintf(c.out, "records created %d, changed %d, unchanged %d\n", r.Created, r.Changed, r.Unchanged)
	}
	if r.Deleted+r.Restored > 0 {
		fmt.Fprintf(c.out, "deleted %d, come back %d\n", r.Deleted, r.Restored)
	}
	if r.Stale > 0 {
		fmt.Fprintf(c.out, "left as they are, because what is on file is younger: %d\n", r.Stale)
	}
	if r.Erased > 0 {
		fmt.Fprintf(c.out, "left out, because they were erased: %d\n", r.Erased)
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(c.out, "rows left out, because an earlier row has the same key and says something else: %d\n", r.LeftOut)
		for _, one := range r.Repeats[:min(len(r.Repeats), 20)] {
			fmt.Fprintf(c.out, "  line %d of %s; line %d of %s counts\n", one.Line, one.File, one.FirstLine, one.FirstFile)
		}
	}
	for _, flag := range slices.Sorted(maps.Keys(r.Flags)) {
		fmt.Fprintf(c.out, "flag %s: %d\n", flag, r.Flags[flag])
	}
	printQuality(c, r.Quality)
	for _, path := range r.Rejects {
		fmt.Fprintf(c.out, "refused rows are in %s; mend them and import the file with the same mapping\n", path)
	}
	return nil
}
