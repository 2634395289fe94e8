package encode

import (
	"archive/zip"
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file under testdata/golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestGoldenHouseholds(t *testing.T) {
	d := annona.Standard()
	shape, records := sampleShape(t, d), sampleRecords()
	for name, o := range map[string]Options{
		"households.json":                  {Format: JSON, Schema: "households/3"},
		"households.ndjson":                {Format: NDJSON, Schema: "households/3"},
		"households.xml":                   {Format: XML, Schema: "households/3"},
		"search.json":                      {Format: JSON, Schema: "households/3", Next: `a"b<c`},
		"search.xml":                       {Format: XML, Schema: "households/3", Next: `a"b<c`},
		"households.flat.csv":              {Format: CSV, Layout: Flat},
		"households.plain.csv":             {Format: CSV, Layout: Plain},
		"households.flat.spreadsheet.csv":  {Format: CSV, Layout: Flat, Profile: Spreadsheet},
		"households.plain.spreadsheet.csv": {Format: CSV, Layout: Plain, Profile: Spreadsheet},
	} {
		for _, pageRows := range []int{1, 2} {
			document, _ := write(t, d, shape, records, pageRows, o)
			golden(t, name, document)
		}
	}
}

func TestGoldenLinked(t *testing.T) {
	d := annona.Standard()
	o := Options{Format: CSV, Modified: day()}
	document, _ := write(t, d, sampleShape(t, d), sampleRecords(), 1, o)
	files := unzip(t, document)
	var names []string
	for _, f := range files {
		names = append(names, f.name)
		golden(t, "linked."+f.name, f.content)
	}
	want := []string{"households.csv", "individuals.csv", "memberships.csv", "identifiers.csv", "functioning.csv", "quality_flags.csv"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestGoldenRecord(t *testing.T) {
	d := annona.Standard()
	disclosed := disclose(d, sampleShape(t, d), sampleRecords()[:1])
	for name, o := range map[string]Options{
		"record.json":   {Format: JSON},
		"record.ndjson": {Format: NDJSON},
		"record.xml":    {Format: XML},
		"record.csv":    {Format: CSV},
	} {
		var out bytes.Buffer
		if err := WriteRecord(&out, disclosed, o); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

// A record by itself can be linked too: all its files come from one page.
func TestRecordLinked(t *testing.T) {
	d := annona.Standard()
	records := sampleRecords()[:1]
	o := Options{Format: CSV, Layout: Linked, Modified: day()}
	var out bytes.Buffer
	if err := WriteRecord(&out, disclose(d, sampleShape(t, d), records), o); err != nil {
		t.Fatal(err)
	}
	export, _ := write(t, d, sampleShape(t, d), records, 1, o)
	if diff := cmp.Diff(unzip(t, export), unzip(t, out.Bytes()), cmp.AllowUnexported(file{})); diff != "" {
		t.Errorf("the record differs from an export of it (-export +record):\n%s", diff)
	}
}

// Rows that name their household themselves do not get its key a second time: a membership may
// be in another household.
func TestLinkedRowsWithKeys(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "household_id", "members.individual_id", "members.memberships.household_id", "members.memberships.is_primary")
	records := []item{{"household_id": id("HA"), "members": []item{{
		"individual_id": id("PA"), "memberships": []item{{"household_id": id("HA"), "is_primary": "false"}, {"household_id": id("HB"), "is_primary": "true"}},
	}}}}
	document, _ := write(t, d, shape, records, 1, Options{Format: CSV, Modified: day()})
	files := unzip(t, document)
	want := "individual_id,household_id,is_primary\r\n" + id("PA") + "," + id("HA") + ",false\r\n" + id("PA") + "," + id("HB") + ",true\r\n"
	if got := string(files[len(files)-1].content); got != want {
		t.Errorf("%s", got)
	}
}

func TestEmpty(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name", "identifiers.value")
	for name, o := range map[string]Options{
		"empty.json":   {Format: JSON, Schema: "individuals/3"},
		"empty.ndjson": {Format: NDJSON, Schema: "individuals/3"},
		"empty.xml":    {Format: XML, Schema: "individuals/3"},
		"empty.csv":    {Format: CSV},
	} {
		document, _ := write(t, d, shape, nil, 1, o)
		golden(t, name, document)
	}
	document, _ := write(t, d, shape, nil, 1, Options{Format: CSV, Layout: Linked, Modified: day()})
	for _, f := range unzip(t, document) {
		golden(t, "empty."+f.name, f.content)
	}
}

type file struct {
	name    string
	content []byte
}

func unzip(t testing.TB, document []byte) []file {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		t.Fatal(err)
	}
	var files []file
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !entry.Modified.Equal(day()) {
			t.Errorf("%s is of %v, not of the time passed in", entry.Name, entry.Modified)
		}
		files = append(files, file{entry.Name, content})
	}
	return files
}
