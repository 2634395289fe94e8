package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/annona-exchange/annona/ingest"
	"github.com/google/go-cmp/cmp"
)

const doubtful = `
source: test
survey_date: 2026-06-30
inputs:
  - name: homes
    format: csv
    household:
      key: hh
      fields: {locality: village, formation_date: formed}
  - name: people
    format: csv
    individual:
      key: id
      membership: {household: home, role: {column: role, codes: {h: head, c: child}}}
      fields:
        full_name: name
        sex: {column: sex, codes: {M: male}}
        date_of_birth: {column: born, calendar: ethiopic}
        date_of_death: died
      groups:
        identifiers: [{scheme: {constant: national_id_number}, value: nid, valid_until: expires}]
identifier_types:
  national_id_number: {pattern: "[0-9]{4}"}
`

// quality reads texts as a dry run does and returns what is doubtful about them.
func quality(t testing.TB, m *ingest.Mapping, texts ...string) ([]ingest.Finding, ingest.Report) {
	t.Helper()
	var sources []ingest.Source
	for _, text := range texts {
		sources = append(sources, source("input", text))
	}
	q := ingest.NewQuality(m, "2026-11-22")
	report, err := ingest.Read(context.Background(), m, sources, nil, nil, func(b ingest.Batch) error { q.Look(b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return q.Findings(report), report
}

func TestQualityOfASource(t *testing.T) {
	homes := "hh,village,formed,phone\n" +
		"1,Kibo,2001-01-01,\n" +
		"2,Kibo,,\n" +
		"2,Kibo,2031-01-01,\n" + // twice, formed in the future
		"3,Kibo,1899-12-31,\n" + // before 1900, and nobody lives there
		",Kibo,,\n" // no key
	people := "id,home,role,name,sex,born,died,nid,expires\n" +
		"1,1,h,Ada,M,1970-01-01,,1111,2040-01-01\n" +
		"2,1,h,Ben,M,1971-13-06,,2222,\n" + // a second head, born on a day of Pagumen
		"3,2,c,Cid,X,1972-01-01,1975-01-01,1111,\n" + // no head; an unknown code; dead before birth; an identifier that Ada has
		"4,,,Dora,,2020-01-01,,,\n" + // no household, born in the future
		"4,4,c,Eva,,2009-13-30,,33a3,\n" + // a key again; a household of which no row tells; 30 Pagumen; a malformed identifier
		"5,4,c,Fay,,1890-01-01,,,\n" + // very old, before 1900
		"6,4,c\n" // a row cut short
	findings, _ := quality(t, parse(t, doubtful), people, homes)
	want := []ingest.Finding{
		{Code: "age_out_of_range", Where: "individuals.date_of_birth", Count: 1},
		{Code: "code_unmapped", Where: "sex", Count: 1},
		{Code: "column_empty", Where: "homes.phone", Count: 1},
		{Code: "date_before_1900", Where: "households.formation_date", Count: 1},
		{Code: "date_before_1900", Where: "individuals.date_of_birth", Count: 1},
		{Code: "date_future", Where: "households.formation_date", Count: 1},
		{Code: "date_future", Where: "individuals.date_of_birth", Count: 1},
		{Code: "date_not_in_calendar", Where: "date_of_birth", Count: 1},
		{Code: "death_before_birth", Count: 1},
		{Code: "household_no_head", Count: 2},
		{Code: "household_no_members", Count: 1},
		{Code: "household_two_heads", Count: 1},
		{Code: "household_unreported", Count: 1},
		{Code: "id_format_invalid", Where: "identifiers.value", Count: 1},
		{Code: "id_twice", Where: "individuals.identifiers.national_id_number", Count: 1},
		{Code: "key_missing", Count: 1},
		{Code: "key_twice", Where: "households", Count: 1},
		{Code: "key_twice", Where: "individuals", Count: 1},
		{Code: "member_no_household", Count: 1},
		{Code: "row_refused", Where: "column_count", Count: 1},
		{Code: "value_malformed", Where: "date_of_birth", Count: 1},
	}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := json.Marshal(findings)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"Ada", "Dora", "1111", "33a3", "Kibo", "2009", "1899"} {
		if strings.Contains(string(text), `"`+value) {
			t.Errorf("the report names the value %s: %s", value, text)
		}
	}
}

// A source without doubts has no findings, whatever its shape.
func TestQualityOfASoundSource(t *testing.T) {
	findings, _ := quality(t, parse(t, flat), "hh,village,area,role,name,sex\n7,Kibo,,h,Ada,female\n7,Kibo,,c,Ben,male\n8,Kibo,A,h,Cid,male\n")
	if diff := cmp.Diff([]ingest.Finding{{Code: "area_unknown", Where: "area_code", Count: 1}}, findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if findings, report := quality(t, parse(t, flat), "hh,village,area,role,name,sex\n"); len(findings) > 0 || report.Rows > 0 {
		t.Errorf("a header alone: %v", findings)
	}
}

// The report keeps hashes, not rows: its memory is a few bytes for each record.
func TestQualityStreams(t *testing.T) {
	m := parse(t, flat)
	const rows = 300_000
	reader, writer := io.Pipe()
	go func() {
		fmt.Fprintln(writer, "hh,village,area,role,name,sex")
		for i := range rows {
			fmt.Fprintf(writer, "%d,Kibo,,h,%s,male\n", i/4, strings.Repeat("x", 100))
		}
		writer.Close()
	}()
	q := ingest.NewQuality(m, "2026-11-22")
	report, err := ingest.Read(context.Background(), m, []ingest.Source{{Name: "pipe", Open: func() (io.ReadCloser, error) { return reader, nil }}}, nil, nil,
		func(b ingest.Batch) error { q.Look(b); return nil })
	if err != nil || report.Individuals != rows {
		t.Fatal(report, err)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapInuse > 64<<20 {
		t.Errorf("%d MiB are in use after %d rows", memory.HeapInuse>>20, rows)
	}
	for _, f := range q.Findings(report) {
		if f.Code == "household_two_heads" && f.Count == rows/4 {
			return
		}
	}
	t.Errorf("%v", q.Findings(report))
}
