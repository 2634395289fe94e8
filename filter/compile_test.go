package filter_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// dataset returns a dataset of the standard dictionary.
func dataset(t testing.TB, name string) *annona.Dataset {
	t.Helper()
	s, ok := annona.Standard().Dataset(name)
	if !ok {
		t.Fatalf("the dictionary has no dataset %s", name)
	}
	return s
}

func path(t testing.TB, root annona.Root, of, field string) annona.Path {
	t.Helper()
	f, ok := dataset(t, of).Field(field)
	if !ok {
		t.Fatalf("the dataset %s has no field %s", of, field)
	}
	return annona.Path{Root: root, Field: f}
}

func text(s string) annona.Constant { return annona.Constant{Text: s} }

func number(s string, n int64) annona.Constant { return annona.Constant{Text: s, Int: n} }

var yes = number("true", 1)

func TestCompileIndividuals(t *testing.T) {
	self := func(field string) annona.Path { return path(t, annona.RootSelf, "individuals", field) }
	home := func(field string) annona.Path { return path(t, annona.RootHousehold, "households", field) }
	schooled := annona.Compare{Path: self("in_school"), Op: annona.Equal, Value: yes}
	born := self("date_of_birth")
	for _, c := range []struct {
		text string
		want annona.Condition
	}{
		{`true`, annona.And{}},
		{`false`, annona.Or{}},
		{`individual.in_school`, schooled},
		{`individual.in_school == true`, schooled},
		{`true == individual.in_school`, schooled},
		{`individual.in_school == false`, annona.Compare{Path: self("in_school"), Op: annona.Equal, Value: text("false")}},
		{`individual.in_school != true`, annona.Compare{Path: self("in_school"), Op: annona.NotEqual, Value: yes}},
		{`!individual.in_school`, annona.Not{Of: schooled}},
		{`!!individual.in_school`, schooled},
		{`!(!individual.in_school)`, annona.Not{Of: annona.Not{Of: schooled}}},
		{"  individual . in_school // at present\n", schooled},
		{`individual.sex == "female"`, annona.Compare{Path: self("sex"), Op: annona.Equal, Value: text("female")}},
		{`individual.sex != 'male'`, annona.Compare{Path: self("sex"), Op: annona.NotEqual, Value: text("male")}},
		{`individual.sex in ["female", "male"]`, annona.In{Path: self("sex"), Values: []annona.Constant{text("female"), text("male")}}},
		{`individual.country_of_birth == "TG"`, annona.Compare{Path: self("country_of_birth"), Op: annona.Equal, Value: text("TG")}},
		{`individual.date_of_birth < "2006-01-31"`, annona.Compare{Path: born, Op: annona.Less, Value: text("2006-01-31")}},
		{`"2006-01-31" > individual.date_of_birth`, annona.Compare{Path: born, Op: annona.Less, Value: text("2006-01-31")}},
		{`"2006-01-31" <= individual.date_of_birth`, annona.Compare{Path: born, Op: annona.GreaterOrEqual, Value: text("2006-01-31")}},
		{`age_on(individual.date_of_birth, as_of) >= 60`, annona.Age{Path: born, Op: annona.GreaterOrEqual, Years: 60}},
		{`60 <= age_on(individual.date_of_birth, as_of)`, annona.Age{Path: born, Op: annona.GreaterOrEqual, Years: 60}},
		{`5 == age_on(individual.date_of_birth, as_of)`, annona.Age{Path: born, Op: annona.Equal, Years: 5}},
		{`has(individual.occupation)`, annona.Has{Path: self("occupation")}},
		{`within(individual.area_code, "GH-AH")`, annona.Within{Path: self("area_code"), Area: "GH-AH"}},
		{`within(household.area_code, "GH-AH")`, annona.Within{Path: home("area_code"), Area: "GH-AH"}},
		{`household.poverty_score < 35`, annona.Compare{Path: home("poverty_score"), Op: annona.Less, Value: number("35", 350000)}},
		{`household.poverty_score < 35.25`, annona.Compare{Path: home("poverty_score"), Op: annona.Less, Value: number("35.25", 352500)}},
		{`household.poverty_score < 35.2500000`, annona.Compare{Path: home("poverty_score"), Op: annona.Less, Value: number("35.25", 352500)}},
		{`household.poverty_score < "35.25"`, annona.Compare{Path: home("poverty_score"), Op: annona.Less, Value: number("35.25", 352500)}},
		{`household.poverty_score > -0.1`, annona.Compare{Path: home("poverty_score"), Op: annona.Greater, Value: number("-0.1", -1000)}},
		{`household.poverty_score > -7`, annona.Compare{Path: home("poverty_score"), Op: annona.Greater, Value: number("-7", -70000)}},
		{`-0.1 < household.poverty_score`, annona.Compare{Path: home("poverty_score"), Op: annona.Greater, Value: number("-0.1", -1000)}},
		// The nearest float is another number.
		{`household.poverty_score == 900719925474099.3`, annona.Compare{Path: home("poverty_score"), Op: annona.Equal, Value: number("900719925474099.3", 9007199254740993000)}},
		{`household.member_count in [1, 2]`, annona.In{Path: home("member_count"), Values: []annona.Constant{number("1", 1), number("2", 2)}}},
		{`household.member_count == 0x10`, annona.Compare{Path: home("member_count"), Op: annona.Equal, Value: number("16", 16)}},
		{`"radio" in household.household_assets`, annona.In{Path: home("household_assets"), Values: []annona.Constant{text("radio")}}},
		{`household.household_assets in ["radio"]`, annona.In{Path: home("household_assets"), Values: []annona.Constant{text("radio")}}},
		{`"id_disputed" in individual.quality_flags`, annona.In{Path: self("quality_flags"), Values: []annona.Constant{text("id_disputed")}}},
		{`individual.quality_flags in ["id_disputed", "code_unmapped"]`, annona.In{Path: self("quality_flags"), Values: []annona.Constant{text("id_disputed"), text("code_unmapped")}}},
		{`household.income_amount < money("500", "GHS", "year")`, annona.And{
			annona.Compare{Path: home("income_amount"), Op: annona.Less, Value: number("500", 50000)},
			annona.Compare{Path: home("income_currency"), Op: annona.Equal, Value: text("GHS")},
			annona.Compare{Path: home("income_period"), Op: annona.Equal, Value: text("year")},
		}},
		{`money(499.99, "GHS", "year") >= individual.income_amount`, annona.And{
			annona.Compare{Path: self("income_amount"), Op: annona.LessOrEqual, Value: number("499.99", 49999)},
			annona.Compare{Path: self("income_currency"), Op: annona.Equal, Value: text("GHS")},
			annona.Compare{Path: self("income_period"), Op: annona.Equal, Value: text("year")},
		}},
		{`individual.in_school && has(individual.sex) && true`, annona.And{schooled, annona.Has{Path: self("sex")}, annona.And{}}},
		{`individual.in_school && (has(individual.sex) && true)`, annona.And{schooled, annona.And{annona.Has{Path: self("sex")}, annona.And{}}}},
		{`individual.in_school || has(individual.sex) && true`, annona.Or{schooled, annona.And{annona.Has{Path: self("sex")}, annona.And{}}}},
		{`(individual.in_school || has(individual.sex)) && true`, annona.And{annona.Or{schooled, annona.Has{Path: self("sex")}}, annona.And{}}},
	} {
		compiles(t, "individuals", c.text, c.want)
	}
}

