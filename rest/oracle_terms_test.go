package rest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
	"github.com/annona-exchange/annona/policy"
)

const lawPurpose = "law-purpose"

// lawTerms is an agreement and what it grants to an API key in its role.
type lawTerms struct {
	agreement annona.Agreement
	policy    annona.Policy
	role      string
	grant     *annona.Grant
	named     []*annona.Field // by the agreement's conditions
	focus     focus
}

// drawTerms draws an agreement: classes, single fields, exceptions, treatments, areas, row
// conditions, basis and caps.
func drawTerms(rt *rapid.T) lawTerms {
	d := annona.Standard()
	a := annona.Agreement{
		Name: "law", Partner: annona.Partner{Name: "law-partner", Country: "XA"}, Realm: "law", Floor: "api_key",
		Purposes: []annona.PurposeTerms{{Code: lawPurpose, Basis: even([]annona.Basis{
			annona.BasisPublicInterest, annona.BasisPublicInterest, annona.BasisConsent}).Draw(rt, "basis")}},
		Areas:     even([][]string{nil, nil, nil, nil, {"XA-1"}, {"XA-2", "XA-1-1"}}).Draw(rt, "areas"),
		ValidFrom: "2000-01-01", ValidUntil: "2099-12-31", Status: "active",
		RowCeiling: even([]int64{0, 0, 0, 3}).Draw(rt, "ceiling"),
		Datasets:   map[string]annona.DatasetTerms{},
		NameSearch: evenInt(0, 9).Draw(rt, "no names") > 0,
	}
	if rapid.Bool().Draw(rt, "special") {
		a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "the law"}
	}
	t := lawTerms{agreement: a, focus: even(foci).Draw(rt, "focus")}
	wide := t.focus.changes != nil || rapid.Bool().Draw(rt, "wide")
	for s := range d.Datasets() {
		a.Datasets[s.Name] = drawDatasetTerms(rt, s, wide, t.focus.withheld[s.Name])
	}
	for _, name := range []string{"individuals", "households"} {
		t.drawCondition(rt, name)
	}
	t.policy = policy.Shipped()
	if rapid.Bool().Draw(rt, "by a role") {
		t.moveToRole()
	}
	compiled, err := policy.Compile(&t.agreement, d)
	if err != nil {
		rt.Fatal(err)
	}
	roles, err := policy.CompilePolicy(&t.policy, d)
	if err != nil {
		rt.Fatal(err)
	}
	t.grant, err = policy.Decide(compiled, roles, policy.Request{
		Caller: annona.Caller{Strength: annona.StrengthAPIKey}, Role: t.role, Verb: annona.VerbSearch, Dataset: "individuals", Purpose: lawPurpose, Today: lawToday,
	})
	if err != nil {
		rt.Fatal(err)
	}
	return t
}

// moveToRole lets the agreement grant more, and a role say what it said.
func (t *lawTerms) moveToRole() {
	t.role = "law-role"
	t.policy.Roles = append(t.policy.Roles, annona.Role{Name: t.role, Rules: []annona.RoleRule{{Name: "law", Datasets: t.agreement.Datasets}}})
	wider := map[string]annona.DatasetTerms{}
	for name, terms := range t.agreement.Datasets {
		terms.Sensitivities = []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}
		terms.Except, terms.Treatments, terms.Bands, terms.Condition = nil, nil, nil, ""
		wider[name] = terms
	}
	t.agreement.Datasets = wider
}

// drawDatasetTerms grants whole classes but for some fields, or a few fields by name. Every
// agreement grants the ids, so that each dataset is granted.
func drawDatasetTerms(rt *rapid.T, s *annona.Dataset, wide bool, withheld []string) (terms annona.DatasetTerms) {
	all := fieldCodes(s)
	pick := func(most int, label string) (names []string) {
		names = rapid.SliceOfNDistinct(even(all), 0, min(most, len(all)), rapid.ID[string]).Draw(rt, label)
		return slices.DeleteFunc(names, func(name string) bool { return name == s.Key || name == "last_updated" })
	}
	if wide {
		terms.Sensitivities = []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}
		terms.Except = slices.Concat(pick(len(all)/12, "except"), withheld)
	}
	terms.Fields = pick(10, "fields")
	if s.Key != "" {
		terms.Fields = append(terms.Fields, s.Key)
	}
	terms.Treatments, terms.Bands = map[string]annona.Treatment{}, map[string]int64{}
	treat := func(code string, treatments ...annona.Treatment) {
		if _, ok := s.Field(code); ok {
			terms.Treatments[code] = even(append(treatments, annona.TreatPass)).Draw(rt, code+" treatment")
			if terms.Treatments[code] == annona.TreatBand {
				terms.Bands[code] = 5
			}
		}
	}
	treat("date_of_birth", annona.TreatYear, annona.TreatMonth)
	treat("poverty_score", annona.TreatBand)
	treat("full_name", annona.TreatMask, annona.TreatPseudonym)
	if s.Name == "identifiers" {
		treat("value", annona.TreatMask, annona.TreatPass, annona.TreatPass, annona.TreatPass, annona.TreatPass)
	}
	if len(terms.Sensitivities)+len(terms.Fields) == 0 {
		return annona.DatasetTerms{} // nothing is granted, so nothing is treated
	}
	return terms
}

