package synthetic_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

// tally counts the people of a country, and those of whom something holds.
type tally struct {
	households, people int
	counts             map[string]int
}

func (c *tally) count(what string, holds bool) {
	if holds {
		c.counts[what]++
	}
}

// percent is the share of what holds among the people.
func (c *tally) percent(what string) float64 {
	return 100 * float64(c.counts[what]) / float64(c.people)
}

func (c *tally) of(what, whole string) float64 {
	return 100 * float64(c.counts[what]) / float64(c.counts[whole])
}

func tallyUp(households []synthetic.Household) *tally {
	c := &tally{counts: map[string]int{}}
	for _, h := range households {
		c.households++
		c.count("headless", flagged(h.Record, "no_head"))
		c.count("stale", flagged(h.Record, "survey_stale"))
		c.count("rural", value(h.Record, "settlement_type") == "rural")
		c.count("poor", strings.HasSuffix(value(h.Record, "poverty_band"), "poor") && value(h.Record, "poverty_band") != "not_poor")
		c.count("single", len(h.Members) == 1)
		c.count("child-headed", age(h.Members[0]) < 18)
		c.count("headed by a woman", value(h.Members[0], "sex") == "female")
		for _, m := range h.Members {
			c.people++
			c.person(m)
		}
	}
	return c
}

func (c *tally) person(m annona.Record) {
	years := age(m)
	name := value(m, "full_name")
	c.count("named", name != "")
	c.count("female", value(m, "sex") == "female")
	c.count("children", years < 18)
	c.count("old", years >= 65)
	c.count("not Latin", strings.ContainsFunc(name, func(r rune) bool { return unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r) }))
	c.count("transliterated", len(items(m, "other_names")) > 0)
	c.count("one name only", value(m, "given_name") != "" && value(m, "family_name") == "" && value(m, "father_name") == "")
	c.count("long", len(name) > 150)
	c.count("adults", years >= 18)
	c.count("adults with a number", years >= 18 && nationalID(m) != "")
	c.count("leading zero", strings.HasPrefix(nationalID(m), "0"))
	c.count("wrong check digit", flagged(m, "id_format_invalid"))
	c.count("asked", value(m, "is_disabled") != "")
	c.count("disabled", value(m, "is_disabled") == "true")
	c.count("old asked", years >= 65 && value(m, "is_disabled") != "")
	c.count("old disabled", years >= 65 && value(m, "is_disabled") == "true")
	c.count("certified", len(items(m, "disability_certificates")) > 0)
	c.count("estimated", flagged(m, "date_of_birth_estimated"))
	c.count("old estimated", years >= 65 && flagged(m, "date_of_birth_estimated"))
	c.count("school age", years >= 6 && years < 13)
	c.count("pupils", years >= 6 && years < 13 && value(m, "in_school") == "true")
	c.count("pregnant", value(m, "pregnancy_status") == "pregnant")
	c.count("displaced", value(m, "displacement_status") != "" && value(m, "displacement_status") != "resident")
	c.count("dead", value(m, "vital_status") == "deceased")
	c.count("religion refused", value(m, "religion_nil_reason") == "refused")
	c.count("unmarried partner", value(m, "marital_status") == "consensual_union")
}

func TestRatesArePlausible(t *testing.T) {
	c := tallyUp(country(t, synthetic.Country{Individuals: 40_000, Seed: 1}))
	homes := func(what string) float64 { return 100 * float64(c.counts[what]) / float64(c.households) }
	for _, rate := range []struct {
		what           string
		got, low, high float64
	}{
		{"people per household", float64(c.people) / float64(c.households), 3.3, 5},
		{"households without a head", homes("headless"), 0.1, 0.9},
		{"households with a stale survey", homes("stale"), 15, 35},
		{"rural households", homes("rural"), 15, 70},
		{"poor households", homes("poor"), 15, 55},
		{"single households", homes("single"), 5, 14},
		{"child-headed households", homes("child-headed"), 0.05, 2},
		{"female-headed households", homes("headed by a woman"), 18, 40},
		{"people with a full name", c.percent("named"), 100, 100},
		{"women", c.percent("female"), 48, 54},
		{"children", c.percent("children"), 35, 60},
		{"the old", c.percent("old"), 3, 12},
		{"names in other scripts", c.percent("not Latin"), 40, 80},
		{"transliterations", c.of("transliterated", "not Latin"), 80, 95},
		{"single names", c.percent("one name only"), 3, 25},
		{"very long names", c.percent("long"), 0.01, 0.5},
		{"adults with an identity number", c.of("adults with a number", "adults"), 80, 95},
		{"identity numbers with a leading zero", c.of("leading zero", "adults with a number"), 6, 14},
		{"wrong check digits", c.percent("wrong check digit"), 0.03, 0.5},
		{"people asked about functioning", c.percent("asked"), 45, 80},
		{"disabled", c.of("disabled", "asked"), 2, 10},
		{"the old who are disabled", c.of("old disabled", "old asked"), 12, 40},
		{"disability certificates", c.percent("certified"), 0.2, 3},
		{"estimated dates of birth", c.percent("estimated"), 4, 20},
		{"the old with an estimated date of birth", c.of("old estimated", "old"), 35, 70},
		{"children in school", c.of("pupils", "school age"), 75, 98},
		{"pregnant", c.percent("pregnant"), 0.5, 3},
		{"displaced", c.percent("displaced"), 0.2, 8},
		{"dead", c.percent("dead"), 0.1, 2.5},
		{"religion refused", c.percent("religion refused"), 0.5, 4},
		{"consensual unions", c.percent("unmarried partner"), 2, 15},
	} {
		within(t, rate.what, rate.got, rate.low, rate.high)
		t.Logf("%-42s %7.2f", rate.what, rate.got)
	}
}

// The score follows from the same wealth as the dwelling.
func TestThePoorLiveInPoorDwellings(t *testing.T) {
	mean := map[string][2]float64{}
	for _, h := range country(t, synthetic.Country{Individuals: 20_000, Seed: 4}) {
		score, err := annona.ParseDecimal(value(h.Record, "poverty_score"), 2)
		if err != nil {
			continue
		}
		sum := mean[value(h.Record, "water_source")]
		mean[value(h.Record, "water_source")] = [2]float64{sum[0] + float64(score)/100, sum[1] + 1}
	}
	of := func(source string) float64 { return mean[source][0] / mean[source][1] }
	if poor, rich := of("surface_water"), of("piped_into_dwelling"); rich-poor < 8 {
		t.Errorf("mean score %.1f with surface water, %.1f with piped water: too close", poor, rich)
	}
}
