package vault

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
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

// sealed returns the sealed image of a record of version 1.
func sealed(t testing.TB, v *Vault, dataset *annona.Dataset, number annona.Number, image annona.Image) []byte {
	t.Helper()
	cells := []annona.Cell{{Dataset: dataset, Number: number, Version: 1, Part: annona.PartSealed, Image: image}}
	if err := v.Seal(context.Background(), cells); err != nil {
		t.Fatal(err)
	}
	return cells[0].Image
}

// addRow appends a row with a clear value and a sealed image to a page.
func addRow(t testing.TB, v *Vault, p *annona.Page, number annona.Number, clear string, image annona.Image) {
	t.Helper()
	addSealed(p, number, clear, sealed(t, v, p.Shape.Dataset, number, image))
}

func addSealed(p *annona.Page, number annona.Number, clear string, sealed []byte) {
	p.Count++
	p.Numbers = append(p.Numbers, number)
	p.Versions = append(p.Versions, 1)
	p.Columns[0].Append([]byte(clear))
	p.Sealed.Append(sealed)
}

func TestOpenFillsNestedPages(t *testing.T) {
	_, _, v := newVault(t, Production)
	page := annona.NewPage(shapeOf(t, registry(t), "households"))
	members := &page.Groups[0]
	addRow(t, v, page, 7, "north", annona.Image{}.AppendValue(2<<2, []byte("Mill Lane 1")))
	addRow(t, v, members.Page, 1000, "female", person("Ama", "1", "22"))
	addRow(t, v, members.Page, 3, "male", nil)
	members.EndRow()
	addRow(t, v, page, 8, "south", nil)
	members.EndRow()
	addRow(t, v, page, 40, "west", annona.Image{}.AppendValue(2<<2, []byte("Quay 3")))
	addRow(t, v, members.Page, 2, "female", person("Efua"))
	addRow(t, v, members.Page, 1000, "female", person("Ama", "1", "22")) // in two households
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
	}{{"Ama", 2}, {"", 2}, {"Efua", 2}, {"Ama", 4}} {
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
	if len(page.Sealed.Ends)+len(members.Page.Sealed.Ends)+len(page.Versions) != 0 {
		t.Error("sealed images were left behind")
	}
}

