package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const exampleSpec = "../../examples/export-specs/cash-transfer.yaml"

// An export by a specification has the recipient's columns, names, codes and no more than the plain
// export of the same records, in every format.
func TestExportBySpecification(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	if out := must(t, "export-spec", "put", "--data", data, exampleSpec); !strings.HasPrefix(out, "Version 1 ") {
		t.Fatalf("put: %s", out)
	}
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	a := s.get("/v1/export-specs/cash-transfer/export", nil)
	if a.status != http.StatusOK || a.err != nil || a.header.Get("Annona-Schema") != "cash-transfer@1" {
		t.Fatalf("%d %s %v %v", a.status, a.code(), a.header, a.err)
	}
	if name := a.header.Get("Content-Disposition"); !strings.Contains(name, "cash-transfer-2") {
		t.Errorf("the file is called %s", name)
	}
	got, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if header := strings.Join(got[0], " "); header != "HH_ID DISTRICT HH_TYPE PMT_CLASS member_ID member_NAME member_SEX member_YEAR_OF_BIRTH" {
		t.Errorf("the columns are %s", header)
	}
	if want := expectedTransfer(t, s); !slices.EqualFunc(got[1:], want, slices.Equal) || len(want) < 10 {
		t.Errorf("%d rows, expected %d: the first are\n%v\n%v", len(got)-1, len(want), got[1], want[0])
	}

	for format, holds := range map[string]string{"json": `"HH_ID":"`, "ndjson": `"members":[{"ID":"`, "xml": "<YEAR_OF_BIRTH>", "jsonld": `"HH_ID":"@id"`, "xlsx": "PK", "parquet": "PK"} {
		file := specFile(t, func(text string) string {
			text = strings.Replace(text, "name: cash-transfer", "name: in-"+format, 1)
			return strings.Replace(strings.Replace(text, "format: csv", "format: "+format, 1), "layout: flat\n", "", 1)
		})
		must(t, "export-spec", "put", "--data", data, file)
		a := s.get("/v1/export-specs/in-"+format+"/export", nil)
		if a.status != http.StatusOK || a.err != nil || !strings.Contains(string(a.body), holds) {
			t.Errorf("%s: %d %s %.300s", format, a.status, a.code(), a.body)
		}
	}
	if out := must(t, "ledger", "show", "--data", data); !strings.Contains(out, "cash-transfer@1") {
		t.Error("the ledger does not name the specification")
	}
}

// Derived columns are columns as any other, in every format.
func TestDerivedColumnsInEveryFormat(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	for format, holds := range map[string]string{
		"csv": "HH_ID,DISTRICT,SCHOOL_CHILDREN,HAS_YOUNG_CHILD,FEMALE_HEAD\r\n", "json": `"HAS_YOUNG_CHILD":true`, "ndjson": `"SCHOOL_CHILDREN":2`,
		"xml": "<FEMALE_HEAD>true<", "jsonld": "households.derived.SCHOOL_CHILDREN", "xlsx": "PK", "parquet": "FEMALE_HEAD",
	} {
		example, err := os.ReadFile("../../examples/export-specs/school-feeding.yaml")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "spec.yaml")
		writeFile(t, file, []byte(strings.NewReplacer("name: school-feeding", "name: in-"+format, "format: csv\nlayout: flat", layoutOf(format)).Replace(string(example))))
		must(t, "export-spec", "put", "--data", data, file)
		a := s.get("/v1/export-specs/in-"+format+"/export", nil)
		if a.status != http.StatusOK || a.err != nil || !strings.Contains(string(a.body), holds) {
			t.Errorf("%s: %d %s %.300s", format, a.status, a.code(), a.body)
		}
	}
}

func layoutOf(format string) string {
	if format == "csv" {
		return "format: csv\nlayout: flat"
	}
	return "format: " + format
}

// expectedTransfer makes the rows of the example out of the plain export.
func expectedTransfer(t *testing.T, s *server) [][]string {
	sexes := map[string]string{"male": "1", "female": "2", "other": "3", "unknown": "9", "": ""}
	types := map[string]string{"household": "H", "family": "F", "other": "O", "": ""}
	var rows [][]string
	body := s.export("households", about(eligibility, "format", "ndjson",
		"filter", "household.poverty_score < 40 && members.exists(m, age_on(m.date_of_birth, as_of) < 18)"))
	for line := range strings.Lines(string(body)) {
		var h struct {
			ID    string `json:"household_id"`
			Area  string `json:"area_code"`
			Type  string `json:"household_type"`
			Score string `json:"poverty_score"`

			Members []struct {
				ID    string `json:"individual_id"`
				Name  string `json:"full_name"`
				Sex   string `json:"sex"`
				Birth string `json:"date_of_birth"`
			}
		}
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		var score float64
		if _, err := fmt.Sscan(h.Score, &score); err != nil {
			t.Fatal(err)
		}
		for _, m := range h.Members {
			birth := m.Birth
			if birth != "" {
				birth = birth[:4] + "-01-01"
			}
			rows = append(rows, []string{h.ID, h.Area, types[h.Type], fmt.Sprint(int(score) / 10 * 10), m.ID, m.Name, sexes[m.Sex], birth})
		}
	}
	return rows
}

