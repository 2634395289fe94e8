// Package jobs does what runs by itself: it turns export jobs into files, part by part, and lets files go
// when their time is over.
//
// A worker borrows a job from the queue for as long as a lease says and goes on with it behind the last
// part that is complete, whoever wrote that. A worker that has died, or hangs, loses the job when its
// lease is over, and writes nothing of it from then on. The bytes of a part depend on nothing but the
// export's position and plan, so that it does not matter who writes it and how often.
//
// The package knows files, leases and retries. Who may be in a file, and whether it may go, the gate
// decides; keys are the vault's, and no file is written that is not sealed.
package jobs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gocloud.dev/blob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Worker turns export jobs into files, one at a time.
type Worker struct {
	Gate        *exchange.Exchange
	Jobs        annona.ExportJobs
	Queue       annona.ExportQueue
	Vault       annona.FileVault
	Checkpoints annona.Checkpoints
	Files       *blob.Bucket
	Spool       func() (annona.Spool, error) // where the tables of a part wait for each other; nil: a part is read once for each
	Log         *slog.Logger
	// Base is where the records of all datasets are found, for the ids of JSON-LD.
	Base string
	// Lease is how long a worker that does not move keeps a job; 0: two minutes.
	Lease time.Duration
	// Attempts is how often a job is taken up without a part being completed before it has failed; 0: 10.
	Attempts int
}

const (
	usualLease    = 2 * time.Minute
	usualAttempts = 10
	pause         = time.Second // between two looks into the queue
	sweepPause    = time.Minute
	firstDelay    = 5 * time.Second // before a job that failed is tried again; twice as long each time
	longestDelay  = 10 * time.Minute
)

func (w *Worker) lease() time.Duration {
	if w.Lease > 0 {
		return w.Lease
	}
	return usualLease
}

func (w *Worker) attempts() int {
	if w.Attempts > 0 {
		return w.Attempts
	}
	return usualAttempts
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		worked, err := w.Next(ctx)
		if err != nil && ctx.Err() == nil {
			w.Log.Error("exports cannot be worked on; trying again", "code", annona.CodeOf(err))
		}
		if worked && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// RunSweeps lets files go that have no time left, each minute, until ctx ends.
func (w *Worker) RunSweeps(ctx context.Context) {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for {
		if err := w.Sweep(ctx); err != nil && ctx.Err() == nil {
			w.Log.Error("files of exports could not be deleted; trying again", "code", annona.CodeOf(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Next takes up one job and works on it until it ends, fails or is lost. It reports whether there was one.
func (w *Worker) Next(ctx context.Context) (worked bool, err error) {
	job, err := w.Queue.ClaimExport(ctx, annona.NewUID(), w.lease())
	if err != nil || job == nil {
		return false, err
	}
	claim := annona.ExportClaim{Job: job.ID, Epoch: job.Epoch}
	end := w.work(ctx, job, claim)
	if end.State == "" { // it is somebody else's
		return true, w.leave(context.WithoutCancel(ctx), job.ID)
	}
	err = w.Queue.EndExport(context.WithoutCancel(ctx), claim, end)
	if errors.Is(err, annona.ErrExportLost) {
		return true, w.leave(context.WithoutCancel(ctx), job.ID)
	}
	w.Log.Info("export", "id", job.ID.String(), "state", string(end.State), "code", end.Code)
	return true, err
}

// leave takes back what a worker has made of a job that it has lost, when its files are swept already: the
// worker may have made the key anew, and an object, behind the sweep.
func (w *Worker) leave(ctx context.Context, id annona.UID) error {
	job, err := w.Jobs.ExportJob(ctx, id)
	if err != nil || job != nil && !job.Swept {
		return err
	}
	return w.destroy(ctx, id)
}

// work goes on with a job and says how that ended.
func (w *Worker) work(ctx context.Context, job *annona.ExportJob, claim annona.ExportClaim) annona.ExportEnd {
	if job.Attempts > w.attempts() {
		code := job.Code
		if code == "" {
			code = "export_stuck"
		}
		return annona.ExportEnd{State: annona.ExportFailed, Code: code}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &running{Worker: w, job: job, claim: claim}
	r.alive = newHeartbeat(w.lease(), func() { cancel(errHangs) }, func() error {
		return w.Queue.BeatExport(ctx, claim, w.lease(), r.rows, r.bytes)
	})
	defer r.alive.stop()
	end, err := r.run(ctx)
	if err == nil {
		return end
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	return verdict(err, job.Attempts)
}

// errHangs says that a part has not moved for as long as the lease.
var errHangs = annona.Unavailable("export_stuck", "the export did not move for too long")

// verdict says what becomes of a job that was broken off by err: what is for the moment is tried again,
// later each time; what was decided ends it.
func verdict(err error, attempts int) annona.ExportEnd {
	if errors.Is(err, annona.ErrExportLost) {
		return annona.ExportEnd{}
	}
	if errors.Is(err, context.Canceled) { // the server shuts down
		return annona.ExportEnd{State: annona.ExportWaiting}
	}
	switch annona.KindOf(err) {
	case annona.KindInternal, annona.KindUnavailable, annona.KindTooMany:
		delay := min(firstDelay<<min(max(attempts-1, 0), 10), longestDelay)
		return annona.ExportEnd{State: annona.ExportWaiting, Code: annona.CodeOf(err), Delay: delay}
	default:
		return annona.ExportEnd{State: annona.ExportFailed, Code: annona.CodeOf(err)}
	}
}

// heartbeat extends a lease while a job moves: it is beaten by what moves, not by a clock, so that a job
// that hangs is lost.
type heartbeat struct {
	lease time.Duration
	last  time.Time
	send  func() error
	hangs *time.Timer
}

func newHeartbeat(lease time.Duration, hangs func(), send func() error) *heartbeat {
	return &heartbeat{lease: lease, last: time.Now(), send: send, hangs: time.AfterFunc(lease, hangs)}
}

// beat says that the job has moved.
func (h *heartbeat) beat() error {
	if time.Since(h.last) < h.lease/8 {
		return nil
	}
	return h.now()
}

// now extends the lease at once.
func (h *heartbeat) now() error {
	if err := h.send(); err != nil {
		return err
	}
	h.last = time.Now()
	h.hangs.Reset(h.lease)
	return nil
}

func (h *heartbeat) stop() { h.hangs.Stop() }