func fieldCodes(s *annona.Dataset) (codes []string) {
	for f := range s.Columns() {
		codes = append(codes, f.Code)
	}
	return codes
}

// String says what the agreement grants, shortly.
func (t lawTerms) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "role %q, ", t.role)
	fmt.Fprintf(&b, "basis %s, areas %v, ceiling %d", t.agreement.Purposes[0].Basis, t.agreement.Areas, t.grant.RowCeiling)
	said := t.agreement.Datasets
	if t.role != "" {
		said = t.policy.Roles[len(t.policy.Roles)-1].Rules[0].Datasets
	}
	for name, terms := range said {
		fmt.Fprintf(&b, "\n  %s: %v but %v and %v, treated %v, where %s", name, terms.Sensitivities, terms.Except, terms.Fields, terms.Treatments, terms.Condition)
	}
	return b.String()
}

// drawCondition draws a row condition. One on individuals does not count members: who is
// counted there decides about others, whoever may see them.
func (t *lawTerms) drawCondition(rt *rapid.T, name string) {
	d := annona.Standard()
	dataset, _ := d.Dataset(name)
	terms := t.agreement.Datasets[name]
	var c annona.Condition
	var err error
	switch texts := t.focus.conditions[name]; {
	case texts != nil:
		c, err = filter.Compile(d, dataset, even(texts).Draw(rt, "condition on "+name))
	case evenInt(0, 4).Draw(rt, "any condition on "+name) == 0:
		c = filtertest.Condition(d, dataset).Draw(rt, "condition on "+name)
	default:
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	var named []*annona.Field
	for p := range filter.Paths(c) {
		if p.Field.Sensitivity == annona.Special || name == "individuals" && p.Field.Code == "member_count" {
			return
		}
		named = append(named, p.Field)
	}
	t.named = append(t.named, named...)
	terms.Condition = filter.Format(c)
	t.agreement.Datasets[name] = terms
}

// grants reports whether the agreement grants a column, whatever it makes of it.
func (t *lawTerms) grants(dataset, column string) bool {
	return slices.ContainsFunc(t.grant.Fields[dataset], func(g annona.FieldGrant) bool { return g.Field.Code == column })
}

// names reports whether a condition of the agreement names a field.
func (t *lawTerms) names(dataset, column string) bool {
	return slices.ContainsFunc(t.named, func(f *annona.Field) bool { return f.Dataset == dataset && f.Code == column })
}

// specs are export specifications of all that the agreement grants of people and households, under
// other names.
func (t lawTerms) specs() []annona.ExportSpec {
	var specs []annona.ExportSpec
	for dataset, format := range map[string]string{"individuals": "csv", "households": "json"} {
		spec := annona.ExportSpec{
			Name: "law-" + dataset, Version: 1, Agreement: "law", Purpose: lawPurpose, Dataset: dataset, Format: format, PutAt: lawToday.Time(),
			Fields: t.specFields(dataset, ""),
		}
		if dataset == "households" && t.grants(dataset, "members") {
			spec.Fields = append(spec.Fields, t.specFields("individuals", "members.")...)
			spec.Derived = []annona.SpecRule{{As: "D_members", Rule: "members.count(m, true)"}}
		}
		if len(spec.Fields) > 0 {
			specs = append(specs, spec)
		}
	}
	return specs
}

func (t lawTerms) specFields(dataset, prefix string) []annona.SpecField {
	s, _ := annona.Standard().Dataset(dataset)
	var fields []annona.SpecField
	for f := range s.Columns() {
		if f.Type != annona.TypeGroup && t.grants(dataset, f.Code) {
			fields = append(fields, annona.SpecField{Field: prefix + f.Code, As: "X_" + f.Code})
		}
	}
	return fields
}
