package vault

import (
	"testing"

	"github.com/annona-exchange/annona"
)

// registry is a dictionary with a sealed field and a sealed group on individuals, who are
// members of households.
func registry(t testing.TB) *annona.Dictionary {
	t.Helper()
	text := func(tag uint32, code string, at annona.AtRest) *annona.Field {
		return &annona.Field{Tag: tag, Code: code, Type: annona.TypeText, Sensitivity: annona.Personal, AtRest: at, Filter: annona.FilterNone}
	}
	group := func(tag uint32, code, of string, at annona.AtRest, derived bool) *annona.Field {
		return &annona.Field{Tag: tag, Code: code, Type: annona.TypeGroup, Group: of, Sensitivity: annona.Personal, AtRest: at, Filter: annona.FilterNone, Derived: derived}
	}
	d, err := annona.NewDictionary(1, []annona.Dataset{
		{Name: "phones", Noun: "phone", Fields: []*annona.Field{text(1, "number", annona.Sealed), text(2, "kind", annona.Sealed)}},
		{Name: "individuals", Noun: "individual", Root: true, Fields: []*annona.Field{
			text(1, "sex", annona.Clear), text(2, "full_name", annona.Sealed), group(3, "phones", "phones", annona.Sealed, false),
		}},
		{Name: "households", Noun: "household", Root: true, Fields: []*annona.Field{
			text(1, "area", annona.Clear), text(2, "address", annona.Sealed), group(3, "members", "individuals", annona.Clear, true),
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func shapeOf(t testing.TB, d *annona.Dictionary, name string) *annona.Shape {
	t.Helper()
	dataset, ok := d.Dataset(name)
	if !ok {
		t.Fatalf("no dataset %s", name)
	}
	shape := &annona.Shape{Dataset: dataset}
	for f := range dataset.Columns() {
		if f.Type == annona.TypeGroup {
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: shapeOf(t, d, f.Group)})
			continue
		}
		shape.Columns = append(shape.Columns, f)
	}
	return shape
}

// person returns the sealed image of an individual with phones.
func person(name string, phones ...string) annona.Image {
	var items []byte
	for _, number := range phones {
		items = annona.AppendItem(items, annona.Image{}.AppendValue(1<<2, []byte(number)))
	}
	return annona.Image{}.AppendValue(2<<2, []byte(name)).AppendValue(3<<2, items)
}

// addRow appends a row with a clear value and a sealed image to a page.
func addRow(t testing.TB, v *Vault, p *annona.Page, clear string, image annona.Image) {
	t.Helper()
	cells := []annona.Cell{{Dataset: p.Shape.Dataset, Number: 1, Version: 1, Part: annona.PartSealed, Image: image}}
	if err := v.Seal(t.Context(), cells); err != nil {
		t.Fatal(err)
	}
	p.Count++
	p.Columns[0].Append([]byte(clear))
	p.Sealed.Append(cells[0].Image)
	p.Versions = append(p.Versions, 1)
}

func TestOpenFillsNestedPages(t *testing.T) {
	_, _, v := newVault(t, Production)
	page := annona.NewPage(shapeOf(t, registry(t), "households"))
	members := &page.Groups[0]
	addRow(t, v, page, "north", annona.Image{}.AppendValue(2<<2, []byte("Mill Lane 1")))
	addRow(t, v, members.Page, "female", person("Ama", "1", "22"))
	addRow(t, v, members.Page, "male", nil)
	members.EndRow()
	addRow(t, v, page, "south", nil)
	members.EndRow()
	addRow(t, v, page, "west", annona.Image{}.AppendValue(2<<2, []byte("Quay 3")))
	addRow(t, v, members.Page, "female", person("Efua"))
	members.EndRow()

	if err := v.Open(t.Context(), page); err != nil {
		t.Fatal(err)
	}
	for row, want := range []string{"Mill Lane 1", "", "Quay 3"} {
		if got := string(page.Cell(1, row)); got != want {
			t.Errorf("address of row %d: %q, want %q", row, got, want)
		}
	}
	phones := &members.Page.Groups[0]
	for row, want := range []struct {
		name  string
		until int
	}{{"Ama", 2}, {"", 2}, {"Efua", 2}} {
		if got := string(members.Page.Cell(1, row)); got != want.name {
			t.Errorf("name of row %d: %q, want %q", row, got, want.name)
		}
		if _, to := phones.Rows(row); to != want.until {
			t.Errorf("phones of row %d end at %d, want %d", row, to, want.until)
		}
	}
	if got := string(phones.Page.Cell(0, 1)); got != "22" {
		t.Errorf("second phone: %q", got)
	}
	if len(page.Sealed.Ends)+len(members.Page.Sealed.Ends) != 0 {
		t.Error("sealed images were left behind")
	}
}

func TestOpenOfAnEmptyPage(t *testing.T) {
	_, _, v := newVault(t, Production)
	if err := v.Open(t.Context(), annona.NewPage(shapeOf(t, registry(t), "households"))); err != nil {
		t.Error(err)
	}
}

// A page is opened as often as it is filled: Reset makes it new.
func TestOpenOfAReusedPage(t *testing.T) {
	_, _, v := newVault(t, Production)
	page := annona.NewPage(shapeOf(t, registry(t), "individuals"))
	for _, name := range []string{"Ama", "Kwame Mensah", ""} {
		page.Reset()
		addRow(t, v, page, "", annona.Image{}.AppendValue(2<<2, []byte(name)))
		page.Groups[0].Page.Reset()
		if err := v.Open(t.Context(), page); err != nil {
			t.Fatal(err)
		}
		if got := string(page.Cell(1, 0)); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	for name, sealed := range map[string][]byte{
		"unknown format":     append([]byte{9}, person("Ama")...),
		"cut off":            {imageInClear, 2 << 2, 5, 'A'},
		"tag cut off":        {imageInClear, 0x80},
		"item cut off":       {imageInClear, 3 << 2, 2, 9, 1},
		"value in item gone": {imageInClear, 3 << 2, 3, 2, 1 << 2, 7},
	} {
		t.Run(name, func(t *testing.T) {
			page := annona.NewPage(shape)
			page.Count = 1
			page.Columns[0].Append(nil)
			page.Sealed.Append(sealed)
			wantCode(t, v.Open(t.Context(), page), "internal")
		})
	}
	t.Run("rows without images", func(t *testing.T) {
		page := annona.NewPage(shape)
		page.Count = 2
		page.Sealed.Append(nil)
		wantCode(t, v.Open(t.Context(), page), "internal")
	})
}

func TestOpenDoesNotAllocatePerRow(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	allocations := func(rows int) float64 {
		page := annona.NewPage(shape)
		return testing.AllocsPerRun(10, func() {
			page.Reset()
			for range rows {
				page.Count++
				page.Columns[0].EndCell()
				page.Sealed.Data = append(page.Sealed.Data, imageInClear, 2<<2, 3, 'A', 'm', 'a')
				page.Sealed.EndCell()
			}
			if err := v.Open(t.Context(), page); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := allocations(10), allocations(1000); many > few {
		t.Errorf("%v allocations for 10 rows, %v for 1,000", few, many)
	}
}

func FuzzOpenImage(f *testing.F) {
	_, _, v := newVaultForFuzz(f)
	shape := shapeOf(f, registry(f), "individuals")
	f.Add([]byte(append([]byte{imageInClear}, person("Ama", "1", "22")...)))
	f.Add([]byte{7})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		page := annona.NewPage(shape)
		page.Count = 1
		page.Columns[0].EndCell()
		page.Sealed.Append(sealed)
		if err := v.Open(t.Context(), page); err == nil && len(page.Columns[1].Ends) != 1 {
			t.Error("a row was opened without its cell")
		}
	})
}

func newVaultForFuzz(f *testing.F) (string, *keptSecrets, *Vault) {
	f.Helper()
	dir, secrets := f.TempDir(), newSecrets()
	v, err := Create(dir, Demo, secrets)
	if err != nil {
		f.Fatal(err)
	}
	return dir, secrets, v
}

func BenchmarkOpen(b *testing.B) {
	dir, secrets := b.TempDir(), newSecrets()
	v, err := Create(dir, Demo, secrets)
	if err != nil {
		b.Fatal(err)
	}
	page := annona.NewPage(shapeOf(b, registry(b), "individuals"))
	image := person("Kwame Mensah", "0241234567")
	b.ReportAllocs()
	for b.Loop() {
		page.Reset()
		for range 16384 {
			addRow(b, v, page, "male", image)
		}
		if err := v.Open(b.Context(), page); err != nil {
			b.Fatal(err)
		}
	}
}
