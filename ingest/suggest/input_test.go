package suggest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/suggest"
)

func text(s string) ingest.Source {
	return ingest.Source{Name: "source.csv", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}
}

// What no mapping can be made of is refused with its reason.
func TestFilesThatAreNoSource(t *testing.T) {
	for name, test := range map[string]struct{ text, code, says string }{
		"empty":           {"", "input_empty", "empty"},
		"empty lines":     {"\n\n  \n", "input_empty", "empty"},
		"binary":          {"MZ\x00\x01\x02\n", "input_binary", "binary"},
		"spreadsheet":     {"PK\x03\x04\x14\x00", "input_binary", "CSV"},
		"old spreadsheet": {"\xD0\xCF\x11\xE0\xA1\xB1", "input_binary", "CSV"},
		"UTF-16":          {"\xFF\xFEi\x00d\x00", "input_encoding", "UTF-16"},
		"Windows-1252":    {"id,pr\xE9nom\n1,Andr\xE9\n", "input_encoding", "WINDOWS-1252"},
		"Windows-1256":    {"\xC7\xE1\xC7\xD3\xE3,\xC7\xE1\xCC\xE4\xD3\n\xDA\xE1\xED,\xD0\xDF\xD1\n", "input_encoding", "WINDOWS-1256"},
		"JSON array":      {`[{"id":1}]`, "input_json_array", "one object per line"},
		"no JSON":         {"{nothing\n{more\n", "input_unreadable", "JSON"},
		"no header":       {"1,Ada,1984-08-23,2\n2,Ben,1985-08-23,1\n", "input_header", "looks like data"},
		"no header, arab": {"١,أمينة,١٩٨٤-٠٨-٢٣,٢\n", "input_header", "looks like data"},
		"open quote":      {"id,\"name\n1,Ada\n", "input_header", "quote"},
	} {
		_, err := ingest.ReadSample(text(test.text))
		var known *annona.Error
		if !errors.As(err, &known) || known.Code != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "Ada") || strings.Contains(err.Error(), "Andr")) {
			t.Errorf("%s: the error names a value: %v", name, err)
		}
	}
}

// A file may be odd and still be drafted.
func TestFilesThatAreOdd(t *testing.T) {
	wide := make([]string, 5000)
	for i := range wide {
		wide[i] = fmt.Sprintf("q%d answer", i)
	}
	wide[17], wide[18], wide[4000] = "household id", "sex", "date of birth"
	for name, file := range map[string]struct {
		text       string
		must, mayn string // what stands in the draft, what does not
	}{
		"header alone":      {"hhid,person_id,sex,age\n", "key: hhid", "codes:"},
		"one column":        {"id\n1\n2\n", "key: id", ""},
		"the same twice":    {"hhid,sex,sex,age\n1,M,M,3\n1,F,M,4\n", "the header has it more than once", "sex: sex"},
		"no name":           {"hhid,,sex,age\n1,x,M,3\n", "the column has no name", ""},
		"5,000 columns":     {strings.Join(wide, ",") + "\n" + strings.Repeat("1,", 4999) + "1\n", "and 4797 more columns", "q999 answer"},
		"right to left":     {"\u200fرقم الأسرة\u200f,\u202bالجنس\u202c,العمر\n١,ذكر,٣٤\n١,أنثى,٣٥\n", "ذكر", ""},
		"words of YAML":     {"no,yes,null,sex,age,#,a: b,\"line\nbreak\",' \n1,1,1,M,3,1,1,1,1\n", "individual:", ""},
		"ragged":            {"hhid,sex,age\n1,M\n1,F,4,5\n1,F,6\n", "sex", ""},
		"tabs":              {"hhid\tsex\tage\n1\tM\t3\n1\tF\t4\n", `delimiter: "\t"`, ""},
		"CRLF":              {"hhid|sex|age\r\n1|M|3\r\n1|F|4\r\n", `delimiter: "|"`, ""},
		"nothing known":     {"foo,bar\nx,y\n", "nothing like it in the dictionary", ""},
		"Ethiopian":         {"id,sex,date of birth\n1,M,12/13/1980\n2,F,30/13/1981\n3,F,05/13/1981\n4,M,30/01/1990\n", "calendar: ethiopic", ""},
		"Ethiopian, sound":  {"id,sex,dob_ec\n1,M,12/12/1980\n", "calendar: ethiopic", ""},
		"Nepali":            {"id,sex,date of birth\n1,M,2050-01-32\n2,F,2061-04-05\n3,F,2075-11-30\n", "calendar: bikram_sambat", ""},
		"Persian":           {"id,sex,date of birth\n1,M,۱۳۶۲/۰۷/۰۱\n2,F,1399/06/31\n3,F,1350/01/12\n", "calendar: solar_hijri", ""},
		"Hijri":             {"id,sex,date of birth\n1,M,1446/09/01\n2,F,1420/06/29\n3,F,1410/01/12\n", "calendar: hijri", ""},
		"American":          {"id,sex,date of birth\n1,M,12/25/1980\n2,F,01/31/1981\n", "format: MM/DD/YYYY", ""},
		"day or month":      {"id,sex,date of birth\n1,M,12/05/1980\n2,F,01/11/1981\n", "CHECK whether the day or the month comes first", ""},
		"parts of a date":   {"id,sex,birth_year,birth_month,birth_day\n1,M,1980,5,12\n", "date_of_birth: {year: birth_year, month: birth_month, day: birth_day}", ""},
		"decimal comma":     {"id;sex;age;income\n1;M;5;10,25\n2;F;6;3,5\n", `decimal_mark: ","`, ""},
		"a list per person": {`{"id":"1","sex":"male","date_of_birth":"1980-01-01","tags":["a","b"],"deep":{"er":{"est":1}}}` + "\n", "key: id", ""},
		"names are values":  {`{"id":"1","sex":"M","x":{` + manyNames() + `}}` + "\n", "too many names", "secret-299"},
	} {
		made := draft(t, annona.Standard(), sampleText(t, "file.csv", file.text))
		if !strings.Contains(made.Mapping, file.must) || file.mayn != "" && strings.Contains(made.Mapping, file.mayn) {
			t.Errorf("%s: %s", name, made.Mapping)
		}
	}
}

