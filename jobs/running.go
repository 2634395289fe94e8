package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/schema"
)

// running is a job that a worker has.
type running struct {
	*Worker
	job   *annona.ExportJob
	claim annona.ExportClaim
	alive *heartbeat

	export  *exchange.ExportRun
	options encode.Options
	passes  []encode.Part
	parts   []annona.ExportPart

	rows, bytes int64 // of the parts that are complete, and of the one that is being written
}

// rewrites bounds how often parts are written again because somebody has left them.
const rewrites = 8

// run writes what is missing of an export, and says how that ended: with a manifest, where the next one
// begins, and how long the files are kept.
func (r *running) run(ctx context.Context) (end annona.ExportEnd, err error) {
	if r.export, err = r.Gate.ResumeExport(ctx, *r.job); err != nil {
		return end, err
	}
	if err := r.prepare(); err != nil {
		return end, err
	}
	if err := r.export.Plan(ctx, r.claim, r.alive.beat); err != nil {
		return end, err
	}
	if r.parts, err = r.Jobs.ExportParts(ctx, r.job.ID); err != nil {
		return end, err
	}
	r.count()
	for n := range r.export.Parts() {
		if !r.has(n + 1) {
			if err := r.write(ctx, n+1); err != nil {
				return end, err
			}
		}
	}
	if r.job.Reached, err = r.settle(ctx); err != nil {
		return end, err
	}
	if err := r.drop(ctx, r.isOurs); err != nil {
		return end, err
	}
	end = annona.ExportEnd{State: annona.ExportComplete, Keep: exchange.DefaultKeep, Reached: r.job.Reached}
	if hours := r.export.Spec().KeepHours; hours > 0 {
		end.Keep = time.Duration(hours) * time.Hour
	}
	end.Manifest, err = r.manifest(ctx, end.Keep)
	return end, err
}

// prepare fixes how the parts are written.
func (r *running) prepare() (err error) {
	spec, shape := r.export.Spec(), r.export.Shape()
	r.options = encode.Options{
		Format: encode.Format(spec.Format), Layout: encode.Layout(spec.Layout), Profile: encode.Profile(spec.Profile),
		Schema: fmt.Sprintf("%s@%d", spec.Name, spec.Version), Modified: r.job.At.Day.Time(),
		Spool: r.Spool,
	}
	if r.options.Format == encode.JSONLD {
		if r.options.Context, err = schema.Context(shape, r.Base); err != nil {
			return err
		}
	}
	r.passes, err = encode.Parts(shape, r.options)
	return err
}

func (r *running) has(part int) bool {
	return slices.ContainsFunc(r.parts, func(p annona.ExportPart) bool { return p.Number == part })
}

// count says how many rows and bytes are complete.
func (r *running) count() {
	r.rows, r.bytes = 0, 0
	for _, p := range r.parts {
		r.rows, r.bytes = r.rows+p.Rows, r.bytes+p.Stored.Size
	}
}

// settle writes the parts again in which somebody is who has left, until there are none. What the parts
// show is remembered for the delta behind them, where there will be one, and holds when nobody has left
// them meanwhile.
func (r *running) settle(ctx context.Context) (reached []byte, err error) {
	for range rewrites {
		clean, err := r.rewriteLeft(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case !clean:
			reached = nil
		case reached != nil || !r.export.Remembers():
			return reached, nil
		default:
			if reached, err = r.export.Remember(ctx, r.parts, r.alive.beat); err != nil {
				return nil, err
			}
		}
	}
	return nil, annona.Unavailable("export_busy", "people leave this export all the time; it is tried again")
}

// rewriteLeft writes the parts again in which somebody is who has left. clean: there are none.
func (r *running) rewriteLeft(ctx context.Context) (clean bool, err error) {
	clean = true
	for _, p := range slices.Clone(r.parts) {
		left, err := r.export.Left(ctx, p)
		if err != nil {
			return false, err
		}
		if left {
			clean = false
			if err := r.write(ctx, p.Number); err != nil {
				return false, err
			}
		}
		if err := r.alive.beat(); err != nil {
			return false, err
		}
	}
	return clean, nil
}

