package exchange_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

// table keeps the cells of the records that it was handed, and of their members.
type table struct {
	shape   *annona.Shape
	rows    [][]string
	members [][][]string
}

func (t *table) Begin(int) error { return nil }
func (t *table) End() error      { return nil }

func (t *table) Page(d *privacy.Disclosed) error {
	t.shape = d.Shape()
	for row := range d.Count() {
		t.rows = append(t.rows, cellsOf(d.Page(), row))
		var members [][]string
		for _, g := range d.Page().Groups {
			first, end := g.Rows(row)
			for inner := first; inner < end; inner++ {
				members = append(members, cellsOf(g.Page, inner))
			}
		}
		t.members = append(t.members, members)
	}
	return nil
}

func cellsOf(p *annona.Page, row int) (cells []string) {
	for i := range p.Columns {
		cells = append(cells, string(p.Cell(i, row)))
	}
	return cells
}

// ask runs an export of what a question asks.
func (r *registry) ask(t *testing.T, q exchange.Question) *table {
	t.Helper()
	e, err := r.Export(t.Context(), r.caller, q, exchange.Form{Format: "json"})
	return run(t, e, err)
}

// follow puts a specification on file and runs an export by it.
func (r *registry) follow(t *testing.T, spec annona.ExportSpec) *table {
	t.Helper()
	spec = complete(spec)
	if _, _, err := r.PutExportSpec(t.Context(), operator, spec); err != nil {
		t.Fatal(err)
	}
	e, _, err := r.ExportBySpec(t.Context(), r.caller, spec.Name, 0)
	return run(t, e, err)
}

func run(t *testing.T, e *exchange.Export, err error) *table {
	t.Helper()
	var to table
	if err == nil {
		_, err = e.Run(t.Context(), []*annona.Shape{e.Shape()}, &to, func() {})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &to
}

func complete(spec annona.ExportSpec) annona.ExportSpec {
	if spec.Name == "" {
		spec.Name = "derived"
	}
	if spec.Dataset == "" {
		spec.Dataset = "households"
	}
	if spec.Fields == nil {
		spec.Fields = []annona.SpecField{{Field: spec.Dataset[:len(spec.Dataset)-1] + "_id", As: "ID"}}
	}
	spec.Agreement, spec.Purpose, spec.Format, spec.AsOf = "program", purpose, "json", "2026-06-30"
	return spec
}

// derivesOnly grants people for derived columns and nothing of them else.
func derivesOnly(a *annona.Agreement) {
	a.APIKey.SpecialFields = true
	a.Datasets["individuals"] = annona.DatasetTerms{
		Fields:     []string{"date_of_birth", "sex", "role", "is_disabled"},
		Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatDerive, "sex": annona.TreatDerive, "role": annona.TreatDerive, "is_disabled": annona.TreatDerive},
	}
	a.Datasets["households"] = annona.DatasetTerms{
		Fields:     []string{"household_id", "area_code", "members", "poverty_score"},
		Treatments: map[string]annona.Treatment{"members": annona.TreatDerive},
	}
}

var threeRules = []annona.SpecRule{
	{As: "children_under_5", Rule: "members.count(m, age_on(m.date_of_birth, as_of) < 5)", Type: annona.RuleCount},
	{As: "female_head", Rule: `head.sex == "female"`, Type: annona.RuleYesNo},
	{As: "has_disabled_member", Rule: "members.exists(m, m.is_disabled)"},
}

