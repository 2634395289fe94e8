package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest/pull"
)

// syncState is what is remembered of a source from one run to the next: counts, codes, names of
// columns, and how far queries were read.
type syncState struct {
	StartedAt   time.Time `json:"started_at,omitzero"` // of the last run
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	SucceededAt time.Time `json:"succeeded_at,omitzero"` // start of the last run that succeeded: what the source said until then is on file
	ComparedAt  time.Time `json:"compared_at,omitzero"`  // start of the last run that read the source whole
	Runs        int       `json:"runs"`                  // since then
	Failures    int       `json:"failures"`              // in a row
	Code        string    `json:"code,omitempty"`        // of the last failure
	Error       string    `json:"error,omitempty"`
	Last        syncCount `json:"last"`           // what the last run did
	Load        string    `json:"load,omitempty"` // id of the last load

	// of a database
	Content    string                   `json:"content,omitempty"` // hash of the queries and the mapping
	Whole      bool                     `json:"whole,omitempty"`   // the next run reads everything
	Marks      map[string]pull.Mark     `json:"marks,omitempty"`   // by query
	Columns    map[string][]pull.Column `json:"columns,omitempty"` // likewise
	NewColumns map[string][]string      `json:"new_columns,omitempty"`
	Drift      map[string]syncDrift     `json:"drift,omitempty"` // by dataset, at the last comparison
}

// syncCount counts what one run did.
type syncCount struct {
	Rows        int `json:"rows"`
	Individuals int `json:"individuals"`
	Households  int `json:"households"`
	Rejected    int `json:"rejected"`
	Created     int `json:"created"`
	Changed     int `json:"changed"`
	Unchanged   int `json:"unchanged"`
	Deleted     int `json:"deleted"`
	Restored    int `json:"restored,omitempty"` // came back; they are counted as changed as well
	Stale       int `json:"stale,omitempty"`    // left as they are, because what is on file is younger
	NotJSON     int `json:"not_json,omitempty"` // cells of JSON columns that hold something else

	// of a folder
	Loaded      int `json:"loaded,omitempty"` // deliveries
	Quarantined int `json:"quarantined,omitempty"`
	Growing     int `json:"growing,omitempty"`  // left for the next run: still written, in spite of its marker
	Orphaned    int `json:"orphaned,omitempty"` // markers without a file
}

// syncDrift compares what is on file with the source.
type syncDrift struct {
	Source int `json:"source"`
	OnFile int `json:"on_file"`
}

func (c *syncCount) add(o syncCount) {
	c.Rows += o.Rows
	c.Individuals += o.Individuals
	c.Households += o.Households
	c.Rejected += o.Rejected
	c.Created += o.Created
	c.Changed += o.Changed
	c.Unchanged += o.Unchanged
	c.Deleted += o.Deleted
	c.Restored += o.Restored
	c.Stale += o.Stale
}

func parseSyncState(s annona.SyncState) (state syncState, err error) {
	if len(s.Body) > 0 {
		if err := json.Unmarshal(s.Body, &state); err != nil {
			return state, annona.Internal("read the state of a source", err)
		}
	}
	return state, nil
}

func (s *syncState) body() ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, annona.Internal("write the state of a source", err)
	}
	return body, nil
}

func (s *syncState) begin(at time.Time) {
	s.StartedAt, s.FinishedAt, s.Last = at, time.Time{}, syncCount{}
}

func (s *syncState) end(at time.Time, err error) {
	s.FinishedAt = at
	if err != nil {
		s.Failures++
		s.Code, s.Error = annona.CodeOf(err), err.Error()
		return
	}
	s.SucceededAt, s.Failures, s.Code, s.Error = s.StartedAt, 0, "", ""
}

// lag is for how long the registry may not know what the source says.
func (s *syncState) lag(now time.Time) time.Duration {
	if s.SucceededAt.IsZero() {
		return 0
	}
	return now.Sub(s.SucceededAt)
}

