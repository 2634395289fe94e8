package main

import (
	"bufio"
	"io"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

type generateCommand struct {
	Individuals int     `required:"" help:"How many individuals."`
	Seed        uint64  `default:"1" help:"The same seed gives the same country."`
	Duplicates  float64 `default:"0.005" help:"Share of individuals who are registered twice; 0 for none."`
	Cases       float64 `default:"0.2" help:"Share of households with a case; 0 for none."`
	Part        string  `default:"households" enum:"households,enrollments,benefits,cases,case-notes" help:"What of the country: its households with their people, or what programs and a case system keep about them, for annona report: ${enum}."`
}

// country is the country asked for. A rate of 0 means the default to package synthetic, so
// that none is said by a negative one.
func (g generateCommand) country() synthetic.Country {
	country := synthetic.Country{Individuals: g.Individuals, Seed: g.Seed, Duplicates: g.Duplicates, Cases: g.Cases}
	for _, rate := range []*float64{&country.Duplicates, &country.Cases} {
		if *rate == 0 {
			*rate = -1
		}
	}
	return country
}

// Run writes a part of the country: nested households in the shape of examples/synthetic, or the rows of
// a report, in which keys of the source stand for ids.
func (g generateCommand) Run(c console) error {
	registry, err := synthetic.New(annona.Standard(), g.country())
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(c.out, 1<<16)
	if err := writePart(registry, g.Part, w); err != nil {
		return err
	}
	return w.Flush()
}

func writePart(registry *synthetic.Registry, part string, w io.Writer) error {
	switch part {
	case "enrollments":
		return synthetic.WriteReports(w, registry.Enrollments())
	case "benefits":
		return synthetic.WriteReports(w, registry.Benefits())
	case "cases":
		return synthetic.WriteReports(w, registry.Cases())
	case "case-notes":
		return synthetic.WriteReports(w, registry.CaseNotes())
	default:
		return registry.WriteNDJSON(w)
	}
}
