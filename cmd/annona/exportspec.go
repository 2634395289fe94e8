package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/jobs"
)

type exportSpecCommand struct {
	Put      exportSpecPut      `cmd:"" help:"Put the next version of an export specification on file, or check one."`
	List     exportSpecList     `cmd:"" help:"List the export specifications on file."`
	Show     exportSpecShow     `cmd:"" help:"Print a version of a specification, as JSON."`
	Diff     exportSpecDiff     `cmd:"" help:"Say what a version changes, and what it newly discloses."`
	Try      exportSpecTry      `cmd:"" help:"Say what an export by a specification would hold, without an export."`
	Run      exportSpecRun      `cmd:"" help:"Start an export by a specification, in the name of a client."`
	Schedule exportSpecSchedule `cmd:"" help:"Look at the schedules of exports."`
	Drop     exportSpecDrop     `cmd:"" help:"Let no export follow a specification any more. Its versions stay on file."`
}

type exportSpecPut struct {
	dataFlag
	Check bool   `help:"Only check it, and say what it changes."`
	File  string `arg:"" type:"existingfile" help:"Export specification, as YAML; see docs/spec/export-spec.md."`
}

func (p exportSpecPut) Run(ctx context.Context, c console) error {
	spec, err := parseFile(p.File, ingest.ParseExportSpec)
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		if err := checkForm(ctx, f, spec); err != nil {
			return err
		}
		if before, err := f.gate.ShowExportSpec(ctx, operator(), spec.Name, 0); err == nil {
			if err := printChanges(c, exchange.CompareSpecs(&before, &spec)); err != nil {
				return err
			}
		} else if annona.KindOf(err) != annona.KindNotFound {
			return err
		}
		if p.Check {
			_, err := fmt.Fprintf(c.out, "The specification %s is well formed, and the agreement %s grants it.\n", spec.Name, spec.Agreement)
			return err
		}
		version, changed, err := f.gate.PutExportSpec(ctx, operator(), spec)
		if err != nil {
			return err
		}
		if !changed {
			_, err = fmt.Fprintf(c.out, "Nothing changed: this is version %d of the specification %s.\n", version, spec.Name)
			return err
		}
		_, err = fmt.Fprintf(c.out, "Version %d of the specification %s is on file, under the agreement %s.\n", version, spec.Name, spec.Agreement)
		return err
	})
}

// checkForm refuses a form in which the columns cannot be written.
func checkForm(ctx context.Context, f *folder, spec annona.ExportSpec) error {
	shape, err := f.gate.CheckExportSpec(ctx, operator(), spec)
	if err != nil {
		return err
	}
	_, err = encode.Parts(shape, encode.Options{Format: encode.Format(spec.Format), Layout: encode.Layout(spec.Layout), Profile: encode.Profile(spec.Profile)})
	return err
}

func printChanges(c console, changes []exchange.SpecChange) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	for _, change := range changes {
		newly := ""
		if change.Discloses {
			newly = "newly discloses"
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s\n", newly, change.What, change.Field, strings.TrimSpace(change.Before+" → "+change.After))
	}
	return w.Flush()
}

type exportSpecTry struct {
	dataFlag
	Client  string   `required:"" placeholder:"ID" help:"Client of the agreement in whose name it is tried, by its id."`
	Version int      `help:"Version of the specification; the latest one when left out."`
	Over    []string `placeholder:"COLUMN" help:"Columns by which people could be told apart; those of area, date of birth, sex and marital status when left out."`
	JSON    bool     `name:"json" help:"Print it as JSON."`
	Name    string   `arg:"" help:"Name of the specification."`
}

// Run prints what an export would hold.
func (e exportSpecTry) Run(ctx context.Context, c console) error {
	return e.with(ctx, func(f *folder) error {
		as, err := f.inTheNameOf(ctx, e.Client)
		if err != nil {
			return err
		}
		t, err := f.gate.TryExport(ctx, as, e.Name, e.Version, e.Over)
		if err != nil {
			return err
		}
		if e.JSON {
			return printTrial(c, t)
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintf(w, "%s\t%s rows\n", t.Specification, t.Rows)
		for _, reason := range slices.Sorted(maps.Keys(t.LeftOut)) {
			fmt.Fprintf(w, "left out\t%s: %s\n", reason, t.LeftOut[reason])
		}
		for _, sensitivity := range slices.Sorted(maps.Keys(t.Fields)) {
			fmt.Fprintf(w, "fields\t%s: %s\n", sensitivity, strings.Join(t.Fields[sensitivity], ", "))
		}
		if t.Class != "" {
			fmt.Fprintf(w, "smallest group\t%s over %s\n", t.Class, strings.Join(t.Over, ", "))
		}
		for _, row := range t.Sample {
			fmt.Fprintf(w, "invented\t%s\n", row)
		}
		return w.Flush()
	})
}

func printTrial(c console, t *exchange.Trial) error {
	sample := make([]json.RawMessage, len(t.Sample))
	for i, row := range t.Sample {
		sample[i] = row
	}
	out := json.NewEncoder(c.out)
	out.SetEscapeHTML(false)
	return out.Encode(map[string]any{
		"specification": t.Specification, "rows": t.Rows, "exact": t.Exact, "left_out": t.LeftOut, "fields": t.Fields,
		"quasi_identifiers": t.Over, "smallest_group_class": t.Class, "sample": sample,
	})
}

type exportSpecList struct {
	dataFlag
	JSON bool `name:"json" help:"Print a JSON object for each, one on a line."`
}

func (l exportSpecList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		all, err := f.gate.ListExportSpecs(ctx, operator())
		if err != nil {
			return err
		}
		if l.JSON {
			out := json.NewEncoder(c.out)
			for _, s := range all {
				if err := out.Encode(s); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "name\tversion\tagreement\tdataset\tformat\tput\tstate")
		for _, s := range all {
			state := "in use"
			if s.Dropped {
				state = "dropped"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Version, s.Agreement, s.Dataset, s.Format, s.PutAt.UTC().Format(time.DateOnly), state)
		}
		return w.Flush()
	})
}

