package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Scheduler starts exports when their schedules say so, on one node at a time, and tells what went wrong. It
// tells of emergencies too: it alone says everything once.
//
// A time that nobody was there for is made up for once, and said. While an export of a specification still
// runs, the next one is left out, and said. An export is asked for with its due time as the key, so that
// a node that dies in between starts it once.
type Scheduler struct {
	Gate   *exchange.Exchange
	Syncs  annona.Syncs
	Holder annona.UID // this process
	Tell   []Teller   // by which notices go
	Log    *slog.Logger
}

const (
	schedulePause = 10 * time.Second
	scheduleLease = time.Minute
	lateAfter     = 5 * time.Minute // from then on a run is one that was missed
	countedRuns   = 1000            // that were missed
)

// Schedules is the state of all schedules.
type Schedules struct {
	Specs   map[string]*Scheduled `json:"specs,omitempty"`
	Notices []Notice              `json:"notices,omitempty"` // on their way
	// Emergencies are those that were told and that nobody has reviewed.
	Emergencies []string `json:"emergencies,omitempty"`
}

// Scheduled is how a schedule stands.
type Scheduled struct {
	Schedule annona.Schedule `json:"schedule"`
	Next     time.Time       `json:"next"`
	LastDue  time.Time       `json:"last_due,omitzero"`
	Export   string          `json:"export,omitempty"` // that was started last
	State    string          `json:"state,omitempty"`  // of it: running, complete …; or skipped, failed
	Code     string          `json:"code,omitempty"`   // why it failed
	Missed   int             `json:"missed,omitempty"` // runs, before the last one
	Told     time.Time       `json:"told,omitzero"`    // due time that was told as missed
}

func (s *Scheduled) running() bool { return s.State == "started" }

// ReadSchedules returns the state of all schedules, as it was last kept.
func ReadSchedules(ctx context.Context, syncs annona.Syncs) (*Schedules, error) {
	kept, err := syncs.Syncs(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		if k.Source == annona.ScheduleSync {
			return parseSchedules(k.Body)
		}
	}
	return parseSchedules(nil)
}

func parseSchedules(body []byte) (*Schedules, error) {
	s := &Schedules{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, s); err != nil {
			return nil, annona.Internal("read the state of schedules", err)
		}
	}
	if s.Specs == nil {
		s.Specs = map[string]*Scheduled{}
	}
	return s, nil
}

// Run looks at the schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	tick := time.NewTicker(schedulePause)
	defer tick.Stop()
	for {
		err := s.Look(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, annona.ErrSyncHeld) && !errors.Is(err, annona.ErrSyncLost) {
			s.Log.Error("schedules of exports cannot be looked at; trying again", "code", annona.CodeOf(err))
		}
		select {
		case <-ctx.Done():
			_ = s.Syncs.FreeSync(context.WithoutCancel(ctx), annona.ScheduleSync, s.Holder)
			return
		case <-tick.C:
		}
	}
}

// Look starts what is due and sends what waits. Code sync_held: another node does so.
func (s *Scheduler) Look(ctx context.Context) error {
	kept, err := s.Syncs.HoldSync(ctx, annona.ScheduleSync, s.Holder, scheduleLease)
	if err != nil {
		return err
	}
	state, err := parseSchedules(kept.Body)
	if err != nil {
		return err
	}
	specs, err := s.Gate.ListExportSpecs(ctx, annona.Caller{Strength: annona.StrengthOperator})
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for i := range specs {
		if spec := &specs[i]; spec.Schedule != nil && !spec.Dropped {
			there[spec.Name] = true
			if err := s.look(ctx, state, spec); err != nil {
				return err
			}
			if err := s.keep(ctx, state); err != nil {
				return err
			}
		}
	}
	for name := range state.Specs {
		if !there[name] {
			delete(state.Specs, name)
		}
	}
	if err := s.emergencies(ctx, state); err != nil {
		return err
	}
	s.send(ctx, state)
	return s.keep(ctx, state)
}