// specFile writes the example with a change.
func specFile(t *testing.T, change func(string) string) string {
	t.Helper()
	example, err := os.ReadFile(exampleSpec)
	if err != nil {
		t.Fatal(err)
	}
	text := change(string(example))
	file := filepath.Join(t.TempDir(), "spec.yaml")
	writeFile(t, file, []byte(text))
	return file
}

// What a specification cannot mean, or may not, is refused when it is put on file.
func TestSpecificationsThatAreRefused(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	for _, c := range []struct{ name, old, new, code string }{
		{"an unknown field", "field: area_code", "field: favourite_color", "unknown_field"},
		{"a field of a column", "field: area_code", "field: area_code.name", "unknown_field"},
		{"a whole group", "field: members.full_name", "field: members", "group_unresolved"},
		{"a field that is not granted", "field: members.full_name", "field: members.religion", "field_not_granted"},
		{"a lossy crosswalk", "other: O}", "other: F}", "codes_lossy"},
		{"a crosswalk that leaves codes out", ", other: O}", "}", "codes_lossy"},
		{"a crosswalk from codes that are none", "other: O}", "other: O, clan: C}", "unknown_code"},
		{"codes for a text", "as: NAME", "as: NAME\n    codes: {a: b}", "codes_misplaced"},
		{"a treatment that does not fit", "as: NAME", "as: NAME\n    treatment: year", "treatment_misplaced"},
		{"a width that bands nothing", "as: NAME", "as: NAME\n    treatment: mask\n    band: 10", "treatment_misplaced"},
		{"codes and a treatment", "codes: {household", "treatment: mask\n    codes: {household", "change_twice"},
		{"two columns of one name", "as: DISTRICT", "as: HH_ID", "name_twice"},
		{"two columns of one name in a flat table", "as: DISTRICT", "as: member_NAME", "name_twice"},
		{"a name that is none", "as: DISTRICT", "as: the district", "name_malformed"},
		{"a filter with an unknown field", "household.poverty_score", "household.favourite_color", "unknown_field"},
		{"a filter that cannot be lowered", "household.poverty_score < 40", "household.full_address == 'x'", "field_not_filterable"},
		{"another format", "format: csv", "format: pdf", "unknown_format"},
		{"a layout that does not fit", "format: csv", "format: json", "layout_unsuitable"},
		{"an unknown agreement", "agreement: eligibility", "agreement: nobody", "not_found"},
		{"a purpose of nobody", "purpose: eligibility-assessment", "purpose: curiosity", "purpose_not_granted"},
		{"an unknown key", "title:", "tittle:", "file_malformed"},
		{"no name", "name: cash-transfer", "name: ''", "spec_malformed"},
		{"a name with a path", "name: cash-transfer", "name: ../cash", "spec_name"},
		{"a day that is none", "format: csv", "as_of: 2026-02-30\nformat: csv", "as_of_malformed"},
	} {
		file := specFile(t, func(text string) string {
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatalf("%s: the example has no %s", c.name, c.old)
			}
			return changed
		})
		t.Run(c.name, func(t *testing.T) { refused(t, c.code, "export-spec", "put", "--data", data, file) })
	}
	if out := must(t, "export-spec", "list", "--data", data, "--json"); out != "" {
		t.Errorf("on file: %s", out)
	}
}