// TestOpenOfSeveralPages opens pages of one noun whose subjects share blocks, with gaps between, and a page of
// another noun with the same numbers: each key opens what it is of, by one question to the key store.
func TestOpenOfSeveralPages(t *testing.T) {
	_, keys, v := newVault(t, Production)
	d := registry(t)
	named := map[*annona.Page][]annona.Number{}
	var pages []*annona.Page
	for dataset, lists := range map[string][][]annona.Number{"individuals": {{3, 40, 900}, {}, {900, 4, 17}}, "households": {{3, 900}}} {
		for _, numbers := range lists {
			page := annona.NewPage(shapeOf(t, d, dataset))
			for _, n := range numbers {
				addRow(t, v, page, n, "clear", annona.Image{}.AppendValue(2<<2, fmt.Appendf(nil, "%s %d", dataset, n)))
				page.Groups[0].EndRow()
			}
			if dataset == "individuals" {
				page.Groups[0].Ends = nil // of sealed phones, which opening fills
			}
			named[page], pages = numbers, append(pages, page)
		}
	}
	before := keys.asked.Load()
	if err := v.Open(t.Context(), pages...); err != nil {
		t.Fatal(err)
	}
	if asked := keys.asked.Load() - before; asked != 1 {
		t.Errorf("the key store was asked %d times", asked)
	}
	for page, numbers := range named {
		for row, n := range numbers {
			if got, want := string(page.Cell(1, row)), fmt.Sprintf("%s %d", page.Shape.Dataset.Name, n); got != want {
				t.Errorf("row %d says %q, want %q", row, got, want)
			}
		}
		if len(page.Sealed.Ends) != 0 {
			t.Error("sealed images were left behind")
		}
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
	for number, name := range []string{"Ama", "Kwame Mensah", ""} {
		page.Reset()
		addRow(t, v, page, annona.Number(number+1), "", annona.Image{}.AppendValue(2<<2, []byte(name)))
		page.Groups[0].Page.Reset()
		if err := v.Open(t.Context(), page); err != nil {
			t.Fatal(err)
		}
		if got := string(page.Cell(1, 0)); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

// Several goroutines open pages of people whose keys lie far apart and in any order.
func TestOpenInParallel(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	const people = 500
	images := map[annona.Number][]byte{}
	for n := annona.Number(1); n <= people; n++ {
		images[n*7] = sealed(t, v, shape.Dataset, n*7, person(fmt.Sprint("person ", n*7)))
	}
	var all sync.WaitGroup
	for seed := range 4 {
		all.Go(func() {
			page := annona.NewPage(shape)
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			for range 20 {
				page.Reset()
				for range 200 {
					n := annona.Number(random.IntN(people)+1) * 7
					addSealed(page, n, "", images[n])
				}
				if err := v.Open(t.Context(), page); err != nil {
					t.Error(err)
					return
				}
				for row, n := range page.Numbers {
					if want := fmt.Sprint("person ", n); string(page.Cell(1, row)) != want {
						t.Errorf("got %q, want %q", page.Cell(1, row), want)
					}
				}
			}
		})
	}
	all.Wait()
}

// C-03, and what does not come from Seal at all.
func TestOpenRefusesDamage(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	image := sealed(t, v, shape.Dataset, 5, person("Ama", "1"))
	damaged := map[string][]byte{
		"clear": append([]byte{0}, person("Ama")...), "unknown format": append([]byte{9}, image[1:]...), "another key": append([]byte{1, 2}, image[2:]...),
		"one byte": {sealedFormat}, "no message": image[:2], "without tag": image[:len(image)-16], "one byte more": append(bytes.Clone(image), 0),
		"half a nonce": annona.AppendItem(nil, []byte{sealedFormat, subjectKeyVersion, 1, 2, 3, 4, 5, 6}),
	}
	for at := range image {
		changed := bytes.Clone(image)
		changed[at] ^= 1
		damaged[fmt.Sprint("byte ", at)] = changed
	}
	for name, sealed := range damaged {
		t.Run(name, func(t *testing.T) {
			page := annona.NewPage(shape)
			addSealed(page, 5, "", sealed)
			err := v.Open(t.Context(), page)
			wantCode(t, err, "record_tampered")
			if err != nil && !strings.HasPrefix(err.Error(), "individuals: ") {
				t.Errorf("it does not say where: %v", err)
			}
		})
	}
	t.Run("rows without images", func(t *testing.T) {
		page := annona.NewPage(shape)
		page.Count = 2
		page.Sealed.Append(nil)
		wantCode(t, v.Open(t.Context(), page), "internal")
	})
}

// An image that does not decode is sealed by nobody, or opened by nobody.
func TestOpenRefusesMalformedImages(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	for name, image := range map[string]annona.Image{
		"cut off": {2 << 2, 5, 'A'}, "tag cut off": {0x80}, "item cut off": {3 << 2, 2, 9, 1}, "value in item gone": {3 << 2, 3, 2, 1 << 2, 7},
	} {
		t.Run(name, func(t *testing.T) {
			cells := []annona.Cell{{Dataset: shape.Dataset, Number: 5, Version: 1, Part: annona.PartSealed, Image: image}}
			err := v.Seal(t.Context(), cells)
			if err == nil {
				page := annona.NewPage(shape)
				addSealed(page, 5, "", cells[0].Image)
				err = v.Open(t.Context(), page)
			}
			wantCode(t, err, "internal")
		})
	}
}

// C-02: a sealed image opens in its own place only.
func TestASealedImageIsBoundToItsPlace(t *testing.T) {
	_, keys, v := newVault(t, Production)
	d := registry(t)
	individuals, households := shapeOf(t, d, "individuals").Dataset, shapeOf(t, d, "households").Dataset
	at := annona.Cell{Dataset: individuals, Number: 5, Version: 3, Part: annona.PartSealed, Image: person("Ama")}
	cells := []annona.Cell{at, at, at}
	cells[1].Number, cells[2].Dataset = 6, households // so that these places have keys
	if err := v.Seal(t.Context(), cells); err != nil {
		t.Fatal(err)
	}
	same := cells[0]
	if err := v.OpenCell(t.Context(), &same); err != nil || !bytes.Equal(same.Image, person("Ama")) {
		t.Fatalf("in its own place: %v", err)
	}
	for place, move := range map[string]func(*annona.Cell){
		"row": func(c *annona.Cell) { c.Number = 6 }, "dataset": func(c *annona.Cell) { c.Dataset = households },
		"version": func(c *annona.Cell) { c.Version = 2 }, "part": func(c *annona.Cell) { c.Part = annona.PartBefore },
	} {
		moved := cells[0]
		move(&moved)
		if err := v.OpenCell(t.Context(), &moved); annona.CodeOf(err) != "record_tampered" {
			t.Errorf("in another %s: %v", place, err)
		}
	}
	// With the key of the other one in its place, the binding alone must hold.
	one := keys.blocks[place{"individual", 0}]
	one.Noun = "household"
	keys.blocks[place{"household", 0}] = one
	moved := cells[0]
	moved.Dataset = households
	wantCode(t, v.OpenCell(t.Context(), &moved), "keys_tampered")
}

// Wrapped keys open in their own place only, as a whole.
func TestABlockOfKeysIsBoundToItsPlace(t *testing.T) {
	for name, tamper := range map[string]func(k *keptKeys){
		"block": func(k *keptKeys) {
			b := k.blocks[place{"individual", 3}]
			b.Block = 0
			k.blocks[place{"individual", 0}] = b
		},
		"noun": func(k *keptKeys) {
			b := k.blocks[place{"household", 0}]
			b.Noun = "individual"
			k.blocks[place{"individual", 0}] = b
		},
		"generation": func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Generation = 2 }) },
		"first byte": func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Wrapped[0]++ }) },
		"nonce":      func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Wrapped[1]++ }) },
		"keys":       func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Wrapped[40]++ }) },
		"tag":        func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Wrapped[len(b.Wrapped)-1]++ }) },
		"cut off":    func(k *keptKeys) { edit(k, func(b *annona.KeyBlock) { b.Wrapped = b.Wrapped[:20] }) },
	} {
		t.Run(name, func(t *testing.T) {
			_, keys, v := newVault(t, Production)
			d := registry(t)
			shape := shapeOf(t, d, "individuals")
			image := sealed(t, v, shape.Dataset, 5, person("Ama"))
			sealed(t, v, shape.Dataset, 50, person("Efua"))
			sealed(t, v, shapeOf(t, d, "households").Dataset, 5, person("Ama"))
			if _, err := v.add(classGeneration.label, 2); err != nil {
				t.Fatal(err)
			}
			tamper(keys)
			page := annona.NewPage(shape)
			addSealed(page, 5, "", image)
			wantCode(t, v.Open(t.Context(), page), "keys_tampered")
		})
	}
}

