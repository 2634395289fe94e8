package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/annona-exchange/annona"
)

type syncCommand struct {
	Run    syncRun    `cmd:"" default:"withargs" help:"Synchronize the sources of a configuration, each by its schedule, until it is told to end."`
	Status syncStatus `cmd:"" help:"Show of each source when it was last synchronized, how far it lags, and what is wrong with it."`
}

type syncRun struct {
	dataFlag
	Config  string   `required:"" type:"existingfile" placeholder:"FILE" help:"The sources, as YAML; see docs/spec/sync.md."`
	Source  []string `placeholder:"NAME" help:"Only these sources of the configuration."`
	Once    bool     `help:"Synchronize every source once, now, and end. It fails when one of them does."`
	Compare bool     `help:"With --once: read every source whole and compare it with what is on file, also where that is not due."`
	Metrics string   `placeholder:"ADDRESS" help:"Address of the metrics, on a loopback listener of their own, as 127.0.0.1:9091. None: no metrics."`
}

// Run synchronizes until ctx ends. What is being loaded then is left as the last batch has it, and
// continued by the next run.
func (s syncRun) Run(ctx context.Context, c console) error {
	if s.Compare && !s.Once {
		return annona.Invalid("compare_without_once", "--compare goes with --once; otherwise the configuration says when sources are compared").On("compare")
	}
	sources, err := readSyncConfig(s.Config, s.Source)
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		if f.vault.Demo() {
			return annona.Forbidden("demo_takes_no_import", "this is a demo folder: it holds invented people only; make a registry with annona init")
		}
		giveWay()
		y := &syncer{folder: f, log: slog.New(slog.NewJSONHandler(c.err, nil)), holder: annona.NewUID(), compare: s.Compare, metrics: newSyncMetrics()}
		if s.Metrics != "" {
			if err := y.metrics.serve(ctx, s.Metrics); err != nil {
				return err
			}
		}
		if s.Once {
			return y.once(ctx, sources)
		}
		y.until(ctx, sources)
		return nil
	})
}

// syncer synchronizes sources, each in a goroutine of its own.
type syncer struct {
	folder  *folder
	log     *slog.Logger
	holder  annona.UID
	compare bool // every source is to be compared
	metrics *syncMetrics
}

