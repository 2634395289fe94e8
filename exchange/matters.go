package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// partner is who answers for what the caller keeps.
func (i *inquiry) partner() string { return i.grant.Agreement.Partner.Name }

// matterEdit is a matter that a transaction has found, held or set a number aside for, and what is to be of it.
type matterEdit struct {
	annona.Matter
	was  document // what it says on file; nothing when it is new
	next document
}

// openMatters opens what matters say on file.
func (x *Exchange) openMatters(ctx context.Context, matters []annona.Matter) ([]matterEdit, error) {
	edits := make([]matterEdit, len(matters))
	var cells []annona.Cell
	for _, m := range matters {
		cells = append(cells, annona.Cell{Dataset: m.Dataset, Number: m.Number, Version: m.Version, Part: annona.PartSealed, Image: slices.Clone(m.Sealed)})
	}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return nil, err
	}
	for n, m := range matters {
		edits[n] = matterEdit{Matter: m, was: newDocument(m.Dataset)}
		if m.Version > 0 {
			var err error
			if edits[n].was, err = openDocument(x.CurrentDictionary(), m.Dataset, m.Clear, cells[n].Image); err != nil {
				return nil, err
			}
		}
		edits[n].next = edits[n].was.clone()
	}
	return edits, nil
}

// putMatters seals what is to be of matters and writes it, each as its next version.
func (x *Exchange) putMatters(ctx context.Context, tx annona.Tx, by annona.Author, edits []matterEdit) error {
	var cells []annona.Cell
	matters := make([]annona.Matter, len(edits))
	for n := range edits {
		e := &edits[n]
		clear, sealed, err := e.next.images(x.CurrentDictionary())
		if err != nil {
			return err
		}
		cell := annona.Cell{Dataset: e.Dataset, Number: e.Number, Version: e.Version + 1, Part: annona.PartSealed, Image: sealed}
		before := annona.Cell{Dataset: e.Dataset, Number: e.Number, Version: e.Version, Part: annona.PartBefore}
		if e.Version > 0 {
			before.Image = slices.Clone(e.Clear)
		}
		cells = append(cells, cell, before)
		matters[n] = e.Matter
		matters[n].Version, matters[n].Clear = e.Version+1, clear
	}
	if err := x.Vault.Seal(ctx, cells); err != nil {
		return err
	}
	for n := range edits {
		if was := &edits[n].Matter; was.Version > 0 {
			matters[n].Before = annona.Former{Version: was.Version, Clear: cells[2*n+1].Image, Sealed: was.Sealed}.Append(nil)
		}
		matters[n].Sealed = cells[2*n].Image
	}
	return tx.PutMatters(ctx, by, matters)
}
