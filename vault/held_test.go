package vault

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annona-exchange/annona"
)

// pagesOf returns pages of records of those numbers, by dataset.
func pagesOf(t *testing.T, d *annona.Dictionary, numbers map[string][]annona.Number) (pages []*annona.Page) {
	t.Helper()
	for dataset, of := range numbers {
		page := annona.NewPage(shapeOf(t, d, dataset))
		page.Count, page.Numbers = len(of), of
		pages = append(pages, page)
	}
	return pages
}

// TestHolding opens and seals records of two nouns under keys that were read once. What is sealed so opens as
// everything else does, and the memory of the keys is cleared behind it.
func TestHolding(t *testing.T) {
	_, keys, v := newVault(t, Production)
	d := registry(t)
	numbers := map[string][]annona.Number{"individuals": {40, 3, 900, 3}, "households": {3, 17}}
	name := func(dataset string, n annona.Number) annona.Image {
		return annona.Image{}.AppendValue(2<<2, fmt.Appendf(nil, "%s %d", dataset, n))
	}
	var cells []annona.Cell
	for dataset, of := range numbers {
		on, _ := d.Dataset(dataset)
		for _, n := range of {
			cells = append(cells, annona.Cell{Dataset: on, Number: n, Version: 1, Part: annona.PartSealed, Image: sealed(t, v, on, n, name(dataset, n))})
		}
	}
	before := keys.asked.Load()
	var h *held
	err := v.Holding(t.Context(), pagesOf(t, d, numbers), func(c annona.Cells) error {
		h = c.(*held)
		if err := c.OpenCells(t.Context(), cells); err != nil {
			return err
		}
		for _, cell := range cells {
			if want := string(name(cell.Dataset.Name, cell.Number)); string(cell.Image) != want {
				t.Errorf("%s %d opens as %q", cell.Dataset.Name, cell.Number, cell.Image)
			}
		}
		return c.Seal(t.Context(), cells)
	})
	if err != nil {
		t.Fatal(err)
	}
	if asked := keys.asked.Load() - before; asked != 1 {
		t.Errorf("the key store was asked %d times", asked)
	}
	for _, k := range h.keys {
		for row := range k.numbers {
			if !isAbsent(k.of(row)) {
				t.Errorf("a key of a %s stayed in memory", k.noun)
			}
		}
	}
	if err := v.OpenCells(t.Context(), cells); err != nil {
		t.Fatal(err)
	}
	if want := string(name(cells[0].Dataset.Name, cells[0].Number)); string(cells[0].Image) != want {
		t.Errorf("what was sealed under a held key opens as %q", cells[0].Image)
	}
}

// TestHoldingLacksAKey: a key that is not on file is made when something is sealed, and opens nothing before; who
// was not on a page is asked for; an error of do comes back.
func TestHoldingLacksAKey(t *testing.T) {
	_, _, v := newVault(t, Production)
	d := registry(t)
	on, _ := d.Dataset("individuals")
	fresh := annona.Cell{Dataset: on, Number: 5, Version: 1, Part: annona.PartSealed, Image: person("Ama")}
	other := annona.Cell{Dataset: on, Number: 6, Version: 1, Part: annona.PartSealed, Image: sealed(t, v, on, 6, person("Efua"))}
	pages := pagesOf(t, d, map[string][]annona.Number{"individuals": {5}})
	broken := errors.New("broken")
	err := v.Holding(t.Context(), pages, func(c annona.Cells) error {
		unkeyed := []annona.Cell{{Dataset: on, Number: 5, Version: 1, Part: annona.PartSealed, Image: other.Image}}
		if err := c.OpenCells(t.Context(), unkeyed); annona.CodeOf(err) != "key_gone" {
			t.Errorf("without a key: %v", err)
		}
		both := []annona.Cell{fresh, other}
		if err := c.OpenCells(t.Context(), both[1:]); err != nil || string(both[1].Image) != string(person("Efua")) {
			t.Errorf("who was not on a page: %v", err)
		}
		if err := c.Seal(t.Context(), both[:1]); err != nil {
			t.Error(err)
		}
		if err := v.OpenCells(t.Context(), both[:1]); err != nil || string(both[0].Image) != string(person("Ama")) {
			t.Errorf("under a key that was made: %v", err)
		}
		return broken
	})
	if err != broken {
		t.Errorf("do fails: %v", err)
	}
}