func manyNames() string {
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf(`"secret-%d":1`, i))
	}
	return strings.Join(names, ",")
}

// A draft holds no value of a person, wherever it stands: only codes, and what comes again and
// again in a column of codes.
func TestDraftsHoldNoPersonalData(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("hhid,person id,name,sex,relation,religion,phone,national id,village,remarks\n")
	for i := range 500 {
		role := "Head"
		if i%4 != 0 {
			role = "Son of a neighbor" // comes again: a code, though an unknown one
		}
		fmt.Fprintf(&rows, "PRIVATE%d,PRIVATE%d,PRIVATE Person %d,M,%s,%s,0700%06d,PRIVATE%d,PRIVATE Village %d,PRIVATE remark\n",
			i/4, i, i, role, map[bool]string{true: "PRIVATE belief", false: "Islam"}[i == 7], i, i, i%250)
	}
	made := draft(t, annona.Standard(), sampleText(t, "people.csv", rows.String()))
	if strings.Contains(made.Mapping, "PRIVATE") || strings.Contains(made.Mapping, "0700") {
		t.Errorf("a value stands in the draft:\n%s", made.Mapping)
	}
	if !strings.Contains(made.Mapping, `"Son of a neighbor"`) || !strings.Contains(made.Mapping, `"Islam"`) {
		t.Errorf("a code is missing:\n%s", made.Mapping)
	}
}

// Of a file of any size a few MiB are read, once.
func TestHugeFilesAreSampled(t *testing.T) {
	const size = 1 << 30
	for _, zipped := range []bool{false, true} {
		read, opened := 0, 0
		source := ingest.Source{Name: "huge.csv", Open: func() (io.ReadCloser, error) {
			opened++
			endless := &endlessRows{left: size}
			if !zipped {
				return io.NopCloser(&counter{endless, &read}), nil
			}
			reader, writer := io.Pipe()
			go func() {
				w := gzip.NewWriter(writer)
				_, err := io.Copy(w, endless)
				writer.CloseWithError(errors.Join(err, w.Close()))
			}()
			return &counter2{counter{reader, &read}, reader}, nil
		}}
		head, err := ingest.Beginning(source)
		if err != nil {
			t.Fatal(err)
		}
		sample, err := ingest.ReadSample(head)
		if err != nil {
			t.Fatal(err)
		}
		made := draft(t, annona.Standard(), sample)
		if !zipped {
			readWhole(t, made.Mapping, head)
		}
		if read > 6<<20 || opened != 1 {
			t.Errorf("%d MiB were read, the file opened %d times", read>>20, opened)
		}
	}
}

// readWhole holds the beginning of a file to complete rows.
func readWhole(t *testing.T, mapping string, head ingest.Source) {
	t.Helper()
	m, err := ingest.ParseMapping(strings.NewReader(mapping), annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	report, err := ingest.Read(context.Background(), m, []ingest.Source{head}, nil, nil, func(ingest.Batch) error { return nil })
	if err != nil || report.Rejected > 0 || report.Rows < 1000 {
		t.Errorf("the beginning reads as %+v, %v", report, err)
	}
}

// endlessRows is a CSV file that is never held.
type endlessRows struct {
	left int
	row  int
	rest []byte
}

func (e *endlessRows) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	for len(e.rest) < len(p) {
		if e.row == 0 {
			e.rest = append(e.rest, "hhid,sex,age\n"...)
		}
		e.row++
		e.rest = fmt.Appendf(e.rest, "%d,%s,%d\n", e.row/5, "MF"[e.row%2:e.row%2+1], e.row%90)
	}
	n := copy(p, e.rest)
	e.rest = bytes.Clone(e.rest[n:])
	e.left -= n
	return n, nil
}

type counter struct {
	io.Reader
	read *int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.read += n
	return n, err
}

type counter2 struct {
	counter
	io.Closer
}

// Whatever a file holds, it is refused or drafted to a mapping that an import accepts.
func FuzzSuggest(f *testing.F) {
	f.Add("hhid,sex,age\n1,M,3\n")
	f.Add("{\"id\":1,\"members\":[{\"sex\":\"M\",\"dob\":\"1980-01-01\",\"name\":\"x\"}]}\n")
	f.Add("id;date of birth\n1;30/13/2015\n")
	f.Add("\ufeff\"a\"\"b\",no\n\"x\ny\",z\n")
	f.Fuzz(func(t *testing.T, content string) {
		sample, err := ingest.ReadSample(text(content))
		if err != nil {
			return
		}
		made := suggest.Make([]ingest.Sample{sample}, annona.Standard(), today)
		if _, err := ingest.ParseMapping(strings.NewReader(made.Mapping), annona.Standard()); err != nil && len(sample.Columns) > 0 && made.Columns != nil && mappable(sample.Columns) {
			t.Errorf("%v\n%s", err, made.Mapping)
		}
	})
}

// mappable reports whether a file has a column that a key can be made of.
func mappable(columns []string) bool {
	for i, c := range columns {
		again := false
		for j, o := range columns {
			again = again || i != j && c == o
		}
		if c != "" && !again {
			return true
		}
	}
	return false
}
