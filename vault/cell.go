package vault

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"github.com/annona-exchange/annona"
)

// What is sealed is: the format (1), the version of the subject's key (one byte), then
// ChaCha20-Poly1305 of the image with a random nonce in front. It is bound to format, dataset,
// number, part, version of the record and version of the key, so that it opens in its own place
// only.
//
// The sealed image of a record is two of these, each behind its length: its groups are sealed by
// themselves, as part sealed_groups, so that whoever shows none of them need not open them.
const sealedFormat = 1

const partSealedGroups = annona.PartSealed + "_groups"

// sealedHead is the length of format and key version.
const sealedHead = 2

// Seal seals images in place, each under the key of its subject. Keys of subjects that have none
// are made, and durable, before it returns. An empty image stays empty.
func (v *Vault) Seal(ctx context.Context, cells []annona.Cell) error {
	return v.withKeys(ctx, cells, v.make, sealing())
}

// sealing returns what seals one cell after the other, each under its key.
func sealing() useKey {
	var k cellKey
	return func(c *annona.Cell, key []byte) (err error) {
		k = cellKey{cell: c, aead: newCellAEAD(key), data: k.data}
		if c.Part == annona.PartSealed {
			c.Image, err = k.sealRecord()
		} else {
			c.Image = k.seal(c.Part, c.Image)
		}
		return err
	}
}

// OpenCell opens one sealed image in place: a before image of an event, for the most part. Its
// errors are those of Open.
func (v *Vault) OpenCell(ctx context.Context, c *annona.Cell) error {
	cells := []annona.Cell{*c}
	err := v.OpenCells(ctx, cells)
	*c = cells[0]
	return err
}

// OpenCells opens sealed images in place; an empty one stays empty. Its errors are those of Open.
func (v *Vault) OpenCells(ctx context.Context, cells []annona.Cell) error {
	return v.withKeys(ctx, cells, makeNone, openCell)
}

// openCell opens a cell in place.
func openCell(c *annona.Cell, key []byte) (err error) {
	k := cellKey{cell: c, aead: newCellAEAD(key)}
	if c.Part == annona.PartSealed {
		c.Image, err = k.openRecord()
	} else {
		c.Image, err = k.open(nil, c.Part, c.Image)
	}
	return err
}

// useKey does something with a cell under the key of its subject.
type useKey func(c *annona.Cell, key []byte) error

// supplyKeys supplies keys of a noun that are not on file.
type supplyKeys func(ctx context.Context, noun string, numbers []annona.Number, keys *subjectKeys) error

func makeNone(context.Context, string, []annona.Number, *subjectKeys) error { return nil }

