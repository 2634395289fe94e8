package encode

import (
	"fmt"
	"io"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// benchmarkRows is the size of a page of an export.
const benchmarkRows = 16384

// benchmarkPage is a page of 23 columns as an eligibility program asks for them. The names
// come in two scripts, a few of them with a comma or a quote.
func benchmarkPage(b *testing.B) *privacy.Disclosed {
	d := annona.Standard()
	shape := shapeOf(b, d, "individuals",
		"individual_id", "household_id", "role", "role_source_code", "relationship_to_head", "area_code", "registration_date",
		"full_name", "given_name", "family_name", "sex", "sex_source_code", "date_of_birth", "date_of_birth_precision",
		"vital_status", "marital_status", "education_level", "in_school", "employment_status", "occupation",
		"income_amount", "phone_numbers", "full_address")
	if len(shape.Columns) != 23 {
		b.Fatalf("%d columns", len(shape.Columns))
	}
	given := []string{"Abena", "Kwame", "አበበ", "Fatima", "Yaw", "Aïssatou", "سليمان"}
	records := make([]item, benchmarkRows)
	for i := range records {
		name := given[i%len(given)]
		address := fmt.Sprintf("%d Station Road", i%211)
		if i%16 == 0 {
			address = fmt.Sprintf("%d, Station Road, \"Block B\"", i%211)
		}
		records[i] = item{
			"individual_id": id("PAB"), "household_id": id("HAB"), "role": "child", "role_source_code": "3",
			"area_code": "GH0102", "registration_date": "2024-05-17", "full_name": name + " Mensah", "given_name": name,
			"family_name": "Mensah", "sex": "female", "sex_source_code": "2", "date_of_birth": "1994-06-30",
			"date_of_birth_precision": "age_stated", "vital_status": "alive", "marital_status": "never_married",
			"education_level": "primary", "in_school": "false", "employment_status": "employed", "occupation": "elementary_occupations",
			"income_amount": "576.72", "phone_numbers": []string{"+233201234567"}, "full_address": address,
		}
	}
	return disclose(d, shape, records)
}

func benchmark(b *testing.B, o Options) {
	disclosed := benchmarkPage(b)
	parts, err := Parts(disclosed.Shape(), o)
	if err != nil {
		b.Fatal(err)
	}
	counter := &countingWriter{}
	e, err := New(counter, parts, o)
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Begin(0); err != nil {
		b.Fatal(err)
	}
	if err := e.Page(disclosed); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	counter.n = 0
	for b.Loop() {
		if err := e.Page(disclosed); err != nil {
			b.Fatal(err)
		}
	}
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)*benchmarkRows/seconds, "rows/s")
	b.ReportMetric(float64(counter.n)/1e6/seconds, "MB/s")
	b.ReportMetric(0, "ns/op")
}

// countingWriter is /dev/null that counts. It copies, as a socket would read, nothing.
type countingWriter struct{ n int64 }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return io.Discard.Write(p)
}

func BenchmarkCSV(b *testing.B)            { benchmark(b, Options{Format: CSV}) }
func BenchmarkCSVSpreadsheet(b *testing.B) { benchmark(b, Options{Format: CSV, Profile: Spreadsheet}) }
func BenchmarkCSVZip(b *testing.B)         { benchmark(b, Options{Format: CSV, Layout: Linked}) }
func BenchmarkJSON(b *testing.B)           { benchmark(b, Options{Format: JSON}) }
func BenchmarkNDJSON(b *testing.B)         { benchmark(b, Options{Format: NDJSON}) }
func BenchmarkXML(b *testing.B)            { benchmark(b, Options{Format: XML}) }
