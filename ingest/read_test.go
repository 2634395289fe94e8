package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/google/go-cmp/cmp"
)

// flat is a mapping of the shape one row per person, household columns repeated, persons
// without a key of their own.
const flat = `
source: test
survey_date: 2026-06-30
inputs:
  - name: people
    format: csv
    household:
      key: hh
      fields: {locality: village, area_code: area}
    individual:
      ordinal: true
      membership: {role: {column: role, codes: {h: head, c: child}}}
      fields: {full_name: name, sex: sex}
`

func parse(t testing.TB, text string) *ingest.Mapping {
	t.Helper()
	m, err := ingest.ParseMapping(strings.NewReader(text), annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func source(name, text string) ingest.Source {
	return ingest.Source{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// run reads texts and returns what came of them, with the rejects files by input.
func run(t testing.TB, m *ingest.Mapping, texts ...string) (batches, ingest.Report, map[string]string) {
	t.Helper()
	files := map[string]*bytes.Buffer{}
	rejects := ingest.NewRejects(func(input, format string) (io.Writer, error) {
		files[input] = &bytes.Buffer{}
		return files[input], nil
	})
	var sources []ingest.Source
	for _, text := range texts {
		sources = append(sources, source("input", text))
	}
	var all batches
	report, err := ingest.Read(context.Background(), m, sources, nil, rejects, all.add)
	if err != nil {
		t.Fatal(err)
	}
	if report.Rejected != rejects.Count() {
		t.Errorf("the report counts %d refused rows, the file %d", report.Rejected, rejects.Count())
	}
	refused := map[string]string{}
	for input, file := range files {
		refused[input] = file.String()
	}
	checkCanonical(t, all)
	return all, report, refused
}

func names(records []annona.Record) map[string]string {
	out := map[string]string{}
	for _, r := range records {
		out[r.Key] = values(r.Values)["full_name"]
	}
	return out
}

// Refused rows keep their place: those behind them load under the same keys as if nothing had
// been wrong, and the mended rejects file brings exactly what was missing.
func TestRejectsRoundTrip(t *testing.T) {
	const sound = "hh,village,area,role,name,sex\n" +
		"7,Kibo,,h,Ada,female\n" +
		"7,Kibo,,c,Ben,male\n" +
		"7,Kibo,,c,Cid,male\n" +
		"8,Pwani,,h,\"Dora, the \"\"elder\"\"\",female\n" +
		"8,Pwani,,c,Eva,female\n"
	broken := strings.NewReplacer(
		"7,Kibo,,c,Ben,male", "7,Kibo,,c,Ben", // a cell is missing
		"8,Pwani,,h,\"Dora", "8,Pwani,,h,\"Do\x00ra", // a NUL
		"8,Pwani,,c,Eva,female", "8,Pwani,,c,\"Eva,female", // a quote never closed
	).Replace(sound)
	m := parse(t, flat)
	whole, _, _ := run(t, m, sound)
	first, report, refused := run(t, m, broken)

	if report.Rows != 5 || report.Individuals != 2 || report.Rejected != 3 {
		t.Errorf("report %+v", report)
	}
	wantFile := "reject_input,reject_line,reject_column,reject_reason,reject_key,hh,village,area,role,name,sex\n" +
		"people,3,,column_count,7/2,7,Kibo,,c,Ben\n" +
		"people,5,name,control_character,8/1,8,Pwani,,h,\"Do\x00ra, the \"\"elder\"\"\",female\n" +
		"people,6,name,quote_unterminated,8/2,8,Pwani,,c,\"Eva,female\n"
	if diff := cmp.Diff(wantFile, refused["people"]); diff != "" {
		t.Fatalf("rejects file (-want +got):\n%s", diff)
	}

	again, report, twice := run(t, m, refused["people"])
	if report.Individuals != 0 || report.Rejected != 3 {
		t.Errorf("what is not mended is refused again: %+v", report)
	}
	if diff := cmp.Diff(strings.Count(refused["people"], "8/1"), strings.Count(twice["people"], "8/1")); diff != "" || len(again.individuals) > 0 {
		t.Error("a second refusal loses the key")
	}

	mended := strings.NewReplacer("c,Ben", "c,Ben,male", "\x00", "", "\"Eva", "Eva").Replace(refused["people"])
	rest, report, _ := run(t, m, mended)
	if report.Rejected != 0 {
		t.Errorf("report of the mended file: %+v", report)
	}
	got := names(append(first.individuals, rest.individuals...))
	if diff := cmp.Diff(names(whole.individuals), got); diff != "" {
		t.Errorf("persons (-sound +broken, then mended):\n%s", diff)
	}
}

// A row of which not even the household could be told gets a key of its own, never that of
// somebody else.
func TestMendedRowWithoutPlace(t *testing.T) {
	m := parse(t, flat)
	loaded, _, refused := run(t, m, "hh,village,area,role,name,sex\n7,Kibo,,h,Ada,female\n\"7\"x,Kibo,,c,Ben,male\n")
	rest, _, _ := run(t, m, strings.ReplaceAll(refused["people"], `"7"x`, "7"))
	got := names(append(loaded.individuals, rest.individuals...))
	if diff := cmp.Diff(map[string]string{"7/1": "Ada", "7/+3": "Ben"}, got); diff != "" {
		t.Errorf("persons (-want +got):\n%s", diff)
	}
}

func TestRejectsOfNDJSON(t *testing.T) {
	m := parse(t, `
source: test
inputs:
  - name: homes
    format: ndjson
    household: {key: id, fields: {locality: village}}
    individual: {each: members, key: id, fields: {full_name: name}}
`)
	const text = `{"id":"h1","village":"Kibo","members":[{"id":"m1","name":"Ada"}]}
{"id":"h2","members":[{"name":"Ben"}]}
{"id":"h3","members":{"id":"m3"}}
{"village":"Pwani"}
{"id":"h5"
["h6"]
{"id":"h7","members":[{"id":"m7","name":"a` + `\u0000` + `b"}]}
{"id":"h8","members":[{"id":"m8","name":"` + "\xff" + `"}]}

{"id":"h9","members":[]}
`
	got, report, refused := run(t, m, text)
	if report.Rows != 9 || report.Rejected != 7 || len(got.households) != 2 || len(got.individuals) != 1 {
		t.Errorf("report %+v", report)
	}
	want := `{"reject":{"input":"homes","line":2,"column":"members.id","reason":"key_missing"},"row":{"id":"h2","members":[{"name":"Ben"}]}}
{"reject":{"input":"homes","line":3,"column":"members","reason":"not_a_list"},"row":{"id":"h3","members":{"id":"m3"}}}
{"reject":{"input":"homes","line":4,"column":"id","reason":"key_missing"},"row":{"village":"Pwani"}}
{"reject":{"input":"homes","line":5,"reason":"json_malformed"}}
{"id":"h5"
{"reject":{"input":"homes","line":6,"reason":"json_malformed"}}
["h6"]
{"reject":{"input":"homes","line":7,"column":"members.name","reason":"control_character"},"row":{"id":"h7","members":[{"id":"m7","name":"a` + `\u0000` + `b"}]}}
{"reject":{"input":"homes","line":8,"reason":"encoding"}}
{"id":"h8","members":[{"id":"m8","name":"` + "\xff" + `"}]}
`
	if diff := cmp.Diff(want, refused["homes"]); diff != "" {
		t.Fatalf("rejects file (-want +got):\n%s", diff)
	}
	mended := strings.NewReplacer(`"name":"Ben"`, `"id":"m2","name":"Ben"`, `{"id":"m3"}`, `[{"id":"m3"}]`, `{"village"`, `{"id":"h4","village"`,
		`{"id":"h5"`, `{"id":"h5"}`, `["h6"]`, `{"id":"h6"}`, `\u0000`, "", "\xff", "F").Replace(refused["homes"])
	rest, report, _ := run(t, m, mended)
	if report.Rejected != 0 || report.Rows != 7 || len(rest.households) != 7 || len(rest.individuals) != 4 {
		t.Errorf("report of the mended file: %+v", report)
	}
	again, _, second := run(t, m, refused["homes"])
	if len(again.individuals) != 0 || strings.Count(second["homes"], `"row":`) != strings.Count(refused["homes"], `"row":`) {
		t.Errorf("what is not mended is refused again as it was:\n%s", second["homes"])
	}
}

func TestHouseholdOnTheRowOfEachMember(t *testing.T) {
	m := parse(t, flat)
	got, report, _ := run(t, m, "hh,village,area,role,name,sex\n"+
		"7,Kibo,,h,Ada,female\n8,Pwani,,h,Dora,female\n7,Kibo,,c,Ben,male\n7,Kibo Juu,,c,Cid,male\n")
	if report.Households != 2 || report.Individuals != 4 {
		t.Errorf("report %+v", report)
	}
	if v := values(got.households[0].Values)["locality"]; v != "Kibo Juu" {
		t.Errorf("a household that changes within a batch has %q", v)
	}
	if got.individuals[2].Key != "7/2" || got.individuals[3].Key != "7/3" {
		t.Error("persons whose rows stand apart are not numbered on")
	}
}

func TestHouseholdPrecedesItsMembersInEveryBatch(t *testing.T) {
	var text strings.Builder
	text.WriteString("hh,village,area,role,name,sex\n")
	for i := range 3 * ingest.BatchRecords {
		text.WriteString(strings.Repeat("h", i/7%50+1) + ",Kibo,,c,N,male\n")
	}
	seen := map[string]bool{}
	rows := 0
	_, err := ingest.Read(context.Background(), parse(t, flat), []ingest.Source{source("a", text.String())}, nil, nil, func(b ingest.Batch) error {
		rows += b.Rows
		for _, h := range b.Households {
			if seen[h.Key] {
				t.Error("an unchanged household comes twice")
			}
			seen[h.Key] = true
		}
		for _, p := range b.Individuals {
			if !seen[p.Memberships[0].HouseholdKey] {
				t.Error("a member precedes the household")
			}
		}
		return nil
	})
	if err != nil || rows != 3*ingest.BatchRecords {
		t.Errorf("%d rows, %v", rows, err)
	}
}

const twoFiles = `
source: test
inputs:
  - name: members
    format: csv
    individual:
      key: person
      membership: {household: hh, role: role}
      fields: {full_name: name}
  - name: homes
    format: csv
    household: {key: hh, fields: {locality: village}}
`

// A member of a household that no file gives loads with it: the household has a key, a member
// and a flag, and nothing else.
func TestUnreportedHousehold(t *testing.T) {
	m := parse(t, twoFiles)
	const members = "person,hh,role,name\n1,7,head,Ada\n2,9,head,Ben\n3,9,child,Cid\n4,,,Dora\n"
	got, report, _ := run(t, m, members, "hh,village\n7,Kibo\n8,Pwani\n")
	if report.Households != 3 || report.Individuals != 4 || report.Flags["household_unreported"] != 1 {
		t.Errorf("report %+v", report)
	}
	want := []map[string]string{{"code": "household_unreported"}}
	if diff := cmp.Diff(want, groups(got.households[2])["quality_flags"]); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if len(got.individuals[3].Memberships) != 0 {
		t.Error("a person without a household has a membership")
	}
	// Without the file of households, they are on file from before.
	got, _, _ = run(t, m, members)
	if len(got.households) != 0 || got.individuals[1].Memberships[0].HouseholdKey != "9" {
		t.Errorf("%d households of a file of members alone", len(got.households))
	}
}

func TestRowsWithoutKey(t *testing.T) {
	_, report, refused := run(t, parse(t, flat), "hh,village,area,role,name,sex\n,Kibo,,h,Ada,female\n"+strings.Repeat("k", 201)+",Kibo,,h,Ben,male\n")
	if report.Rejected != 2 || !strings.Contains(refused["people"], "people,2,hh,key_missing,,") || !strings.Contains(refused["people"], "people,3,hh,key_too_long,") {
		t.Errorf("report %+v\n%s", report, refused["people"])
	}
	_, report, _ = run(t, parse(t, twoFiles), "hh,village\n,Kibo\n \t,Kibo\n7,Kibo\n")
	if report.Rejected != 2 || report.Households != 1 {
		t.Errorf("report %+v", report)
	}
}

func TestKnownAreas(t *testing.T) {
	m := parse(t, flat+"areas:\n  - {code: A, level: 0, name: Land}\n")
	asked := map[string]int{}
	known := func(_ context.Context, code string) (bool, error) {
		asked[code]++
		return code == "B", nil
	}
	text := "hh,village,area,role,name,sex\n1,,A,h,x,male\n2,,B,h,x,male\n3,,C,h,x,male\n4,,C,h,x,male\n"
	var all batches
	report, err := ingest.Read(context.Background(), m, []ingest.Source{source("a", text)}, known, nil, all.add)
	if err != nil || report.Flags["area_unknown:area_code"] != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	if diff := cmp.Diff(map[string]int{"B": 1, "C": 1}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if values(all.households[2].Values)["area_code"] != "C" {
		t.Error("an unknown area is lost")
	}
	failing := func(context.Context, string) (bool, error) { return false, errors.New("no store") }
	if _, err := ingest.Read(context.Background(), m, []ingest.Source{source("a", text)}, failing, nil, all.add); err == nil {
		t.Error("a failing question is not an answer")
	}
}

func TestCompressedAndMarkedFiles(t *testing.T) {
	plain, err := os.ReadFile("../examples/ghana-glss/sample.csv")
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(plain)
	w.Close()
	m := ghanaMapping(t)
	want, _, _ := run(t, m, string(plain))
	for name, text := range map[string]string{
		"gzip":                zipped.String(),
		"byte order mark":     "\ufeff" + string(plain),
		"crlf":                strings.ReplaceAll(string(plain), "\n", "\r\n"),
		"two gzips in a file": zipped.String() + gzipped(t, ""),
	} {
		got, _, _ := run(t, m, text)
		if len(got.individuals) != 12 || !cmp.Equal(values(got.individuals[11].Values), values(want.individuals[11].Values)) {
			t.Errorf("%s: read otherwise than the plain file", name)
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A file that is not what the mapping describes is refused as a whole, in words that hold
// nothing of the file.
func TestWrongFiles(t *testing.T) {
	zipped := gzipped(t, "hh,village,area,role,name,sex\n"+strings.Repeat("7,Kibo,,h,Secretname,female\n", 5000))
	for name, test := range map[string]struct{ mapping, text, code string }{
		"empty":              {flat, "", "input_empty"},
		"a column is gone":   {flat, "hh,village,area,role,Secretname\n", "input_columns"},
		"a column twice":     {flat, "hh,village,area,role,name,sex,sex\n", "input_columns"},
		"another delimiter":  {flat, "hh;village;area;role;name;sex\n", "input_columns"},
		"broken header":      {flat, "\"hh\"x,village\n", "input_header"},
		"utf-16":             {flat, "\xff\xfeh\x00h\x00", "input_encoding"},
		"cut gzip":           {flat, zipped[:len(zipped)-20], "input_unreadable"},
		"no gzip after all":  {flat, "\x1f\x8b\x00\x00", "input_unreadable"},
		"no input like that": {twoFiles, "Secretname,b\n", "input_unrecognized"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ingest.Read(context.Background(), parse(t, test.mapping), []ingest.Source{source("a file", test.text)}, nil, nil, func(ingest.Batch) error { return nil })
			if annona.CodeOf(err) != test.code {
				t.Errorf("%v, want %s", err, test.code)
			}
			if err != nil && strings.Contains(err.Error(), "Secretname") {
				t.Errorf("the error tells what is in the file: %v", err)
			}
		})
	}
	gone := ingest.Source{Name: "gone.csv", Open: func() (io.ReadCloser, error) { return os.Open("testdata/gone.csv") }}
	_, err := ingest.Read(context.Background(), parse(t, flat), []ingest.Source{gone}, nil, nil, nil)
	if annona.CodeOf(err) != "input_unreadable" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := ingest.Read(context.Background(), parse(t, flat), nil, nil, nil, nil); annona.CodeOf(err) != "input_missing" {
		t.Errorf("no file: %v", err)
	}
}

func TestReadStopsOnErrors(t *testing.T) {
	text := "hh,village,area,role,name,sex\n" + strings.Repeat("7,Kibo,,h,Ada,female\n", 2*ingest.BatchRecords) + "broken\n"
	full := errors.New("the disk is full")
	sources := []ingest.Source{source("a", text)}
	keep := func(ingest.Batch) error { return nil }

	report, err := ingest.Read(context.Background(), parse(t, flat), sources, nil, nil, func(ingest.Batch) error { return full })
	if !errors.Is(err, full) || report.Rows < ingest.BatchRecords-1 || report.Rows > ingest.BatchRecords+1 {
		t.Errorf("a failing batch: %v after %d rows", err, report.Rows)
	}
	rejects := ingest.NewRejects(func(string, string) (io.Writer, error) { return failingWriter{full}, nil })
	if _, err := ingest.Read(context.Background(), parse(t, flat), sources, nil, rejects, keep); !errors.Is(err, full) {
		t.Errorf("a rejects file on a full disk: %v", err)
	}
	rejects = ingest.NewRejects(func(string, string) (io.Writer, error) { return nil, full })
	if _, err := ingest.Read(context.Background(), parse(t, flat), sources, nil, rejects, keep); !errors.Is(err, full) {
		t.Errorf("a rejects file that cannot be made: %v", err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ingest.Read(canceled, parse(t, flat), sources, nil, nil, keep); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestReportOfUnmappedCodes(t *testing.T) {
	var text strings.Builder
	text.WriteString("hh,village,area,role,name,sex,extra\n")
	for i := range 60 {
		text.WriteString("1,,,r" + strings.Repeat("x", i) + ",N,male,e\n")
	}
	text.WriteString("1,,,often,N,male,e\n1,,,often,N,male,e\n1,,,often,N,male,e\n")
	_, report, _ := run(t, parse(t, flat), text.String())
	codes := report.Unmapped["memberships.role"]
	if len(codes) != 50 || codes[0] != (ingest.UnmappedCode{Code: "often", Count: 3}) {
		t.Errorf("%d codes, first %+v", len(codes), codes[0])
	}
	if report.Flags["code_unmapped:memberships.role"] != 63 || !slices.Equal(report.Unused["people"], []string{"extra"}) {
		t.Errorf("report %+v", report)
	}
}

// A code that was replaced becomes the one of today, a deprecated one stays; both are flagged and counted.
func TestRetiredCodes(t *testing.T) {
	x, err := ingest.ParseDictionary(strings.NewReader(`country: GH
code_lists:
  - name: religion
    version: 2
    codes:
      - {code: old, label: Old, replaced_by: older}
      - {code: older, label: Older, replaced_by: new}
      - {code: new, label: New}
      - {code: gone, label: Gone, deprecated: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	d, err := annona.Standard().Extend(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"faith", "{column: faith, codes: {old: old, new: new, gone: gone}}"} {
		m, err := ingest.ParseMapping(strings.NewReader(strings.Replace(flat, "sex: sex", "religion: "+rule, 1)), d)
		if err != nil {
			t.Fatal(err)
		}
		all, report, _ := run(t, m, "hh,village,area,role,name,faith\n1,,,h,A,old\n1,,,c,B,new\n1,,,c,C,gone\n")
		var got []string
		for _, p := range all.individuals {
			v := values(p.Values)
			got = append(got, v["full_name"]+" "+v["religion"]+" "+v["religion_source_code"])
		}
		want := []string{"A new old", "B new ", "C gone "}
		if rule != "faith" {
			want = []string{"A new old", "B new new", "C gone gone"}
		}
		if !slices.Equal(got, want) || report.Flags["code_deprecated:religion"] != 2 {
			t.Errorf("%s: %q, want %q, flags %v", rule, got, want, report.Flags)
		}
	}
}

// TestTextsThatSeldomRepeat reads more different dates than are kept, and each of them again later: of all alike, and where
// most rows say the same.
func TestTextsThatSeldomRepeat(t *testing.T) {
	const form = `
source: test
inputs:
  - name: people
    format: csv
    individual: {key: id, fields: {date_of_birth: born, registration_date: day}}
`
	first := annona.Date("1950-01-01")
	born := func(i int) string { return string(first.AddDays(i % 3000)) }
	var text strings.Builder
	text.WriteString("id,born,day\n")
	for i := range 6000 {
		day := "2024-02-01"
		if i%2 == 0 {
			day = born(i / 2)
		}
		fmt.Fprintf(&text, "%d,%s,%s\n", i, born(i), day)
	}
	all, _, _ := run(t, parse(t, form), text.String())
	if len(all.individuals) != 6000 {
		t.Fatalf("%d individuals", len(all.individuals))
	}
	for _, r := range all.individuals {
		i, _ := strconv.Atoi(r.Key)
		day := "2024-02-01"
		if i%2 == 0 {
			day = born(i / 2)
		}
		if v := values(r.Values); v["date_of_birth"] != born(i) || v["registration_date"] != day {
			t.Fatalf("row %d: %v", i, v)
		}
	}
}
