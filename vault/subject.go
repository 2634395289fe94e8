package vault

import (
	"context"
	"crypto/cipher"
	"slices"

	"github.com/annona-exchange/annona"
)

// Each individual and each household has a random key of its own, so that forgetting the key
// forgets the subject. Sixteen consecutive numbers share a block: their keys one behind the other,
// zeros where there is none, sealed together under the key of a generation. Opening a block costs
// a tenth of opening sixteen keys, and reading it a tenth of reading sixteen rows; a page of people
// is read in order of number, so that it needs whole blocks.
//
// Subject keys are never kept in memory beyond the call that needs them: one that was destroyed
// opens nothing from then on, on any node.

// subjectKeyVersion is the version of every subject key there is. Giving a subject another key
// would make it 2.
const subjectKeyVersion = 1

const blockSize = annona.SubjectsPerBlock * keySize

// blockOf returns the block that holds a subject's key, slotOf its place in there.
func blockOf(n annona.Number) int64 { return int64(n) / annona.SubjectsPerBlock }
func slotOf(n annona.Number) int    { return int(int64(n) % annona.SubjectsPerBlock) }

// subjectKeys are the opened keys of some subjects of one noun: a key for each row, in the order
// of the rows that were asked for. Zeros: there is none.
type subjectKeys struct {
	rows   []int32 // those that need a key, in ascending order of number
	blocks []int64
	keys   []byte
	block  []byte // of one block, opened
	data   []byte // what the block, then the image of a row, is bound to

	missing int // a generation that must be read before the block can be opened
}

// of returns the key of a row.
func (s *subjectKeys) of(row int) []byte { return s.keys[row*keySize:][:keySize] }

// forget overwrites the keys. The memory is used again.
func (s *subjectKeys) forget() {
	clear(s.keys)
	clear(s.block)
}

// plan notes which rows need keys, and which blocks hold those.
func (s *subjectKeys) plan(numbers []annona.Number, needs func(row int) bool) {
	s.rows, s.blocks = s.rows[:0], s.blocks[:0]
	ascending := true
	for row := range numbers {
		if !needs(row) {
			continue
		}
		if n := len(s.rows); n > 0 && numbers[s.rows[n-1]] > numbers[row] {
			ascending = false
		}
		s.rows = append(s.rows, int32(row))
	}
	if !ascending {
		slices.SortFunc(s.rows, func(a, b int32) int { return int(numbers[a] - numbers[b]) })
	}
	for _, row := range s.rows {
		if b := blockOf(numbers[row]); len(s.blocks) == 0 || s.blocks[len(s.blocks)-1] != b {
			s.blocks = append(s.blocks, b)
		}
	}
	s.keys = slices.Grow(s.keys[:0], len(numbers)*keySize)[:len(numbers)*keySize]
	clear(s.keys)
}

// take copies the keys of an opened block to the rows that need them, from the next row on that
// has got none, and returns the row behind them.
func (s *subjectKeys) take(numbers []annona.Number, next int, block int64, opened []byte) int {
	for ; next < len(s.rows) && blockOf(numbers[s.rows[next]]) <= block; next++ {
		if row := s.rows[next]; blockOf(numbers[row]) == block {
			copy(s.of(int(row)), slotKey(opened, numbers[row]))
		}
	}
	return next
}

// slotKey returns a subject's place in its opened block.
func slotKey(opened []byte, n annona.Number) []byte {
	return opened[slotOf(n)*keySize:][:keySize]
}

// wantedKeys are the keys that plan has asked for, of numbers of one noun.
type wantedKeys struct {
	*subjectKeys
	noun    string
	numbers []annona.Number
	next    int // of rows: the first one that has got none
}

