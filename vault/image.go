package vault

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// imageInClear is the format byte of a sealed image that is framed but not encrypted. Sealing
// at rest adds a format of its own; rows of both can lie side by side while one is rewritten.
const imageInClear = 0

// Seal frames images for storage. In format 0 the image follows the format byte as it is. An
// empty image stays empty.
func (v *Vault) Seal(_ context.Context, cells []annona.Cell) error {
	for i := range cells {
		if c := &cells[i]; len(c.Image) > 0 {
			c.Image = append([]byte{imageInClear}, c.Image...)
		}
	}
	return nil
}

// RecordKey returns the keyed hash under which a record is on file.
func (v *Vault) RecordKey(dataset, source, key string) string {
	d := v.Digest(bind("record-key", 1, dataset, source, key))
	return tokenEncoding.EncodeToString(d[:])
}

// Shred destroys the key of a subject.
func (v *Vault) Shred(context.Context, *annona.Dataset, annona.Number) (time.Time, error) {
	return time.Now().Add(28 * 24 * time.Hour), nil
}

// Open appends the sealed fields of every row to the page's columns and groups, then empties
// Sealed and Keys; so it does for the pages nested in it that carry sealed images. A row
// whose image is empty has none of these fields.
func (v *Vault) Open(ctx context.Context, page *annona.Page) error {
	for i := range page.Groups {
		if err := v.Open(ctx, page.Groups[i].Page); err != nil {
			return err
		}
	}
	if len(page.Sealed.Ends) == 0 {
		return nil
	}
	if len(page.Sealed.Ends) != page.Count {
		return annona.Internal("open a page: rows and sealed images are not of one number", nil)
	}
	unpacker := annona.NewUnpacker(page.Shape, true)
	for row := range page.Count {
		image, err := unframe(page.Sealed.Cell(row))
		if err != nil {
			return err
		}
		if err := unpacker.Unpack(page, image); err != nil {
			return annona.Internal("open a stored record", err)
		}
	}
	page.Sealed.Reset()
	page.Versions = page.Versions[:0]
	return nil
}

// unframe returns the image in a sealed cell.
func unframe(sealed []byte) (annona.Image, error) {
	switch {
	case len(sealed) == 0:
		return nil, nil
	case sealed[0] == imageInClear:
		return annona.Image(sealed[1:]), nil
	}
	return nil, annona.Internal("open a stored record: it is damaged, or a newer version sealed it", nil)
}
