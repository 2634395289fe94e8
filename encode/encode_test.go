package encode

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
)

func allOptions() map[string]Options {
	return map[string]Options{
		"json": {Format: JSON, Schema: "households/3"}, "ndjson": {Format: NDJSON}, "xml": {Format: XML, Schema: "households/3"},
		"plain": {Format: CSV, Layout: Plain}, "flat": {Format: CSV, Layout: Flat}, "linked": {Format: CSV, Layout: Linked},
	}
}

// Until the first page is written the answer can still become an error.
func TestNothingBeforeFirstPage(t *testing.T) {
	d := annona.Standard()
	for name, o := range allOptions() {
		var out bytes.Buffer
		parts, err := Parts(sampleShape(t, d), o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(&out, parts, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Begin(0); err != nil {
			t.Fatal(err)
		}
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes before the first page", name, out.Len())
		}
	}
}

// When Page returns, its rows were handed to the writer.
func TestPageIsDelivered(t *testing.T) {
	d := annona.Standard()
	for _, o := range []Options{{Format: JSON}, {Format: XML}, {Format: NDJSON}, {Format: CSV, Layout: Plain}} {
		var out bytes.Buffer
		encodeTo(t, &out, d, sampleShape(t, d), sampleRecords(), 2, o)
		if !strings.Contains(out.String(), id("HB")) {
			t.Errorf("%s: the last record is still held back", o.Format)
		}
	}
}

// pieces remembers the sizes of what was written.
type pieces struct{ sizes []int }

func (w *pieces) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return len(p), nil
}

// A large page leaves in pieces of 64 KiB, however large it is.
func TestPieces(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name")
	var records []item
	for range 9000 {
		records = append(records, item{"individual_id": id("PA"), "full_name": "Abena Mensah"})
	}
	for _, format := range []Format{JSON, XML, NDJSON, CSV} {
		var out pieces
		encodeTo(t, &out, d, shape, records, len(records), Options{Format: format})
		for i, size := range out.sizes {
			if size > flushSize+1000 || size < flushSize && i < len(out.sizes)-1 {
				t.Errorf("%s: piece %d of %d has %d bytes", format, i, len(out.sizes), size)
			}
		}
	}
}

// An answer that was aborted is no document: readers notice.
func TestAborted(t *testing.T) {
	d := annona.Standard()
	written := map[string][]byte{}
	for name, o := range allOptions() {
		var out bytes.Buffer
		encodeTo(t, &out, d, sampleShape(t, d), sampleRecords(), 1, o)
		written[name] = out.Bytes()
	}
	if json.Valid(written["json"]) {
		t.Error("the JSON document is closed")
	}
	if xml.Unmarshal(written["xml"], new(element)) == nil {
		t.Error("the XML document is closed")
	}
	if _, err := zip.NewReader(bytes.NewReader(written["linked"]), int64(len(written["linked"]))); err == nil {
		t.Error("the zip has a directory")
	}
}

func TestMisuse(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "household_id", "members.individual_id")
	page := disclose(d, shape, []item{{"household_id": id("HA")}})
	begin := func(part int) func(Encoder) error { return func(e Encoder) error { return e.Begin(part) } }
	write := func(e Encoder) error { return e.Page(page) }
	end := func(e Encoder) error { return e.End() }
	for name, calls := range map[string][]func(Encoder) error{
		"page before begin":          {write},
		"end before begin":           {end},
		"end before the last part":   {begin(0), end},
		"second part first":          {begin(1)},
		"part twice":                 {begin(0), begin(0)},
		"part beyond the last":       {begin(0), begin(1), begin(2)},
		"page after the end":         {begin(0), begin(1), end, write},
		"end twice":                  {begin(0), begin(1), end, end},
		"a failed encoder goes on":   {begin(0), begin(0), write},
		"a failed encoder completes": {begin(0), begin(0), end},
	} {
		o := Options{Format: CSV}
		parts, err := Parts(shape, o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(io.Discard, parts, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			err = call(e)
		}
		if annona.KindOf(err) != annona.KindInternal || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Columns are fixed before the first row: a page without one of them is refused, what a page
// has beyond them is not written.
func TestColumnsAreFixed(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name", "identifiers.value")
	record := item{
		"individual_id": id("PA"), "full_name": "Abena", "sex": "female", "religion": "none",
		"identifiers": []item{{"scheme": "national_id", "value": "7"}},
	}
	wider := shapeOf(t, d, "individuals", "individual_id", "religion", "sex", "full_name", "functioning.domain", "identifiers.scheme", "identifiers.value")
	lacking := []*annona.Shape{
		shapeOf(t, d, "individuals", "individual_id", "identifiers.value"),
		shapeOf(t, d, "individuals", "individual_id", "full_name", "identifiers.scheme"),
		shapeOf(t, d, "individuals", "individual_id", "full_name"),
	}
	for _, o := range []Options{{Format: JSON}, {Format: XML}, {Format: NDJSON}, {Format: CSV, Layout: Linked}} {
		want, _ := write(t, d, shape, []item{record, record}, 1, o)
		parts, err := Parts(shape, o)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		e, _ := New(&out, parts, o)
		for i := range parts {
			err = errors.Join(err, e.Begin(i), e.Page(disclose(d, wider, []item{record})), e.Page(disclose(d, shape, []item{record})))
		}
		if err = errors.Join(err, e.End()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s: a wider page is written differently:\n%s", o.Format, diff)
		}
		if got := pagesRefused(t, d, parts, o, lacking, record); got == 0 {
			t.Errorf("%s: pages without a column of their part are written", o.Format)
		}
	}
}

func pagesRefused(t *testing.T, d *annona.Dictionary, parts []Part, o Options, shapes []*annona.Shape, record item) (refused int) {
	for _, shape := range shapes {
		e, _ := New(io.Discard, parts, o)
		var err error
		for i := range parts {
			err = errors.Join(err, e.Begin(i), e.Page(disclose(d, shape, []item{record})))
		}
		if err == nil {
			t.Errorf("%s: a page without a column of its part is written", o.Format)
			continue
		}
		refused++
	}
	return refused
}

var errDisk = errors.New("no space left")

// brokenWriter takes so many bytes and then fails.
type brokenWriter struct{ room int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return w.room, errDisk
	}
	w.room -= len(p)
	return len(p), nil
}

// A writer that fails ends the answer for good, wherever it fails.
func TestWriterFails(t *testing.T) {
	d := annona.Standard()
	shape, records := sampleShape(t, d), sampleRecords()
	for name, o := range allOptions() {
		whole, _ := write(t, d, shape, records, 1, o)
		for room := 0; room < len(whole); room += 97 {
			err := drive(t, d, &brokenWriter{room: room}, shape, records, o)
			if !errors.Is(err, errDisk) {
				t.Fatalf("%s: %v with room for %d of %d bytes", name, err, room, len(whole))
			}
		}
	}
}

// drive writes an answer and stops at the first error.
func drive(t *testing.T, d *annona.Dictionary, w io.Writer, shape *annona.Shape, records []item, o Options) error {
	parts, err := Parts(shape, o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(w, parts, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range parts {
		if err := e.Begin(i); err != nil {
			return err
		}
		if err := e.Page(disclose(d, part.Shape, records)); err != nil {
			if again := e.Page(disclose(d, part.Shape, records)); again != err {
				t.Errorf("%v after %v", again, err)
			}
			return err
		}
	}
	return e.End()
}
