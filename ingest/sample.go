package ingest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// Bounds of a sample: what is looked at to suggest a mapping, however large the file is.
const (
	sampleBytes = 4 << 20
	sampleRows  = 5000
	sampleCells = 2 << 20
)

// Sample is the beginning of a file, read without a mapping.
type Sample struct {
	Name      string
	Format    string // csv or ndjson
	Delimiter byte   // of csv
	Table
}

// Beginning returns the first complete rows of a source, some MiB of them, held in memory. The
// source is opened once.
func Beginning(s Source) (Source, error) {
	opened, err := openSource(s)
	if err != nil {
		return Source{}, err
	}
	defer opened.Close()
	head, err := io.ReadAll(io.LimitReader(opened, sampleBytes+1))
	if err != nil {
		return Source{}, unreadable(s, err)
	}
	if len(head) > sampleBytes {
		head = head[:bytes.LastIndexByte(head[:sampleBytes], '\n')+1]
	}
	return Source{Name: s.Name, Size: int64(len(head)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }}, nil
}

// Table is rows with columns, and the lists of objects that stand in them.
type Table struct {
	Each    string // path of the list in the row around it; empty for the rows of the file
	Columns []string
	Rows    [][]string // as long as Columns, or shorter: what is behind is empty
	Lists   []*Table   // of ndjson

	places map[string]int // of the columns
}

// ReadSample reads the beginning of a file. A delimiter is found by trying; a file that is
// neither CSV nor NDJSON in UTF-8 is refused, and what it looks like is said.
func ReadSample(s Source) (Sample, error) {
	opened, err := openSource(s)
	if err != nil {
		return Sample{}, err
	}
	defer opened.Close()
	head, err := opened.Peek(opened.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return Sample{}, unreadable(s, err)
	}
	if err := recognizable(s, head); err != nil {
		return Sample{}, err
	}
	rest := io.LimitReader(opened, sampleBytes)
	if bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) {
		return sampleNDJSON(s, rest)
	}
	return sampleCSV(s, rest, findDelimiter(head))
}

// recognizable refuses what no reader could make rows of.
func recognizable(s Source, head []byte) error {
	if cut := bytes.LastIndexByte(head, '\n'); cut > 0 {
		head = head[:cut]
	}
	refuse := func(code, message string) error { return annona.Invalid(code, "%s", message).On(s.Name) }
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		return refuse("input_empty", "the file is empty: a csv file has at least a header")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xD0\xCF\x11\xE0")):
		return refuse("input_binary", "the file is a spreadsheet or an archive; save the sheet as CSV in UTF-8")
	case bytes.IndexByte(head, 0) >= 0:
		return refuse("input_binary", "the file is binary; a source is CSV or NDJSON in UTF-8")
	case bytes.HasPrefix(bytes.TrimSpace(head), []byte("[")):
		return refuse("input_json_array", "the file is one JSON array; write one object per line, as in `jq -c '.[]'`")
	case !utf8.Valid(head) && !cutRune(head):
		return refuse("input_encoding", "the file is not UTF-8; it looks like "+looksLike(head))
	}
	return nil
}

// cutRune reports whether head is UTF-8 but for a character cut at its end.
func cutRune(head []byte) bool {
	for n := 1; n < utf8.UTFMax && n < len(head); n++ {
		if utf8.Valid(head[:len(head)-n]) {
			return len(head) == peeked
		}
	}
	return false
}

// looksLike guesses an encoding of one byte per character, and says how to convert it.
func looksLike(text []byte) string {
	high := 0
	for _, c := range text {
		if c >= 0x80 {
			high++
		}
	}
	if 4*high > len(text) { // a script of its own, and not accents here and there
		return "Windows-1256 (Arabic) or another code page; convert it first, as in iconv -f WINDOWS-1256 -t UTF-8"
	}
	return "Windows-1252 (Western Europe); convert it first, as in iconv -f WINDOWS-1252 -t UTF-8"
}

// findDelimiter returns the delimiter that cuts the first rows into the most cells, equally
// many in each.
func findDelimiter(head []byte) byte {
	best, most := byte(','), 1
	for _, comma := range []byte{',', ';', '\t', '|'} {
		rows := csvReader{window: newWindow(bytes.NewReader(head)), comma: comma}
		if !rows.next() || rows.fault != "" || len(rows.cells) <= most {
			continue
		}
		columns, alike, read := len(rows.cells), 0, 0
		for read < 50 && rows.next() {
			read++
			if rows.fault == "" && len(rows.cells) == columns {
				alike++
			}
			if rows.fault != "" {
				_ = rows.take(nil, 0) // nowhere
			}
		}
		if 5*alike >= 4*(read-1) { // the last row may be cut
			best, most = comma, columns
		}
	}
	return best
}

