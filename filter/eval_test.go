package filter_test

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// household is a family of three: a grandmother of 60, her daughter, a boy of 4 whose sex is not
// on file.
func household() *filtertest.Record {
	member := func(values map[string]string) *filtertest.Record {
		r := &filtertest.Record{Cells: map[filtertest.Cell]string{}}
		for field, text := range values {
			r.Cells[filtertest.Cell{Root: annona.RootMember, Field: field}] = text
		}
		return r
	}
	return &filtertest.Record{
		Cells: map[filtertest.Cell]string{
			{Field: "poverty_score"}:              "9.5",
			{Field: "member_count"}:               "3",
			{Field: "area_code"}:                  "XA-1-1",
			{Field: "household_assets"}:           "radio\x1fbicycle",
			{Field: "quality_flags"}:              "survey_stale\x1fno_head",
			{Field: "electricity_access"}:         "false",
			{Field: "income_amount"}:              "1200.5",
			{Field: "income_currency"}:            "GHS",
			{Field: "income_period"}:              "year",
			{Root: annona.RootHead, Field: "sex"}: "female",
			{Field: "formation_date"}:             "1999-12-31",
		},
		Visible: []*filtertest.Record{
			member(map[string]string{"date_of_birth": "1964-02-29", "sex": "female"}),
			member(map[string]string{"date_of_birth": "1990-07-01", "sex": "female", "in_school": "false"}),
			member(map[string]string{"date_of_birth": "2019-03-02", "in_school": "true"}),
		},
	}
}

func TestEval(t *testing.T) {
	for text, want := range map[string]bool{
		`true`:                                                          true,
		`false`:                                                         false,
		`household.poverty_score < 10`:                                  true, // as text, 9.5 would be more than 10
		`household.poverty_score < 9.5`:                                 false,
		`household.poverty_score <= 9.5`:                                true,
		`household.poverty_score in [1, 9.50]`:                          true,
		`household.member_count == 3`:                                   true,
		`household.member_count != 3`:                                   false,
		`household.formation_date < "2000-01-01"`:                       true,
		`household.formation_date >= "2000-01-01"`:                      false,
		`age_on(household.formation_date, as_of) == 24`:                 true,
		`household.electricity_access`:                                  false,
		`!household.electricity_access`:                                 true,
		`household.electricity_access == false`:                         true,
		`has(household.electricity_access)`:                             true,
		`household.chronic_illness_in_household`:                        false, // absent
		`household.chronic_illness_in_household == false`:               false,
		`household.chronic_illness_in_household != true`:                false,
		`!household.chronic_illness_in_household`:                       true,
		`!(household.chronic_illness_in_household != true)`:             true,
		`has(household.chronic_illness_in_household)`:                   false,
		`within(household.area_code, "XA")`:                             true,
		`within(household.area_code, "XA-1-1")`:                         true,
		`within(household.area_code, "XA-2")`:                           false,
		`within(household.region_code, "XA")`:                           false,
		`"radio" in household.household_assets`:                         true,
		`"bicycle" in household.household_assets`:                       true,
		`"watch" in household.household_assets`:                         false,
		`household.household_assets in ["watch", "bicycle"]`:            true,
		`"no_head" in household.quality_flags`:                          true,
		`"two_heads" in household.quality_flags`:                        false,
		`household.income_amount > money("1200", "GHS", "year")`:        true,
		`household.income_amount > money("1200", "USD", "year")`:        false,
		`household.income_amount > money("1200", "GHS", "month")`:       false,
		`household.income_amount == money(1200.50, "GHS", "year")`:      true,
		`head.sex == "female"`:                                          true,
		`members.exists(m, m.sex == "male")`:                            false,
		`members.exists(m, m.sex != "female")`:                          false,
		`members.exists(m, !(m.sex == "female"))`:                       true,
		`members.all(m, m.sex == "female")`:                             false,
		`members.all(m, has(m.date_of_birth))`:                          true,
		`members.exists(m, age_on(m.date_of_birth, as_of) >= 60)`:       true, // born on February 29: 60 on March 1
		`members.exists(m, age_on(m.date_of_birth, as_of) > 60)`:        false,
		`members.count(m, age_on(m.date_of_birth, as_of) < 5) == 1`:     true,
		`members.count(m, m.in_school) == 1`:                            true,
		`members.count(m, true) >= 3`:                                   true,
		`members.count(m, true) > 3`:                                    false,
		`members.count(m, true) != 2`:                                   true,
		`members.exists(m, m.in_school && household.member_count == 3)`: true,
	} {
		c, err := filter.Compile(annona.Standard(), dataset(t, "households"), text)
		if err != nil {
			t.Errorf("%s\nrefused: %v", text, err)
			continue
		}
		if got := filter.Eval(c, household(), filtertest.AsOf); got != want {
			t.Errorf("%s\nis %v, want %v", text, got, want)
		}
	}
}