// write writes one part into a file of its own, and keeps it in the place of an earlier one.
func (r *running) write(ctx context.Context, number int) error {
	if err := r.alive.now(); err != nil {
		return err
	}
	r.parts = slices.DeleteFunc(r.parts, func(p annona.ExportPart) bool { return p.Number == number })
	r.count()
	already := r.rows
	object := fmt.Sprintf("%s/%05d-%d-%s", r.job.ID, number, r.claim.Epoch, annona.NewUID().String()[:8])
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was not closed is not kept
	f, err := r.create(ctx, object)
	if err != nil {
		return err
	}
	defer f.abandon(cancel)
	sheet := &sheet{file: f, running: r}
	if sheet.encoder, err = encode.New(f.document, r.passes, r.options); err != nil {
		return err
	}
	defer sheet.encoder.Close()
	part, err := r.export.Write(ctx, number, shapesOf(r.passes), sheet, already)
	if err != nil {
		return err
	}
	if err := f.close(); err != nil {
		return err
	}
	part.Name, part.Object, part.Altered = r.nameOf(number), object, sheet.encoder.Altered()
	part.Document, part.Content, part.Stored = f.document.hashed(), f.content.hashed(), f.stored.hashed()
	if err := r.Queue.PutExportPart(ctx, r.claim, part); err != nil {
		return err
	}
	r.parts = append(r.parts, part)
	slices.SortFunc(r.parts, func(a, b annona.ExportPart) int { return a.Number - b.Number })
	r.count()
	return r.alive.now()
}

func shapesOf(passes []encode.Part) []*annona.Shape {
	shapes := make([]*annona.Shape, len(passes))
	for i, p := range passes {
		shapes[i] = p.Shape
	}
	return shapes
}

// nameOf is the name of the file of a part: what it is called by whoever receives it.
func (r *running) nameOf(part int) string {
	_, extension, _ := strings.Cut(encode.FileName(r.job.Dataset, r.options), ".")
	name := fmt.Sprintf("%s-%05d.%s", r.job.Spec, part, extension)
	if len(r.job.Since) > 0 {
		name = fmt.Sprintf("%s-delta-%05d.%s", r.job.Spec, part, extension)
	}
	switch r.compression() {
	case "gzip":
		name += ".gz"
	case "zstd":
		name += ".zst"
	}
	if r.export.Spec().Recipient != "" {
		name += ".age"
	}
	return name
}

// compression is that of the specification; without one, what is not compressed by itself is.
func (r *running) compression() string {
	if c := r.export.Spec().Compression; c != "" {
		return c
	}
	if encode.Compressed(encode.MediaType(r.job.Dataset, r.options)) {
		return "none"
	}
	return "gzip"
}

// sheet receives the pages of a part.
type sheet struct {
	*running
	file    *file
	encoder encode.Encoder
	part    int   // table of it that has begun
	counted int64 // bytes of the file
}

// drop deletes the objects of the job that keep does not name.
func (r *running) drop(ctx context.Context, keep func(object string) bool) error {
	return r.Worker.drop(ctx, r.job.ID, keep)
}

func (r *running) isOurs(object string) bool {
	return slices.ContainsFunc(r.parts, func(p annona.ExportPart) bool { return p.Object == object })
}

func (w *Worker) drop(ctx context.Context, job annona.UID, keep func(object string) bool) error {
	for all := w.Files.List(&blob.ListOptions{Prefix: job.String() + "/"}); ; {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return filesFailed(err)
		}
		if keep(o.Key) {
			continue
		}
		if err := w.Files.Delete(ctx, o.Key); err != nil && !isMissing(err) {
			return filesFailed(err)
		}
	}
}

// sweptAtOnce bounds how many jobs are swept together.
const sweptAtOnce = 100

// Sweep deletes the files of exports that were cancelled, failed or have expired, and their keys.
func (w *Worker) Sweep(ctx context.Context) error {
	jobs, err := w.Jobs.UnsweptExports(ctx, sweptAtOnce)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := w.destroy(ctx, job.ID); err != nil {
			return err
		}
		if err := w.Jobs.SweepExport(ctx, job.ID); err != nil {
			return err
		}
	}
	return nil
}

// destroy deletes the key and the objects of a job. The key goes first: without it nobody reads what a broken
// deletion leaves.
func (w *Worker) destroy(ctx context.Context, id annona.UID) error {
	if err := w.Vault.DestroyExport(id); err != nil {
		return err
	}
	return w.drop(ctx, id, func(string) bool { return false })
}