// syncsOfSources returns what is kept of sources, by name.
func (f *folder) syncsOfSources(ctx context.Context) ([]annona.SyncState, error) {
	kept, err := f.store.Syncs(ctx)
	return slices.DeleteFunc(kept, func(s annona.SyncState) bool { return s.Source == annona.ScheduleSync }), err
}

// syncStates returns the states of all sources, by name.
func (f *folder) syncStates(ctx context.Context) (map[string]syncState, error) {
	kept, err := f.syncsOfSources(ctx)
	if err != nil {
		return nil, err
	}
	states := map[string]syncState{}
	for _, k := range kept {
		if states[k.Source], err = parseSyncState(k); err != nil {
			return nil, err
		}
	}
	return states, nil
}

type syncStatus struct {
	dataFlag
	JSON bool `name:"json" help:"Print one JSON object per source."`
}

// syncLine is a source in the output of sync status --json.
type syncLine struct {
	Source     string  `json:"source"`
	Running    bool    `json:"running"`
	LagSeconds float64 `json:"lag_seconds"`
	syncState
}

// Run shows the state of every source that was ever synchronized.
func (s syncStatus) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		kept, err := f.syncsOfSources(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		lines := make([]syncLine, len(kept))
		for i, k := range kept {
			state, err := parseSyncState(k)
			if err != nil {
				return err
			}
			lines[i] = syncLine{Source: k.Source, Running: k.HeldUntil.After(now), LagSeconds: state.lag(now).Seconds(), syncState: state}
		}
		if s.JSON {
			encoder := json.NewEncoder(c.out)
			for _, line := range lines {
				if err := encoder.Encode(line); err != nil {
					return err
				}
			}
			return nil
		}
		return s.print(c, lines)
	})
}

func (s syncStatus) print(c console, lines []syncLine) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(c.out, "No source has been synchronized yet.")
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SOURCE\tLAG\tLAST SUCCESS\tROWS\tCREATED\tCHANGED\tDELETED\tRESULT")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", l.Source, l.shownLag(), l.shownSuccess(), l.Last.Rows, l.Last.Created, l.Last.Changed, l.Last.Deleted, l.result())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range lines {
		l.printNotes(c)
	}
	return nil
}

func (l *syncLine) shownLag() string {
	if l.SucceededAt.IsZero() {
		return "-"
	}
	return (time.Duration(l.LagSeconds) * time.Second).String()
}

func (l *syncLine) shownSuccess() string {
	if l.SucceededAt.IsZero() {
		return "never"
	}
	return l.SucceededAt.UTC().Format(time.DateTime) + " UTC"
}

func (l *syncLine) result() string {
	switch {
	case l.Running:
		return "running"
	case l.Code != "":
		return l.Code
	case l.Last.Quarantined > 0:
		return "quarantine"
	case l.FinishedAt.IsZero():
		return "interrupted"
	}
	return "ok"
}

// printNotes prints what somebody should look at.
func (l *syncLine) printNotes(c console) {
	note := func(format string, args ...any) { fmt.Fprintf(c.out, l.Source+": "+format+"\n", args...) }
	if l.Code != "" {
		note("failed %d times in a row: %s", l.Failures, l.Error)
	}
	if l.Last.Rejected > 0 {
		note("%d rows were refused; they lie in the folder of rejects", l.Last.Rejected)
	}
	if l.Last.Quarantined > 0 {
		note("%d deliveries went to quarantine, each with a report", l.Last.Quarantined)
	}
	if l.Last.Growing > 0 {
		note("%d deliveries were still being written behind their markers", l.Last.Growing)
	}
	if l.Last.Orphaned > 0 {
		note("%d markers have no file", l.Last.Orphaned)
	}
	for _, dataset := range slices.Sorted(maps.Keys(l.Drift)) {
		if d := l.Drift[dataset]; d.Source != d.OnFile {
			note("%s: %d on file, %d at the source when they were compared on %s", dataset, d.OnFile, d.Source, l.ComparedAt.UTC().Format(time.DateTime))
		}
	}
	for _, query := range slices.Sorted(maps.Keys(l.NewColumns)) {
		note("the query %s returns columns that it did not return before: %v", query, l.NewColumns[query])
	}
}
