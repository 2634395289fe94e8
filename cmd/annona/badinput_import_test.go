package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

// The bad input that loads meet, one test for each: what is wrong is said clearly, by row where it is
// a row, and nothing is half-applied. Areas in a circle: TestAreaCommands; a database that
// goes away: TestSyncSourceGoesAway, TestSyncFullSourceGoesAway.

// desk is a registry with a mapping for people, and a way to load files of them.
type desk struct {
	*testing.T
	data, folder string
}

func newDesk(t *testing.T, mapping string) desk {
	t.Helper()
	o := desk{t, newRegistry(t), t.TempDir()}
	o.write("mapping.yaml", mapping)
	return o
}

func (o desk) write(name, text string) string {
	o.Helper()
	path := filepath.Join(o.folder, name)
	writeFile(o, path, []byte(text))
	return path
}

func (o desk) load(files ...string) []string {
	return append([]string{"import", "--data", o.data, "--mapping", filepath.Join(o.folder, "mapping.yaml"), "--json"}, files...)
}

// names are the names on file, sorted.
func (o desk) names() (names []string) {
	o.Helper()
	must(o, "agreement", "apply", "--data", o.data, agreementFile("eligibility"))
	s := serveFolder(o, o.data, createKey(o, o.data, "eligibility").Key)
	defer s.stop()
	for r := range records(o, "ndjson", "individuals", s.export("individuals", about(eligibility, "format", "ndjson"))) {
		names = append(names, r.values["full_name"])
	}
	slices.Sort(names)
	return names
}

// TestBadInputKeyTwice: of rows of one key the first counts, near or far, in one file or two; the others
// are told by file and line, with that of the first. Rows that say the same are no matter.
func TestBadInputKeyTwice(t *testing.T) {
	t.Parallel()
	o := newDesk(t, peopleMapping)
	var many strings.Builder
	many.WriteString(peopleHeader + "1,Ama,1,\n2,Kofi,1,\n1,Efua,1,\n2,Kofi,1,\n")
	for i := range 3000 {
		fmt.Fprintf(&many, "far-%d,Yaw %d,1,\n", i, i)
	}
	a := o.write("a.csv", many.String())
	b := o.write("b.csv", peopleHeader+"3,Adwoa,1,\n2,Kwame,1,\nfar-0,Yaw 0,1,\nfar-1,Another,1,\n3,Adwoa,2,\n")
	out := must(t, o.load(a, b)...)
	var done struct {
		Created, Changed, Unchanged int
		LeftOut                     int      `json:"repeated_rows"`
		Repeats                     []repeat `json:"repeats"`
	}
	check(t, json.Unmarshal([]byte(out), &done))
	want := []repeat{{"a.csv", 4, "a.csv", 2}, {"b.csv", 3, "a.csv", 3}, {"b.csv", 5, "a.csv", 7}, {"b.csv", 6, "b.csv", 2}}
	if done.LeftOut != 4 || !slices.Equal(done.Repeats, want) {
		t.Errorf("left out %d: %v, want %v", done.LeftOut, done.Repeats, want)
	}
	if done.Created != 3003 || done.Changed != 0 || done.Unchanged != 2 {
		t.Errorf("created %d, changed %d, unchanged %d", done.Created, done.Changed, done.Unchanged)
	}
	names := o.names()
	for _, name := range []string{"Ama", "Kofi", "Adwoa", "Yaw 1"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not on file", name)
		}
	}
	for _, name := range []string{"Efua", "Kwame", "Another"} {
		if slices.Contains(names, name) {
			t.Errorf("%s is on file", name)
		}
	}
	plainly := command("import", "--data", o.data, "--mapping", filepath.Join(o.folder, "mapping.yaml"), a, b)
	if !strings.Contains(plainly.out, "line 3 of b.csv; line 3 of a.csv counts") {
		t.Errorf("printed:\n%s", plainly.out)
	}
	shown := must(t, "load", "list", "--data", o.data, "--json", "--limit", "1")
	if !strings.Contains(shown, `"repeated":4`) || !strings.Contains(shown, `{"dataset":"individuals","file":2,"line":3,"first":{"file":1,"line":3}}`) {
		t.Errorf("on file: %s", shown)
	}
}

// TestBadInputUnknownColumn: a mapping that names a column which the file does not have, and a field
// that the dictionary does not have.
func TestBadInputUnknownColumn(t *testing.T) {
	t.Parallel()
	o := newDesk(t, strings.Replace(peopleMapping, "full_name: name", "full_name: called", 1))
	file := o.write("a.csv", peopleHeader+"1,Ama,1,\n")
	if r := refused(t, "input_columns", o.load(file)...); !strings.Contains(r.err, "called") {
		t.Errorf("it does not name the column: %s", r.err)
	}
	o.write("mapping.yaml", strings.Replace(peopleMapping, "full_name: name", "called: name", 1))
	if r := refused(t, "mapping_malformed", o.load(file)...); !strings.Contains(r.err, "line 8") && !strings.Contains(r.err, "line 9") {
		t.Errorf("it does not name the line: %s", r.err)
	}
	if names := o.names(); len(names) > 0 {
		t.Errorf("on file: %v", names)
	}
}