func sampleCSV(s Source, src io.Reader, comma byte) (Sample, error) {
	sample := Sample{Name: s.Name, Format: FormatCSV, Delimiter: comma}
	rows := &csvReader{window: newWindow(src), comma: comma}
	if !rows.next() {
		return sample, unreadable(s, rows.err)
	}
	if rows.fault != "" {
		return sample, annona.Invalid("input_header", "the header of the file cannot be read (%s)", rows.fault).On(s.Name)
	}
	sample.Columns = rows.header()
	if headless(sample.Columns) {
		return sample, annona.Invalid("input_header", "the first row of the file looks like data; a csv file begins with the names of its columns").On(s.Name)
	}
	rows.count = len(sample.Columns)
	wanted := make([]int, rows.count)
	for i := range wanted {
		wanted[i] = i
	}
	limit := min(sampleRows, max(sampleCells/rows.count, 100))
	for len(sample.Rows) < limit && rows.next() {
		if rows.fault == reasonEncoding {
			return sample, annona.Invalid("input_encoding", "the file is not UTF-8; it looks like %s", looksLike(rows.rest()[:rows.size])).On(s.Name)
		}
		if rows.fault != "" {
			if err := rows.take(nil, 0); err != nil {
				return sample, err
			}
			continue
		}
		sample.Rows = append(sample.Rows, slices.Clone(rows.texts(nil, wanted)))
	}
	return sample, nil
}

// headless reports whether a first row holds data: numbers and dates name no columns.
func headless(cells []string) bool {
	data := 0
	for _, text := range cells {
		text = plainDate(text)
		if text != "" && strings.Trim(text, "0123456789/.-+: ,") == "" {
			data++
		}
	}
	return 3*data > len(cells)
}

func sampleNDJSON(s Source, src io.Reader) (Sample, error) {
	sample := Sample{Name: s.Name, Format: FormatNDJSON}
	lines := newNDJSONReader(src)
	for cells := 0; len(sample.Rows) < sampleRows && cells < sampleCells && lines.next(); {
		if lines.fault != "" {
			if err := lines.take(nil); err != nil {
				return sample, err
			}
			continue
		}
		sample.add(lines.row)
		cells += len(sample.Columns)
	}
	if len(sample.Rows) == 0 {
		return sample, annona.Invalid("input_unreadable", "no line of the file is a JSON object").On(s.Name)
	}
	return sample, nil
}

// maxColumns bounds the columns of an object whose names are values.
const maxColumns = 10_000

// add makes a row of an object.
func (t *Table) add(object *jsonValue) {
	row := make([]string, len(t.Columns))
	t.walk("", object, &row)
	t.Rows = append(t.Rows, row)
}

func (t *Table) walk(path string, object *jsonValue, row *[]string) {
	for _, v := range object.byName() {
		at := strings.TrimPrefix(path+"."+v.name, ".")
		switch v.kind {
		case jsonObject:
			t.walk(at, v, row)
		case jsonList:
			if items, ok := elements(object, []string{v.name}); ok && len(items) > 0 {
				list := t.list(at)
				for _, item := range items {
					list.add(item)
				}
			} else if !ok {
				t.set(row, at, jsonText(v))
			}
		default:
			t.set(row, at, jsonText(v))
		}
	}
}

func (t *Table) list(path string) *Table {
	for _, l := range t.Lists {
		if l.Each == path {
			return l
		}
	}
	t.Lists = append(t.Lists, &Table{Each: path})
	return t.Lists[len(t.Lists)-1]
}

func (t *Table) set(row *[]string, column, text string) {
	if t.places == nil {
		t.places = map[string]int{}
	}
	i, known := t.places[column]
	if !known {
		if len(t.Columns) == maxColumns {
			return
		}
		i = len(t.Columns)
		t.places[column] = i
		t.Columns = append(t.Columns, column)
	}
	for len(*row) <= i {
		*row = append(*row, "")
	}
	(*row)[i] = text
}