func TestCompileHouseholds(t *testing.T) {
	self := func(field string) annona.Path { return path(t, annona.RootSelf, "households", field) }
	member := func(field string) annona.Path { return path(t, annona.RootMember, "individuals", field) }
	old := annona.Age{Path: member("date_of_birth"), Op: annona.GreaterOrEqual, Years: 60}
	poor := annona.Compare{Path: self("poverty_score"), Op: annona.Less, Value: number("35", 350000)}
	for _, c := range []struct {
		text string
		want annona.Condition
	}{
		{`household.poverty_score < 35`, poor},
		{`head.sex == "female"`, annona.Compare{Path: path(t, annona.RootHead, "individuals", "sex"), Op: annona.Equal, Value: text("female")}},
		{`household.poverty_score < 35 && members.exists(m, age_on(m.date_of_birth, as_of) >= 60)`, annona.And{poor, annona.Exists{Of: old}}},
		{`members.exists(person, age_on(person.date_of_birth, as_of) >= 60)`, annona.Exists{Of: old}},
		{`members.all(m, age_on(m.date_of_birth, as_of) >= 60)`, annona.Not{Of: annona.Exists{Of: annona.Not{Of: old}}}},
		{`members.count(m, age_on(m.date_of_birth, as_of) >= 60) > 2`, annona.Count{Of: old, Op: annona.Greater, N: 2}},
		{`0 < members.count(m, true)`, annona.Count{Of: annona.And{}, Op: annona.Greater, N: 0}},
		{`members.exists(m, household.poverty_score < 35 && m.in_school)`, annona.Exists{Of: annona.And{poor, annona.Compare{Path: member("in_school"), Op: annona.Equal, Value: yes}}}},
		{`members.exists(m, true) && members.exists(n, n.in_school)`, annona.And{annona.Exists{Of: annona.And{}}, annona.Exists{Of: annona.Compare{Path: member("in_school"), Op: annona.Equal, Value: yes}}}},
		{`"no_head" in household.quality_flags`, annona.In{Path: self("quality_flags"), Values: []annona.Constant{text("no_head")}}},
	} {
		compiles(t, "households", c.text, c.want)
	}
}

