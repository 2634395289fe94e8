package main

import (
	"bufio"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

type generateCommand struct {
	Individuals int     `required:"" help:"How many individuals."`
	Seed        uint64  `default:"1" help:"The same seed gives the same country."`
	Duplicates  float64 `default:"0.005" help:"Share of individuals who are registered twice; 0 for none."`
}

// country is the country asked for. A rate of 0 means the default to package synthetic, so
// that none is said by a negative one.
func (g generateCommand) country() synthetic.Country {
	rate := g.Duplicates
	if rate == 0 {
		rate = -1
	}
	return synthetic.Country{Individuals: g.Individuals, Seed: g.Seed, Duplicates: rate}
}

// Run writes the country as nested households, in the shape of examples/synthetic.
func (g generateCommand) Run(c console) error {
	registry, err := synthetic.New(annona.Standard(), g.country())
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(c.out, 1<<16)
	if err := registry.WriteNDJSON(w); err != nil {
		return err
	}
	return w.Flush()
}
