package encode

import (
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What is written nested is read back as it was, by readers that know nothing of the writers.
func TestNestedRoundTrip(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		dataset := rapid.SampledFrom([]string{"individuals", "households"}).Draw(r, "dataset")
		shape := nastyShape(r, d, dataset, 2)
		records := nastyItems(r, shape, 5)
		pageRows := rapid.IntRange(1, 6).Draw(r, "page rows")

		document, _ := write(t, d, shape, records, pageRows, Options{Format: JSON, Schema: dataset + "/3"})
		got, err := readJSON(document, shape)
		same(r, "json", records, got, err)

		document, _ = write(t, d, shape, records, pageRows, Options{Format: NDJSON})
		got, err = readNDJSON(document)
		same(r, "ndjson", records, got, err)

		document, _ = write(t, d, shape, records, pageRows, Options{Format: XML, Schema: dataset + "/3"})
		got, err = readXML(document, shape)
		same(r, "xml", records, got, err)
	})
}

// The machine profile of CSV loses nothing.
func TestPlainRoundTrip(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		shape := nastyShape(r, d, "individuals", 0)
		records := nastyItems(r, shape, 50)
		document, altered := write(t, d, shape, records, rapid.IntRange(1, 60).Draw(r, "page rows"), Options{Format: CSV})
		got, err := readCSV(document, shape.Columns)
		same(r, "csv", asGoReadsCSV(records), got, err)
		if altered != 0 {
			r.Fatalf("the machine profile altered %d cells", altered)
		}
	})
}

// The files of a linked answer hold every value of the nested records, under the keys of what
// they lie in.
func TestLinkedRoundTrip(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		dataset := rapid.SampledFrom([]string{"individuals", "households"}).Draw(r, "dataset")
		shape := nastyShape(r, d, dataset, 2)
		records := nastyItems(r, shape, 4)
		o := Options{Format: CSV, Layout: Linked, Modified: day()}
		document, _ := write(t, d, shape, records, rapid.IntRange(1, 5).Draw(r, "page rows"), o)
		parts, err := Parts(shape, o)
		if err != nil {
			r.Fatal(err)
		}
		files := unzip(t, document)
		if len(files) != len(parts) {
			r.Fatalf("%d files of %d parts", len(files), len(parts))
		}
		for i, part := range parts {
			got, err := readCSV(files[i].content, columnsOf(part))
			name := strings.TrimSuffix(part.Name, ".csv")
			same(r, part.Name, asGoReadsCSV(expectedRows(name, part.Header(), shape, records)), got, err)
		}
	})
}

// columnsOf finds the fields behind a header.
func columnsOf(part Part) []*annona.Field {
	byCode := map[string]*annona.Field{}
	var walk func(s *annona.Shape)
	walk = func(s *annona.Shape) {
		for _, f := range s.Columns {
			byCode[f.Code] = f
		}
		for _, g := range s.Groups {
			walk(g.Shape)
		}
	}
	walk(part.Shape)
	var columns []*annona.Field
	for _, name := range part.Header() {
		f, known := byCode[name]
		if !known {
			f = byCode[strings.TrimPrefix(name, memberPrefix)]
		}
		columns = append(columns, f)
	}
	return columns
}

// expectedRows flattens the records into the rows of one file, in a way of its own: each row
// knows the keys above it, its own values win.
func expectedRows(file string, header []string, shape *annona.Shape, records []item) []item {
	rows := []item{}
	var walk func(name string, s *annona.Shape, above item, items []item)
	walk = func(name string, s *annona.Shape, above item, items []item) {
		for _, it := range items {
			below := item{}
			for k, v := range above {
				below[k] = v
			}
			for _, f := range s.Columns {
				if f.Code == s.Dataset.Key {
					below[f.Code] = it[f.Code]
				}
			}
			if name == file {
				row := item{}
				for _, column := range header {
					v, ok := it[column]
					if !ok && s.Column(column) < 0 {
						v, ok = above[column]
					}
					if ok {
						row[column] = v
					}
				}
				rows = append(rows, row)
			}
			if file == memberships && name == "individuals" && s.Group(memberships) < 0 {
				row := item{"household_id": above["household_id"]}
				for _, column := range header[1:] {
					if v, ok := it[column]; ok {
						row[column] = v
					}
				}
				rows = append(rows, row)
			}
			for _, g := range s.Groups {
				nested, _ := it[g.Field.Code].([]item)
				next := g.Field.Code
				if next == members {
					next = "individuals"
				}
				walk(next, g.Shape, below, nested)
			}
		}
	}
	walk(shape.Dataset.Name, shape, item{}, records)
	return rows
}

// A flat file has one row for each member, and one for a household without.
func TestFlatRoundTrip(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		shape := nastyShape(r, d, "households", 0)
		group, _ := shape.Dataset.Field(members)
		shape.Groups = []annona.GroupShape{{Field: group, Shape: nastyShape(r, d, "individuals", 0)}}
		records := nastyItems(r, shape, 5)
		document, _ := write(t, d, shape, records, 3, Options{Format: CSV, Layout: Flat})
		got, err := readCSV(document, append(shape.Columns[:len(shape.Columns):len(shape.Columns)], shape.Groups[0].Shape.Columns...))

		want := []item{}
		for _, household := range records {
			row := only([]item{household}, shape.Columns)[0]
			inside, _ := household[members].([]item)
			for _, member := range inside {
				joined := only([]item{household}, shape.Columns)[0]
				for name, value := range member {
					joined[memberPrefix+name] = value
				}
				want = append(want, joined)
			}
			if len(inside) == 0 {
				want = append(want, row)
			}
		}
		same(r, "flat csv", asGoReadsCSV(want), got, err)
	})
}

func same(r *rapid.T, format string, want, got []item, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s cannot be read: %v", format, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("%s (-want +got):\n%s", format, diff)
	}
}
