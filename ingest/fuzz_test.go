package ingest_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/annona-exchange/annona/ingest"
)

// FuzzReadCSV and FuzzReadNDJSON feed arbitrary rows: each is loaded or refused, and what is
// loaded is canonical.
func FuzzReadCSV(f *testing.F) {
	m := parse(f, flat)
	f.Add("7,Kibo,A,h,Ada,female\n")
	f.Add("7,\"Ki\nbo\",A,h,\"A\"\"da\",F\n,,,,,\n\"7,Kibo\n")
	f.Fuzz(func(t *testing.T, rows string) {
		fuzzRead(t, m, "hh,village,area,role,name,sex\n"+rows)
	})
}

func FuzzReadNDJSON(f *testing.F) {
	m := mappingFile(f, "../examples/nested/mapping.yaml")
	text, err := os.ReadFile("../examples/nested/households.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f.Add(line)
	}
	f.Add(`{"reject":{"line":3,"key":"a"},"row":{"household_uuid":1}}`)
	f.Fuzz(func(t *testing.T, rows string) { fuzzRead(t, m, rows) })
}

func fuzzRead(t *testing.T, m *ingest.Mapping, text string) {
	rows := 0
	rejects := ingest.NewRejects(func(string, string) (io.Writer, error) { return io.Discard, nil })
	var all batches
	report, err := ingest.Read(context.Background(), m, []ingest.Source{source("fuzz", text)}, nil, rejects, func(b ingest.Batch) error {
		rows += b.Rows
		return all.add(b)
	})
	if err != nil {
		return
	}
	if rows != report.Rows || rejects.Count() != report.Rejected || report.Rejected > report.Rows {
		t.Errorf("report %+v, %d rows in batches, %d refused", report, rows, rejects.Count())
	}
	if len(all.individuals) != report.Individuals || len(all.households) != report.Households {
		t.Errorf("report %+v", report)
	}
	checkCanonical(t, all)
}
