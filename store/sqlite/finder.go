package sqlite

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sort"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// The finder leads from what names a record to its number: from the key of its source, and from
// the blind index of each of its identifiers. All of these are hashes. A plain index of hashes is
// written all over: in a large registry each new entry costs a page of its own, in every
// transaction.
//
// So entries lie in blocks, and blocks in a tree: the root takes what is new, and a block that is
// full hands all it has to sixteen blocks below it, by the next four bits of the hash. A page that is
// written takes up dozens of entries. Whoever looks for a hash walks down: root, one of its sixteen,
// one of its sixteen, until there is no block.
//
// An entry is 64 bits of a hash and a number. It may lead to another record by chance: whoever
// follows it compares what that record says of itself.

const (
	fullBlock   = 480 // entries: with its row, a page
	entrySize   = 16  // bytes: hash and number, big-endian
	stepBits    = 4
	deepestBits = 60 // equal hashes go no deeper; the block grows
)

// finderEntry leads to a number.
type finderEntry struct {
	hash   uint64
	number annona.Number
}

func (e finderEntry) compare(o finderEntry) int {
	return cmp.Or(cmp.Compare(e.hash, o.hash), cmp.Compare(e.number, o.number))
}

// blockOf is the block of a hash at that depth: its first bits behind a one.
func blockOf(hash uint64, bits int) int64 { return 1<<bits | int64(hash>>1>>(63-bits)) }

// keyHash is what the finder has a record under.
func keyHash(k recordKey) uint64 { return finderHash("key", k.dataset, k.source, k.key) }

func finderHash(parts ...string) uint64 {
	data := make([]byte, 0, 128)
	for _, part := range parts {
		data = binary.AppendUvarint(data, uint64(len(part)))
		data = append(data, part...)
	}
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint64(sum[:])
}

const selectBlock = "SELECT entries FROM finder WHERE block = ?"

