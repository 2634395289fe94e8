package ingest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// csvRow is what the reader says about one row.
type csvRow struct {
	line  int
	cells []string
	fault string
	raw   string // of a refused row
}

func readRows(t testing.TB, src io.Reader, count int) []csvRow {
	t.Helper()
	r := csvReader{window: newWindow(src), comma: ',', count: count}
	var rows []csvRow
	for r.next() {
		row := csvRow{line: r.line, fault: r.fault}
		if r.fault == "" {
			row.cells = r.header()
		} else {
			var raw strings.Builder
			if err := r.take(&raw, 0); err != nil {
				t.Fatal(err)
			}
			row.raw = raw.String()
		}
		rows = append(rows, row)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return rows
}

func TestCSVRows(t *testing.T) {
	ok := func(line int, cells ...string) csvRow { return csvRow{line: line, cells: cells} }
	refused := func(line int, fault, raw string) csvRow { return csvRow{line: line, fault: fault, raw: raw} }
	for name, test := range map[string]struct {
		in   string
		want []csvRow
	}{
		"plain":                  {"a,b\nc,d\n", []csvRow{ok(1, "a", "b"), ok(2, "c", "d")}},
		"crlf":                   {"a,b\r\nc,\"d\"\r\n", []csvRow{ok(1, "a", "b"), ok(2, "c", "d")}},
		"no line end at the end": {"a,b\nc,d", []csvRow{ok(1, "a", "b"), ok(2, "c", "d")}},
		"empty cells":            {",\n\"\",\"\"\n", []csvRow{ok(1, "", ""), ok(2, "", "")}},
		"empty lines":            {"\na,b\n\r\n\nc,d\n\n", []csvRow{ok(2, "a", "b"), ok(5, "c", "d")}},
		"quotes":                 {"\"a \"\"b\"\"\",\"c,d\"\n", []csvRow{ok(1, `a "b"`, "c,d")}},
		"a line end in quotes":   {"\"a\nb\",c\nd,e\n", []csvRow{ok(1, "a\nb", "c"), ok(3, "d", "e")}},
		"a quote in plain text":  {"5\" pipe,b\n", []csvRow{ok(1, `5" pipe`, "b")}},
		"spaces stay":            {" a , b\n", []csvRow{ok(1, " a ", " b")}},
		"too few cells":          {"a\nb,c\n", []csvRow{refused(1, reasonColumnCount, "a"), ok(2, "b", "c")}},
		"too many cells":         {"a,b,c\nb,c\n", []csvRow{refused(1, reasonColumnCount, "a,b,c"), ok(2, "b", "c")}},
		"text after a quote":     {"\"a\"x,b\nb,c\n", []csvRow{refused(1, reasonAfterQuote, "\"a\"x,b"), ok(2, "b", "c")}},
		"a quote never closed":   {"\"a,b\nb,c\nd,e", []csvRow{refused(1, reasonQuote, "\"a,b"), ok(2, "b", "c"), ok(3, "d", "e")}},
		"a quote closed by the next line": {"\"a,b\n\"b\",c\nd,e\n",
			[]csvRow{refused(1, reasonAfterQuote, "\"a,b"), ok(2, "b", "c"), ok(3, "d", "e")}},
		"a quote that swallows lines": {"\"a,b\nb,c\n\",d,e\nf,g\n",
			[]csvRow{refused(1, reasonColumnCount, "\"a,b"), ok(2, "b", "c"), refused(3, reasonQuote, "\",d,e"), ok(4, "f", "g")}},
		"nul":              {"a\x00,b\nc,d\n", []csvRow{refused(1, reasonControl, "a\x00,b"), ok(2, "c", "d")}},
		"escape":           {"a,\x1b[2J\nc,d\n", []csvRow{refused(1, reasonControl, "a,\x1b[2J"), ok(2, "c", "d")}},
		"a noncharacter":   {"a,\uFFFE\nc,d\n", []csvRow{refused(1, reasonControl, "a,\uFFFE"), ok(2, "c", "d")}},
		"latin-1 in utf-8": {"a,Jos\xe9\nc,é\n", []csvRow{refused(1, reasonEncoding, "a,Jos\xe9"), ok(2, "c", "é")}},
		"bidi controls":    {"a,\u202eb\n", []csvRow{ok(1, "a", "\u202eb")}},
		"nothing":          {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, src := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
				got := readRows(t, src, 2)
				if !slices.EqualFunc(got, test.want, equalRows) {
					t.Errorf("got  %+v\nwant %+v", got, test.want)
				}
			}
		})
	}
}

func equalRows(a, b csvRow) bool {
	return a.line == b.line && a.fault == b.fault && a.raw == b.raw && slices.Equal(a.cells, b.cells)
}

