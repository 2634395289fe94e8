package synthetic_test

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
	"pgregory.net/rapid"
)

// country draws a whole country.
func country(t testing.TB, c synthetic.Country) []synthetic.Household {
	t.Helper()
	r, err := synthetic.New(annona.Standard(), c)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(r.Households())
}

// value returns a value of a record, empty when it has none.
func value(r annona.Record, code string) string {
	for _, v := range r.Values {
		if v.Field.Code == code {
			return v.Text
		}
	}
	return ""
}

func items(r annona.Record, group string) [][]annona.Value {
	for _, g := range r.Groups {
		if g.Field.Code == group {
			return g.Items
		}
	}
	return nil
}

func item(values []annona.Value, code string) string {
	return value(annona.Record{Values: values}, code)
}

func born(r annona.Record) annona.Date { return annona.Date(value(r, "date_of_birth")) }

func age(r annona.Record) int { return annona.AgeOn(born(r), annona.Date(value(r, "as_of"))) }

func flagged(r annona.Record, code string) bool {
	return slices.ContainsFunc(items(r, "quality_flags"), func(v []annona.Value) bool { return item(v, "code") == code })
}

// Whatever the seed, every household keeps the laws.
func TestHouseholdsKeepTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, err := synthetic.New(annona.Standard(), synthetic.Country{
			Individuals: 200,
			Seed:        rapid.Uint64().Draw(t, "seed"),
			AsOf:        annona.Date(rapid.SampledFrom([]string{"", "2012-02-29", "2050-12-31"}).Draw(t, "as_of")),
			Duplicates:  rapid.SampledFrom([]float64{-1, 0, 0.2}).Draw(t, "duplicates"),
		})
		if err != nil {
			t.Fatal(err)
		}
		for h := range r.Households() {
			for _, broken := range lawsBroken(h) {
				t.Error(broken)
			}
		}
	})
}

func TestTwentyThousandPeopleKeepTheLaws(t *testing.T) {
	for _, h := range country(t, synthetic.Country{Individuals: 20_000, Seed: 7}) {
		for _, broken := range lawsBroken(h) {
			t.Error(broken)
		}
	}
}

// lawsBroken names what is wrong with a household.
func lawsBroken(h synthetic.Household) (broken []string) {
	check := func(ok bool, key, law string) {
		if !ok {
			broken = append(broken, key+": "+law)
		}
	}
	people := map[string]annona.Record{}
	for _, m := range h.Members {
		people[m.Key] = m
	}
	checkHeads(h, check)
	checkRecord(h.Record, check)
	checkHousehold(h, check)
	for _, m := range h.Members {
		checkRecord(m, check)
		checkAges(m, check)
		checkDisability(m, check)
		checkIdentifiers(m, check)
		checkKin(m, people, check)
	}
	return broken
}

type checker func(ok bool, key, law string)

// One head, or none and the flag that says so.
func checkHeads(h synthetic.Household, check checker) {
	heads := 0
	for _, m := range h.Members {
		for _, s := range m.Memberships {
			check(s.HouseholdKey == h.Record.Key, m.Key, "a member belongs to the household that it stands in")
			if s.Role == "head" && s.EndDate == "" {
				heads++
			}
		}
		check(len(m.Memberships) == 1, m.Key, "a member has one membership")
	}
	want := 1
	if flagged(h.Record, "no_head") {
		want = 0
	}
	check(heads == want, h.Record.Key, "a household has one head, or none and the flag no_head")
}

// Every value is canonical, of a field that a source may fill, and a code of its list.
func checkRecord(r annona.Record, check checker) {
	seen := map[string]bool{}
	checkValues := func(values []annona.Value) {
		for _, v := range values {
			for one := range oneByOne(v) {
				text, err := v.Field.Canonical(one)
				check(err == nil && text == one && text != "", r.Key, v.Field.Code+" is canonical")
			}
			check(!v.Field.Derived, r.Key, v.Field.Code+" is not derived")
			check(codesListed(v), r.Key, v.Field.Code+" is in its code list")
		}
	}
	for _, v := range r.Values {
		check(!seen[v.Field.Code], r.Key, v.Field.Code+" stands once")
		seen[v.Field.Code] = true
	}
	for code := range seen {
		check(!strings.HasSuffix(code, "_nil_reason") || !seen[strings.TrimSuffix(code, "_nil_reason")], r.Key, code+" stands only where the value is missing")
	}
	checkValues(r.Values)
	for _, g := range r.Groups {
		for _, values := range g.Items {
			checkValues(values)
		}
	}
}

// oneByOne yields the values of a field with many values, or the one.
func oneByOne(v annona.Value) iter.Seq[string] {
	if !v.Field.Many {
		return slices.Values([]string{v.Text})
	}
	return strings.SplitSeq(v.Text, string(rune(annona.ListSeparator)))
}

func codesListed(v annona.Value) bool {
	if v.Field.CodeList == "" {
		return true
	}
	list, ok := annona.Standard().CodeList(v.Field.CodeList)
	if !ok {
		return false
	}
	for code := range oneByOne(v) {
		if !list.Has(code) {
			return false
		}
	}
	return true
}

