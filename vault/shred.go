package vault

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// Shred destroys the key of a subject.
func (v *Vault) Shred(ctx context.Context, dataset *annona.Dataset, number annona.Number) (time.Time, error) {
	newest, err := v.newestGeneration()
	if err != nil {
		return time.Time{}, err
	}
	s := v.takeScratch()
	defer v.putScratch(s)
	err = v.keys.ChangeKeys(ctx, dataset.Noun, []int64{blockOf(number)}, newest.version, func(b annona.KeyBlock) ([]byte, error) {
		if len(b.Wrapped) == 0 {
			return nil, nil
		}
		if err := v.openBlock(&s.subjectKeys, b); err != nil {
			return nil, err
		}
		clear(slotKey(s.block, number))
		if isAbsent(s.block) {
			return []byte{}, nil
		}
		return newest.sealBlock(b, s.block), nil
	})
	return v.clock().Add(28 * 24 * time.Hour), err
}
