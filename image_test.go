package annona_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// imageShape has clear and sealed columns, a derived one, one with a country's far tag, and
// two groups.
func imageShape(t testing.TB) *annona.Shape {
	t.Helper()
	d, err := annona.Standard().Extend(annona.Extension{Country: "GH", Fields: []annona.Field{attribute(func(f *annona.Field) { f.Dataset = "individuals" })}})
	if err != nil {
		t.Fatal(err)
	}
	individuals, _ := d.Dataset("individuals")
	shape := &annona.Shape{Dataset: individuals}
	for _, code := range []string{"individual_id", "area_code", "full_name", "sex", "sex_source_code", "phone_numbers", "cattle"} {
		shape.Columns = append(shape.Columns, must(individuals.Field(code)))
	}
	for _, code := range []string{"identifiers", "functioning"} {
		field := must(individuals.Field(code))
		rows, _ := d.Dataset(field.Group)
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: field, Shape: &annona.Shape{Dataset: rows, Columns: rows.Fields}})
	}
	return shape
}

// kept returns the fields of a shape that one part of the image keeps, tags ascending.
func kept(fields []*annona.Field, sealed bool) []*annona.Field {
	var out []*annona.Field
	for _, f := range fields {
		if !f.Derived && f.IsSealed() == sealed {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *annona.Field) int { return int(a.ImageTag()) - int(b.ImageTag()) })
	return out
}

// drawn is one row: the text of each column, and for each group the rows of its items.
type drawn struct {
	cells map[string]string
	items map[string][]drawn
}

func drawCells(t *rapid.T, fields []*annona.Field) (drawn, annona.Image) {
	row, image := drawn{cells: map[string]string{}, items: map[string][]drawn{}}, annona.Image(nil)
	for _, f := range fields {
		text := rapid.String().Draw(t, f.Code)
		row.cells[f.Code] = text
		image = image.AppendValue(f.ImageTag(), []byte(text))
	}
	return row, image
}

func drawRow(t *rapid.T, shape *annona.Shape, sealed bool) (drawn, annona.Image) {
	var fields []*annona.Field
	groups := map[*annona.Field]*annona.Shape{}
	for _, g := range shape.Groups {
		groups[g.Field] = g.Shape
		fields = append(fields, g.Field)
	}
	row, image := drawn{cells: map[string]string{}, items: map[string][]drawn{}}, annona.Image(nil)
	for _, f := range kept(append(fields, shape.Columns...), sealed) {
		rows, isGroup := groups[f]
		if !isGroup {
			text := rapid.String().Draw(t, f.Code)
			row.cells[f.Code] = text
			image = image.AppendValue(f.ImageTag(), []byte(text))
			continue
		}
		var items []byte
		for range rapid.IntRange(0, 3).Draw(t, "items of "+f.Code) {
			item, itemImage := drawCells(t, rows.Columns)
			row.items[f.Code] = append(row.items[f.Code], item)
			items = annona.AppendItem(items, itemImage)
		}
		image = image.AppendValue(f.ImageTag(), items)
	}
	return row, image
}

// TestWhatIsPackedIsUnpacked: any rows, packed into their two images, come back cell by cell.
func TestWhatIsPackedIsUnpacked(t *testing.T) {
	shape := imageShape(t)
	rapid.Check(t, func(t *rapid.T) {
		clear, sealed := annona.NewUnpacker(shape, false), annona.NewUnpacker(shape, true)
		page := annona.NewPage(shape)
		var rows []drawn
		for range rapid.IntRange(1, 4).Draw(t, "rows") {
			row, clearImage := drawRow(t, shape, false)
			sealedRow, sealedImage := drawRow(t, shape, true)
			for code, text := range sealedRow.cells {
				row.cells[code] = text
			}
			for code, items := range sealedRow.items {
				row.items[code] = items
			}
			rows = append(rows, row)
			if err := clear.Unpack(page, clearImage); err != nil {
				t.Fatal(err)
			}
			if err := sealed.Unpack(page, sealedImage); err != nil {
				t.Fatal(err)
			}
			page.Count++
		}
		for i, row := range rows {
			comparePageRow(t, page, i, row)
		}
	})
}

