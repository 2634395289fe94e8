package encode

import (
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSpreadsheetGuard(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "full_name", "date_of_birth")
	for _, c := range []struct{ text, want string }{
		{"Abena", "Abena"},
		{"=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"},
		{"+233201234567", "'+233201234567"},
		{"-5", "'-5"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", `"'` + "\t" + `=1"`},
		{"\r=1", `"'` + "\r" + `=1"`},
		{"\n=1", `"'` + "\n" + `=1"`},
		{"＝1", "'＝1"},
		{"＋1", "'＋1"},
		{"－1", "'－1"},
		{"＠x", "'＠x"},
		{`"=1`, `"'""=1"`},
		{"'=1", "''=1"},
		{"  =1", `"'  =1"`},
		{` "' ＝1`, `"' ""' ＝1"`},
		{"=1,2", `"'=1,2"`},
		{"0201234567", "'0201234567"},
		{"00", "'00"},
		{"123456789012", "'123456789012"},
		{"12345678901", "12345678901"},
		{"0", "0"},
		{"0a", "0a"},
		{"1-2", "1-2"},
		{"a=b", "a=b"},
		{"O'Brien", "O'Brien"},
		{"fi；x", "fi；x"},
		{"a;=b", `"a;=b"`},
		{"a\tb", `"a` + "\t" + `b"`},
		{" ", `" "`},
		{`"`, `""""`},
	} {
		records := []item{{"full_name": c.text, "date_of_birth": "1980-01-01"}}
		document, altered := write(t, d, shape, records, 1, Options{Format: CSV, Profile: Spreadsheet})
		want := "\uFEFFfull_name,date_of_birth\r\n" + c.want + ",1980-01-01\r\n"
		if string(document) != want {
			t.Errorf("%q became %q, not %q", c.text, document, want)
		}
		guarded := strings.HasPrefix(c.want, "'") || strings.HasPrefix(c.want, `"'`)
		if guarded != (altered == 1) {
			t.Errorf("%q: %d cells altered", c.text, altered)
		}
	}
}

// Only text is guarded: numbers, dates, truth values, ids and codes are not, but for a code of
// an open list that would run as a formula.
func TestSpreadsheetGuardLeavesTypesAlone(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "household_id", "status", "registration_date", "area_code", "area_code_source_code", "latitude", "income_amount", "electricity_access", "pregnant_or_lactating_count", "last_updated")
	records := []item{
		{
			"household_id": id("HA"), "status": "active", "registration_date": "2024-01-01", "area_code": "010203", "area_code_source_code": "010203",
			"latitude": "-5.5", "income_amount": "-123456789012.5", "electricity_access": "true", "pregnant_or_lactating_count": "-1",
			"last_updated": "2026-03-01T12:00:00.000Z",
		},
		{"household_id": id("HB"), "area_code": "=1"},
	}
	document, altered := write(t, d, shape, records, 2, Options{Format: CSV, Layout: Plain, Profile: Spreadsheet})
	lines := strings.Split(string(document), "\r\n")
	want := []string{
		id("HA") + ",active,2024-01-01,010203,'010203,-5.5,true,-123456789012.5,-1,2026-03-01T12:00:00.000Z",
		id("HB") + ",,,'=1,,,,,,",
	}
	if diff := cmp.Diff(want, lines[1:3]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if altered != 2 {
		t.Errorf("%d cells altered, not 2", altered)
	}
}

// Whatever text comes, no cell that a spreadsheet opens begins like a formula, and taking the
// guard's apostrophe away gives the text back.
func TestSpreadsheetGuardHolds(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name", "phone_numbers")
	rapid.Check(t, func(r *rapid.T) {
		records := nastyItems(r, shape, 20)
		document, altered := write(t, d, shape, records, 20, Options{Format: CSV, Profile: Spreadsheet})
		got, err := readCSV(document[len("\uFEFF"):], shape.Columns)
		if err != nil {
			r.Fatal(err)
		}
		var guarded int64
		for i, want := range asGoReadsCSV(records) {
			for _, name := range []string{"full_name", "phone_numbers"} {
				cell, original := textOf(got[i][name]), textOf(want[name])
				if begins := strings.TrimLeft(cell, ` "`); begins != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(begins)[0]) {
					r.Fatalf("the cell %q begins like a formula", cell)
				}
				if cell != original {
					guarded++
				}
				if cell != original && cell != "'"+original {
					r.Fatalf("%q became %q", original, cell)
				}
			}
		}
		if guarded != altered {
			r.Fatalf("%d cells differ, %d are reported", guarded, altered)
		}
	})
}

func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, ";")
	default:
		return ""
	}
}

// Accents reach a parser and a spreadsheet: one profile has no byte order mark, the other begins with one,
// and behind it the bytes are the same UTF-8.
func TestAccentsInBothProfiles(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "full_name")
	for _, name := range []string{"Åsa Øst", "Nguyễn Thị Ánh", "Ɛsi Ɔboɔ", "مريم", "ሰላም"} {
		records := []item{{"full_name": name}}
		machine, _ := write(t, d, shape, records, 1, Options{Format: CSV})
		people, _ := write(t, d, shape, records, 1, Options{Format: CSV, Profile: Spreadsheet})
		if want := "full_name\r\n" + name + "\r\n"; string(machine) != want || string(people) != "\uFEFF"+want {
			t.Errorf("%q became %q and %q", name, machine, people)
		}
	}
}