// TestBadInputCodeTwice: a code list, a mapping and a crosswalk that lead one code to two.
func TestBadInputCodeTwice(t *testing.T) {
	t.Parallel()
	o := newDesk(t, strings.Replace(peopleMapping, "occupation: job", "sex: {column: job, codes: {m: male, m: female}}", 1))
	file := o.write("a.csv", peopleHeader+"1,Ama,m,\n")
	if r := command(o.load(file)...); r.code != exitFailure || !strings.Contains(r.err, "code: file_malformed") && !strings.Contains(r.err, "code: mapping_malformed") {
		t.Errorf("in a mapping: %s", r)
	}
	crosswalk := o.write("crosswalk.yaml", "source: office\nlist: sex\nversion: 1\ncodes: {m: male, ' m': female}\n")
	refused(t, "crosswalk_malformed", "crosswalk", "apply", "--data", o.data, crosswalk)
	list := o.write("dictionary.yaml", "country: GH\ncode_lists:\n  - name: gh_roof\n    version: 1\n    codes:\n      - {code: tin, label: Tin}\n      - {code: tin, label: Thatch}\n")
	refused(t, "code_twice", "dictionary", "apply", "--data", o.data, list)
	if names := o.names(); len(names) > 0 {
		t.Errorf("on file: %v", names)
	}
}

// TestBadInputIdentifiers: a check digit that fails, and a number longer than its pattern: the person
// loads, and the number is flagged.
func TestBadInputIdentifiers(t *testing.T) {
	t.Parallel()
	o := newDesk(t, peopleMapping)
	declared := o.write("dictionary.yaml", "country: GH\nidentifier_types:\n  - {code: national_id_number, pattern: '[0-9]{10}', check: luhn, max_length: 10}\n")
	must(t, "dictionary", "apply", "--data", o.data, declared)
	file := o.write("a.csv", peopleHeader+"1,Ama,1,7992739871\n2,Kofi,1,79927398710000\n3,Efua,1,\n")
	out := must(t, o.load(file)...)
	if shown := must(t, "load", "list", "--data", o.data, "--json", "--limit", "1"); !strings.Contains(shown, `"misfits":2`) {
		t.Errorf("%s\n%s", out, shown)
	}
	if names := o.names(); len(names) != 3 {
		t.Errorf("on file: %v", names)
	}
}

// TestBadInputDayOfPagumen: there is no 30 Pagumen, the thirteenth month; the date is not taken, and
// kept as it was written.
func TestBadInputDayOfPagumen(t *testing.T) {
	t.Parallel()
	o := newDesk(t, strings.Replace(peopleMapping, "occupation: job", "date_of_birth: {column: job, calendar: ethiopic, format: YYYY-MM-DD}", 1))
	file := o.write("a.csv", peopleHeader+"1,Ama,1970-13-30,\n2,Kofi,1970-13-05,\n")
	r := parseImport(t, must(t, o.load(file)...))
	if r.Created != 2 || r.Flags["value_malformed:date_of_birth"] != 1 {
		t.Errorf("%+v", r)
	}
}

// TestBadInputEmptyFullLoad: a full load of an empty file, of a header alone, and of rows that are all
// refused deletes nobody.
func TestBadInputEmptyFullLoad(t *testing.T) {
	t.Parallel()
	o := newDesk(t, peopleMapping)
	must(t, o.load(o.write("a.csv", peopleHeader+"1,Ama,1,\n2,Kofi,1,\n"))...)
	for code, text := range map[string]string{"input_empty": "", "full_load_empty": peopleHeader} {
		refused(t, code, append(o.load(o.write("b.csv", text)), "--mode", "full", "--delete-guard", "100%")...)
	}
	refused(t, "full_load_empty", append(o.load(o.write("b.csv", peopleHeader+",Ama,1,\n")), "--mode", "full", "--delete-guard", "100%")...)
	if names := o.names(); !slices.Equal(names, []string{"Ama", "Kofi"}) {
		t.Errorf("on file: %v", names)
	}
}

// TestBadInputFileGrows: a file that has more rows when a full load reads it for the second time deletes
// nobody, and says why.
func TestBadInputFileGrows(t *testing.T) {
	t.Parallel()
	o := newDesk(t, peopleMapping)
	must(t, o.load(o.write("a.csv", peopleHeader+"1,Ama,1,\n2,Kofi,1,\n"))...)
	passes := 0
	growing := func() (io.ReadCloser, error) {
		passes++
		text := peopleHeader + "1,Ama,1,\n"
		if passes > 1 {
			text += "3,Efua,1,\n"
		}
		return io.NopCloser(bytes.NewBufferString(text)), nil
	}
	if err := o.fullLoadOf(growing); err == nil || !strings.Contains(err.Error(), "changed while they were read") {
		t.Errorf("a file that grows: %v", err)
	}
	if names := o.names(); !slices.Contains(names, "Kofi") {
		t.Errorf("on file: %v", names)
	}
}

// fullLoadOf loads what open reads, at each pass anew.
func (o desk) fullLoadOf(open func() (io.ReadCloser, error)) error {
	o.Helper()
	return dataFlag{Data: o.data}.with(o.Context(), func(f *folder) error {
		i := importCommand{Mapping: filepath.Join(o.folder, "mapping.yaml"), Mode: exchange.ModeFull, Guard: 100}
		m, err := i.readMapping(o.Context(), f)
		check(o, err)
		w, err := i.startWriting(o.Context(), f, m)
		check(o, err)
		read := func(yield func(ingest.Batch) error) (ingest.Report, error) {
			return ingest.Read(o.Context(), m, []ingest.Source{{Name: "a.csv", Open: open}}, nil, nil, yield)
		}
		check(o, w.FirstPass(o.Context(), i.Mode, func(yield func(ingest.Batch) error) error { _, err := read(yield); return err }))
		report, err := read(w.Write)
		_, err = w.Finish(o.Context(), report, err)
		return err
	})
}