func compiles(t *testing.T, of, source string, want annona.Condition) {
	t.Helper()
	got, err := filter.Compile(annona.Standard(), dataset(t, of), source)
	switch {
	case err != nil:
		t.Errorf("%s\nrefused: %v", source, err)
	case !reflect.DeepEqual(got, want):
		t.Errorf("%s\ngot  %s\nwant %s", source, filter.Format(got), filter.Format(want))
	}
}

// refusal is what Compile says to a filter; at 0 is any position.
type refusal struct {
	text string
	code string
	at   int
	name string
}

func TestRefuseIndividuals(t *testing.T) {
	refuses(t, "individuals", []refusal{
		{``, "filter_malformed", 1, ""},
		{" \n\t", "filter_malformed", 1, ""},
		{`// nothing`, "filter_malformed", 11, ""},
		{`individual.sex == `, "filter_malformed", 19, ""},
		{`individual.sex = "female"`, "filter_malformed", 16, ""},
		{`individual.sex == "female`, "filter_malformed", 19, ""},
		{`individual.sex == "female" individual.in_school`, "filter_malformed", 28, ""},
		{`(individual.in_school`, "filter_malformed", 22, ""},
		{"individual.in_school &&\n\n  )", "filter_malformed", 28, ""},
		{`has(individual.sex) && "é" § 1`, "filter_malformed", 28, ""},
		{"individual.sex == \"\xff\"", "filter_malformed", 1, ""},
		{"individual.sex == \x00", "filter_malformed", 19, ""},
		{`individual.member_count == 99999999999999999999`, "filter_malformed", 28, ""},
		{"individual.`sex` == \"female\"", "filter_malformed", 0, ""},

		{`individual.favorite_color == "red"`, "unknown_field", 1, "individuals"},
		{`true && individual.favorite_color == "red"`, "unknown_field", 9, "individuals"},
		{`has(individual.favorite_color)`, "unknown_field", 5, "individuals"},
		{`person.sex == "female"`, "unknown_field", 1, ""},
		{`head.sex == "female"`, "unknown_field", 1, ""},
		{`m.sex == "female"`, "unknown_field", 1, ""},
		{`.individual.sex == "female"`, "unknown_field", 1, ""},
		{`household.favorite_color`, "unknown_field", 1, "households"},
		{`individual.sex == "kofi"`, "unknown_code", 19, "sex"},
		{`individual.sex in ["female", "kofi"]`, "unknown_code", 30, "sex"},
		{`"kofi" in individual.quality_flags`, "unknown_code", 1, "quality_flags"},
		{`household.income_amount < money("500", "GHS", "aeon")`, "unknown_code", 47, "income_period"},

		{`individual.full_name == "Kofi"`, "field_not_filterable", 1, "full_name"},
		{`has(individual.full_name)`, "field_not_filterable", 5, "full_name"},
		{`individual.full_name in ["Kofi"]`, "field_not_filterable", 1, "full_name"},
		{`individual.identifiers == "4711"`, "field_not_filterable", 1, "identifiers"},
		{`individual.payment_account == "4711"`, "field_not_filterable", 1, "payment_account"},
		{`"4711" in individual.functioning`, "field_not_filterable", 11, "functioning"},
		{`individual.individual_id == "4711"`, "field_not_filterable", 1, "individual_id"},
		{`individual.sex_source_code == "2"`, "field_not_filterable", 1, "sex_source_code"},
		{`age_on(individual.last_updated, as_of) > 1`, "field_not_filterable", 8, "last_updated"},

		{`household.income_amount < money(household.member_count, "GHS", "year")`, "filter_type", 33, "income_amount"},
		{`individual.date_of_birth < "31.01.2006"`, "filter_type", 28, "date_of_birth"},
		{`individual.date_of_birth < "2006-02-30"`, "filter_type", 28, "date_of_birth"},
		{`individual.date_of_birth < 2006`, "filter_type", 28, "date_of_birth"},
		{`individual.date_of_birth`, "filter_type", 1, "date_of_birth"},
		{`individual.sex`, "filter_type", 1, "sex"},
		{`!individual.sex`, "filter_type", 2, "sex"},
		{`individual.sex == ""`, "filter_type", 19, "sex"},
		{`individual.sex == 2`, "filter_type", 19, "sex"},
		{`individual.sex == null`, "filter_type", 19, "sex"},
		{`individual.sex == b"female"`, "filter_type", 19, "sex"},
		{`individual.sex < "male"`, "filter_type", 16, "sex"},
		{`individual.in_school > false`, "filter_type", 22, "in_school"},
		{`individual.in_school == "true"`, "filter_type", 25, "in_school"},
		{`individual.sex in []`, "filter_type", 16, "sex"},
		{`individual.sex in "female"`, "filter_type", 16, "sex"},
		{`individual.sex in {"female": true}`, "filter_type", 16, "sex"},
		{`"female" in individual.sex`, "filter_type", 10, "sex"},
		{`["radio"] in household.household_assets`, "filter_type", 11, "household_assets"},
		{`household.household_assets == "radio"`, "filter_type", 28, "household_assets"},
		{`household.household_assets == ["radio"]`, "filter_type", 28, "household_assets"},
		{`"a" in ["a"]`, "filter_type", 5, ""},
		{`household.member_count == 1.5`, "filter_type", 27, "member_count"},
		{`household.member_count == 1u`, "filter_type", 27, "member_count"},
		{`household.poverty_score == 1.00001`, "filter_type", 28, "poverty_score"},
		{`household.poverty_score == -1.00001`, "filter_type", 28, "poverty_score"},
		{`household.poverty_score == 1e3`, "filter_type", 28, "poverty_score"},
		{`household.poverty_score == -1.5e3`, "filter_type", 28, "poverty_score"},
		{"household.poverty_score == - // 1.5\n 2.5", "filter_type", 28, "poverty_score"},
		{`household.poverty_score == 922337203685477.5808`, "filter_type", 28, "poverty_score"},
		{`household.poverty_score == "many"`, "filter_type", 28, "poverty_score"},
		{`household.income_amount < 500`, "filter_type", 27, "income_amount"},
		{`household.income_amount in [500]`, "filter_type", 25, "income_amount"},
		{`household.income_amount < money("500", "GHS")`, "filter_type", 27, "income_amount"},
		{`household.poverty_score < money("500", "GHS", "year")`, "filter_type", 27, "poverty_score"},
		{`money("500", "GHS", "year")`, "filter_type", 1, "money"},
		{`true && age_on(individual.date_of_birth, as_of)`, "filter_type", 9, "age_on"},
		{`age_on(individual.date_of_birth, "2026-01-01") > 1`, "filter_type", 1, "age_on"},
		{`age_on(individual.date_of_birth) > 1`, "filter_type", 1, "age_on"},
		{`age_on("2006-01-01", as_of) > 1`, "filter_type", 1, "age_on"},
		{`age_on(individual.sex, as_of) > 1`, "filter_type", 8, "sex"},
		{`age_on(individual.date_of_birth, as_of) > 1.5`, "filter_type", 43, "age_on"},
		{`age_on(individual.date_of_birth, as_of) > -1`, "filter_type", 43, "age_on"},
		{`age_on(individual.date_of_birth, as_of) > 201`, "filter_type", 43, "age_on"},
		{`within("GH", individual.area_code)`, "filter_type", 1, "within"},
		{`within(individual.sex, "GH")`, "filter_type", 8, "sex"},
		{`within(individual.area_code, individual.region_code)`, "filter_type", 30, "area_code"},
		{`within(individual.area_code, "")`, "filter_type", 30, "area_code"},
		{`has(individual)`, "filter_type", 1, "has"},
		{`has(individual.sex, individual.sex)`, "filter_type", 1, "has"},
		{`individual == "x"`, "filter_type", 1, ""},
		{`individual`, "filter_type", 1, ""},
		{`"female"`, "filter_type", 1, ""},
		{`1`, "filter_type", 1, ""},
		{`[true]`, "filter_type", 1, ""},

		{`individual.date_of_birth == individual.date_of_death`, "filter_unsupported", 26, "date_of_birth"},
		{`individual.sex in household.household_assets`, "filter_unsupported", 16, "household_assets"},
		{`individual.date_of_birth < as_of`, "filter_type", 28, "date_of_birth"},
		{`1 == 1`, "filter_unsupported", 3, ""},
		{`household.member_count + 1 > 2`, "filter_unsupported", 24, ""},
		{`household.member_count > 1 + 1`, "filter_unsupported", 28, ""},
		{`individual.date_of_birth < timestamp("2006-01-31T00:00:00Z")`, "filter_unsupported", 28, ""},
		{`individual.in_school == has(individual.sex)`, "filter_unsupported", 25, "has"},
		{`individual.in_school == (true && true)`, "filter_unsupported", 31, ""},
		{`-household.member_count > 1`, "filter_unsupported", 1, ""},
		{`individual.in_school ? true : false`, "filter_unsupported", 22, ""},
		{`individual["sex"] == "female"`, "filter_unsupported", 11, ""},
		{`individual.sex.size() == 3`, "filter_unsupported", 1, ""},
		{`individual.sex.matches("f.*")`, "filter_unsupported", 1, ""},
		{`individual.sex.startsWith("f")`, "filter_unsupported", 1, ""},
		{`individual.household.area_code == "GH"`, "filter_unsupported", 1, ""},
		{`size(individual.sex) == 3`, "filter_unsupported", 1, ""},
		{`now() > individual.date_of_birth`, "filter_unsupported", 1, ""},
		{`has(individual.sex) == true`, "filter_unsupported", 1, "has"},
		{`(individual.in_school && true) == false`, "filter_unsupported", 23, ""},
		{`has(individual.quality_flags)`, "filter_unsupported", 5, "quality_flags"},
		{`members.exists(m, m.in_school)`, "filter_unsupported", 1, "members"},
		{`household.household_assets.exists(a, a == "radio")`, "filter_unsupported", 1, "exists"},
	})
}