type exportSpecSchedule struct {
	List exportSpecScheduleList `cmd:"" help:"List the specifications with a schedule, when they are due, and how the last export went."`
}

type exportSpecScheduleList struct {
	dataFlag
	JSON bool `name:"json" help:"Print a JSON object for each, one on a line."`
}

// scheduleLine is a schedule in the output of export-spec schedule list --json.
type scheduleLine struct {
	Specification string `json:"specification"`
	jobs.Scheduled
}

// Run lists schedules. One that no server has looked at yet is due by its expression.
func (l exportSpecScheduleList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		all, err := f.gate.ListExportSpecs(ctx, operator())
		if err != nil {
			return err
		}
		kept, err := jobs.ReadSchedules(ctx, f.store)
		if err != nil {
			return err
		}
		w, out := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0), json.NewEncoder(c.out)
		if !l.JSON {
			fmt.Fprintln(w, "name\tschedule\ttime zone\tnext\tlast\tstate\texport")
		}
		for _, s := range all {
			if s.Schedule == nil || s.Dropped {
				continue
			}
			at := kept.Specs[s.Name]
			if at == nil || at.Schedule.Cron != s.Schedule.Cron || at.Schedule.TimeZone != s.Schedule.TimeZone {
				next, err := exchange.NextRun(s.Schedule, time.Now())
				if err != nil {
					return err
				}
				at = &jobs.Scheduled{Schedule: *s.Schedule, Next: next}
			}
			if l.JSON {
				if err := out.Encode(scheduleLine{s.Name, *at}); err != nil {
					return err
				}
				continue
			}
			last := ""
			if !at.LastDue.IsZero() {
				last = at.LastDue.UTC().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Schedule.Cron, s.Schedule.TimeZone, at.Next.UTC().Format(time.DateTime), last, strings.TrimSpace(at.State+" "+at.Code), at.Export)
		}
		return w.Flush()
	})
}

type exportSpecShow struct {
	dataFlag
	Name    string `arg:"" help:"Name of the specification."`
	Version int    `help:"Its version; the latest one when left out."`
}

func (s exportSpecShow) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		spec, err := f.gate.ShowExportSpec(ctx, operator(), s.Name, s.Version)
		if err != nil {
			return err
		}
		out := json.NewEncoder(c.out)
		out.SetIndent("", "  ")
		return out.Encode(spec)
	})
}

type exportSpecDiff struct {
	dataFlag
	Name string `arg:"" help:"Name of the specification."`
	From int    `help:"The earlier version; the one before the later when left out."`
	To   int    `help:"The later version; the latest one when left out."`
	JSON bool   `name:"json" help:"Print a JSON object for each change, one on a line."`
}

func (d exportSpecDiff) Run(ctx context.Context, c console) error {
	return d.with(ctx, func(f *folder) error {
		after, err := f.gate.ShowExportSpec(ctx, operator(), d.Name, d.To)
		if err != nil {
			return err
		}
		from := d.From
		if from == 0 {
			from = after.Version - 1
		}
		if from == 0 {
			return annona.NotFound("version 1 has none before it").On("from")
		}
		before, err := f.gate.ShowExportSpec(ctx, operator(), d.Name, from)
		if err != nil {
			return err
		}
		changes := exchange.CompareSpecs(&before, &after)
		if !d.JSON {
			fmt.Fprintf(c.out, "%s, from version %s to %s:\n", d.Name, strconv.Itoa(before.Version), strconv.Itoa(after.Version))
			return printChanges(c, changes)
		}
		out := json.NewEncoder(c.out)
		for _, change := range changes {
			if err := out.Encode(change); err != nil {
				return err
			}
		}
		return nil
	})
}

type exportSpecDrop struct {
	dataFlag
	Name string `arg:"" help:"Name of the specification."`
}

func (d exportSpecDrop) Run(ctx context.Context, c console) error {
	return d.with(ctx, func(f *folder) error {
		if err := f.gate.DropExportSpec(ctx, operator(), d.Name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "No export follows the specification %s any more.\n", d.Name)
		return err
	})
}