// emergencies tells of those that have begun since the last look, and of each one once. Who looks after data
// protection is to know of them at once.
func (s *Scheduler) emergencies(ctx context.Context, state *Schedules) error {
	all, err := s.Gate.ListBreakGlass(ctx, annona.Caller{Strength: annona.StrengthOperator})
	if err != nil {
		return err
	}
	told := state.Emergencies
	state.Emergencies = nil
	for i := range all {
		g := &all[i]
		if !g.ReviewedAt.IsZero() {
			continue
		}
		id := g.ID.String()
		if !slices.Contains(told, id) {
			s.Log.Warn("somebody has broken the glass; annona break-glass list tells more", "break_glass", id, "agreement", g.Agreement, "reason", g.Reason)
			s.post(state, Notice{Event: NoticeGlass, Agreement: g.Agreement, BreakGlass: id, Code: g.Reason})
		}
		state.Emergencies = append(state.Emergencies, id)
	}
	return nil
}

func (s *Scheduler) keep(ctx context.Context, state *Schedules) error {
	body, err := json.Marshal(state)
	if err != nil {
		return annona.Internal("keep the state of schedules", err)
	}
	return s.Syncs.PutSync(ctx, annona.ScheduleSync, s.Holder, body)
}

// look looks at one schedule.
func (s *Scheduler) look(ctx context.Context, state *Schedules, spec *annona.ExportSpec) (err error) {
	now := s.Gate.Clock()
	at := state.Specs[spec.Name]
	if at == nil || at.Schedule.Cron != spec.Schedule.Cron || at.Schedule.TimeZone != spec.Schedule.TimeZone {
		before := at
		at = &Scheduled{}
		if before != nil {
			*at = *before
		}
		if at.Next, err = exchange.NextRun(spec.Schedule, now); err != nil {
			return err
		}
		state.Specs[spec.Name] = at
	}
	at.Schedule = *spec.Schedule
	if err := s.followUp(ctx, state, spec, at); err != nil || now.Before(at.Next) {
		return err
	}
	due := at.Next
	at.LastDue, at.Missed = due, 0
	for next := due; at.Missed < countedRuns; at.Missed++ {
		if next, err = exchange.NextRun(spec.Schedule, next); err != nil || next.After(now) {
			break
		}
	}
	if err != nil {
		return err
	}
	if at.Next, err = exchange.NextRun(spec.Schedule, now); err != nil {
		return err
	}
	if late := at.Missed > 0 || now.Sub(due) > lateAfter; late && !at.Told.Equal(due) {
		at.Told = due
		s.notice(state, spec, Notice{Event: NoticeMissed, Due: due, Missed: at.Missed})
	}
	if at.running() {
		s.notice(state, spec, Notice{Event: NoticeSkipped, Due: due, Export: at.Export})
		return nil
	}
	return s.start(ctx, state, spec, at, due)
}

// start asks for the export. What is for the moment is tried again with the next look, under the same key.
func (s *Scheduler) start(ctx context.Context, state *Schedules, spec *annona.ExportSpec, at *Scheduled, due time.Time) error {
	job, err := s.Gate.StartScheduled(ctx, spec, due)
	switch kind := annona.KindOf(err); {
	case err == nil:
		at.Export, at.State, at.Code = job.ID.String(), "started", ""
		return nil
	case kind == annona.KindInternal || kind == annona.KindUnavailable:
		at.Next = due
		return err
	default:
		at.Export, at.State, at.Code = "", string(annona.ExportFailed), annona.CodeOf(err)
		s.notice(state, spec, Notice{Event: NoticeFailed, Due: due, Code: at.Code})
		return nil
	}
}

// followUp sees how the last export of a schedule has ended.
func (s *Scheduler) followUp(ctx context.Context, state *Schedules, spec *annona.ExportSpec, at *Scheduled) error {
	if !at.running() {
		return nil
	}
	job, err := s.Gate.ExportStatus(ctx, annona.Caller{Strength: annona.StrengthOperator}, at.Export)
	switch {
	case annona.KindOf(err) == annona.KindNotFound && err != nil: // after a restore
		at.State = ""
		return nil
	case err != nil:
		return err
	case job.State == annona.ExportWaiting || job.State == annona.ExportRunning:
		return nil
	}
	at.State, at.Code = string(job.State), job.Code
	if job.State == annona.ExportFailed {
		s.notice(state, spec, Notice{Event: NoticeFailed, Due: at.LastDue, Export: at.Export, Code: job.Code})
	}
	return nil
}
