package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// TestSurvey takes a survey all the way through the program: from its file to the exports in all
// formats, and compares every value of every row. The small file of our own covers the same
// path when the survey itself is not there.
func TestSurvey(t *testing.T) {
	t.Parallel()
	t.Run("sample", func(t *testing.T) { takeThrough(t, ghanaSample, 12, 4) })
	t.Run("whole", func(t *testing.T) {
		file := filepath.Join(os.Getenv("ANNONA_TESTDATA"), "ghana-glss", "individuals.csv")
		if _, err := os.Stat(file); os.Getenv("ANNONA_TESTDATA") == "" || err != nil {
			t.Skip("ANNONA_TESTDATA names no folder with ghana-glss/individuals.csv; the sample covers the same path")
		}
		takeThrough(t, file, 36_970, 8_700)
	})
}

// survey is a survey that was imported and is served.
type survey struct {
	data   string
	rows   []map[string]string // of the input
	server *server
	bodies map[string][]byte // exports, by dataset and format: "individuals.csv"
	people []person          // the individuals, in the order of the export
}

// person is what later checks need of an individual.
type person struct{ id, household string }

func takeThrough(t *testing.T, file string, individuals, households int) {
	s := &survey{data: newRegistry(t), rows: readSurvey(t, file), bodies: map[string][]byte{}}
	r := importInto(t, s.data, ghanaMapping, file)
	if r.Rows != individuals || r.Individuals != individuals || r.Households != households || r.Rejected != 0 || r.Created != individuals+households {
		t.Fatalf("import: %+v", r)
	}
	again := must(t, "import", "--data", s.data, "--mapping", ghanaMapping, file)
	if !strings.Contains(again, "Nothing changed") || !strings.Contains(again, fmt.Sprintf("individuals %d, households %d, rejected 0", individuals, households)) {
		t.Errorf("the second import does not say that nothing changed: %s", again)
	}

	s.server = serveFolder(t, s.data, createKey(t, s.data, "eligibility").Key)
	for _, dataset := range []string{"individuals", "households"} {
		for _, format := range []string{"csv", "xml", "json", "ndjson"} {
			s.bodies[dataset+"."+format] = s.server.export(dataset, about(eligibility, "format", format))
		}
	}
	t.Run("individuals", s.individuals)
	t.Run("households", s.households)
	t.Run("withheld", s.withheld)
	t.Run("schemas", s.schemas)
	t.Run("ledger", s.ledger)
	if code := s.server.stop(); code != 0 {
		t.Errorf("the server ends with %d", code)
	}
	if out := must(t, "verify", "--data", s.data); !strings.Contains(out, "The ledger is whole.") {
		t.Errorf("verify: %s", out)
	}
}