// A cell of 10 MB is refused in pieces; what is held of the file stays small.
func TestCSVHugeCell(t *testing.T) {
	huge := strings.Repeat("x", 10<<20)
	for name, line := range map[string]string{"plain": "k," + huge, "quoted": `k,"` + huge + `"`, "unclosed": `k,"` + huge} {
		t.Run(name, func(t *testing.T) {
			r := csvReader{window: newWindow(strings.NewReader(line + "\na,b\n")), comma: ',', count: 2}
			if !r.next() || r.fault != reasonCellTooLarge {
				t.Fatalf("fault %q", r.fault)
			}
			var raw bytes.Buffer
			if err := r.take(&raw, 0); err != nil {
				t.Fatal(err)
			}
			if raw.String() != line {
				t.Errorf("the refused row has %d bytes, want %d", raw.Len(), len(line))
			}
			if !r.next() || r.fault != "" || r.line != 2 || r.text(0) != "a" {
				t.Errorf("the row behind it: fault %q, line %d", r.fault, r.line)
			}
			if len(r.buf) > 2*maxRow {
				t.Errorf("the window grew to %d bytes", len(r.buf))
			}
		})
	}
}

func TestCSVLargestCell(t *testing.T) {
	fits, above := strings.Repeat("x", maxCell), strings.Repeat("x", maxCell+1)
	file := "a," + fits + "\na,\"" + fits + "\"\na," + above + "\na,\"" + above + "\"\n"
	want := []string{"", "", reasonCellTooLarge, reasonCellTooLarge}
	for i, row := range readRows(t, strings.NewReader(file), 2) {
		if row.fault != want[i] || row.fault == "" && row.cells[1] != fits {
			t.Errorf("row %d: fault %q", i+1, row.fault)
		}
	}
}

func TestCSVHugeRow(t *testing.T) {
	line := strings.Repeat(strings.Repeat("y", 1000)+",", 6000)
	got := readRows(t, strings.NewReader(line+"\na,b\n"), 2)
	if len(got) != 2 || got[0].fault != reasonRowTooLarge || got[0].raw != line || got[1].fault != "" {
		t.Errorf("%d rows, the first with fault %q", len(got), got[0].fault)
	}
}

func TestCSVBrokenFile(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("a,b\nc,d"), iotest.ErrReader(errors.New("the disk is gone")))
	r := csvReader{window: newWindow(broken), comma: ','}
	if !r.next() || r.text(1) != "b" {
		t.Error("the complete row is lost")
	}
	if r.next() || r.err == nil {
		t.Error("a row that is cut off was taken for a whole one")
	}
}

// What a strict writer wrote is read as encoding/csv reads it, whatever the pieces in which it
// arrives.
func TestCSVAgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringOfN(rapid.SampledFrom([]rune("ab,\"\n é\t")), 0, 6, -1)
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, 2, 2), 0, 8).Draw(t, "rows")
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		if err := w.WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		r := csvReader{window: newWindow(iotest.HalfReader(&file)), comma: ',', count: 2}
		for _, want := range rows {
			if !r.next() || r.fault != "" || !slices.Equal(r.header(), want) {
				t.Fatalf("want %q, fault %q", want, r.fault)
			}
		}
		if r.next() {
			t.Fatal("a row too many")
		}
	})
}

// FuzzCSV holds the reader to encoding/csv on what that accepts, and to its own promises on
// everything: it ends, and each byte of a line is in a row or in a refused row.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\nc,d\n", "\"a\"\"b\",c\r\n", "\"a\nb\",c", "\"a,b\nc,d\n", "a\"b,c\n", "\r\n\r\n", "\"\"x", "é,\x00\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got := readRows(t, bytes.NewReader(file), 0)
		for _, row := range got {
			if (row.fault == "") != (row.cells != nil) {
				t.Fatalf("line %d is neither read nor refused", row.line)
			}
		}
		standard := csv.NewReader(bytes.NewReader(file))
		standard.FieldsPerRecord = -1
		want, err := standard.ReadAll()
		if err != nil || hasControl(file) || bytes.Contains(file, []byte{'\r'}) {
			return
		}
		read := slices.DeleteFunc(slices.Clone(got), func(row csvRow) bool { return row.fault != "" })
		if len(read) != len(got) {
			if !slices.ContainsFunc(got, func(row csvRow) bool { return row.fault == reasonEncoding }) {
				t.Fatal("a row was refused that encoding/csv reads")
			}
			return
		}
		if len(read) != len(want) {
			t.Fatalf("%d rows, want %d", len(read), len(want))
		}
		for i := range want {
			if !slices.Equal(read[i].cells, want[i]) {
				t.Fatalf("row %d: %q, want %q", i, read[i].cells, want[i])
			}
		}
	})
}