func TestRefuseHouseholds(t *testing.T) {
	refuses(t, "households", []refusal{
		{`individual.sex == "female"`, "unknown_field", 1, ""},
		{`m.sex == "female"`, "unknown_field", 1, ""},
		{`members.exists(m, m.in_school) && m.in_school`, "unknown_field", 35, ""},
		{`members.exists(m, members.exists(n, n.in_school))`, "filter_unsupported", 19, "members"},
		{`members.exists(m, members.count(n, true) > 1)`, "filter_unsupported", 19, "members"},
		{`members.exists(m, head.in_school)`, "filter_unsupported", 19, "head"},
		{`members.exists(household, household.in_school)`, "filter_unsupported", 16, "exists"},
		{`members.exists(m.x, true)`, "filter_type", 1, "exists"},
		{`members.exists(m)`, "filter_type", 1, "exists"},
		{`members.exists(m, m)`, "filter_type", 19, ""},
		{`members.exists(m, m.full_name == "Kofi")`, "field_not_filterable", 19, "full_name"},
		{`members.exists(m, true) == true`, "filter_unsupported", 1, "exists"},
		{`members.count(m, true)`, "filter_type", 1, "count"},
		{`members.count(m, true) > 1.5`, "filter_type", 26, "count"},
		{`members.count(m, true) > -1`, "filter_type", 26, "count"},
		{`members.count(m, true) > household.member_count`, "filter_type", 26, "count"},
		{`members.count(m, true) in [1]`, "filter_type", 24, ""},
		{`household.member_count > members.count(m, true)`, "filter_unsupported", 24, "member_count"},
		{`members.map(m, true)`, "filter_unsupported", 1, ""},
		{`members.size() > 1`, "filter_unsupported", 1, ""},
		{`members == 1`, "filter_type", 1, ""},
		{`household.members == "x"`, "field_not_filterable", 1, "members"},
	})
}

