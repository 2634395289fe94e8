package encode

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// typedShape has a column of every type.
func typedShape(t *testing.T, d *annona.Dictionary) *annona.Shape {
	return shapeOf(t, d, "individuals", "individual_id", "household_id", "full_name", "sex", "sex_source_code", "date_of_birth", "last_updated",
		"in_school", "income_amount", "phone_numbers", "full_address")
}

// manyRecords are records of nasty values, always the same ones.
func manyRecords(shape *annona.Shape) []item {
	return rapid.Custom(func(r *rapid.T) []item {
		items := []item{}
		for range 40 {
			items = append(items, nastyItems(r, shape, 12)...)
		}
		return items
	}).Example(7)
}

// DuckDB finds every value, in columns of the right types.
func TestDuckDBReads(t *testing.T) {
	readers := filepath.Join("testdata", "readers")
	if _, err := os.Stat(filepath.Join(readers, "node_modules")); err != nil {
		t.Skip("the readers of npm are not installed: DuckDB is not tried. make tools installs them")
	}
	d := annona.Standard()
	shape := typedShape(t, d)
	want := manyRecords(shape)
	document, _ := write(t, d, shape, want, 100, Options{Format: Parquet})
	file := filepath.Join(t.TempDir(), "individuals.parquet")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", filepath.Join(readers, "duckdb.mjs"), file).Output()
	if err != nil {
		t.Fatal(told(err))
	}
	var found []map[string]any
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	for column, kind := range map[string]string{
		"individual_id": "VARCHAR", "date_of_birth": "DATE", "in_school": "BOOLEAN", "last_updated": "TIMESTAMP WITH TIME ZONE",
		"income_amount": fmt.Sprintf("DECIMAL(19,%d)", scaleOf(shape, "income_amount")), "phone_numbers": "VARCHAR[]",
	} {
		if found[0][column] != kind {
			t.Errorf("%s is a column of type %v instead of %s", column, found[0][column], kind)
		}
	}
	for i, row := range itemsOfJSON(found[1:]) {
		for name, value := range row {
			row[name] = canonicalOf(shape, name, value)
		}
		if read := strings.ReplaceAll(fmt.Sprint(want[i]), "\ufeff", ""); strings.ReplaceAll(fmt.Sprint(row), "\ufeff", "") != read {
			t.Fatalf("row %d is %q instead of %q", i, row, want[i]) // JavaScript drops a byte order mark that begins a text
		}
	}
	if len(found)-1 != len(want) {
		t.Errorf("%d rows instead of %d", len(found)-1, len(want))
	}
}

func scaleOf(shape *annona.Shape, code string) int { return shape.Columns[shape.Column(code)].Scale }

// canonicalOf is the canonical text of what another program printed of a value.
func canonicalOf(shape *annona.Shape, code string, value any) any {
	text, single := value.(string)
	if !single {
		return value
	}
	switch shape.Columns[shape.Column(code)].Type {
	case annona.TypeBool:
		text = strings.ToLower(text)
	case annona.TypeDec:
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
	case annona.TypeInstant:
		if strings.HasSuffix(text, "Z") {
			return text
		}
		text = strings.Replace(strings.TrimSuffix(text, "+00"), " ", "T", 1)
		if !strings.Contains(text, ".") {
			text += ".000"
		}
		text += "Z"
	}
	return text
}

// LibreOffice finds every value where a spreadsheet can hold it, on every sheet.
func TestLibreOfficeReads(t *testing.T) {
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("LibreOffice is not installed: it is not tried")
	}
	d := annona.Standard()
	shape := typedShape(t, d)
	shape.Groups = shapeOf(t, d, "individuals", "identifiers.scheme", "identifiers.value").Groups
	want := manyRecords(shape)
	o := Options{Format: XLSX, Layout: Linked}
	document, _ := write(t, d, shape, want, 100, o)
	folder := t.TempDir()
	file := filepath.Join(folder, "individuals.xlsx")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	// Comma, quotes, UTF-8, from line 1, no cell formats, language of the program, no quotes where
	// none are needed, numbers as they are, not as they are shown, no formulas, every sheet.
	const filter = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,true,false,false,-1"
	run := exec.Command(office, "--headless", "-env:UserInstallation=file://"+filepath.Join(folder, "profile"), "--convert-to", filter, "--outdir", folder, file)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	parts, err := Parts(shape, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		table, err := os.ReadFile(filepath.Join(folder, "individuals-"+part.Name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readCSV(table, columnsOf(part))
		if err != nil {
			t.Fatal(err)
		}
		expected := asGoReadsCSV(expectedRows(part.Name, part.Header(), shape, want))
		if len(got) != len(expected) {
			t.Fatalf("%d rows of %s instead of %d", len(got), part.Name, len(expected))
		}
		for i := range got {
			for name, value := range got[i] {
				if shape.Column(name) >= 0 {
					got[i][name] = canonicalOf(shape, name, value)
				}
			}
			if oneLineEnd(got[i]) != oneLineEnd(expected[i]) {
				t.Fatalf("row %d of %s is %q instead of %q", i, part.Name, got[i], expected[i])
			}
		}
	}
}

var lineEnds = regexp.MustCompile(`[\r\n]+`)

// oneLineEnd prints a row with one kind of line end: a cell of LibreOffice has no other.
func oneLineEnd(row item) string { return lineEnds.ReplaceAllString(fmt.Sprint(row), "\n") }

// told is an error with what the program said.
func told(err error) error {
	if exit, ok := err.(*exec.ExitError); ok {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}