func TestNilConditionHoldsForEveryRow(t *testing.T) {
	if !filter.Eval(nil, household(), "") || filter.Format(nil) != "true" || filter.Bind(nil, "2024-03-01") != nil {
		t.Error("a nil condition does not hold always")
	}
	for p := range filter.Paths(nil) {
		t.Errorf("a nil condition names %s", p.Field.Code)
	}
}

func TestUnreadableNumberComparesWithNothing(t *testing.T) {
	row := household()
	row.Cells[filtertest.Cell{Field: "poverty_score"}] = "many"
	for _, op := range []string{"==", "!=", "<", ">"} {
		c, err := filter.Compile(annona.Standard(), dataset(t, "households"), "household.poverty_score "+op+" 1")
		if err != nil || filter.Eval(c, row, "") {
			t.Errorf("%s holds, error %v", op, err)
		}
	}
}

func TestPathsStopsWhenAsked(t *testing.T) {
	c, err := filter.Compile(annona.Standard(), dataset(t, "households"),
		`household.income_amount < money("1", "GHS", "year") && (has(household.area_code) || members.exists(m, m.in_school && !(age_on(m.date_of_birth, as_of) < 5)))`)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for p := range filter.Paths(c) {
		all = append(all, p.Field.Code)
	}
	if want := []string{"income_amount", "income_currency", "income_period", "area_code", "in_school", "date_of_birth"}; !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	for stop := range len(all) {
		seen := 0
		for range filter.Paths(c) {
			if seen++; seen > stop {
				break
			}
		}
		if seen != stop+1 {
			t.Errorf("stopped after %d paths, asked to stop after %d", seen, stop+1)
		}
	}
}

func TestUsesMembers(t *testing.T) {
	for text, want := range map[string]bool{
		`true`:                                         false,
		`household.member_count > 2`:                   false,
		`head.in_school`:                               false,
		`members.count(m, true) > 2`:                   true,
		`true && !members.exists(m, true)`:             true,
		`false || members.all(m, m.sex in ["female"])`: true,
	} {
		c, err := filter.Compile(annona.Standard(), dataset(t, "households"), text)
		if err != nil || filter.UsesMembers(c) != want {
			t.Errorf("%s: got %v, error %v", text, !want, err)
		}
	}
}

func TestEmptyTextIsAbsent(t *testing.T) {
	row := household()
	row.Cells[filtertest.Cell{Field: "area_code"}] = ""
	c, err := filter.Compile(annona.Standard(), dataset(t, "households"), `has(household.area_code) || household.area_code != "XA"`)
	if err != nil || filter.Eval(c, row, "") {
		t.Errorf("the empty text counts as a value, error %v", err)
	}
}

func TestBindReachesEveryAge(t *testing.T) {
	for text, want := range map[string]string{
		`age_on(head.date_of_birth, as_of) >= 60 && true`:                 `head.date_of_birth <= "1964-03-01" && true`,
		`false || !(age_on(head.date_of_birth, as_of) < 60)`:              `false || !(head.date_of_birth > "1964-03-01")`,
		`members.exists(m, age_on(m.date_of_birth, as_of) > 4)`:           `members.exists(m, m.date_of_birth <= "2019-03-01")`,
		`members.count(m, age_on(m.date_of_birth, as_of) <= 4) == 2`:      `members.count(m, m.date_of_birth > "2019-03-01") == 2`,
		`members.exists(m, age_on(household.formation_date, as_of) == 0)`: `members.exists(m, household.formation_date <= "2024-03-01" && household.formation_date > "2023-03-01")`,
	} {
		c, err := filter.Compile(annona.Standard(), dataset(t, "households"), text)
		if err != nil {
			t.Errorf("%s\nrefused: %v", text, err)
			continue
		}
		if got := filter.Format(filter.Bind(c, "2024-03-01")); got != want {
			t.Errorf("%s\nbound to %s\nwant     %s", text, got, want)
		}
		if filter.Format(c) != text {
			t.Errorf("%s\nwas changed to %s", text, filter.Format(c))
		}
	}
}
