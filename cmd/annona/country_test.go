package main

import "testing"

// TestCountry exports the synthetic country, which has every group and kind of value, in all
// forms, and holds them to each other and to the published schemas.
func TestCountry(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	bodies := map[string][]byte{}
	for _, dataset := range []string{"individuals", "households"} {
		for _, format := range []string{"csv", "xml", "json", "ndjson"} {
			bodies[dataset+"."+format] = s.export(dataset, about(eligibility, "format", format))
		}
	}
	people, members, groups := map[string]item{}, 0, map[string]int{}
	inAllForms(t, "individuals", bodies, func(_ int, r item) {
		people[r.values["individual_id"]] = r
		for name, items := range r.groups {
			groups[name] += len(items)
		}
	})
	households := inAllForms(t, "households", bodies, func(_ int, h item) {
		for _, m := range h.groups["members"] {
			members++
			memberIsIndividual(t, m, people[m.values["individual_id"]])
		}
	})
	if c := country(); len(people) != c.report.Individuals || households != c.report.Households {
		t.Errorf("%d individuals, %d households; imported were %+v", len(people), households, c.report)
	}
	for _, name := range []string{"identifiers", "other_names", "memberships", "relationships", "functioning", "quality_flags"} {
		if groups[name] == 0 {
			t.Errorf("nobody has %s: the country does not cover what this test is for", name)
		}
	}
	if members == 0 {
		t.Error("no household has members")
	}

	nested := records(t, "json", "individuals", bodies["individuals.json"])
	files := linked(t, "individuals", unzipped(t, s.export("individuals", about(eligibility, "format", "csv", "layout", "linked"))))
	sideBySide(t, "individuals, json and linked csv", nested, files)
	for _, dataset := range []string{"individuals", "households"} {
		validateXSD(t, s.public(t, "/v1/schemas/"+dataset+".xsd", nil), bodies[dataset+".xml"])
	}
	validateJSON(t, s.public(t, "/v1/schemas/households.schema.json", nil), bodies["households.json"]) // individuals are in it
}

// memberIsIndividual holds a member of a household to the same values as the individual. Only
// the memberships are left to the household.
func memberIsIndividual(t *testing.T, m, individual item) {
	t.Helper()
	delete(individual.groups, "memberships")
	if !equal(m, individual) {
		t.Fatalf("a member and the individual differ in %v", differing(m, individual))
	}
}