func comparePageRow(t *rapid.T, page *annona.Page, i int, row drawn) {
	for c, f := range page.Shape.Columns {
		if f.Derived {
			continue
		}
		if got := string(page.Cell(c, i)); got != row.cells[f.Code] {
			t.Fatalf("row %d: %s is %q, want %q", i, f.Code, got, row.cells[f.Code])
		}
	}
	for g, group := range page.Groups {
		code := page.Shape.Groups[g].Field.Code
		from, to := group.Rows(i)
		if to-from != len(row.items[code]) {
			t.Fatalf("row %d has %d %s, want %d", i, to-from, code, len(row.items[code]))
		}
		for k, item := range row.items[code] {
			comparePageRow(t, group.Page, from+k, item)
		}
	}
}

// TestGroupsAreCutOffAndPutBack: an image that is cut in two comes back byte for byte, and its
// pieces unpack to what the whole does.
func TestGroupsAreCutOffAndPutBack(t *testing.T) {
	shape := imageShape(t)
	rapid.Check(t, func(t *rapid.T) {
		sealed := rapid.Bool().Draw(t, "sealed")
		row, image := drawRow(t, shape, sealed)
		rest, groups, err := shape.Dataset.SplitGroups(image)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := annona.JoinImages(rest, groups)
		if err != nil || !bytes.Equal(joined, image) {
			t.Fatalf("%q came back as %q, %v", image, joined, err)
		}
		page := annona.NewPage(shape)
		if err := annona.NewUnpacker(shape, sealed).Unpack(page, rest, groups); err != nil {
			t.Fatal(err)
		}
		for c, f := range shape.Columns {
			if len(page.Columns[c].Ends) == 1 && string(page.Cell(c, 0)) != row.cells[f.Code] {
				t.Fatalf("%s is %q, want %q", f.Code, page.Cell(c, 0), row.cells[f.Code])
			}
		}
		for g := range page.Groups {
			if code := shape.Groups[g].Field.Code; page.Groups[g].Page.Count != len(row.items[code]) {
				t.Fatalf("%d %s, want %d", page.Groups[g].Page.Count, code, len(row.items[code]))
			}
		}
	})
}

func TestCutSealed(t *testing.T) {
	rest := annona.AppendItem(nil, annona.Image("rest"))
	groups := annona.AppendItem(nil, annona.Image("groups"))
	for _, c := range [][2][]byte{{nil, nil}, {rest, nil}, {rest, groups}, {annona.AppendItem(nil, nil), groups}} {
		one, other, err := annona.CutSealed(slices.Concat(c[0], c[1]))
		if err != nil || !bytes.Equal(one, c[0]) || !bytes.Equal(other, c[1]) {
			t.Errorf("%q is cut into %q and %q, %v", c, one, other, err)
		}
	}
	if _, _, err := annona.CutSealed([]byte{9, 1}); err == nil {
		t.Error("damage goes unnoticed")
	}
}

func TestUnpackerFillsOnlyItsPart(t *testing.T) {
	individuals, _ := annona.Standard().Dataset("individuals")
	only := func(code string) *annona.Shape {
		return &annona.Shape{Dataset: individuals, Columns: []*annona.Field{must(individuals.Field(code))}}
	}
	cases := []struct {
		code          string
		clear, sealed bool
	}{{"sex", true, false}, {"full_name", false, true}, {"area_code", false, false}}
	for _, c := range cases {
		clear, sealed := annona.NewUnpacker(only(c.code), false).Fills(), annona.NewUnpacker(only(c.code), true).Fills()
		if clear != c.clear || sealed != c.sealed {
			t.Errorf("%s: clear part fills %v, sealed part %v", c.code, clear, sealed)
		}
	}
}