// Derived columns say what can be counted in the plain export, under an agreement that lets nothing of
// the members leave. A restricted member counts nowhere.
func TestDerivedColumnsSayWhatTheRecordsSay(t *testing.T) {
	r := newRegistry(t, 2000)
	r.partner(t, func(a *annona.Agreement) {
		a.APIKey.SpecialFields = true
		terms := a.Datasets["individuals"]
		terms.Fields = []string{"is_disabled"}
		a.Datasets["individuals"] = terms
	})
	restrict := annona.Restriction{ID: annona.NewUID(), Subject: 7, Kind: annona.KindRestriction}
	if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutRestriction(t.Context(), restrict) }); err != nil {
		t.Fatal(err)
	}
	plain := r.ask(t, exchange.Question{Dataset: "households", Purpose: purpose, AsOf: "2026-06-30",
		Fields: []string{"household_id", "members.date_of_birth", "members.sex", "members.role", "members.is_disabled"}})
	want := map[string][]string{}
	column := func(code string) int { return plain.shape.Groups[0].Shape.Column(code) }
	for i, row := range plain.rows {
		want[row[0]] = expectedOf(plain.members[i], column)
	}

	r.partner(t, derivesOnly)
	derived := r.follow(t, annona.ExportSpec{Derived: threeRules})
	if names := columnNames(derived.shape); !slices.Equal(names, []string{"ID", "children_under_5", "female_head", "has_disabled_member"}) || len(derived.shape.Groups) > 0 {
		t.Fatalf("the columns are %v", names)
	}
	seen := map[string]int{}
	for _, row := range derived.rows {
		if !slices.Equal(row[1:], want[row[0]]) {
			t.Fatalf("derived %v, the members say %v", row[1:], want[row[0]])
		}
		for i, cell := range row[1:] {
			seen[derived.shape.Columns[i+1].Code+" "+cell]++
		}
	}
	if len(derived.rows) != len(want) || seen["children_under_5 1"] == 0 || seen["female_head true"] == 0 || seen["has_disabled_member true"] == 0 {
		t.Errorf("%d rows of %d; %v", len(derived.rows), len(want), seen)
	}

	last := r.entries(t)
	for _, e := range last[len(last)-2:] {
		if e.Kind != annona.EntryRelease {
			continue
		}
		for _, s := range e.Subjects {
			if s.Noun != "household" || !slices.Contains(s.Fields, "children_under_5(members members.date_of_birth)") {
				t.Errorf("the ledger says of a %s: %v", s.Noun, s.Fields)
			}
		}
	}
}

// expectedOf counts in the members of a household what threeRules derive.
func expectedOf(members [][]string, column func(string) int) []string {
	young, heads, female, disabled := 0, 0, false, false
	for _, m := range members {
		birth, err := annona.ParseDate(m[column("date_of_birth")])
		if err == nil && annona.AgeOn(birth, "2026-06-30") < 5 {
			young++
		}
		if m[column("role")] == "head" {
			heads, female = heads+1, m[column("sex")] == "female"
		}
		disabled = disabled || m[column("is_disabled")] == "true"
	}
	return []string{strconv.Itoa(young), strconv.FormatBool(female && heads == 1), strconv.FormatBool(disabled)}
}

func columnNames(s *annona.Shape) (names []string) {
	for _, f := range s.Columns {
		names = append(names, f.Code)
	}
	return names
}

