package rest

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// smallWorld has a woman and her child in h0, a couple in h1, and nobody in h2.
func smallWorld() *world {
	w := &world{homes: []*home{
		{key: "h0", values: map[string]string{"area_code": "XA-1", "poverty_score": "5", "registration_date": "2020-01-01"}, flags: []flag{{"no_head", ""}}},
		{key: "h1", values: map[string]string{"area_code": "XA-2", "poverty_score": "50"}},
		{key: "h2", values: map[string]string{"area_code": "XA-1-1", "poverty_score": "7"}},
	}}
	w.people = []*person{
		{key: "p0", values: map[string]string{"sex": "female", "date_of_birth": "1985-04-12", "full_name": "One"}, identifiers: []card{{"national_id_number", "A-1", ""}}},
		{key: "p1", values: map[string]string{"sex": "female", "date_of_birth": "2006-03-02", "full_name": "Two"}},
		{key: "p2", values: map[string]string{"sex": "male", "date_of_birth": "1960-01-01", "full_name": "Three"}},
		{key: "p3", values: map[string]string{"sex": "female", "date_of_birth": "1961-01-01", "full_name": "Four"}},
	}
	w.person("p0").relationships = []annona.Relationship{{ToKey: "p1", Type: "parent"}}
	w.join("p0", "h0").Role = "head"
	w.join("p1", "h0").Role = "child"
	w.join("p2", "h1").Role = "head"
	w.join("p3", "h1").Role = "spouse"
	w.person("p2").memberships = append(w.person("p2").memberships, annona.Membership{HouseholdKey: "h0", NotPrimary: true, StartDate: "2020-01-01"})
	return w
}

// put adds somebody.
func (w *world) put(key, household, role string) *person {
	w.people = append([]*person{{key: key, values: map[string]string{"sex": "male"}, consented: true}}, w.people...)
	w.join(key, household).Role = role
	return w.people[0]
}

func (w *world) person(key string) *person {
	return w.people[slices.IndexFunc(w.people, func(p *person) bool { return p.key == key })]
}

// join makes somebody a member.
func (w *world) join(key, household string) *annona.Membership {
	p := w.person(key)
	p.memberships = append(p.memberships, annona.Membership{HouseholdKey: household, StartDate: "2020-01-01"})
	return &p.memberships[len(p.memberships)-1]
}

// agree returns terms that grant everything but special fields, changed by the case.
func (s secret) agree(t *testing.T) lawTerms {
	a := annona.Agreement{
		Name: "law", Partner: annona.Partner{Name: "law-partner", Country: "XA"}, Realm: "law", Floor: "api_key", Status: "active",
		Purposes:  []annona.PurposeTerms{{Code: lawPurpose, Basis: annona.BasisPublicInterest}},
		ValidFrom: "2000-01-01", ValidUntil: "2099-12-31", Datasets: map[string]annona.DatasetTerms{},
		NameSearch: true,
	}
	for d := range annona.Standard().Datasets() {
		a.Datasets[d.Name] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}}
	}
	if s.terms != nil {
		s.terms(&a)
	}
	compiled, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	shipped := policy.Shipped()
	roles, err := policy.CompilePolicy(&shipped, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	grant, err := policy.Decide(compiled, roles, policy.Request{Caller: annona.Caller{Strength: annona.StrengthAPIKey}, Dataset: "individuals", Purpose: lawPurpose, Today: lawToday})
	if err != nil {
		t.Fatal(err)
	}
	return lawTerms{agreement: a, grant: grant}
}

func except(dataset string, names ...string) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		terms := a.Datasets[dataset]
		terms.Except = append(terms.Except, names...)
		a.Datasets[dataset] = terms
	}
}

func treated(dataset, field string, by annona.Treatment) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		terms := a.Datasets[dataset]
		if terms.Treatments == nil {
			terms.Treatments, terms.Bands = map[string]annona.Treatment{}, map[string]int64{}
		}
		terms.Treatments[field] = by
		if by == annona.TreatBand {
			terms.Bands[field] = 10
		}
		a.Datasets[dataset] = terms
	}
}

func onPeople(condition string) func(*annona.Agreement)     { return where("individuals", condition) }
func onHouseholds(condition string) func(*annona.Agreement) { return where("households", condition) }

func where(dataset, condition string) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		terms := a.Datasets[dataset]
		terms.Condition = condition
		a.Datasets[dataset] = terms
	}
}

func both(all ...func(*annona.Agreement)) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		for _, change := range all {
			change(a)
		}
	}
}