// Versions never change, say what they newly disclose, and are seen by the partner they belong to.
func TestSpecificationsInVersions(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	must(t, "export-spec", "put", "--data", data, exampleSpec)
	if out := must(t, "export-spec", "put", "--data", data, exampleSpec); !strings.Contains(out, "Nothing changed") {
		t.Errorf("put again: %s", out)
	}
	second := specFile(t, func(text string) string {
		text = strings.Replace(text, "    treatment: year\n", "", 1)
		text = strings.Replace(text, "band: 10", "band: 20", 1)
		text = strings.Replace(text, "as: NAME", "as: FULL_NAME", 1)
		return text + "  - field: members.phone_numbers\n"
	})
	if out := must(t, "export-spec", "put", "--check", "--data", data, second); !strings.Contains(out, "newly discloses  adds members.phone_numbers") {
		t.Errorf("checked: %s", out)
	}
	must(t, "export-spec", "put", "--data", data, second)
	changes := must(t, "export-spec", "diff", "--data", data, "--json", "cash-transfer")
	for _, want := range []string{
		`{"what":"adds","field":"members.phone_numbers","after":"pass","newly_discloses":true}`,
		`{"what":"alters","field":"members.date_of_birth","before":"year","after":"pass","newly_discloses":true}`,
		`{"what":"alters","field":"poverty_score","before":"band of 10","after":"band of 20","newly_discloses":false}`,
		`{"what":"renames","field":"members.full_name","before":"NAME","after":"FULL_NAME","newly_discloses":false}`,
	} {
		if !strings.Contains(changes, want) {
			t.Errorf("the changes lack %s:\n%s", want, changes)
		}
	}

	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	var list struct {
		ExportSpecs []struct{ Version int } `json:"export_specs"`
	}
	if a := s.get("/v1/export-specs", nil); json.Unmarshal(a.body, &list) != nil || len(list.ExportSpecs) != 1 || list.ExportSpecs[0].Version != 2 {
		t.Errorf("listed as %d %s", a.status, a.body)
	}
	if a := s.get("/v1/export-specs/cash-transfer", map[string][]string{"version": {"1"}}); a.status != http.StatusOK || !strings.Contains(string(a.body), `"as":"NAME"`) {
		t.Errorf("version 1: %d %s", a.status, a.body)
	}
	other := &server{process: s.process, url: s.url, key: createKey(t, data, "research").Key}
	for _, path := range []string{"/v1/export-specs/cash-transfer", "/v1/export-specs/cash-transfer/export", "/v1/export-specs/nothing"} {
		if a := other.get(path, nil); a.status != http.StatusNotFound || a.code() != "not_found" {
			t.Errorf("%s of another agreement: %d %s", path, a.status, a.code())
		}
	}
	if a := other.get("/v1/export-specs", nil); a.status != http.StatusOK || strings.Contains(string(a.body), "cash-transfer") {
		t.Errorf("another agreement is listed %d %s", a.status, a.body)
	}
	theirs := filepath.Join(t.TempDir(), "theirs.yaml")
	writeFile(t, theirs, []byte("name: cash-transfer\nagreement: research\npurpose: living-conditions-research\ndataset: individuals\nformat: csv\nfields:\n  - field: sex\n"))
	refused(t, "spec_of_another", "export-spec", "put", "--data", data, theirs)
	must(t, "export-spec", "drop", "--data", data, "cash-transfer")
	if a := s.get("/v1/export-specs", nil); a.status != http.StatusOK || strings.Contains(string(a.body), "cash-transfer") {
		t.Errorf("dropped, and listed %d %s", a.status, a.body)
	}
	if a := s.get("/v1/export-specs/cash-transfer/export", nil); a.status != http.StatusNotFound {
		t.Errorf("dropped: %d", a.status)
	}
}

// A dry run at the command line, and the list of schedules.
func TestDryRunsAndSchedules(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	key := createKey(t, data, "eligibility").ID
	file := specFile(t, func(text string) string {
		return text + "schedule:\n  cron: 0 6 * * 1\n  time_zone: Africa/Accra\n  client: \"" + key + "\"\n"
	})
	must(t, "export-spec", "put", "--data", data, file)
	tried := must(t, "export-spec", "try", "--data", data, "--client", key, "cash-transfer")
	if strings.Count(tried, "invented") != 5 || !strings.Contains(tried, `"HH_ID":"`) || !strings.Contains(tried, "restriction: <10") {
		t.Errorf("tried:\n%s", tried)
	}
	var trial struct {
		Rows   string
		Exact  bool
		Sample []map[string]any
	}
	if text := must(t, "export-spec", "try", "--json", "--data", data, "--client", key, "cash-transfer"); json.Unmarshal([]byte(text), &trial) != nil || !trial.Exact || len(trial.Sample) != 5 {
		t.Errorf("tried: %+v", trial)
	}
	if out := must(t, "ledger", "show", "--data", data); !strings.Contains(out, "try_export") {
		t.Error("the ledger does not name the dry run")
	}
	if out := must(t, "export-spec", "schedule", "list", "--data", data); !strings.Contains(out, "0 6 * * 1  Africa/Accra  2") {
		t.Errorf("schedules:\n%s", out)
	}
	if out := must(t, "export-spec", "schedule", "list", "--json", "--data", data); !strings.Contains(out, `"specification":"cash-transfer"`) {
		t.Errorf("schedules:\n%s", out)
	}
}
