package vault

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// A sealed image is: the format (1), the version of the subject's key (one byte), then AES-256-GCM
// of the image with a random nonce in front. It is bound to format, dataset, number, part, version
// of the record and version of the key, so that it opens in its own place only.
const sealedFormat = 1

// sealedHead is the length of format and key version.
const sealedHead = 2

// Seal seals images in place, each under the key of its subject. Keys of subjects that have none
// are made, and durable, before it returns. An empty image stays empty.
func (v *Vault) Seal(ctx context.Context, cells []annona.Cell) error {
	return v.withKeys(ctx, cells, v.make, func(c *annona.Cell, key []byte) error {
		c.Image = sealCell(c, key)
		return nil
	})
}

// OpenCell opens one sealed image in place: a before image of an event, for the most part. Its
// errors are those of Open.
func (v *Vault) OpenCell(ctx context.Context, c *annona.Cell) error {
	cells := []annona.Cell{*c}
	absent := func(context.Context, string, []annona.Number, *subjectKeys) error { return nil }
	err := v.withKeys(ctx, cells, absent, func(one *annona.Cell, key []byte) (err error) {
		data := appendCellData(nil, one.Dataset.Name, one.Number, one.Part, one.Version)
		one.Image, err = openCell(nil, one.Dataset, one.Image, key, data)
		return err
	})
	*c = cells[0]
	return err
}

// withKeys calls use for each cell that has an image, with the key of its subject. Keys that are
// not on file are asked of supply.
func (v *Vault) withKeys(ctx context.Context, cells []annona.Cell,
	supply func(context.Context, string, []annona.Number, *subjectKeys) error, use func(*annona.Cell, []byte) error) error {
	s := v.takeScratch()
	defer v.putScratch(s)
	for _, noun := range nounsOf(cells) {
		numbers, of := numbersOf(cells, noun)
		all := func(int) bool { return true }
		s.plan(numbers, all)
		if err := v.fetch(ctx, noun, numbers, &s.subjectKeys); err != nil {
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

func sealCell(c *annona.Cell, key []byte) []byte {
	data := appendCellData(nil, c.Dataset.Name, c.Number, c.Part, c.Version)
	return append([]byte{sealedFormat, subjectKeyVersion}, seal(newAEAD(key), c.Image, data)...)
}

// openCell appends the image in a sealed cell to dst.
func openCell(dst []byte, dataset *annona.Dataset, sealed, key, data []byte) ([]byte, error) {
	switch {
	case isAbsent(key):
		return dst, errKeyGone.On(dataset.Name)
	case len(sealed) < sealedHead || sealed[0] != sealedFormat || sealed[1] != subjectKeyVersion:
		return dst, errTampered.On(dataset.Name)
	}
	image, err := openInto(dst, newAEAD(key), sealed[sealedHead:], data)
	if err != nil {
		return dst, errTampered.On(dataset.Name)
	}
	return image, nil
}

// appendCellData appends what a sealed image is bound to, each part behind its length.
func appendCellData(data []byte, dataset string, number annona.Number, part annona.CellPart, version int) []byte {
	data = appendText(data, "cell")
	data = appendNumber(data, sealedFormat)
	data = appendText(data, dataset)
	data = appendNumber(data, int64(number))
	data = appendText(data, string(part))
	data = appendNumber(data, int64(version))
	return appendNumber(data, subjectKeyVersion)
}

// Open opens the sealed images of a page, appends their fields to its columns and groups, and
// empties Sealed; so it does for the pages nested in it that carry sealed images. A row whose image
// is empty has none of these fields. Errors have the codes key_gone, when a subject has been erased
// since the page was read, record_tampered or keys_tampered.
func (v *Vault) Open(ctx context.Context, page *annona.Page) error {
	for i := range page.Groups {
		if err := v.Open(ctx, page.Groups[i].Page); err != nil {
			return err
		}
	}
	if len(page.Sealed.Ends) == 0 {
		return nil
	}
	if n := page.Count; len(page.Sealed.Ends) != n || len(page.Numbers) != n || len(page.Versions) != n {
		return annona.Internal("open a page: rows, numbers, versions and sealed images are not of one number", nil)
	}
	s := v.takeScratch()
	defer v.putScratch(s)
	s.plan(page.Numbers, func(row int) bool { return len(page.Sealed.Cell(row)) > 0 })
	if err := v.fetch(ctx, page.Shape.Dataset.Noun, page.Numbers, &s.subjectKeys); err != nil {
		return err
	}
	if err := s.open(page); err != nil {
		return err
	}
	page.Sealed.Reset()
	page.Versions = page.Versions[:0]
	return nil
}

// scratch is the memory that opening one page needs, used again for the next.
type scratch struct {
	subjectKeys
	image []byte
}

func (v *Vault) takeScratch() *scratch {
	if s, ok := v.scratch.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

func (v *Vault) putScratch(s *scratch) {
	s.forget()
	clear(s.image)
	v.scratch.Put(s)
}

// open unpacks every row of a page whose keys were fetched.
func (s *scratch) open(page *annona.Page) error {
	dataset := page.Shape.Dataset
	unpacker := annona.NewUnpacker(page.Shape, true)
	for row := range page.Count {
		s.image = s.image[:0]
		if sealed := page.Sealed.Cell(row); len(sealed) > 0 {
			s.data = appendCellData(s.data[:0], dataset.Name, page.Numbers[row], annona.PartSealed, int(page.Versions[row]))
			var err error
			if s.image, err = openCell(s.image, dataset, sealed, s.of(row), s.data); err != nil {
				return err
			}
		}
		if err := unpacker.Unpack(page, s.image); err != nil {
			return annona.Internal("open a stored record", err)
		}
	}
	return nil
}

var (
	errKeyGone  = annona.Unavailable("key_gone", "a record was erased while it was read; try again")
	errTampered = annona.Conflict("record_tampered", "the sealed part of a record was changed, stands in the place of another one, or was written by a newer version; stop, keep a copy, and restore a backup")
)
