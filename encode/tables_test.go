package encode

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// Every layout of workbooks and Parquet files holds every value, under the keys of what it lies in.
func TestTablesRoundTrip(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		dataset := rapid.SampledFrom([]string{"individuals", "households"}).Draw(r, "dataset")
		shape := nastyShape(r, d, dataset, 2)
		records := nastyItems(r, shape, 4)
		pageRows := rapid.IntRange(1, 5).Draw(r, "page rows")
		o := Options{Layout: rapid.SampledFrom([]Layout{Linked, Plain}).Draw(r, "layout"), Modified: day()}
		for format, read := range map[Format]func([]byte, []Part) ([][]item, error){XLSX: readWorkbook, Parquet: readParquet} {
			o.Format = format
			parts, err := Parts(shape, o)
			if err != nil {
				r.Fatal(err)
			}
			document, altered := write(t, d, shape, records, pageRows, o)
			got, err := read(document, parts)
			if err != nil {
				r.Fatalf("%s: %v", format, err)
			}
			for i, part := range parts {
				name := strings.TrimSuffix(part.Name, ".parquet")
				same(r, string(format)+" "+name, expectedRows(name, part.Header(), shape, records), got[i], nil)
			}
			if altered != 0 {
				r.Fatalf("%s altered %d cells", format, altered)
			}
		}
	})
}

// A flat table has one row for each member, and one for a household without.
func TestFlatTables(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "household_id", "area_code", "members.individual_id", "members.date_of_birth")
	records := []item{
		{"household_id": id("HA"), "area_code": "GH0102", "members": []item{
			{"individual_id": id("PA"), "date_of_birth": "1980-02-29"}, {"individual_id": id("PB")},
		}},
		{"household_id": id("HB")},
	}
	want := []item{
		{"household_id": id("HA"), "area_code": "GH0102", "member_individual_id": id("PA"), "member_date_of_birth": "1980-02-29"},
		{"household_id": id("HA"), "area_code": "GH0102", "member_individual_id": id("PB")},
		{"household_id": id("HB")},
	}
	for format, read := range map[Format]func([]byte, []Part) ([][]item, error){XLSX: readWorkbook, Parquet: readParquet} {
		o := Options{Format: format, Layout: Flat}
		parts, err := Parts(shape, o)
		if err != nil {
			t.Fatal(err)
		}
		document, _ := write(t, d, shape, records, 1, o)
		got, err := read(document, parts)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got[0]) != fmt.Sprint(want) {
			t.Errorf("%s: %v instead of %v", format, got[0], want)
		}
	}
}

// Identifiers keep their leading zeros because their cells are text, formulas stay what was
// written, and nothing has to be altered for it.
func TestWorkbookTakesTextForText(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name", "family_size", "in_school", "date_of_birth", "income_amount")
	long := strings.Repeat("é", maxCellUnits+1)
	document, altered := write(t, d, shape, []item{
		{"individual_id": id("PA"), "full_name": "=1+1", "date_of_birth": "1900-02-28", "income_amount": "1234567890123.45", "in_school": "true"},
		{"individual_id": id("PB"), "full_name": "007", "date_of_birth": "1900-03-01", "income_amount": "12345678901234.56", "in_school": "false"},
		{"individual_id": id("PC"), "full_name": long, "date_of_birth": "2026-03-01", "income_amount": "-0.5"},
		{"individual_id": id("PD"), "full_name": "_x0041_ a_x00e9_b _x12_"},
	}, 10, Options{Format: XLSX, Modified: day()})
	sheet := string(entry(t, document, "xl/worksheets/sheet1.xml"))
	for _, cell := range []string{
		`t="inlineStr"><is><t xml:space="preserve">=1+1</t></is></c>`,
		`t="inlineStr"><is><t xml:space="preserve">007</t></is></c>`,
		`s="2" t="inlineStr"><is><t xml:space="preserve">1900-02-28</t></is></c>`, // a spreadsheet has no number for it
		`s="3"><v>61</v></c>`,
		`s="3"><v>46082</v></c>`,
		`<v>1234567890123.45</v>`,
		`<t xml:space="preserve">12345678901234.56</t>`, // 16 digits would be rounded
		`<v>-0.5</v>`,
		`t="b"><v>1</v></c>`, `t="b"><v>0</v></c>`,
		`>` + long[:2*maxCellUnits] + `</t>`,
		`>_x005F_x0041_ a_x005F_x00e9_b _x12_</t>`,
	} {
		if !strings.Contains(sheet, cell) {
			t.Errorf("the sheet has no cell %.80s", cell)
		}
	}
	if altered != 1 {
		t.Errorf("%d cells altered instead of the one that no cell holds", altered)
	}
}

