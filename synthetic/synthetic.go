// Package synthetic invents a plausible country: its areas, its households and the people in
// them, as a registry would report them. It serves the demo, the benchmarks and everybody
// who wants to try Annona without real data.
//
// A country is the same for the same seed, on every machine of one architecture (others may
// round a draw differently). Each household is drawn from the
// seed and its own number, so a larger country begins with the same households as a smaller
// one, up to the last of the smaller, which is cut to the number of individuals asked for.
// Memory does not grow with the number of households.
//
// The people are nobody. Names are common ones put together by chance, the country lies in an
// ocean, phone numbers start with a country code that nobody has (+999), mail addresses end in
// example.org, ethnic groups and religions are invented.
//
// The package knows what is plausible about households. It does not know how records are
// stored, mapped or protected, and it imports the vocabulary alone.
package synthetic

import (
	"iter"

	"github.com/annona-exchange/annona"
)

// Version moves whenever the same seed no longer gives the same country.
const Version = 1

// Source is the name of the source system of every record.
const Source = "synthetic"

// The defaults of a Country and the rates of what is wrong with it on purpose.
const (
	DefaultAsOf       = annona.Date("2026-07-01")
	DefaultDuplicates = 0.005
	DefaultCases      = 0.2
	noHead            = 0.004 // households whose head nobody named
	badCheckDigit     = 0.003 // identity numbers with a wrong check digit
	nastyNames        = 0.003 // names that break careless programs
	askedFrom         = 5     // age from which the questions about functioning are put
)

// Country says which country to invent.
type Country struct {
	Individuals int         // how many people; 0: none
	Seed        uint64      // any number
	AsOf        annona.Date // today, for the country; empty: DefaultAsOf
	Duplicates  float64     // share of individuals who are registered a second time, 0 to 0.5; 0: DefaultDuplicates, negative: none
	Cases       float64     // share of households with a case, 0 to 1; 0: DefaultCases, negative: none
}

// Household is one household with the people in it, as a source reports them. Its memory
// belongs to the reader.
type Household struct {
	Record  annona.Record
	Members []annona.Record
	// Duplicates are the members who are on file already, in an earlier household: the truth,
	// which no record tells.
	Duplicates []Duplicate
}

// Duplicate names two records of one person by their keys.
type Duplicate struct{ Key, Of string }

// Registry draws the records of a country. It is safe for concurrent use.
type Registry struct {
	country    Country
	asOf       day
	traditions []tradition
	atlas      *atlas
	datasets   datasets
	columns    columns
}

// New prepares a country whose values are of the fields of d. It fails when d lacks a field
// of the standard, or the country makes no sense.
func New(d *annona.Dictionary, c Country) (*Registry, error) {
	if c.Individuals < 0 || c.Individuals > 1_000_000_000 {
		return nil, annona.Invalid("individuals_out_of_range", "a synthetic country has from 0 to 1,000,000,000 individuals").On("individuals")
	}
	if c.AsOf == "" {
		c.AsOf = DefaultAsOf
	}
	asOf, err := annona.ParseDate(string(c.AsOf))
	if err != nil || asOf < "2010-01-01" || asOf > "9000-01-01" {
		return nil, annona.Invalid("as_of_out_of_range", "a synthetic country has a day between 2010-01-01 and 9000-01-01").On("as_of")
	}
	switch {
	case c.Duplicates == 0:
		c.Duplicates = DefaultDuplicates
	case c.Duplicates < 0:
		c.Duplicates = 0
	case !(c.Duplicates <= 0.5):
		return nil, annona.Invalid("duplicates_out_of_range", "at most half of the individuals are registered a second time").On("duplicates")
	}
	switch {
	case c.Cases == 0:
		c.Cases = DefaultCases
	case !(c.Cases <= 1):
		return nil, annona.Invalid("cases_out_of_range", "a household has one case at most").On("cases")
	}
	r := &Registry{country: c, asOf: dayOf(asOf), traditions: traditions()}
	r.atlas = newAtlas(len(r.traditions))
	if r.datasets, r.columns, err = bind(d); err != nil {
		return nil, err
	}
	return r, nil
}

// Areas returns the country's tree of areas, each before those inside it: the country, its
// regions, districts and communities. It is the same for every seed.
func (r *Registry) Areas() []annona.Area { return r.atlas.areas }

// window is how many households back the original of a duplicate may lie.
const window = 4096

// Households yields the households in order of their keys, H000001 first.
func (r *Registry) Households() iter.Seq[Household] {
	return func(yield func(Household) bool) {
		p := &plan{dice: newDice(), registry: r}
		earlier := &plan{dice: newDice(), registry: r}
		var firsts [window]int64 // number of the first individual of recent households
		next, left := int64(1), r.country.Individuals
		for number := uint64(1); left > 0; number++ {
			p.compose(number)
			firsts[number%window] = next
			p.registerAgain(earlier, &firsts)
			p.people = p.people[:min(left, len(p.people))]
			if !yield(p.describe(next)) {
				return
			}
			left -= len(p.people)
			next += int64(len(p.people))
		}
	}
}

// registerAgain adds people of earlier households as if nobody had noticed: with a typing
// error in the name and often without the identity number that would have told.
func (p *plan) registerAgain(earlier *plan, firsts *[window]int64) {
	back := min(p.number-1, window-1)
	for range len(p.people) {
		if back == 0 || len(p.people) >= most || !p.chance(p.registry.country.Duplicates) {
			continue
		}
		earlier.compose(p.number - 1 - p.Uint64N(back))
		at := p.IntN(len(earlier.people))
		who := earlier.people[at]
		if who.born >= p.surveyed || who.died != 0 {
			continue
		}
		who.copied = firsts[earlier.number%window] + int64(at)
		who.mother, who.father, who.partner, who.wards = nobody, nobody, nobody, 0
		if who.born.years(p.surveyed) < 17 {
			who.marital = "never_married"
		}
		if !p.chance(0.6) {
			who.identity = p.number*(most+1) + uint64(len(p.people))
		}
		if who.precision == "age_stated" {
			who.born = p.surveyed.midpointOfAge(who.born.years(p.surveyed))
		}
		who.severity = [6]uint8{}
		p.answer(&who, who.asked)
		p.join(who, "other_relative", "EXT")
	}
}