func readSurvey(t testing.TB, file string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	input, err := readTable(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range input.rows {
		in := map[string]string{}
		for i, name := range input.header {
			in[name] = row[i]
		}
		rows = append(rows, in)
	}
	return rows
}

// regions is the crosswalk of the survey's regions, from the codes of ISO 3166-2.
var regions = map[string]string{
	"western": "GH-WP", "central": "GH-CP", "greater accra": "GH-AA", "volta": "GH-TV", "eastern": "GH-EP",
	"ashanti": "GH-AH", "brong ahafo": "GH-BA", "northern": "GH-NP", "upper east": "GH-UE", "upper west": "GH-UW",
}

// ofPerson is what a row says about the person, by the fields that have to say it.
func ofPerson(row map[string]string) map[string]string {
	return map[string]string{
		"date_of_birth_as_recorded": row["age"], "date_of_birth_precision": "age_stated", "sex": row["sex"], "sex_source_code": row["sex"],
		"role_source_code": row["relate"], "nationality_source_code": row["nation"], "education_level_source_code": row["highest_degree"],
		"occupation_source_code": row["occupation"], "income_amount": row["income"], "income_currency": "GHS", "income_period": "year",
		"area_code": regions[row["region"]],
	}
}

// ofHousehold is what a row says about the household.
func ofHousehold(row map[string]string) map[string]string {
	return map[string]string{
		"area_code": regions[row["region"]], "area_code_source_code": row["region"], "gh_cluster": row["clust"],
		"gh_household_size_reported": row["hsize"], "gh_sample_weight": row["weight"],
	}
}

// missing names the fields that do not say what they have to.
func missing(r item, want map[string]string) (names []string) {
	for name, value := range want {
		if r.values[name] != value {
			names = append(names, name)
		}
	}
	return names
}

// individuals finds every row again, in the order in which it came on file.
func (s *survey) individuals(t *testing.T) {
	households, keys, seen := map[string]string{}, map[string]string{}, map[string]bool{}
	look := s.lookForSecrets(t, "individuals")
	inAllForms(t, "individuals", s.bodies, func(n int, r item) {
		p := person{r.values["individual_id"], r.values["household_id"]}
		s.people = append(s.people, p)
		if n >= len(s.rows) {
			return
		}
		row := s.rows[n]
		if names := missing(r, ofPerson(row)); names != nil {
			t.Fatalf("row %d of the input differs in %v", n+2, names)
		}
		if seen[p.id] || len(p.id) != annona.WireIDLength {
			t.Fatalf("row %d: an id that is there already, or is none", n+2)
		}
		seen[p.id] = true
		if of, known := households[row["hhid"]]; known && of != p.household {
			t.Fatalf("row %d is in another household than its hhid", n+2)
		}
		if of, known := keys[p.household]; known && of != row["hhid"] {
			t.Fatalf("row %d shares its household with another hhid", n+2)
		}
		households[row["hhid"]], keys[p.household] = p.household, row["hhid"]
		r.each(look)
	})
	if len(s.people) != len(s.rows) {
		t.Errorf("%d individuals for %d rows", len(s.people), len(s.rows))
	}
}

// households finds every row again as a member of its household, with all that the row says
// about the household.
func (s *survey) households(t *testing.T) {
	rowOf, size, seen := map[string]int{}, map[string]int{}, map[string]bool{}
	for n, p := range s.people {
		rowOf[p.id] = n
		size[p.household]++
	}
	look := s.lookForSecrets(t, "households")
	inAllForms(t, "households", s.bodies, func(_ int, h item) {
		id := h.values["household_id"]
		if seen[id] || size[id] == 0 || size[id] != len(h.groups["members"]) {
			t.Fatalf("a household is there twice, or has %d members and %d individuals", len(h.groups["members"]), size[id])
		}
		seen[id] = true
		for _, m := range h.groups["members"] {
			n, known := rowOf[m.values["individual_id"]]
			if !known {
				t.Fatal("a member is no individual of the export, or is a member twice")
			}
			delete(rowOf, m.values["individual_id"])
			if names := append(missing(m, ofPerson(s.rows[n])), missing(h, ofHousehold(s.rows[n]))...); names != nil {
				t.Fatalf("row %d of the input differs in %v", n+2, names)
			}
		}
		h.each(look)
	})
	if len(rowOf) != 0 || len(seen) != len(size) {
		t.Errorf("%d rows are in no household; %d households for %d", len(rowOf), len(seen), len(size))
	}
}

// lookForSecrets returns a visitor that fails when a column or value tells of what the agreement
// does not grant.
func (s *survey) lookForSecrets(t *testing.T, dataset string) func(column, value string) {
	secret := s.secretValues()
	return func(column, value string) {
		if strings.Contains(column, "ethnic") || strings.Contains(column, "religion") || secret[value] {
			t.Fatalf("%s: column %s, or a value in it, tells of ethnic group or religion", dataset, column)
		}
	}
}

// withheld looks where the comparison of the forms does not: at every cell and header of CSV, and
// at the bytes of the others.
func (s *survey) withheld(t *testing.T) {
	individuals, _ := plainCSV(t, s.bodies["individuals.csv"])
	individuals.each(s.lookForSecrets(t, "individuals.csv"))
	for name, file := range unzipped(t, s.bodies["households.csv"]) {
		file.each(s.lookForSecrets(t, name))
	}
	for name, body := range s.bodies {
		for _, word := range []string{"ethnic_group", "religion", "presbyterian", "pentecostal", "all other tribes", "mole-dagbani"} {
			if bytes.Contains(body, []byte(word)) {
				t.Errorf("%s holds the word %s", name, word)
			}
		}
	}
}

func (t table) each(yield func(name, value string)) {
	for _, name := range t.header {
		yield(name, "")
	}
	for _, row := range t.rows {
		for i, cell := range row {
			yield(t.header[i], cell)
		}
	}
}

// secretValues are the values of the two columns that no other column has too, the canonical
// codes, and the names of the columns themselves.
func (s *survey) secretValues() map[string]bool {
	secret := map[string]bool{"ethnic_group": true, "religion": true}
	for _, row := range s.rows {
		secret[row["ethnic"]], secret[row["religion"]] = true, true
	}
	for _, code := range []string{"ga_dangme", "mole_dagbani", "other_christian", "islam", "no_religion"} {
		secret[code] = true
	}
	for _, row := range s.rows {
		for column, value := range row {
			if column != "ethnic" && column != "religion" {
				delete(secret, value)
			}
		}
	}
	return secret
}

// schemas validates the exports against the published schemas, each with a tool of its own.
func (s *survey) schemas(t *testing.T) {
	for _, dataset := range []string{"individuals", "households"} {
		validateXSD(t, s.server.public(t, "/v1/schemas/"+dataset+".xsd", nil), s.bodies[dataset+".xml"])
		validateJSON(t, s.server.public(t, "/v1/schemas/"+dataset+".schema.json", nil), s.bodies[dataset+".json"])
		s.validateCSVW(t, dataset)
	}
}

// validateCSVW asks for the metadata of the files that were exported, and reads the files as it
// says.
func (s *survey) validateCSVW(t *testing.T, dataset string) {
	t.Helper()
	body := s.bodies[dataset+".csv"]
	if dataset == "individuals" {
		file, _ := plainCSV(t, body)
		q := url.Values{"fields": {strings.Join(file.header, ",")}}
		metadata := s.server.public(t, "/v1/schemas/individuals.csvw.json", q)
		readByMetadata(t, metadata, map[string]table{"individuals.csv": file})
		return
	}
	// One list of fields for both, since the metadata of "all" describes more than is granted.
	fields := "household_id,area_code,area_code_source_code,member_count,gh_cluster,gh_sample_weight," +
		"members.individual_id,members.role,members.sex,members.date_of_birth,members.income_amount,members.quality_flags.code,members.quality_flags.field"
	q := url.Values{"fields": {fields}, "layout": {"linked"}}
	metadata := s.server.public(t, "/v1/schemas/households.csvw.json", q)
	files := unzipped(t, s.server.export(dataset, about(eligibility, "format", "csv", "fields", fields)))
	readByMetadata(t, metadata, files)
}

// ledger holds that everybody who was received stands in a release, and nobody else.
func (s *survey) ledger(t *testing.T) {
	got := released(t, s.data)
	if len(got.people) != len(s.rows) || got.open != 0 {
		t.Errorf("%d people stand in releases, %d requests are open; want %d and none", len(got.people), got.open, len(s.rows))
	}
	for _, r := range s.people {
		if !got.people[got.number(t, r.id)] {
			t.Fatal("somebody was received whom no release names")
		}
	}
	for name := range got.fields {
		if strings.Contains(name, "ethnic") || strings.Contains(name, "religion") {
			t.Errorf("a release names the field %s", name)
		}
	}
	if got.outcomes["complete"] != 9 {
		t.Errorf("outcomes: %v", got.outcomes)
	}
}