func edit(k *keptKeys, change func(*annona.KeyBlock)) {
	b := k.blocks[place{"individual", 0}]
	b.Wrapped = bytes.Clone(b.Wrapped)
	change(&b)
	k.blocks[place{"individual", 0}] = b
}

func TestASubjectKeepsItsKey(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	first := sealed(t, v, shape.Dataset, 17, person("Ama"))
	again := sealed(t, v, shape.Dataset, 17, person("Ama"))
	both := []annona.Cell{ // one who has a key, one who is new, in one block
		{Dataset: shape.Dataset, Number: 17, Version: 2, Part: annona.PartSealed, Image: person("Ama")},
		{Dataset: shape.Dataset, Number: 18, Version: 1, Part: annona.PartSealed, Image: person("Efua")},
	}
	if err := v.Seal(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, again) {
		t.Error("two seals of one image are the same bytes")
	}
	if len(keys.blocks) != 1 {
		t.Errorf("%d blocks of keys", len(keys.blocks))
	}
	other, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	page := annona.NewPage(shape)
	addSealed(page, 17, "", first)
	if err := other.Open(t.Context(), page); err != nil {
		t.Error(err)
	}
}

// Two nodes make keys of the same new people at once.
func TestKeysAreMadeOnce(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	other, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	shape := shapeOf(t, registry(t), "individuals")
	images := make([][]byte, 40)
	var all sync.WaitGroup
	for i := range images {
		all.Go(func() {
			images[i] = sealed(t, []*Vault{v, other}[i%2], shape.Dataset, annona.Number(1+i%5), person("Ama"))
		})
	}
	all.Wait()
	page := annona.NewPage(shape)
	for i, image := range images {
		addSealed(page, annona.Number(1+i%5), "", image)
	}
	if err := v.Open(t.Context(), page); err != nil {
		t.Error(err)
	}
}

