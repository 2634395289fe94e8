package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

type areaCommand struct {
	Import     areaImport     `cmd:"" help:"Put areas on file, from CSV or NDJSON."`
	List       areaList       `cmd:"" help:"List the areas."`
	Show       areaShow       `cmd:"" help:"Show one area: where it lies, what lies in it, what it was and what it became."`
	Reorganize areaReorganize `cmd:"" help:"Rename, split, merge, move and close areas, from a day on."`
	Assign     areaAssign     `cmd:"" help:"Say which household is in which successor of an area that was split."`
	Due        areaDue        `cmd:"" help:"Apply the reorganizations whose day has come; a server does so by itself."`
}

// parseFile reads a file of the command line.
func parseFile[T any](path string, parse func(io.Reader) (T, error)) (parsed T, err error) {
	file, err := os.Open(path)
	if err != nil {
		return parsed, annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err))
	}
	defer file.Close()
	return parse(file)
}

type areaImport struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Areas, as CSV or NDJSON; see docs/spec/areas.md."`
}

func (a areaImport) Run(ctx context.Context, c console) error {
	areas, err := parseFile(a.File, ingest.ReadAreas)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		done, err := f.gate.ImportAreas(ctx, operator(), areas)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "areas added %d, changed %d, unchanged %d\n", done.Added, done.Changed, done.Unchanged)
		return err
	})
}

type areaList struct {
	dataFlag
	Closed bool `help:"Closed areas too."`
	JSON   bool `name:"json" help:"Print a JSON object for each area, one on a line: what area import reads."`
}

func (a areaList) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		tree, err := f.gate.Areas(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		if !a.JSON {
			fmt.Fprintln(w, "code\tlevel\tin\tname\tvalid")
		}
		for _, area := range tree.Areas() {
			switch {
			case area.IsClosed() && !a.Closed:
			case a.JSON:
				if err := json.NewEncoder(c.out).Encode(area); err != nil {
					return err
				}
			default:
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", area.Code, area.Level, area.Parent, nameOf(area), validity(area))
			}
		}
		return w.Flush()
	})
}

// nameOf returns the English name of an area, or its first one.
func nameOf(a annona.Area) string {
	if name, ok := a.Names["en"]; ok {
		return name
	}
	for _, language := range slices.Sorted(maps.Keys(a.Names)) {
		return a.Names[language]
	}
	return ""
}

func validity(a annona.Area) string {
	if a.ValidFrom == "" && a.ValidTo == "" {
		return ""
	}
	return string(a.ValidFrom) + " – " + string(a.ValidTo)
}

type areaShow struct {
	dataFlag
	Code string `arg:"" help:"Code of the area."`
}

func (a areaShow) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		tree, err := f.gate.Areas(ctx)
		if err != nil {
			return err
		}
		area, known := tree.Area(a.Code)
		if !known {
			return annona.NotFound("no area with this code is on file").On(a.Code)
		}
		var inside, was []string
		for _, other := range tree.Areas() {
			switch {
			case slices.Contains(other.ReplacedBy, a.Code):
				was = append(was, other.Code)
			case other.Parent == a.Code && !other.IsClosed():
				inside = append(inside, other.Code)
			}
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintf(w, "code:\t%s\nlevel:\t%d\n", area.Code, area.Level)
		for _, language := range slices.Sorted(maps.Keys(area.Names)) {
			fmt.Fprintf(w, "name (%s):\t%s\n", language, area.Names[language])
		}
		for _, line := range []struct{ label, text string }{
			{"lies in", area.Parent}, {"valid", validity(area)}, {"was", strings.Join(was, " ")},
			{"became", strings.Join(area.ReplacedBy, " ")}, {"has in it", strings.Join(inside, " ")},
		} {
			if line.text != "" {
				fmt.Fprintf(w, "%s:\t%s\n", line.label, line.text)
			}
		}
		if area.IsClosed() {
			fmt.Fprintf(w, "is today:\t%s\n", strings.Join(tree.Today(area.Code), " "))
		}
		return w.Flush()
	})
}

type areaReorganize struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Reorganization, as YAML; see docs/spec/areas.md."`
}

func (a areaReorganize) Run(ctx context.Context, c console) error {
	r, err := parseFile(a.File, ingest.ParseReorganization)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		done, err := f.gate.Reorganize(ctx, operator(), r)
		if err != nil {
			return err
		}
		switch {
		case done.Pending && done.Again:
			fmt.Fprintf(c.out, "Nothing changed: it is on file, and waits for %s.\n", r.Effective)
			return nil
		case done.Pending:
			fmt.Fprintf(c.out, "It is on file, and takes effect on %s: the server applies it, or annona area due.\n", r.Effective)
			return nil
		case done.Again && done.Moved == (exchange.Moved{}):
			fmt.Fprintln(c.out, "Nothing changed: it was applied before.")
		default:
			fmt.Fprintf(c.out, "areas closed %d; ", len(done.Closed))
			printMoved(c, done.Moved)
		}
		return f.printWaiting(ctx, c)
	})
}

func printMoved(c console, m exchange.Moved) {
	fmt.Fprintf(c.out, "households moved to the successor of their area %d, flagged because there are several or none %d\n", m.Moved, m.Flagged)
}

// printWaiting names the agreements that wait for an approval.
func (f *folder) printWaiting(ctx context.Context, c console) error {
	waiting, err := f.gate.WaitingAgreements(ctx, operator())
	if err != nil {
		return err
	}
	for _, w := range waiting {
		fmt.Fprintf(c.out, "agreement %s names %s, which is closed: it reaches those who stood there then, and nobody else in what came after\n",
			w.Agreement, strings.Join(w.Closed, " "))
		if len(w.Successors) > 0 {
			fmt.Fprintf(c.out, "  to let it reach %s: annona agreement areas approve %s\n", strings.Join(w.Successors, " "), w.Agreement)
		}
		if w.ByHand {
			fmt.Fprintln(c.out, "  a condition of it names a closed area: write a new version")
		}
	}
	return nil
}

type areaAssign struct {
	dataFlag
	Source string `required:"" placeholder:"NAME" help:"Source whose keys name the households."`
	File   string `arg:"" type:"existingfile" help:"CSV with the columns household_key and area_code."`
}

func (a areaAssign) Run(ctx context.Context, c console) error {
	list, err := parseFile(a.File, ingest.ReadAssignments)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		done, err := f.gate.AssignAreas(ctx, operator(), a.Source, list)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "households moved %d, there already %d, not on file %d, in no area that became the one named %d\n",
			done.Moved, done.Unchanged, done.Unknown, done.Unfit)
		return err
	})
}

type areaDue struct{ dataFlag }

func (a areaDue) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		applied, moved, err := f.gate.ApplyDue(ctx, operator())
		fmt.Fprintf(c.out, "reorganizations applied %d; ", applied)
		printMoved(c, moved)
		return err
	})
}

// redrawEvery is how often a server looks whether the day of a reorganization has come, and
// whether households came to stand in closed areas.
const redrawEvery = time.Minute

// keepDrawn applies reorganizations on their day.
func (f *folder) keepDrawn(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		applied, moved, err := f.gate.ApplyDue(ctx, operator())
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error("a reorganization of areas could not be applied", "code", annona.CodeOf(err))
		case applied+moved.Moved+moved.Flagged > 0:
			log.Info("areas were reorganized", "applied", applied, "moved", moved.Moved, "flagged", moved.Flagged)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
