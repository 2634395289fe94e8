package vault

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// held opens and seals cells under keys that were read for many at once.
type held struct {
	v    *Vault
	keys []*wantedKeys // of one noun each, their numbers ascending
}

// Holding calls do with cells whose keys it has read. See annona.CellVault.
func (v *Vault) Holding(ctx context.Context, pages []*annona.Page, do func(annona.Cells) error) error {
	h := held{v: v}
	var all []*scratch
	defer func() {
		for _, s := range all {
			v.putScratch(s)
		}
	}()
	for noun, numbers := range numbersByNoun(pages) {
		s := v.takeScratch()
		all = append(all, s)
		s.plan(numbers, func(int) bool { return true })
		h.keys = append(h.keys, &wantedKeys{noun: noun, numbers: numbers, subjectKeys: &s.subjectKeys})
	}
	if err := v.fetch(ctx, h.keys...); err != nil {
		return err
	}
	return do(&h)
}

// numbersByNoun returns the numbers on pages, each once, ascending.
func numbersByNoun(pages []*annona.Page) map[string][]annona.Number {
	numbers := map[string][]annona.Number{}
	for _, p := range pages {
		noun := p.Shape.Dataset.Noun
		numbers[noun] = append(numbers[noun], p.Numbers[:p.Count]...)
	}
	for noun, of := range numbers {
		slices.Sort(of)
		numbers[noun] = slices.Compact(of)
	}
	return numbers
}

// key returns the key that is held for a cell; nil: none.
func (h *held) key(c *annona.Cell) []byte {
	for _, k := range h.keys {
		if k.noun != c.Dataset.Noun {
			continue
		}
		if row, found := slices.BinarySearch(k.numbers, c.Number); found && !isAbsent(k.of(row)) {
			return k.of(row)
		}
	}
	return nil
}

// Seal seals cells as the vault does.
func (h *held) Seal(ctx context.Context, cells []annona.Cell) error {
	return h.withKeys(ctx, cells, h.v.make, sealing())
}

// OpenCells opens cells as the vault does.
func (h *held) OpenCells(ctx context.Context, cells []annona.Cell) error {
	return h.withKeys(ctx, cells, makeNone, openCell)
}

// withKeys is that of the vault, which is asked as soon as one key is not held.
func (h *held) withKeys(ctx context.Context, cells []annona.Cell, supply supplyKeys, use useKey) error {
	lacks := func(c annona.Cell) bool { return len(c.Image) > 0 && h.key(&c) == nil }
	if slices.ContainsFunc(cells, lacks) {
		return h.v.withKeys(ctx, cells, supply, use)
	}
	for i := range cells {
		if c := &cells[i]; len(c.Image) > 0 {
			if err := use(c, h.key(c)); err != nil {
				return err
			}
		}
	}
	return nil
}