func TestUnpackSkipsWhatNobodyAskedFor(t *testing.T) {
	individuals, _ := annona.Standard().Dataset("individuals")
	sex, birth := must(individuals.Field("sex")), must(individuals.Field("date_of_birth"))
	image := annona.Image(nil).AppendValue(sex.ImageTag(), []byte("female")).AppendValue(birth.ImageTag(), []byte("1990-01-01")).AppendValue(1<<21, []byte("later"))
	page := annona.NewPage(&annona.Shape{Dataset: individuals, Columns: []*annona.Field{birth}})
	if err := annona.NewUnpacker(page.Shape, false).Unpack(page, image); err != nil {
		t.Fatal(err)
	}
	if got := string(page.Cell(0, 0)); got != "1990-01-01" {
		t.Errorf("the cell is %q", got)
	}
}

func TestValuesStopWhenAsked(t *testing.T) {
	image := annona.Image(nil).AppendValue(4, []byte("a")).AppendValue(8, nil).AppendValue(12, []byte("b"))
	var seen []string
	err := image.Values(func(tag uint32, text []byte) bool {
		seen = append(seen, fmt.Sprintf("%d %s", tag, text))
		return tag < 4
	})
	if err != nil || !slices.Equal(seen, []string{"4 a"}) {
		t.Errorf("saw %v, %v", seen, err)
	}
}

func TestDamagedImages(t *testing.T) {
	whole := annona.Image(nil).AppendValue(4, []byte("female"))
	for name, image := range map[string]annona.Image{
		"cut":              whole[:len(whole)-1],
		"without length":   whole[:1],
		"a boundless tag":  bytes.Repeat([]byte{0xff}, 11),
		"a huge length":    {4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a tag out of use": annona.Image(nil).AppendValue(1<<22+1, []byte("x")),
	} {
		if err := image.Values(func(uint32, []byte) bool { return true }); err == nil {
			t.Errorf("%s: the damage goes unnoticed", name)
		}
	}
	if err := annona.Items([]byte{9, 1}, func(annona.Image) bool { return true }); err == nil {
		t.Error("damaged items go unnoticed")
	}
}

func FuzzUnpack(f *testing.F) {
	shape := imageShape(f)
	item := annona.Image(nil).AppendValue(4, []byte("seeing"))
	f.Add([]byte(annona.Image(nil).AppendValue(shape.Columns[3].ImageTag(), []byte("female")).
		AppendValue(shape.Groups[1].Field.ImageTag(), annona.AppendItem(nil, item))))
	f.Add([]byte{0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, sealed := range []bool{false, true} {
			page := annona.NewPage(shape)
			if annona.NewUnpacker(shape, sealed).Unpack(page, data) != nil {
				continue
			}
			if page.Size() > len(data) {
				t.Errorf("%d bytes unpack to %d", len(data), page.Size())
			}
			for g := range page.Groups {
				if group := &page.Groups[g]; len(group.Ends) > 0 {
					if _, to := group.Rows(0); to != group.Page.Count {
						t.Errorf("the group has %d rows and ends at %d", group.Page.Count, to)
					}
				}
			}
		}
	})
}

// BenchmarkUnpack unpacks a record of the usual size, of which an export shows a third.
func BenchmarkUnpack(b *testing.B) {
	individuals, _ := annona.Standard().Dataset("individuals")
	shape := &annona.Shape{Dataset: individuals}
	var image annona.Image
	for i, f := range kept(individuals.Fields, false) {
		switch {
		case f.Type == annona.TypeGroup:
			image = image.AppendValue(f.ImageTag(), bytes.Repeat([]byte("x"), 150))
		case len(f.Code)%2 == 0:
			image = image.AppendValue(f.ImageTag(), []byte("2025-01-29"))
			if i%3 > 0 {
				shape.Columns = append(shape.Columns, f)
			}
		}
	}
	unpacker, page := annona.NewUnpacker(shape, false), annona.NewPage(shape)
	b.ReportAllocs()
	b.ReportMetric(float64(len(shape.Columns)), "columns")
	for b.Loop() {
		page.Reset()
		if err := unpacker.Unpack(page, image); err != nil {
			b.Fatal(err)
		}
	}
}