// TestDecimalsOfParquet reads decimals back as readers do: nine bytes, big-endian, in two's complement.
func TestDecimalsOfParquet(t *testing.T) {
	for text, want := range map[string]int64{"12.5": 1250, "0": 0, "-0.01": -1, "-7": -700, "-0.5": -50, "92233720368547758.07": math.MaxInt64, "-92233720368547758.08": math.MinInt64} {
		value, ok := decimalValue([]byte(text), 2)
		raw := value.ByteArray()
		n := new(big.Int).SetBytes(raw)
		if len(raw) == 9 && raw[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 72))
		}
		if !ok || len(raw) != 9 || n.Cmp(big.NewInt(want)) != 0 {
			t.Errorf("%s is written as %x, %v", text, raw, ok)
		}
	}
	for _, text := range []string{"1.234", "x", "1e3", "92233720368547758.08"} {
		if _, ok := decimalValue([]byte(text), 2); ok {
			t.Errorf("%s is a decimal of two digits", text)
		}
	}
}

// A table that is longer than a sheet goes on in the next one, each with its header.
func TestWorkbookSplitsSheets(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "date_of_birth")
	o := Options{Format: XLSX, Modified: day()}
	parts, err := Parts(shape, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e, err := New(&out, parts, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Begin(0); err != nil {
		t.Fatal(err)
	}
	const pageRows, rows = 1 << 14, maxSheetRows + 10
	record := item{"individual_id": id("PA"), "date_of_birth": "2026-03-01"}
	for written := 0; written < rows; written += pageRows {
		page := slices.Repeat([]item{record}, min(pageRows, rows-written))
		if err := e.Page(disclose(d, shape, page)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.End(); err != nil {
		t.Fatal(err)
	}
	list := string(entry(t, out.Bytes(), "xl/workbook.xml"))
	if !strings.Contains(list, `name="individuals"`) || !strings.Contains(list, `name="individuals 2"`) {
		t.Fatalf("the sheets are %s", list)
	}
	for n, want := range map[int]int{1: maxSheetRows, 2: 10 + 2} {
		sheet := entry(t, out.Bytes(), sheetPath(n))
		if got := bytes.Count(sheet, []byte("<row ")); got != want {
			t.Errorf("sheet %d has %d rows instead of %d", n, got, want)
		}
		if !bytes.Contains(sheet, []byte(">individual_id</t>")) {
			t.Errorf("sheet %d has no header", n)
		}
	}
}

// A broken-off file opens nowhere.
func TestBrokenTablesDoNotOpen(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "individual_id", "full_name")
	for format, read := range map[Format]func([]byte, []Part) ([][]item, error){XLSX: readWorkbook, Parquet: readParquet} {
		var out bytes.Buffer
		o := Options{Format: format}
		encodeTo(t, &out, d, shape, []item{{"individual_id": id("PA")}}, 1, o) // no End
		parts, _ := Parts(shape, o)
		if _, err := read(out.Bytes(), parts); err == nil {
			t.Errorf("%s: part of a file was read as a file", format)
		}
	}
}

// entry returns one file of a zip.
func entry(t *testing.T, document []byte, name string) []byte {
	t.Helper()
	for _, f := range unzip(t, document) {
		if f.name == name {
			return f.content
		}
	}
	t.Fatalf("the zip has no %s", name)
	return nil
}

type xlsxSheets struct {
	Sheets []struct {
		Name string `xml:"name,attr"`
		ID   string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
	} `xml:"sheets>sheet"`
}

type xlsxRelations struct {
	Relations []struct {
		ID     string `xml:"Id,attr"`
		Target string `xml:"Target,attr"`
	} `xml:"Relationship"`
}

type xlsxRows struct {
	Rows []struct {
		Number int `xml:"r,attr"`
		Cells  []struct {
			Reference string `xml:"r,attr"`
			Style     string `xml:"s,attr"`
			Type      string `xml:"t,attr"`
			Value     string `xml:"v"`
			Text      string `xml:"is>t"`
		} `xml:"c"`
	} `xml:"sheetData>row"`
}

// readWorkbook reads the sheets of a workbook as ECMA-376 says where they lie.
func readWorkbook(document []byte, parts []Part) ([][]item, error) {
	files, err := readZip(document)
	if err != nil {
		return nil, err
	}
	var list xlsxSheets
	var relations xlsxRelations
	if err := xml.Unmarshal(files["xl/workbook.xml"], &list); err != nil {
		return nil, err
	}
	if err := xml.Unmarshal(files["xl/_rels/workbook.xml.rels"], &relations); err != nil {
		return nil, err
	}
	if len(list.Sheets) != len(parts) {
		return nil, fmt.Errorf("%d sheets of %d parts", len(list.Sheets), len(parts))
	}
	var tables [][]item
	for i, sheet := range list.Sheets {
		if sheet.Name != parts[i].Name {
			return nil, fmt.Errorf("sheet %s instead of %s", sheet.Name, parts[i].Name)
		}
		target := ""
		for _, r := range relations.Relations {
			if r.ID == sheet.ID {
				target = strings.TrimPrefix(r.Target, "/")
			}
		}
		rows, err := readSheet(files[target], columnsOf(parts[i]))
		if err != nil {
			return nil, err
		}
		tables = append(tables, rows)
	}
	return tables, nil
}

func readSheet(document []byte, columns []*annona.Field) ([]item, error) {
	var sheet xlsxRows
	if err := xml.Unmarshal(document, &sheet); err != nil {
		return nil, err
	}
	rows := []item{}
	var header []string
	for n, r := range sheet.Rows {
		if r.Number != n+1 {
			return nil, fmt.Errorf("row %d is numbered %d", n+1, r.Number)
		}
		row := item{}
		for _, c := range r.Cells {
			column := 0
			for _, letter := range strings.TrimRight(c.Reference, "0123456789") {
				column = column*26 + int(letter-'A') + 1
			}
			text := strings.ReplaceAll(c.Text, "_x005F_", "_")
			switch {
			case c.Type == "b":
				text = map[string]string{"0": "false", "1": "true"}[c.Value]
			case c.Type != "inlineStr" && c.Style == "":
				text = c.Value
			case c.Type != "inlineStr":
				text = readSerial(c.Value, c.Style == "4")
			}
			if n == 0 {
				header = append(header, text)
				continue
			}
			if columns[column-1].Many {
				row[header[column-1]] = strings.Split(text, ";")
			} else {
				row[header[column-1]] = text
			}
		}
		if n > 0 {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// readSerial counts days from the end of 1899, as spreadsheets do for days after February 1900.
func readSerial(value string, instant bool) string {
	days, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return err.Error()
	}
	t := time.Date(1899, time.December, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(days*86400e3+0.5) * time.Millisecond)
	if instant {
		return t.Format("2006-01-02T15:04:05.000Z")
	}
	return t.Format(time.DateOnly)
}

// readZip reads a zip whose directory may be missing.
func readZip(document []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	z, err := zip.NewReader(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// readParquet reads one file, or those of a zip.
func readParquet(document []byte, parts []Part) ([][]item, error) {
	files := map[string][]byte{parts[0].Name: document}
	if bytes.HasPrefix(document, []byte("PK")) {
		var err error
		if files, err = readZip(document); err != nil {
			return nil, err
		}
	}
	var tables [][]item
	for _, part := range parts {
		if filepath.Ext(part.Name) != ".parquet" {
			return nil, fmt.Errorf("a part is named %s", part.Name)
		}
		rows, err := readParquetFile(files[part.Name], columnsOf(part))
		if err != nil {
			return nil, err
		}
		tables = append(tables, rows)
	}
	return tables, nil
}

func readParquetFile(document []byte, columns []*annona.Field) ([]item, error) {
	file, err := parquet.OpenFile(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		return nil, err
	}
	header := file.Schema().Fields()
	items := []item{}
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		buffer := make([]parquet.Row, 10)
		for {
			n, err := rows.ReadRows(buffer)
			for _, row := range buffer[:n] {
				it := item{}
				for _, v := range row {
					name, f := header[v.Column()].Name(), columns[v.Column()]
					switch {
					case v.IsNull():
					case f.Many:
						list, _ := it[name].([]string)
						it[name] = append(list, v.String())
					default:
						it[name] = readParquetValue(v, f)
					}
				}
				items = append(items, it)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func readParquetValue(v parquet.Value, f *annona.Field) string {
	switch {
	case f.Type == annona.TypeDec && !f.IsText():
		units := int64(0)
		for _, b := range v.ByteArray() {
			units = units<<8 | int64(b)
		}
		return string(annona.AppendDecimal(nil, units, f.Scale))
	case f.Type == annona.TypeDate:
		return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
	case f.Type == annona.TypeInstant:
		return time.UnixMilli(v.Int64()).UTC().Format("2006-01-02T15:04:05.000Z")
	default:
		return v.String()
	}
}
