package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/suggest"
)

// maybeDataFlag is dataFlag for a command that can do some things without a registry.
type maybeDataFlag struct {
	Data     string `type:"path" placeholder:"DIR" help:"Data folder of the registry."`
	Database string `placeholder:"URL" help:"PostgreSQL database of the registry, as postgres://role@host/name, instead of a file in the data folder, which then keeps the root key only."`
	databaseFlags
}

func (m maybeDataFlag) with(ctx context.Context, do func(*folder) error) error {
	return dataFlag(m).with(ctx, do)
}

// suggested is a draft with what is doubtful about the rows that it was made from.
type suggested struct {
	suggest.Draft
	Rows    int              `json:"rows"`
	Quality []ingest.Finding `json:"quality,omitempty"`
}

// suggest drafts a mapping for the files and prints it.
func (i importCommand) suggest(ctx context.Context, c console) error {
	if i.Mapping != "" || i.DryRun {
		return annona.Invalid("suggest_alone", "--suggest drafts a mapping and reads no other: leave --mapping and --dry-run out")
	}
	if i.Data == "" {
		return i.draft(ctx, c, annona.Standard(), nil)
	}
	return i.with(ctx, func(f *folder) error { return i.draft(ctx, c, f.gate.CurrentDictionary(), f.knownArea) })
}

func (i importCommand) draft(ctx context.Context, c console, d *annona.Dictionary, known ingest.KnownAreas) error {
	sources, _, err := sourcesOf(i.Input, c)
	if err != nil {
		return err
	}
	samples := make([]ingest.Sample, len(sources))
	for n := range sources {
		if sources[n], err = ingest.Beginning(sources[n]); err != nil {
			return err
		}
		if samples[n], err = ingest.ReadSample(sources[n]); err != nil {
			return err
		}
	}
	today := annona.DateOf(time.Now())
	out := suggested{Draft: suggest.Make(samples, d, today)}
	if err := out.try(ctx, d, sources, known, today); err != nil {
		return err
	}
	if i.JSON {
		return json.NewEncoder(c.out).Encode(out)
	}
	_, err = fmt.Fprint(c.out, out.Mapping, out.comments())
	return err
}

// try reads the beginnings of the files by the draft, as a dry run would.
func (s *suggested) try(ctx context.Context, d *annona.Dictionary, sources []ingest.Source, known ingest.KnownAreas, today annona.Date) error {
	m, err := ingest.ParseMapping(strings.NewReader(s.Mapping), d)
	if err != nil {
		return annona.Invalid("suggest_failed", "no mapping can be made of these files: have they a column with a name?").Because(err)
	}
	q := ingest.NewQuality(m, today)
	report, err := ingest.Read(ctx, m, sources, known, nil, func(b ingest.Batch) error {
		q.Look(b)
		return nil
	})
	s.Rows, s.Quality = report.Rows, q.Findings(report)
	return err
}

// comments writes the quality of the sample so that it can stay in the mapping.
func (s *suggested) comments() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n# The first %d rows, read by this draft", s.Rows)
	if len(s.Quality) == 0 {
		b.WriteString(", raise no doubt.\n")
		return b.String()
	}
	b.WriteString(" (docs/spec/mapping.md explains each line; a dry run counts all rows):\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range s.Quality {
		where, _ := json.Marshal(f.Where) // the name of a column may hold anything
		fmt.Fprintf(w, "#   %s\t%d\t%s\n", f.Code, f.Count, strings.Trim(string(where), `"`))
	}
	_ = w.Flush() // a builder takes everything
	return b.String()
}
