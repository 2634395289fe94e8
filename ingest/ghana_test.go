package ingest_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/google/go-cmp/cmp"
)

// The survey file is not part of the repository. Every value of it must be found again in the
// records, so that an export can be compared with the input.
func TestGhanaSurvey(t *testing.T) {
	folder := os.Getenv("ANNONA_TESTDATA")
	if folder == "" {
		t.Skip("ANNONA_TESTDATA names no folder with ghana-glss/individuals.csv; the small fixtures cover the same paths")
	}
	path := filepath.Join(folder, "ghana-glss", "individuals.csv")
	if _, err := os.Stat(path); err != nil {
		t.Skip("ANNONA_TESTDATA has no ghana-glss/individuals.csv")
	}
	got, report := readAll(t, ghanaMapping(t), path)

	if report.Rows != 36_970 || report.Individuals != 36_970 || report.Households != 8_700 || report.Rejected != 0 {
		t.Errorf("read %d rows: %d individuals, %d households, %d rejected; want 36970, 36970, 8700, 0",
			report.Rows, report.Individuals, report.Households, report.Rejected)
	}
	wantFlags := map[string]int{
		"date_of_birth_estimated:date_of_birth": 36_970,
		"code_unmapped:nationality":             137,
		"code_unmapped:ethnic_group":            1_574,
		"code_unmapped:religion":                40,
		"code_unmapped:education_level":         64,
	}
	if diff := cmp.Diff(wantFlags, report.Flags); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	wantUnmapped := map[string][]ingest.UnmappedCode{
		"nationality":     {{Code: "other ecowas", Count: 79}, {Code: "other african", Count: 48}, {Code: "other", Count: 10}},
		"ethnic_group":    {{Code: "all other tribes", Count: 1574}},
		"religion":        {{Code: "other", Count: 40}},
		"education_level": {{Code: "other", Count: 64}},
	}
	if diff := cmp.Diff(wantUnmapped, report.Unmapped); diff != "" {
		t.Errorf("unmapped codes (-want +got):\n%s", diff)
	}
	compareGhana(t, path, got)
}

func TestGhanaSample(t *testing.T) {
	path := "../examples/ghana-glss/sample.csv"
	got, report := readAll(t, ghanaMapping(t), path)
	if report.Rows != 12 || report.Individuals != 12 || report.Households != 4 || report.Rejected != 0 || len(report.Unused) != 0 {
		t.Errorf("report: %+v", report)
	}
	compareGhana(t, path, got)
	checkCanonical(t, got)
	first := got.individuals[0]
	want := map[string]string{
		"date_of_birth": "1954-01-01", "date_of_birth_precision": "age_stated", "date_of_birth_as_recorded": "52",
		"sex": "female", "sex_source_code": "female", "nationality": "GH", "nationality_source_code": "ghanaian birth",
		"ethnic_group": "ewe", "ethnic_group_source_code": "ewe", "religion": "methodist", "religion_source_code": "methodist",
		"education_level": "lower_secondary", "education_level_source_code": "bece",
		"occupation": "6", "occupation_source_code": "skilled agricultural and fishery workers",
		"income_amount": "412.5", "income_currency": "GHS", "income_period": "year", "as_of": "2006-07-01",
	}
	if diff := cmp.Diff(want, values(first.Values)); diff != "" {
		t.Errorf("first individual (-want +got):\n%s", diff)
	}
	wantMembership := []annona.Membership{{HouseholdKey: "1", Role: "head", RoleSourceCode: "head"}}
	if diff := cmp.Diff(wantMembership, first.Memberships); diff != "" {
		t.Errorf("membership (-want +got):\n%s", diff)
	}
	if grandchild := values(got.individuals[3].Values); grandchild["occupation"] != "" || grandchild["occupation_nil_reason"] != "not_applicable" {
		t.Errorf("the occupation of a child: %v", grandchild)
	}
}

