package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest/intake"
)

type mappingCommand struct {
	Put  mappingPut  `cmd:"" help:"Put the next version of a mapping on file, for registrars who load over HTTP."`
	List mappingList `cmd:"" help:"List the mappings on file."`
	Show mappingShow `cmd:"" help:"Print a mapping as it was put on file."`
	Drop mappingDrop `cmd:"" help:"Let nobody load with a mapping any more. Its versions stay on file."`
}

type mappingPut struct {
	dataFlag
	Name string `arg:"" help:"Name of the mapping: lower-case letters, digits and hyphens."`
	File string `arg:"" type:"existingfile" help:"Mapping, as YAML; see docs/spec/mapping.md."`
}

func (p mappingPut) Run(ctx context.Context, c console) error {
	body, err := parseFile(p.File, func(r io.Reader) ([]byte, error) { return io.ReadAll(r) })
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		m, err := intake.ParseMapping(ctx, f.gate, string(body))
		if err != nil {
			return err
		}
		version, changed, err := f.gate.PutMapping(ctx, operator(), annona.StoredMapping{Name: p.Name, Source: m.Source(), Body: string(body)})
		if err != nil {
			return err
		}
		if !changed {
			_, err = fmt.Fprintf(c.out, "Nothing changed: this is version %d of the mapping %s.\n", version, p.Name)
			return err
		}
		_, err = fmt.Fprintf(c.out, "Version %d of the mapping %s is on file, for the source %s.\n", version, p.Name, m.Source())
		return err
	})
}

type mappingList struct {
	dataFlag
	JSON bool `name:"json" help:"Print a JSON object for each, one on a line."`
}

func (l mappingList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		all, err := f.gate.ListMappings(ctx, operator())
		if err != nil {
			return err
		}
		if l.JSON {
			out := json.NewEncoder(c.out)
			for _, m := range all {
				if err := out.Encode(shownMapping{m.Name, m.Version, m.Source, m.PutAt.UTC(), m.Dropped}); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "name\tversion\tsource\tput\tstate")
		for _, m := range all {
			state := "in use"
			if m.Dropped {
				state = "dropped"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", m.Name, m.Version, m.Source, m.PutAt.UTC().Format(time.DateOnly), state)
		}
		return w.Flush()
	})
}

// shownMapping is a mapping as JSON lists it.
type shownMapping struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Source  string    `json:"source"`
	PutAt   time.Time `json:"put_at"`
	Dropped bool      `json:"dropped"`
}

type mappingShow struct {
	dataFlag
	Name    string `arg:"" help:"Name of the mapping."`
	Version int    `help:"Its version; the latest one when left out."`
}

func (s mappingShow) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		m, err := f.gate.ShowMapping(ctx, operator(), s.Name, s.Version)
		if err != nil {
			return err
		}
		_, err = io.Copy(c.out, strings.NewReader(m.Body))
		return err
	})
}

type mappingDrop struct {
	dataFlag
	Name string `arg:"" help:"Name of the mapping."`
}

func (d mappingDrop) Run(ctx context.Context, c console) error {
	return d.with(ctx, func(f *folder) error {
		if err := f.gate.DropMapping(ctx, operator(), d.Name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "Nobody can load with the mapping %s any more.\n", d.Name)
		return err
	})
}
