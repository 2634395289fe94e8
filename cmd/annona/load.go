package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type loadCommand struct {
	List loadList `cmd:"" help:"List loads, the newest first."`
	Show loadShow `cmd:"" help:"Show what one load did."`
	Undo loadUndo `cmd:"" help:"Take a load back: what it made or changed, and nothing else has changed since, becomes what it was."`
}

type loadList struct {
	dataFlag
	Source string `placeholder:"NAME" help:"Loads of this source only."`
	Limit  int    `default:"50" help:"How many."`
	JSON   bool   `name:"json" help:"Print JSON, one load on each line."`
}

type loadShow struct {
	dataFlag
	ID   string `arg:"" help:"Id of the load, as import and load list print it."`
	JSON bool   `name:"json" help:"Print JSON, on one line."`
}

type loadUndo struct {
	dataFlag
	ID   string `arg:"" help:"Id of the load, as import and load list print it."`
	JSON bool   `name:"json" help:"Print JSON, on one line."`
}

// shownLoad is a load as JSON shows it.
type shownLoad struct {
	ID         string              `json:"id"`
	Source     string              `json:"source"`
	Mode       string              `json:"mode"`
	State      string              `json:"state"`
	By         string              `json:"by"`
	Reason     string              `json:"reason,omitempty"`
	AsOf       time.Time           `json:"as_of"`
	StartedAt  time.Time           `json:"started_at"`
	FinishedAt time.Time           `json:"finished_at,omitzero"`
	Seconds    float64             `json:"seconds"`
	Undoes     string              `json:"undoes,omitempty"`
	Report     exchange.LoadReport `json:"report"`
}

func showLoad(i exchange.LoadInfo) shownLoad {
	s := shownLoad{
		ID: i.ID.String(), Source: i.Source, Mode: i.Mode, State: i.State, By: i.Author.Operator, Reason: i.Author.Reason, AsOf: i.AsOf.UTC(), StartedAt: i.StartedAt.UTC(),
		FinishedAt: i.FinishedAt.UTC(), Seconds: i.Seconds(time.Now()), Report: i.Report,
	}
	if s.By == "" {
		s.By = i.Author.Client.String()
	}
	if i.Undoes != (annona.UID{}) {
		s.Undoes = i.Undoes.String()
	}
	s.Report.Process, s.Report.Beat = "", time.Time{}
	return s
}

func (l loadList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		loads, err := f.gate.ListLoads(ctx, operator(), l.Source, l.Limit)
		if err != nil {
			return err
		}
		if l.JSON {
			return printLines(c, loads)
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\tsource\tmode\tstate\tby\tstarted\tseconds\tcreated\tchanged\tdeleted")
		for _, load := range loads {
			s := showLoad(load)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%d\t%d\t%d\n", s.ID, s.Source, s.Mode, s.State, s.By,
				s.StartedAt.Format(time.RFC3339), s.Seconds, s.Report.Created, s.Report.Changed, s.Report.Deleted)
		}
		return w.Flush()
	})
}

func printLines(c console, loads []exchange.LoadInfo) error {
	out := json.NewEncoder(c.out)
	for _, load := range loads {
		if err := out.Encode(showLoad(load)); err != nil {
			return err
		}
	}
	return nil
}

func (l loadShow) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(l.ID)
	if err != nil {
		return err
	}
	return l.with(ctx, func(f *folder) error {
		load, err := f.gate.ShowLoad(ctx, operator(), id)
		if err != nil {
			return err
		}
		return printLoad(c, load, l.JSON)
	})
}

func (l loadUndo) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(l.ID)
	if err != nil {
		return err
	}
	return l.with(ctx, func(f *folder) error {
		load, err := f.gate.UndoLoad(ctx, operator(), id)
		if err != nil {
			return err
		}
		return printLoad(c, load, l.JSON)
	})
}

func printLoad(c console, load exchange.LoadInfo, asJSON bool) error {
	s := showLoad(load)
	if asJSON {
		return json.NewEncoder(c.out).Encode(s)
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("load", s.ID)
	line("source", s.Source)
	line("mode", s.Mode)
	line("state", s.State)
	if s.Report.Code != "" {
		line("code", s.Report.Code)
	}
	if s.Report.Act != "" {
		line("decided", s.Report.Act)
	}
	line("by", s.By)
	if s.Reason != "" {
		line("reason", s.Reason)
	}
	line("as of", s.AsOf.Format(time.RFC3339))
	line("started", s.StartedAt.Format(time.RFC3339))
	line("seconds", strconv.FormatFloat(s.Seconds, 'f', 1, 64))
	if s.Undoes != "" {
		line("undoes", s.Undoes)
	}
	r := s.Report
	for _, n := range []struct {
		name  string
		count int
	}{
		{"created", r.Created}, {"changed", r.Changed}, {"unchanged", r.Unchanged}, {"deleted", r.Deleted}, {"come back", r.Restored},
		{"stale", r.Stale}, {"erased before", r.Erased}, {"attached", r.Attached}, {"ambiguous", r.Ambiguous}, {"taken back", r.TakenBack},
		{"households kept", r.Kept}, {"not deleted", r.Held}, {"changed since", r.ChangedSince},
	} {
		if n.count > 0 {
			line(n.name, n.count)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(r.OutsideAuthority)) {
		line("outside authority", fmt.Sprintf("%s: %d", field, r.OutsideAuthority[field]))
	}
	for _, dataset := range slices.Sorted(maps.Keys(r.Missing)) {
		line("in no row", fmt.Sprintf("%d of %d %s", r.Missing[dataset], r.Live[dataset], dataset))
	}
	if len(r.Reading) > 0 {
		line("read", string(r.Reading))
	}
	return w.Flush()
}

// moment is a day, which means its beginning in UTC, or an instant.
type moment time.Time

// UnmarshalText reads 2026-01-31 or an instant of RFC 3339.
func (m *moment) UnmarshalText(text []byte) error {
	if date, err := annona.ParseDate(string(text)); err == nil {
		*m = moment(date.Time())
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return annona.Invalid("as_of_malformed", "a moment is written 2026-01-31 or 2026-01-31T18:00:00Z")
	}
	*m = moment(at)
	return nil
}