func TestAKeyThatIsGone(t *testing.T) {
	_, keys, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	image := sealed(t, v, shape.Dataset, 5, person("Ama"))
	clear(keys.blocks)
	page := annona.NewPage(shape)
	addSealed(page, 4, "", nil) // has nothing sealed, hence needs no key
	addSealed(page, 5, "", image)
	err := v.Open(t.Context(), page)
	wantCode(t, err, "key_gone")
	cell := annona.Cell{Dataset: shape.Dataset, Number: 5, Version: 1, Part: annona.PartSealed, Image: image}
	wantCode(t, v.OpenCell(t.Context(), &cell), "key_gone")
}

func TestSealWithoutAKeyStore(t *testing.T) {
	_, keys, v := newVault(t, Production)
	keys.failing = annona.Unavailable("store_full", "the disk is full")
	cells := []annona.Cell{{Dataset: shapeOf(t, registry(t), "individuals").Dataset, Number: 5, Version: 1, Part: annona.PartSealed, Image: person("Ama")}}
	wantCode(t, v.Seal(t.Context(), cells), "store_full")
	if !bytes.Equal(cells[0].Image, person("Ama")) {
		t.Error("something was sealed under a key that is nowhere")
	}
}

func TestEmptyImagesNeedNoKey(t *testing.T) {
	_, keys, v := newVault(t, Production)
	cells := []annona.Cell{{Dataset: shapeOf(t, registry(t), "individuals").Dataset, Number: 5, Version: 1, Part: annona.PartSealed}}
	if err := v.Seal(t.Context(), cells); err != nil || len(cells[0].Image) > 0 || len(keys.blocks) > 0 {
		t.Errorf("%v, %d bytes, %d blocks", err, len(cells[0].Image), len(keys.blocks))
	}
}

// One allocation for each image is the cipher's: its key.
func TestOpenDoesNotAllocatePerRow(t *testing.T) {
	_, _, v := newVault(t, Production)
	shape := shapeOf(t, registry(t), "individuals")
	images := make([][]byte, 1000)
	for i := range images {
		images[i] = sealed(t, v, shape.Dataset, annona.Number(i+1), person("Ama"))
	}
	allocations := func(rows int) float64 {
		page := annona.NewPage(shape)
		return testing.AllocsPerRun(10, func() {
			page.Reset()
			for i := range rows {
				addSealed(page, annona.Number(i+1), "", images[i])
			}
			if err := v.Open(t.Context(), page); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(10), allocations(1000)
	if perRow := (many - few) / 990; perRow > 1.1 {
		t.Errorf("%.2f allocations for each row", perRow)
	}
}

func FuzzOpenImage(f *testing.F) {
	_, _, v := newVaultForFuzz(f)
	shape := shapeOf(f, registry(f), "individuals")
	f.Add(sealed(f, v, shape.Dataset, 1, person("Ama", "1", "22")))
	f.Add([]byte{7})
	f.Add([]byte{sealedFormat, subjectKeyVersion})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		page := annona.NewPage(shape)
		addSealed(page, 1, "", sealed)
		if err := v.Open(t.Context(), page); err == nil && len(page.Columns[1].Ends) != 1 {
			t.Error("a row was opened without its cell")
		}
	})
}

func newVaultForFuzz(f *testing.F) (string, *keptKeys, *Vault) {
	f.Helper()
	dir, keys := f.TempDir(), newKeys()
	v, err := Create(Installation{Folder: dir, Keys: keys}, Demo)
	if err != nil {
		f.Fatal(err)
	}
	return dir, keys, v
}

// A page of an export, under the percentage of garbage that the server works with. The time of the
// key store is not in it.
func BenchmarkOpen(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	v, err := Create(Installation{Folder: b.TempDir(), Keys: newKeys()}, Demo)
	if err != nil {
		b.Fatal(err)
	}
	const rows = 8192
	page := annona.NewPage(shapeOf(b, registry(b), "individuals"))
	cells := make([]annona.Cell, rows)
	for i := range cells {
		cells[i] = annona.Cell{Dataset: page.Shape.Dataset, Number: annona.Number(i + 1), Version: 1, Part: annona.PartSealed, Image: person("Kwame Mensah", "0241234567")}
	}
	if err := v.Seal(b.Context(), cells); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		page.Reset()
		for i := range cells {
			addSealed(page, cells[i].Number, "", cells[i].Image)
		}
		if err := v.Open(b.Context(), page); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