// What is granted for derived columns alone does not leave, and is neither filtered nor asked for.
func TestDerivableDoesNotLeave(t *testing.T) {
	r := newRegistry(t, 200)
	r.partner(t, derivesOnly)
	for code, q := range map[string]exchange.Question{
		"dataset_not_granted": {Dataset: "individuals", Purpose: purpose},
		"field_not_granted":   {Dataset: "households", Purpose: purpose, Fields: []string{"members.sex"}},
		"filter_not_granted":  {Dataset: "households", Purpose: purpose, Filter: `head.sex == "female"`},
	} {
		if _, err := r.Export(t.Context(), r.caller, q, exchange.Form{}); annona.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	all := r.ask(t, exchange.Question{Dataset: "households", Purpose: purpose})
	if names := columnNames(all.shape); !slices.Equal(names, []string{"household_id", "area_code", "poverty_score"}) || len(all.shape.Groups) > 0 {
		t.Errorf("all that is granted is %v", names)
	}
	e, err := r.Export(t.Context(), r.caller, exchange.Question{Dataset: "households", Purpose: purpose}, exchange.Form{})
	if err != nil || !slices.Contains(e.Withheld(), "members") {
		t.Errorf("members are not named as withheld: %v", err)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	r := newRegistry(t, 50)
	r.partner(t, derivesOnly)
	ages := func(n int) (rules []annona.SpecRule) {
		for i := range n {
			rules = append(rules, annona.SpecRule{As: "a" + strconv.Itoa(i), Rule: "members.count(m, age_on(m.date_of_birth, as_of) < " + strconv.Itoa(5*i+5) + ")"})
		}
		return rules
	}
	one := func(rule string) []annona.SpecRule { return []annona.SpecRule{{As: "x", Rule: rule}} }
	for _, c := range []struct {
		name, code string
		rules      []annona.SpecRule
	}{
		{"a field that is not granted", "rule_not_granted", one(`members.exists(m, m.marital_status == "widowed")`)},
		{"a field of the household that is not granted", "rule_not_granted", one(`household.household_type == "family"`)},
		{"an identifier", "field_not_filterable", one(`members.exists(m, m.full_name == "x")`)},
		{"an equality", "rule_reveals", one(`members.exists(m, m.date_of_birth == "1990-01-01")`)},
		{"an age by itself", "rule_reveals", one("members.exists(m, age_on(m.date_of_birth, as_of) == 36)")},
		{"too many ages", "rule_reveals", ages(5)},
		{"no rule", "filter_malformed", one("")},
		{"a number in the place of a condition", "filter_type", one("1")},
		{"a name that is none", "name_malformed", []annona.SpecRule{{As: "two words", Rule: "members.count(m, true)"}}},
		{"a name of another column", "name_twice", []annona.SpecRule{{As: "ID", Rule: "members.count(m, true)"}}},
		{"a count that is none", "rule_type", []annona.SpecRule{{As: "x", Rule: "members.exists(m, true)", Type: "count"}}},
		{"too many", "spec_fields", make([]annona.SpecRule, 51)},
	} {
		spec := complete(annona.ExportSpec{Derived: c.rules})
		if _, err := r.CheckExportSpec(t.Context(), operator, spec); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		} else if strings.Contains(err.Error(), "1990") {
			t.Errorf("%s: the refusal repeats a constant: %v", c.name, err)
		}
	}
	for _, rules := range [][]annona.SpecRule{ages(4), one("household.poverty_score < 10 && members.count(m, true) > 3"), one("members.count(m, true)")} {
		if _, err := r.CheckExportSpec(t.Context(), operator, complete(annona.ExportSpec{Derived: rules})); err != nil {
			t.Errorf("%v: %v", rules, err)
		}
	}
	r.partner(t, func(a *annona.Agreement) {
		derivesOnly(a)
		a.APIKey.SpecialFields = false
	})
	r.follow(t, annona.ExportSpec{Name: "few", Derived: threeRules[:2]})
	spec := complete(annona.ExportSpec{Name: "special", Derived: threeRules})
	if _, _, err := r.PutExportSpec(t.Context(), operator, spec); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ExportBySpec(t.Context(), r.caller, "special", 0); annona.CodeOf(err) != "rule_not_granted" {
		t.Errorf("a plain key derives from a special field: %v", err)
	}
}

// A rule goes from a record to another one only where the agreement shows which one that is, or grants that for derived
// columns.
func TestWhereARuleReaches(t *testing.T) {
	r := newRegistry(t, 10)
	for name, c := range map[string]struct{ dataset, rule, of, needs string }{
		"members":             {"households", `members.exists(m, m.sex == "female")`, "households", "members"},
		"how many there are":  {"households", "members.count(m, true)", "households", "members"},
		"the head, of whom":   {"households", `head.sex == "female"`, "households", "members"},
		"the head, who it is": {"households", `head.sex == "female"`, "individuals", "role"},
		"the household":       {"individuals", "household.poverty_score < 10", "individuals", "household_id"},
	} {
		for _, granted := range []bool{true, false} {
			fields := map[string][]string{
				"households": {"household_id", "poverty_score", "members"}, "individuals": {"individual_id", "sex", "role", "household_id"},
			}
			if !granted {
				fields[c.of] = slices.DeleteFunc(fields[c.of], func(f string) bool { return f == c.needs })
			}
			r.partner(t, func(a *annona.Agreement) {
				a.Datasets = map[string]annona.DatasetTerms{"households": {Fields: fields["households"]}, "individuals": {Fields: fields["individuals"]}}
			})
			_, err := r.CheckExportSpec(t.Context(), operator, complete(annona.ExportSpec{Dataset: c.dataset, Derived: []annona.SpecRule{{As: "x", Rule: c.rule}}}))
			if granted && err != nil || !granted && annona.CodeOf(err) != "rule_not_granted" {
				t.Errorf("%s, granted %t: %v", name, granted, err)
			}
		}
	}
}

// A person's own derived columns: the age class in place of the date of birth.
func TestDerivedColumnsOfIndividuals(t *testing.T) {
	r := newRegistry(t, 500)
	plain := r.ask(t, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "date_of_birth"}})
	r.partner(t, func(a *annona.Agreement) {
		a.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"individual_id", "date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatDerive}}
	})
	derived := r.follow(t, annona.ExportSpec{Dataset: "individuals", Derived: []annona.SpecRule{{As: "under_5", Rule: "age_on(individual.date_of_birth, as_of) < 5"}}})
	young := 0
	for i, row := range derived.rows {
		birth, err := annona.ParseDate(plain.rows[i][1])
		want := err == nil && annona.AgeOn(birth, "2026-06-30") < 5
		if row[0] != plain.rows[i][0] || row[1] != strconv.FormatBool(want) {
			t.Fatalf("%v, expected %v", row[1], want)
		}
		if want {
			young++
		}
	}
	if len(derived.rows) != 500 || young == 0 {
		t.Errorf("%d rows, %d young", len(derived.rows), young)
	}
}