func checkHousehold(h synthetic.Household, check checker) {
	expecting := 0
	for _, m := range h.Members {
		if s := value(m, "pregnancy_status"); s == "pregnant" || s == "postpartum" {
			expecting++
		}
	}
	if count := value(h.Record, "pregnant_or_lactating_count"); count != "" {
		check(count == string(rune('0'+expecting)), h.Record.Key, "the count of pregnant and nursing members is that of the members")
	}
	if score := value(h.Record, "poverty_score"); score != "" {
		n, err := annona.ParseDecimal(score, 2)
		check(err == nil && n >= 0 && n <= 10000, h.Record.Key, "a score is from 0 to 100 with two decimals")
		check(value(h.Record, "poverty_band") != "" && value(h.Record, "score_date") != "", h.Record.Key, "a score has a band and a date")
	}
	check(value(h.Record, "formation_date") <= value(h.Record, "as_of"), h.Record.Key, "a household is formed before it is surveyed")
	check(value(h.Record, "registration_date") <= value(h.Record, "as_of"), h.Record.Key, "a household is registered when it is surveyed, or before")
}

// What a person is and does fits the age.
func checkAges(m annona.Record, check checker) {
	years := age(m)
	check(years >= 0 && years <= 105, m.Key, "an age is from 0 to 105")
	check(string(born(m)) <= value(m, "registration_date"), m.Key, "nobody is registered before birth")
	status := value(m, "marital_status")
	check(years >= 15 || status == "" || status == "never_married", m.Key, "nobody marries below 15")
	check(years >= 12 || status == "", m.Key, "children below 12 have no marital status")
	check(years >= 15 || value(m, "employment_status") == "", m.Key, "nobody below 15 is asked about work")
	work := value(m, "employment_status")
	check(work == "employed" || work == "" || value(m, "occupation") == "", m.Key, "only workers have an occupation")
	check(years < 55 && value(m, "sex") != "male" || !strings.HasPrefix(value(m, "pregnancy_status"), "p"), m.Key, "only women of an age to have children are pregnant")
	died := value(m, "date_of_death")
	check((value(m, "vital_status") == "deceased") == (died != ""), m.Key, "the dead and only they have a date of death")
	check(died == "" || died > string(born(m)), m.Key, "nobody dies before birth")
	checkPrecision(m, check)
}

// A date of birth that is not known to the day is the middle of its span, and flagged.
func checkPrecision(m annona.Record, check checker) {
	date, precision := string(born(m)), value(m, "date_of_birth_precision")
	check(flagged(m, "date_of_birth_estimated") == (precision != "day"), m.Key, "an estimated date of birth and no other is flagged")
	switch precision {
	case "month":
		check(date[8:] == "15", m.Key, "a month stands as its 15th")
	case "year":
		check(date[5:] == "07-01", m.Key, "a year stands as July 1")
	case "age_stated":
		asOf := annona.Date(value(m, "as_of"))
		check(annona.AgeOn(born(m), asOf) == years(value(m, "date_of_birth_as_recorded")), m.Key, "a stated age stays the age")
		half := asOf.AddDays(-183 - 4)
		since := annona.AgeOn(born(m), half)
		check(since < years(value(m, "date_of_birth_as_recorded")), m.Key, "a stated age is six months past the birthday")
	default:
		check(precision == "day", m.Key, "every date of birth says how well it is known")
	}
}

func years(text string) int {
	n, _ := annona.ParseDecimal(text, 0)
	return int(n)
}

// The rule of the data model: from 5 years on, at least one domain with a lot of difficulty.
func checkDisability(m annona.Record, check checker) {
	answers := items(m, "functioning")
	want := ""
	if len(answers) > 0 {
		want = "false"
		check(len(answers) == 6 && age(m) >= 5, m.Key, "all six questions are put, from the age of 5")
	}
	for _, a := range answers {
		if s := item(a, "severity"); s == "a_lot_of_difficulty" || s == "cannot_do" {
			want = "true"
		}
	}
	check(value(m, "is_disabled") == want, m.Key, "is_disabled follows from the answers")
}

func checkIdentifiers(m annona.Record, check checker) {
	for _, id := range items(m, "identifiers") {
		number := item(id, "value")
		if item(id, "scheme") == "national_id_number" {
			check(len(number) == 12 && strings.Trim(number, "0123456789") == "", m.Key, "an identity number has 12 digits")
			check(luhn(number) != flagged(m, "id_format_invalid"), m.Key, "a wrong check digit and no other is flagged")
		}
	}
}

// luhn checks a number as ISO/IEC 7812-1 says: from the right, every second digit doubled.
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
		}
		sum += digit/10 + digit%10
	}
	return sum%10 == 0
}

// Parents are old enough, spouses mutual and not alone.
func checkKin(m annona.Record, people map[string]annona.Record, check checker) {
	for _, to := range m.Relationships {
		other, ok := people[to.ToKey]
		if !ok {
			check(false, m.Key, "relatives are on file")
			continue
		}
		switch to.Type {
		case "parent":
			gap := annona.AgeOn(born(m), born(other))
			exact := value(m, "date_of_birth_precision") == "day" && value(other, "date_of_birth_precision") == "day"
			check(gap >= 15 || !exact, m.Key, "a parent is at least 15 years older than the child")
			check(gap >= 12 && gap <= 65, m.Key, "a parent is 12 to 65 years older than the child, not "+strconv.Itoa(gap))
			check(value(m, "sex") != "female" || gap <= 47, m.Key, "a mother is at most 47 years older than the child")
		case "guardian":
			check(born(m) < born(other), m.Key, "a guardian is older than the ward")
		case "spouse":
			mutual := slices.ContainsFunc(other.Relationships, func(r annona.Relationship) bool { return r.Type == "spouse" && r.ToKey == m.Key })
			check(mutual, m.Key, "a spouse has a spouse")
			check(value(m, "marital_status") != "never_married", m.Key, "a spouse is not single")
		}
		check((to.EndDate == "") == (to.EndReason == ""), m.Key, "what has ended has a reason")
	}
}