// fetch reads keys, all at once.
func (v *Vault) fetch(ctx context.Context, keys ...*wantedKeys) error {
	if len(keys) == 0 {
		return nil
	}
	wanted, opened := blocksOf(keys), keys[0].subjectKeys
	return v.withGenerations(opened, func() error {
		for _, k := range keys {
			k.next = 0
		}
		return v.keys.ReadKeys(ctx, wanted, func(b annona.KeyBlock) error {
			isOpen := false
			for _, k := range keys {
				if !k.needs(b) {
					continue
				}
				if !isOpen {
					if err := v.openBlock(opened, b); err != nil {
						return err
					}
					isOpen = true
				}
				k.next = k.take(k.numbers, k.next, b.Block, opened.block)
			}
			return nil
		})
	})
}

// needs reports whether a block holds one of the keys, or stands behind one that has none on file: it may
// also stand between two that are needed.
func (k *wantedKeys) needs(b annona.KeyBlock) bool {
	return k.noun == b.Noun && k.next < len(k.rows) && blockOf(k.numbers[k.rows[k.next]]) <= b.Block
}

// blocksOf returns the blocks that hold keys, each noun once.
func blocksOf(keys []*wantedKeys) (wanted []annona.WantedKeys) {
	for _, k := range keys {
		if len(k.blocks) == 0 {
			continue
		}
		at := slices.IndexFunc(wanted, func(w annona.WantedKeys) bool { return w.Noun == k.noun })
		if at < 0 {
			wanted = append(wanted, annona.WantedKeys{Noun: k.noun, Blocks: k.blocks})
			continue
		}
		both := slices.Concat(wanted[at].Blocks, k.blocks)
		slices.Sort(both)
		wanted[at].Blocks = slices.Compact(both)
	}
	return wanted
}

// withGenerations runs fn, and again with each generation that it turns out to need: while the key
// store hands out blocks, it must not be asked for something else. A generation that is nowhere is
// believed the second time: its blocks may have been wrapped anew while fn was reading them.
func (v *Vault) withGenerations(s *subjectKeys, fn func() error) error {
	gone := 0
	for {
		s.missing = 0
		err := fn()
		if s.missing == 0 || s.missing == gone {
			return err
		}
		switch err := v.readGeneration(s.missing); {
		case err == errGenerationGone:
			gone = s.missing
		case err != nil:
			return err
		}
	}
}

// make makes a key for each subject that plan has asked for and that has none. A key that is there
// already is used: it is that of a transaction that did not come to its end, or of another node.
func (v *Vault) make(ctx context.Context, noun string, numbers []annona.Number, s *subjectKeys) error {
	next := 0
	return v.changeKeys(ctx, s, noun, s.blocks, func(newest generation, b annona.KeyBlock) ([]byte, error) {
		if b.Block == s.blocks[0] {
			next = 0
		}
		if err := v.openBlock(s, b); err != nil {
			return nil, err
		}
		made := 0
		for _, row := range s.rows[next:] {
			if blockOf(numbers[row]) != b.Block {
				break
			}
			if key := slotKey(s.block, numbers[row]); isAbsent(key) {
				copy(key, fresh(keySize))
				made++
			}
		}
		next = s.take(numbers, next, b.Block, s.block)
		if made == 0 {
			return nil, nil
		}
		return newest.sealBlock(b, s.block), nil
	})
}

// changeKeys changes blocks under the newest generation, or under the one that another node has made
// while this one went out of use.
func (v *Vault) changeKeys(ctx context.Context, s *subjectKeys, noun string, blocks []int64, change func(generation, annona.KeyBlock) ([]byte, error)) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		newest, err := v.newestGeneration()
		if err != nil {
			return err
		}
		err = v.withGenerations(s, func() error {
			return v.keys.ChangeKeys(ctx, noun, blocks, newest.version, func(b annona.KeyBlock) ([]byte, error) { return change(newest, b) })
		})
		if annona.CodeOf(err) != errGenerationGone.Code || attempt == attempts {
			return err
		}
	}
}

// isAbsent reports whether a place in a block holds no key.
func isAbsent(key []byte) bool { return !slices.ContainsFunc(key, func(b byte) bool { return b != 0 }) }