func refuses(t *testing.T, of string, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		got, err := filter.Compile(annona.Standard(), dataset(t, of), c.text)
		var e *annona.Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%s\ncompiled to %v, error %v", c.text, got, err)
		case e.Kind != annona.KindInvalid || e.Code != c.code || e.At != c.at && c.at > 0 || e.Name != c.name:
			t.Errorf("%s\ngot  %s at %d name %q: %s\nwant %s at %d name %q", c.text, e.Code, e.At, e.Name, e.Message, c.code, c.at, c.name)
		case strings.Contains(e.Error(), "ofi") || strings.Contains(e.Error(), "4711"):
			t.Errorf("%s\nthe refusal repeats a constant: %s", c.text, e)
		}
	}
}

// A refusal says what to do instead.
func TestRefusalsHelp(t *testing.T) {
	for text, hint := range map[string]string{
		`individual.full_name == "Kofi"`:                           "sealed",
		`individual.identifiers == "4711"`:                         "POST /v1/lookup",
		`individual.payment_account == "4711"`:                     "POST /v1/lookup",
		`individual.functioning == "x"`:                            "repeated group",
		`individual.sex == "kofi"`:                                 "code list sex",
		`individual.income_amount < 500`:                           `money("500", "GHS", "year")`,
		`individual.date_of_birth == individual.registration_date`: "two fields",
		`individual.registration_date > "1.1.2020"`:                `"2006-01-31"`,
		`household.household_assets == "radio"`:                    "in",
		`household.poverty_score + 1 > 2`:                          "does not calculate",
		`person.sex == "female"`:                                   "individual and household",
	} {
		_, err := filter.Compile(annona.Standard(), dataset(t, "individuals"), text)
		if err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s\nsays %v, which does not mention %s", text, err, hint)
		}
	}
}

