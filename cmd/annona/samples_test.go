package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// TestSamplesHaveTheShapeOfTheSpecification invents rows of individuals and households, twice.
func TestSamplesHaveTheShapeOfTheSpecification(t *testing.T) {
	s := &samples{dictionary: annona.Standard}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	under := annona.Agreement{
		Name: "cash", Realm: "cash", Floor: "oauth", Status: "suspended", Partner: annona.Partner{Name: "Cash", Country: "XA"}, ValidFrom: "2020-01-01", ValidUntil: "2020-12-31",
		Purposes: []annona.PurposeTerms{{Code: "assessment", Basis: annona.BasisConsent}}, Areas: []string{"GH01"},
		Datasets: map[string]annona.DatasetTerms{
			"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal}, Condition: "individual.sex == 'female'", Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}},
			"households":  {Sensitivities: []annona.Sensitivity{annona.Personal}},
		},
	}
	spec := annona.ExportSpec{
		Name: "monthly", Agreement: "cash", Purpose: "assessment", Dataset: "individuals", Format: "parquet", Mode: annona.SpecDelta, Filter: "individual.sex == 'male'",
		Fields: []annona.SpecField{{Field: "individual_id", As: "pid"}, {Field: "date_of_birth", As: "born"}, {Field: "sex"}},
	}
	for range 2 {
		rows, err := s.Sample(t.Context(), spec, under, 5)
		if err != nil || len(rows) != 5 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			var columns map[string]string
			if err := json.Unmarshal(row, &columns); err != nil || columns["change"] != "upsert" || columns["pid"] == "" || columns["born"] != "" && !strings.HasSuffix(columns["born"], "-01-01") {
				t.Errorf("%s: %v", row, err)
			}
		}
		spec.Fields[2].As = "gender"
	}
	spec.Dataset, spec.Filter, spec.Mode = "households", "", ""
	spec.Fields = []annona.SpecField{{Field: "household_id"}, {Field: "members.sex"}}
	if rows, err := s.Sample(t.Context(), spec, under, 5); err != nil || len(rows) != 5 || !strings.Contains(string(rows[0]), `"members":[{"sex":"`) {
		t.Errorf("%s, %v", rows, err)
	}
}