// lookUp calls take for each number that is on file under a hash, until take returns false.
func (c *conn) lookUp(hash uint64, take func(annona.Number) (bool, error)) error {
	for bits, more := 0, true; more && bits <= deepestBits; bits += stepBits {
		entries, there, err := c.block(blockOf(hash, bits))
		if err != nil || !there {
			return err
		}
		for _, n := range entries.under(hash) {
			if more, err = take(n); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// lookUpAll calls take for each number that is on file under one of some hashes, which ascend: a block
// that several of them lead to is read once.
func (c *conn) lookUpAll(bits int, hashes []uint64, take func(hash uint64, n annona.Number)) error {
	entries, there, err := c.block(blockOf(hashes[0], bits))
	if err != nil || !there {
		return err
	}
	for _, hash := range hashes {
		for _, n := range entries.under(hash) {
			take(hash, n)
		}
	}
	for bits < deepestBits && len(hashes) > 0 {
		end := endOfBlock(hashes, bits+stepBits, func(hash uint64) uint64 { return hash })
		if err := c.lookUpAll(bits+stepBits, hashes[:end], take); err != nil {
			return err
		}
		hashes = hashes[end:]
	}
	return nil
}

// endOfBlock returns how many elements of an ascending list belong to the block of the first one.
func endOfBlock[E any](list []E, bits int, hashOf func(E) uint64) int {
	block := blockOf(hashOf(list[0]), bits)
	end, _ := slices.BinarySearchFunc(list, block+1, func(e E, b int64) int { return cmp.Compare(blockOf(hashOf(e), bits), b) })
	return end
}

// packedEntries are the entries of a block as they lie in its row: hash and number, big-endian, ascending.
type packedEntries []byte

// block reads a block into memory that the next one takes; there: there is one.
func (c *conn) block(block int64) (entries packedEntries, there bool, err error) {
	there, err = c.one(selectBlock, func(s *sqlite.Stmt) { c.entries = appendColumn(c.entries[:0], s, 0) }, block)
	return packedEntries(c.entries), there, err
}

func (p packedEntries) at(i int) finderEntry {
	e := p[i*entrySize:]
	return finderEntry{binary.BigEndian.Uint64(e), annona.Number(binary.BigEndian.Uint64(e[8:]))}
}

// under returns the numbers under a hash.
func (p packedEntries) under(hash uint64) (numbers []annona.Number) {
	count := len(p) / entrySize
	for i := sort.Search(count, func(i int) bool { return p.at(i).hash >= hash }); i < count && p.at(i).hash == hash; i++ {
		numbers = append(numbers, p.at(i).number)
	}
	return numbers
}

// lookUp calls take for each number under a hash, as this transaction has left them.
func (t *tx) lookUp(hash uint64, take func(annona.Number) (bool, error)) error {
	for _, n := range t.findable[hash] {
		if more, err := take(n); err != nil || !more {
			return err
		}
	}
	return t.conn.lookUp(hash, func(n annona.Number) (more bool, err error) {
		if t.forgotten[finderEntry{hash, n}] {
			return true, nil
		}
		return take(n)
	})
}

// numberOf returns the number of the record on file that has that key as its first one; 0 when there
// is none.
func (c *conn) numberOf(k recordKey) (number annona.Number, err error) {
	err = c.lookUp(keyHash(k), func(n annona.Number) (bool, error) { return c.isNumberOf(k, n, &number) })
	return number, err
}

func (t *tx) numberOf(k recordKey) (number annona.Number, err error) {
	if n, ok := t.here[k]; ok {
		return n, nil
	}
	err = t.lookUp(keyHash(k), func(n annona.Number) (bool, error) { return t.conn.isNumberOf(k, n, &number) })
	return number, err
}

// isNumberOf keeps a number that is the one of a key, and reports whether to look further.
func (c *conn) isNumberOf(k recordKey, n annona.Number, number *annona.Number) (more bool, err error) {
	found, err := c.one("SELECT 1 FROM "+k.dataset+" WHERE number = ? AND source = ? AND source_key = ?", func(*sqlite.Stmt) { *number = n }, n, k.source, k.key)
	return !found, err
}

// makeFindable adds an entry that the finder does not have. It is written when the transaction ends.
func (t *tx) makeFindable(hash uint64, number annona.Number) {
	if e := (finderEntry{hash, number}); t.forgotten[e] {
		delete(t.forgotten, e)
		return
	}
	t.findable[hash] = append(t.findable[hash], number)
}

// forgetFindable removes an entry, wherever it is, when the transaction ends: those of one block go together.
func (t *tx) forgetFindable(hash uint64, number annona.Number) {
	added := t.findable[hash]
	if !slices.Contains(added, number) {
		t.forgotten[finderEntry{hash, number}] = true
		return
	}
	t.findable[hash] = slices.DeleteFunc(added, func(n annona.Number) bool { return n == number })
}

// settleFinder removes and writes the entries that this transaction has forgotten and added.
func (t *tx) settleFinder() error {
	if len(t.forgotten) > 0 {
		gone := slices.SortedFunc(maps.Keys(t.forgotten), finderEntry.compare)
		clear(t.forgotten)
		if err := t.conn.removeEntries(0, gone); err != nil {
			return err
		}
	}
	added := make([]finderEntry, 0, len(t.findable))
	for hash, numbers := range t.findable {
		for _, n := range numbers {
			added = append(added, finderEntry{hash, n})
		}
	}
	clear(t.findable)
	if len(added) == 0 {
		return nil
	}
	slices.SortFunc(added, finderEntry.compare)
	return t.conn.addEntries(0, added)
}

// removeEntries removes entries, which ascend, from the block of that depth and from those below it that they
// belong to.
func (c *conn) removeEntries(bits int, gone []finderEntry) error {
	block := blockOf(gone[0].hash, bits)
	entries, there, err := c.block(block)
	if err != nil || !there {
		return err
	}
	if slices.ContainsFunc(gone, func(e finderEntry) bool { return slices.Contains(entries.under(e.hash), e.number) }) {
		if err := c.strike(block, gone); err != nil {
			return err
		}
	}
	for bits < deepestBits && len(gone) > 0 {
		end := endOfBlock(gone, bits+stepBits, func(e finderEntry) uint64 { return e.hash })
		if err := c.removeEntries(bits+stepBits, gone[:end]); err != nil {
			return err
		}
		gone = gone[end:]
	}
	return nil
}

// strike writes a block without some entries.
func (c *conn) strike(block int64, gone []finderEntry) error {
	entries, _, err := c.readBlock(block)
	if err != nil {
		return err
	}
	return c.writeBlock(block, slices.DeleteFunc(entries, func(e finderEntry) bool {
		_, goes := slices.BinarySearchFunc(gone, e, finderEntry.compare)
		return goes
	}))
}

// addEntries adds entries to the block of that depth that they all belong to. When it is full, it
// hands everything down.
func (c *conn) addEntries(bits int, added []finderEntry) error {
	block := blockOf(added[0].hash, bits)
	had, _, err := c.readBlock(block)
	if err != nil {
		return err
	}
	all := merged(had, added)
	if len(all) <= fullBlock || bits == deepestBits {
		return c.writeBlock(block, all)
	}
	if err := c.writeBlock(block, nil); err != nil {
		return err
	}
	for len(all) > 0 {
		end := endOfBlock(all, bits+stepBits, func(e finderEntry) uint64 { return e.hash })
		if err := c.addEntries(bits+stepBits, all[:end]); err != nil {
			return err
		}
		all = all[end:]
	}
	return nil
}

// merged merges two sorted lists, each entry once.
func merged(a, b []finderEntry) []finderEntry {
	all := make([]finderEntry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].compare(b[0]) <= 0 {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return slices.Compact(append(append(all, a...), b...))
}

// readBlock returns the entries of a block; there: there is one.
func (c *conn) readBlock(block int64) (entries []finderEntry, there bool, err error) {
	packed, there, err := c.block(block)
	if err != nil || !there {
		return nil, there, err
	}
	entries = make([]finderEntry, len(packed)/entrySize)
	for i := range entries {
		entries[i] = packed.at(i)
	}
	return entries, true, nil
}

func (c *conn) writeBlock(block int64, entries []finderEntry) error {
	data := make([]byte, 0, len(entries)*entrySize)
	for _, e := range entries {
		data = binary.BigEndian.AppendUint64(data, e.hash)
		data = binary.BigEndian.AppendUint64(data, uint64(e.number))
	}
	return c.exec("INSERT OR REPLACE INTO finder (block, entries) VALUES (?, ?)", block, data)
}

// forgetKey removes the key of a record that is on file.
func (t *tx) forgetKey(dataset string, number annona.Number) error {
	k := recordKey{dataset: dataset}
	found, err := t.conn.one("SELECT source, source_key FROM "+dataset+" WHERE number = ?", func(s *sqlite.Stmt) {
		k.source, k.key = s.ColumnText(0), s.ColumnText(1)
	}, number)
	if err != nil || !found {
		return err
	}
	delete(t.here, k)
	t.forgetFindable(keyHash(k), number)
	return nil
}