// openBlock opens a block into s.block: zeros when nothing is on file.
func (v *Vault) openBlock(s *subjectKeys, b annona.KeyBlock) error {
	if len(b.Wrapped) == 0 {
		s.block = slices.Grow(s.block[:0], blockSize)[:blockSize]
		clear(s.block)
		return nil
	}
	g, known := v.generation(b.Generation)
	if !known {
		s.missing = b.Generation
		return errGenerationGone
	}
	var err error
	s.data = g.appendData(s.data[:0], b)
	if b.Wrapped[0] == wrapFormat {
		s.block, err = openInto(s.block[:0], g.aead, b.Wrapped[1:], s.data)
	}
	if err != nil || b.Wrapped[0] != wrapFormat || len(s.block) != blockSize {
		return errKeysTampered.On(b.Noun)
	}
	return nil
}

// generation is a wrapping key of subject keys. It is random and never derived, so that it can be
// destroyed; unwrapped it lies in memory only.
type generation struct {
	version int
	aead    cipher.AEAD
}

// sealBlock returns the wrapped bytes of a block: format, then AES-256-GCM of its keys with a random
// nonce in front.
func (g generation) sealBlock(b annona.KeyBlock, keys []byte) []byte {
	return seal([]byte{wrapFormat}, g.aead, keys, g.appendData(nil, b))
}

// appendData appends what the wrapped keys of a block are bound to, each part behind its length.
func (g generation) appendData(data []byte, b annona.KeyBlock) []byte {
	data = appendText(data, classGeneration.label)
	data = appendNumber(data, int64(g.version))
	data = appendText(data, b.Noun)
	data = appendNumber(data, b.Block)
	return appendNumber(data, subjectKeyVersion)
}

// generation returns the generation of that version if it is in memory.
func (v *Vault) generation(version int) (g generation, known bool) {
	v.generationsMu.RLock()
	defer v.generationsMu.RUnlock()
	aead, known := v.generations[version]
	return generation{version, aead}, known
}

// readGeneration reads the generation of that version into memory.
func (v *Vault) readGeneration(version int) error {
	s, err := v.keys.Get(classGeneration.label, version)
	switch {
	case err != nil:
		return annona.Internal("read the key store", err)
	case s.Version == 0:
		return errGenerationGone
	}
	_, err = v.keepGeneration(s)
	return err
}

// newestGeneration returns the one that new keys are wrapped by, and makes the first one. It asks
// the key store each time: another node may have made a newer one.
func (v *Vault) newestGeneration() (generation, error) {
	s, err := v.latest(classGeneration.label)
	if err != nil {
		return generation{}, err
	}
	return v.keepGeneration(s)
}

func (v *Vault) keepGeneration(s annona.Secret) (generation, error) {
	secret, err := v.root.unwrap(s)
	if err != nil {
		return generation{}, err
	}
	g := generation{s.Version, newAEAD(secret.secret)}
	v.generationsMu.Lock()
	v.generations[g.version] = g.aead
	v.generationsMu.Unlock()
	return g, nil
}

// forgetGenerations drops the generations that were destroyed from memory. The key store is asked
// before the lock is taken: whoever it is handing blocks to may be waiting for that lock.
func (v *Vault) forgetGenerations() error {
	alive, err := v.generationsOnFile()
	if err != nil {
		return err
	}
	v.generationsMu.Lock()
	defer v.generationsMu.Unlock()
	for version := range v.generations {
		isIt := func(s annona.Secret) bool { return s.Version == version }
		if version < alive[len(alive)-1].Version && !slices.ContainsFunc(alive, isIt) {
			delete(v.generations, version)
		}
	}
	return nil
}

var (
	errKeysTampered   = annona.Conflict("keys_tampered", "keys of these subjects in the key store were changed or belong to others; put the key store back from its copy")
	errGenerationGone = annona.Conflict("generation_gone", "the key store holds keys whose generation was destroyed: it is an old copy, or a part of it was lost; put the newest copy back")
)