// What a derived column newly discloses is said.
func TestCompareSpecsNamesDerivedColumns(t *testing.T) {
	before := complete(annona.ExportSpec{Derived: threeRules[:2]})
	after := complete(annona.ExportSpec{Derived: []annona.SpecRule{{As: "children_under_5", Rule: "members.count(m, age_on(m.date_of_birth, as_of) < 6)"}, threeRules[2]}})
	changes := exchange.CompareSpecs(&before, &after)
	var said []string
	for _, c := range changes {
		said = append(said, c.What+" "+c.Field+" "+strconv.FormatBool(c.Discloses))
	}
	if want := []string{"derives children_under_5 true", "derives has_disabled_member true", "removes female_head false"}; !slices.Equal(said, want) {
		t.Errorf("it says %v", said)
	}
}

// An area becomes the one of a level, a date of birth an age class. A treatment that does not fit is
// refused.
func TestTreatmentsOfAreasAndAges(t *testing.T) {
	r := newRegistry(t, 300)
	plain := r.ask(t, exchange.Question{Dataset: "individuals", Purpose: purpose, AsOf: "2026-06-30", Fields: []string{"individual_id", "area_code", "date_of_birth"}})
	fields := []annona.SpecField{
		{Field: "individual_id"}, {Field: "date_of_birth", As: "AGE", Treatment: annona.TreatAge, Band: 10},
		{Field: "area_code", As: "REGION", Treatment: annona.TreatArea, Level: 1},
	}
	treated := r.follow(t, annona.ExportSpec{Dataset: "individuals", Fields: fields})
	if treated.shape.Columns[1].Type != annona.TypeInt {
		t.Errorf("an age is of type %s", treated.shape.Columns[1].Type)
	}
	areas, err := r.Areas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	regions := map[string]bool{}
	for i, row := range treated.rows {
		before, age := plain.rows[i], ""
		birth, area := before[plain.shape.Column("date_of_birth")], before[plain.shape.Column("area_code")]
		if day, err := annona.ParseDate(birth); err == nil {
			age = strconv.Itoa(annona.AgeOn(day, "2026-06-30") / 10 * 10)
		}
		if area == "" && row[2] == "" && row[1] == age {
			continue // somebody without a household
		}
		region, known := areas.Area(row[2])
		if row[1] != age || !known || region.Level != 1 || !areas.Inside(area, row[2]) {
			t.Fatalf("%s becomes %s (expected %s), %s becomes %s", birth, row[1], age, area, row[2])
		}
		regions[row[2]] = true
	}
	if len(regions) < 2 {
		t.Errorf("the regions are %v", regions)
	}
	for _, f := range []annona.SpecField{
		{Field: "date_of_birth", Treatment: annona.TreatAge}, {Field: "date_of_birth", Treatment: annona.TreatAge, Band: -1}, {Field: "date_of_birth", Treatment: annona.TreatArea, Level: 1},
		{Field: "area_code", Treatment: annona.TreatArea}, {Field: "area_code", Treatment: annona.TreatArea, Level: 99}, {Field: "area_code", Treatment: annona.TreatRound, Band: 5},
		{Field: "area_code", Level: 1}, {Field: "date_of_birth", Band: 5}, {Field: "area_code", Treatment: annona.TreatDerive}, {Field: "income_amount", Treatment: annona.TreatRound},
	} {
		spec := complete(annona.ExportSpec{Dataset: "individuals", Fields: []annona.SpecField{f}})
		if _, err := r.CheckExportSpec(t.Context(), operator, spec); annona.CodeOf(err) != "treatment_misplaced" {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