func TestRefuseDatasetWithoutRoot(t *testing.T) {
	_, err := filter.Compile(annona.Standard(), dataset(t, "identifiers"), "true")
	if annona.CodeOf(err) != "filter_unsupported" {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	chain := func(n int) string { return strings.TrimSuffix(strings.Repeat("true || ", n), " || ") }
	nested := func(n int, inner string) string { return strings.Repeat("!(", n) + inner + strings.Repeat(")", n) }
	listed := func(n int) string {
		return "household.member_count in [" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]"
	}
	padded := func(n int) string { return "true" + strings.Repeat(" ", n-4) }
	for name, c := range map[string]struct {
		within, beyond string
	}{
		"leaves":       {chain(filter.MaxLeaves), chain(filter.MaxLeaves + 1)},
		"depth":        {nested(filter.MaxDepth-1, "true"), nested(filter.MaxDepth, "true")},
		"depth of all": {nested(filter.MaxDepth-4, "members.all(m, true)"), nested(filter.MaxDepth-3, "members.all(m, true)")},
		"values":       {listed(filter.MaxValues), listed(filter.MaxValues + 1)},
		"length":       {padded(filter.MaxLength), padded(filter.MaxLength + 1)},
		"terms":        {"true", chain(1000)},
		"parentheses":  {"((true))", strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000)},
		"selectors":    {"true", "individual" + strings.Repeat(".sex", 4000)},
		"100 kB":       {"true", fmt.Sprintf("household.area_code == %q", strings.Repeat("x", 100_000))},
		"members":      {"true", strings.Repeat("a(", 5000) + strings.Repeat(")", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			kept, err := filter.Compile(annona.Standard(), dataset(t, "households"), c.within)
			if err != nil {
				t.Fatalf("within the limit: %v", err)
			}
			if _, err := filter.Compile(annona.Standard(), dataset(t, "households"), filter.Format(kept)); err != nil {
				t.Errorf("written back: %v", err)
			}
			_, err = filter.Compile(annona.Standard(), dataset(t, "households"), c.beyond)
			if annona.KindOf(err) != annona.KindTooLarge || annona.CodeOf(err) != "filter_too_large" {
				t.Errorf("beyond the limit: %v", err)
			}
		})
	}
}