// withKeys calls use for each cell that has an image. Keys that are not on file are asked of supply.
func (v *Vault) withKeys(ctx context.Context, cells []annona.Cell, supply supplyKeys, use useKey) error {
	s := v.takeScratch()
	defer v.putScratch(s)
	for _, noun := range nounsOf(cells) {
		numbers, of := numbersOf(cells, noun)
		all := func(int) bool { return true }
		s.plan(numbers, all)
		if err := v.fetch(ctx, &wantedKeys{noun: noun, numbers: numbers, subjectKeys: &s.subjectKeys}); err != nil {
			return err
		}
		if s.lacks() {
			if err := supply(ctx, noun, numbers, &s.subjectKeys); err != nil {
				return err
			}
		}
		for row, cell := range of {
			if isAbsent(s.of(row)) {
				return errKeyGone.On(cell.Dataset.Name)
			}
			if err := use(cell, s.of(row)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lacks reports whether a row that needs a key has none.
func (s *subjectKeys) lacks() bool {
	return slices.ContainsFunc(s.rows, func(row int32) bool { return isAbsent(s.of(int(row))) })
}

// nounsOf returns the nouns of the cells that have an image.
func nounsOf(cells []annona.Cell) (nouns []string) {
	for i := range cells {
		if noun := cells[i].Dataset.Noun; len(cells[i].Image) > 0 && !slices.Contains(nouns, noun) {
			nouns = append(nouns, noun)
		}
	}
	return nouns
}

// numbersOf returns the cells of a noun that have an image, and their numbers.
func numbersOf(cells []annona.Cell, noun string) (numbers []annona.Number, of []*annona.Cell) {
	for i := range cells {
		if c := &cells[i]; c.Dataset.Noun == noun && len(c.Image) > 0 {
			numbers, of = append(numbers, c.Number), append(of, c)
		}
	}
	return numbers, of
}

// cellKey seals and opens what belongs to one version of one record, under its subject's key.
type cellKey struct {
	cell *annona.Cell
	aead cipher.AEAD
	data []byte // memory for what is bound
}

// seal returns an image sealed as that part of the record.
func (k *cellKey) seal(part annona.CellPart, image []byte) []byte {
	return k.sealInto(make([]byte, 0, k.sealedSize(image)), part, image)
}

// sealInto appends an image sealed as that part of the record to dst.
func (k *cellKey) sealInto(dst []byte, part annona.CellPart, image []byte) []byte {
	return seal(append(dst, sealedFormat, subjectKeyVersion), k.aead, image, k.bound(part))
}

func (k *cellKey) sealedSize(image []byte) int { return sealedHead + sealedSize(k.aead, image) }

// open appends the image that is sealed as that part of the record to dst.
func (k *cellKey) open(dst []byte, part annona.CellPart, sealed []byte) ([]byte, error) {
	if len(sealed) < sealedHead || sealed[0] != sealedFormat || sealed[1] != subjectKeyVersion {
		return dst, errTampered.On(k.cell.Dataset.Name)
	}
	image, err := openInto(dst, k.aead, sealed[sealedHead:], k.bound(part))
	if err != nil {
		return dst, errTampered.On(k.cell.Dataset.Name)
	}
	return image, nil
}

// bound is what the sealed bytes of that part are bound to, each piece behind its length.
func (k *cellKey) bound(part annona.CellPart) []byte {
	c := k.cell
	data := appendText(k.data[:0], "cell")
	data = appendNumber(data, sealedFormat)
	data = appendText(data, c.Dataset.Name)
	data = appendNumber(data, int64(c.Number))
	data = appendText(data, string(part))
	data = appendNumber(data, int64(c.Version))
	k.data = appendNumber(data, subjectKeyVersion)
	return k.data
}

// sealRecord returns the sealed image of the record, cut in two.
func (k *cellKey) sealRecord() ([]byte, error) {
	rest, groups, err := k.cell.Dataset.SplitGroups(k.cell.Image)
	if err != nil {
		return nil, annona.Internal("seal a record", err)
	}
	sealed := make([]byte, 0, 2*binary.MaxVarintLen32+k.sealedSize(rest)+k.sealedSize(groups))
	sealed = k.sealItem(sealed, annona.PartSealed, rest)
	if len(groups) > 0 {
		sealed = k.sealItem(sealed, partSealedGroups, groups)
	}
	return sealed, nil
}

// sealItem appends an image that is sealed as that part, as annona.AppendItem does.
func (k *cellKey) sealItem(items []byte, part annona.CellPart, image []byte) []byte {
	return k.sealInto(binary.AppendUvarint(items, uint64(k.sealedSize(image))), part, image)
}

// openRecord returns the image of the record.
func (k *cellKey) openRecord() ([]byte, error) {
	rest, groups, err := k.openPieces(nil, nil, k.cell.Image)
	if err != nil {
		return nil, err
	}
	image, err := annona.JoinImages(rest, groups)
	if err != nil {
		return nil, annona.Internal("open a stored record", err)
	}
	return image, nil
}

// openPieces appends what the items of a sealed image hold: the rest of the record, and its
// groups if they are there.
func (k *cellKey) openPieces(rest, groups []byte, sealed []byte) (_, _ []byte, err error) {
	n := 0
	malformed := annona.Items(sealed, func(item annona.Image) bool {
		switch n++; n {
		case 1:
			rest, err = k.open(rest, annona.PartSealed, item)
		case 2:
			groups, err = k.open(groups, partSealedGroups, item)
		default:
			err = errTampered.On(k.cell.Dataset.Name)
		}
		return err == nil
	})
	if malformed != nil {
		err = errTampered.On(k.cell.Dataset.Name)
	}
	return rest, groups, err
}

// Open opens the sealed images of pages and of the pages nested in them. All keys that it needs are read at
// once. See annona.Vault.
func (v *Vault) Open(ctx context.Context, pages ...*annona.Page) error {
	var all []*opening
	defer func() {
		for _, o := range all {
			v.putScratch(o.scratch)
		}
	}()
	for _, page := range pages {
		var err error
		if all, err = v.appendOpenings(all, page); err != nil {
			return err
		}
	}
	keys := make([]*wantedKeys, len(all))
	for i, o := range all {
		keys[i] = &wantedKeys{noun: o.page.Shape.Dataset.Noun, numbers: o.page.Numbers, subjectKeys: &o.subjectKeys}
	}
	if err := v.fetch(ctx, keys...); err != nil {
		return err
	}
	for _, o := range all {
		if err := o.scratch.open(o.page); err != nil {
			return err
		}
		o.page.Sealed.Reset()
		o.page.Versions = o.page.Versions[:0]
	}
	return nil
}

// opening is a page that has sealed images.
type opening struct {
	*scratch
	page *annona.Page
}

// appendOpenings appends a page and those nested in it as far as they have sealed images, the inner ones first.
func (v *Vault) appendOpenings(all []*opening, page *annona.Page) (_ []*opening, err error) {
	for i := range page.Groups {
		if all, err = v.appendOpenings(all, page.Groups[i].Page); err != nil {
			return all, err
		}
	}
	if len(page.Sealed.Ends) == 0 {
		return all, nil
	}
	if n := page.Count; len(page.Sealed.Ends) != n || len(page.Numbers) != n || len(page.Versions) != n {
		return all, annona.Internal("open a page: rows, numbers, versions and sealed images are not of one number", nil)
	}
	s := v.takeScratch()
	s.plan(page.Numbers, func(row int) bool { return len(page.Sealed.Cell(row)) > 0 })
	return append(all, &opening{s, page}), nil
}

// scratch is the memory that opening one page needs, used again for the next.
type scratch struct {
	subjectKeys
	rest, groups []byte // of one image
}

func (v *Vault) takeScratch() *scratch {
	if s, ok := v.scratch.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

func (v *Vault) putScratch(s *scratch) {
	s.forget()
	clear(s.rest[:cap(s.rest)])
	clear(s.groups[:cap(s.groups)])
	v.scratch.Put(s)
}

// open unpacks every row of a page whose keys were fetched.
func (s *scratch) open(page *annona.Page) error {
	unpacker := annona.NewUnpacker(page.Shape, true)
	cell := annona.Cell{Dataset: page.Shape.Dataset}
	k := cellKey{cell: &cell, data: s.data}
	for row := range page.Count {
		s.rest, s.groups = s.rest[:0], s.groups[:0]
		if sealed := page.Sealed.Cell(row); len(sealed) > 0 {
			key := s.of(row)
			if isAbsent(key) {
				return errKeyGone.On(cell.Dataset.Name)
			}
			cell.Number, cell.Version, k.aead = page.Numbers[row], int(page.Versions[row]), newCellAEAD(key)
			var err error
			if s.rest, s.groups, err = k.openPieces(s.rest, s.groups, sealed); err != nil {
				return err
			}
		}
		if err := unpacker.Unpack(page, s.rest, s.groups); err != nil {
			return annona.Internal("open a stored record", err)
		}
	}
	s.data = k.data
	return nil
}

var (
	errKeyGone  = annona.Unavailable("key_gone", "a record was erased while it was read; try again")
	errTampered = annona.Conflict("record_tampered", "the sealed part of a record was changed, stands in the place of another one, or was written by a newer version; stop, keep a copy, and restore a backup")
)