// once synchronizes every source once.
func (y *syncer) once(ctx context.Context, sources []*syncSource) error {
	failed := make([]error, len(sources))
	var all sync.WaitGroup
	for i, s := range sources {
		all.Go(func() { failed[i] = y.patiently(ctx, s) })
	}
	all.Wait()
	var codes []string
	for i, err := range failed {
		if err != nil {
			codes = append(codes, sources[i].Name+": "+annona.CodeOf(err))
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(codes) == 0:
		return nil
	case len(sources) == 1:
		return failed[0]
	}
	return annona.Unavailable("sync_failed", "%d of %d sources could not be synchronized %v; annona sync status tells more", len(codes), len(sources), codes).Because(errors.Join(failed...))
}

// patiently waits for a source that a dead process has, until the lease of that one is over.
func (y *syncer) patiently(ctx context.Context, s *syncSource) error {
	for begun := time.Now(); ; {
		err := y.synchronize(ctx, s, nil)
		if !errors.Is(err, annona.ErrSyncHeld) || time.Since(begun) > lease+lease/3 {
			return err
		}
		if !pauseFor(ctx, lease/10) {
			return ctx.Err()
		}
	}
}

// until synchronizes every source by its schedule, until ctx ends.
func (y *syncer) until(ctx context.Context, sources []*syncSource) {
	y.log.Info("synchronizing", "sources", len(sources))
	y.remember(ctx, sources)
	var all sync.WaitGroup
	for _, s := range sources {
		all.Go(func() {
			for pauseFor(ctx, time.Until(y.due(ctx, s))) {
				_ = y.synchronize(ctx, s, y.isDue) // it is in the log, in the status and in the metrics
			}
		})
	}
	all.Wait()
	y.log.Info("stopped")
}

// remember shows in the metrics what earlier processes have done.
func (y *syncer) remember(ctx context.Context, sources []*syncSource) {
	states, err := y.folder.syncStates(ctx)
	if err != nil {
		y.log.Error("the states of the sources cannot be read", "code", annona.CodeOf(err))
	}
	for _, s := range sources {
		y.metrics.know(s.Name, states[s.Name])
	}
}

// due returns when a source is to be synchronized next: what a run has missed is done at once.
func (y *syncer) due(ctx context.Context, s *syncSource) time.Time {
	states, err := y.folder.syncStates(ctx)
	if err != nil {
		return time.Now().Add(time.Minute)
	}
	return s.next(states[s.Name])
}

// isDue keeps two processes from synchronizing a source one behind the other.
func (y *syncer) isDue(s *syncSource, state *syncState) bool {
	return !s.next(*state).After(time.Now())
}

func pauseFor(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(max(pause, time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// lease is for how long a source belongs to a process that does not say again that it has it.
const lease = 15 * time.Second

// synchronize runs a source once, unless wanted says that somebody else has done it meanwhile.
func (y *syncer) synchronize(ctx context.Context, s *syncSource, wanted func(*syncSource, *syncState) bool) error {
	held, err := y.folder.store.HoldSync(ctx, s.Name, y.holder, lease)
	if err != nil {
		if wanted != nil {
			pauseFor(ctx, lease/3) // another process has the source, or the registry does not answer
		}
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	beating := y.keepHolding(ctx, s, stop)
	defer func() {
		stop(nil)
		<-beating
		// also when ctx has ended
		if err := y.folder.store.FreeSync(context.WithoutCancel(ctx), s.Name, y.holder); err != nil {
			y.log.Warn("the source could not be given back; it is free when its lease is over", "source", s.Name, "code", annona.CodeOf(err))
		}
	}()
	state, err := parseSyncState(held)
	if err != nil {
		return err
	}
	if wanted != nil && !wanted(s, &state) {
		return nil
	}
	r := &syncing{syncer: y, source: s, state: &state, log: y.log.With("source", s.Name)}
	err = r.run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause // the source was lost, or the process is to end
	}
	return err
}

// keepHolding says again and again that this process has the source. It ends the run when it does
// not have it any more.
func (y *syncer) keepHolding(ctx context.Context, s *syncSource, stop context.CancelCauseFunc) (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := time.Now(); pauseFor(ctx, lease/3); {
			_, err := y.folder.store.HoldSync(ctx, s.Name, y.holder, lease)
			switch {
			case err == nil:
				last = time.Now()
			case errors.Is(err, annona.ErrSyncHeld), time.Since(last) > lease:
				stop(annona.ErrSyncLost)
				return
			}
		}
	}()
	return done
}

// syncing is one run of one source.
type syncing struct {
	*syncer
	source *syncSource
	state  *syncState
	log    *slog.Logger
}

// run runs the source, again when what went wrong may pass by itself, and keeps what came of it.
func (r *syncing) run(ctx context.Context) error {
	if err := r.folder.refresh(ctx); err != nil {
		return err
	}
	started := time.Now().UTC()
	r.state.begin(started)
	err := backoff.RetryNotify(func() error {
		err := r.attempt(ctx)
		if err != nil && !mayPass(err) {
			return backoff.Permanent(err)
		}
		return err
	}, r.source.retries(ctx), func(err error, pause time.Duration) {
		r.log.Warn("failed; trying again", "code", annona.CodeOf(err), "in", pause.Round(time.Millisecond).String())
	})
	if ctx.Err() != nil {
		r.log.Info("interrupted; the next run continues")
		return ctx.Err()
	}
	r.state.end(time.Now().UTC(), err)
	if err := r.keep(ctx); err != nil {
		r.log.Error("the state of the source could not be kept; what was read will be read again", "code", annona.CodeOf(err))
		return err
	}
	r.metrics.ran(r.source.Name, r.state, err)
	if err != nil {
		r.log.Error("could not be synchronized", "code", annona.CodeOf(err), "error", err.Error())
		return err
	}
	last := r.state.Last
	r.log.Info("synchronized", "rows", last.Rows, "created", last.Created, "changed", last.Changed, "unchanged", last.Unchanged, "deleted", last.Deleted,
		"rejected", last.Rejected, "quarantined", last.Quarantined, "seconds", fmt.Sprintf("%.1f", time.Since(started).Seconds()))
	return nil
}

func (r *syncing) attempt(ctx context.Context) error {
	mapping, err := r.source.readMapping(ctx, r.folder)
	if err != nil {
		return err
	}
	if r.source.Kind == kindFolder {
		return r.takeIn(ctx, mapping)
	}
	return r.pull(ctx, mapping)
}

// keep writes the state, if the source is still ours.
func (r *syncing) keep(ctx context.Context) error {
	body, err := r.state.body()
	if err != nil {
		return err
	}
	return r.folder.store.PutSync(ctx, r.source.Name, r.holder, body)
}

// mayPass reports whether a failure may be gone the next time. Of two failures the one that stays
// decides.
func mayPass(err error) bool {
	kind := annona.KindOf(err)
	return kind == annona.KindUnavailable || kind == annona.KindInternal || annona.CodeOf(err) == "load_running"
}