// compareGhana finds every cell of the file again in what was read.
func compareGhana(t *testing.T, path string, got batches) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	households := map[string]annona.Record{}
	for _, h := range got.households {
		households[h.Key] = h
	}
	place := map[string]int{}
	wrong := 0
	for i, row := range rows[1:] {
		in := map[string]string{}
		for j, column := range rows[0] {
			in[column] = row[j]
		}
		place[in["hhid"]]++
		person := got.individuals[i]
		p, m := values(person.Values), person.Memberships[0]
		h := values(households[m.HouseholdKey].Values)
		out := map[string]string{
			"hhid": m.HouseholdKey, "hsize": h["gh_household_size_reported"], "region": h["area_code_source_code"],
			"clust": h["gh_cluster"], "weight": h["gh_sample_weight"],
			"age": p["date_of_birth_as_recorded"], "sex": p["sex_source_code"], "relate": m.RoleSourceCode,
			"nation": p["nationality_source_code"], "ethnic": p["ethnic_group_source_code"], "religion": p["religion_source_code"],
			"highest_degree": p["education_level_source_code"], "occupation": p["occupation_source_code"], "income": p["income_amount"],
		}
		if want := in["hhid"] + "/" + strconv.Itoa(place[in["hhid"]]); person.Key != want {
			t.Fatalf("row %d has the key of another person", i+2)
		}
		if cmp.Equal(in, out) {
			continue
		}
		if wrong++; wrong < 4 {
			t.Errorf("row %d (-file +record):\n%s", i+2, cmp.Diff(in, out))
		}
	}
	if wrong > 0 || len(got.individuals) != len(rows)-1 {
		t.Errorf("%d of %d rows differ; %d individuals", wrong, len(rows)-1, len(got.individuals))
	}
}

func ghanaMapping(t testing.TB) *ingest.Mapping {
	t.Helper()
	return mappingFile(t, "../examples/ghana-glss/mapping.yaml", "../examples/ghana-glss/dictionary.yaml")
}

// mappingFile reads a mapping under the standard dictionary, extended when a file says so.
func mappingFile(t testing.TB, path string, extensions ...string) *ingest.Mapping {
	t.Helper()
	d := annona.Standard()
	for _, extension := range extensions {
		file, err := os.Open(extension)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		x, err := ingest.ParseDictionary(file)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = d.Extend(x); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := ingest.ParseMapping(file, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// batches is everything that was read.
type batches struct{ households, individuals []annona.Record }

func (b *batches) add(batch ingest.Batch) error {
	b.households = append(b.households, batch.Households...)
	b.individuals = append(b.individuals, batch.Individuals...)
	return nil
}

func readAll(t testing.TB, m *ingest.Mapping, paths ...string) (batches, ingest.Report) {
	t.Helper()
	sources := make([]ingest.Source, len(paths))
	for i, path := range paths {
		sources[i] = ingest.Source{Name: path, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
	}
	var all batches
	report, err := ingest.Read(context.Background(), m, sources, nil, nil, all.add)
	if err != nil {
		t.Fatal(err)
	}
	return all, report
}

func values(list []annona.Value) map[string]string {
	out := map[string]string{}
	for _, v := range list {
		out[v.Field.Code] = v.Text
	}
	return out
}

// groups returns the items of the groups of a record.
func groups(r annona.Record) map[string][]map[string]string {
	out := map[string][]map[string]string{}
	for _, g := range r.Groups {
		for _, item := range g.Items {
			out[g.Field.Code] = append(out[g.Field.Code], values(item))
		}
	}
	return out
}

// checkCanonical holds what every consumer of records relies on: each field once, each value in
// canonical text and each code in its list.
func checkCanonical(t testing.TB, got batches) {
	t.Helper()
	check := func(list []annona.Value) {
		seen := map[string]bool{}
		for _, v := range list {
			text, err := v.Field.Canonical(v.Text)
			if !v.Field.Many && (err != nil || text != v.Text) || v.Text == "" || seen[v.Field.Code] {
				t.Errorf("%s.%s is not canonical, empty or twice", v.Field.Dataset, v.Field.Code)
			}
			if list, ok := annona.Standard().CodeList(v.Field.CodeList); ok && v.Field.Type == annona.TypeCode && !v.Field.Many && !list.Has(v.Text) {
				t.Errorf("%s.%s holds a code that its list %s lacks", v.Field.Dataset, v.Field.Code, v.Field.CodeList)
			}
			seen[v.Field.Code] = true
		}
	}
	for _, records := range [][]annona.Record{got.households, got.individuals} {
		for _, r := range records {
			check(r.Values)
			for _, g := range r.Groups {
				for _, item := range g.Items {
					check(item)
				}
			}
		}
	}
}

func BenchmarkGhanaShape(b *testing.B) {
	m := ghanaMapping(b)
	sample, err := os.ReadFile("../examples/ghana-glss/sample.csv")
	if err != nil {
		b.Fatal(err)
	}
	header, lines := splitHeader(sample)
	const copies = 5000
	large := repeatedHouseholds(header, lines, copies)
	source := ingest.Source{Name: "sample", Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(large)), nil }}
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		report, err := ingest.Read(context.Background(), m, []ingest.Source{source}, nil, nil, func(ingest.Batch) error { return nil })
		if err != nil || report.Rejected > 0 {
			b.Fatal(report, err)
		}
		rows += report.Rows
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
