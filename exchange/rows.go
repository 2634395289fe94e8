package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
)

// A source reports most rows as it did the night before. Such a row is recognized by a keyed digest of its
// text, before anything is made of it: what it became stands in a block of the source, as keys, digests and
// numbers. Its records go into the load without their content, and are compared with what is on file as all
// others are. Where one is not what the row says, the row is mapped after all.
//
// So what a block says is a hint. A wrong one costs time, and changes nothing.

const (
	rowsInBlock  = 256
	openBlocks   = 8
	blocksForRow = 4
	blockBits    = 24 // of a place; the others are of the sum
)

// KnownRows are the rows that a load's source has reported before. Recall is for one goroutine at a time.
type KnownRows struct {
	x      *Exchange
	ctx    context.Context // of the load
	prefix []byte          // of what is digested
	ids    []int64         // of the blocks on file; nil: they have been listed
	asked  int             // rows
	places []uint64        // of rows: bits of their sums and the place of their block in blocks, ascending
	blocks []keptBlock
	open   []openBlock // the last ones that were asked, the latest first
	text   []byte      // memory that is used again
}

// keptBlock is a block on file.
type keptBlock struct {
	id        int64
	rows, met int // that it holds, and that the load has met and found as they say
}

type openBlock struct {
	at   int // of blocks
	rows []annona.KnownRow
}

// KnownRows returns what is known of the rows of the load's source. From then on the load keeps what becomes of rows.
func (l *Loading) KnownRows(ctx context.Context) (*KnownRows, error) {
	k := &KnownRows{x: l.x, ctx: ctx}
	k.prefix = annona.AppendItem([]byte("row"), annona.Image(l.order.Source))
	k.prefix = binary.AppendUvarint(k.prefix, uint64(l.x.CurrentDictionary().Version))
	ids, err := l.x.Loads.RowBlocks(ctx, l.order.Source)
	if err != nil {
		return nil, err
	}
	k.ids = ids[:min(len(ids), 1<<blockBits)]
	l.known = k
	return k, nil
}

// list lists the places of all rows, once the load has some for each few blocks: a small load does not read what
// is known of a large source. A block that cannot be read is as one that is gone.
func (k *KnownRows) list() {
	if k.asked++; len(k.ids) == 0 || k.asked*blocksForRow < len(k.ids) {
		return
	}
	for _, id := range k.ids {
		rows := k.read(id)
		for i := range rows {
			k.places = append(k.places, placeOf(rows[i].Sum)|uint64(len(k.blocks)))
		}
		k.blocks = append(k.blocks, keptBlock{id: id, rows: len(rows)})
	}
	slices.Sort(k.places)
	k.ids = nil
}

func (k *KnownRows) read(id int64) []annona.KnownRow {
	b, err := k.x.Loads.RowBlock(k.ctx, id)
	if err != nil {
		return nil
	}
	rows, err := decodeRows(b)
	if err != nil {
		return nil
	}
	return rows
}

func placeOf(sum [16]byte) uint64 { return binary.BigEndian.Uint64(sum[:]) &^ (1<<blockBits - 1) }

// Recall returns the sum of a row, and what it became in an earlier load; nil when nobody knows. about is what
// decides what becomes of it, beside the row itself.
func (k *KnownRows) Recall(about, row []byte) (sum [16]byte, known *annona.KnownRow) {
	k.list()
	k.text = append(annona.AppendItem(append(k.text[:0], k.prefix...), about), row...)
	sum = k.x.Vault.Digest(k.text)
	place := placeOf(sum)
	for i, _ := slices.BinarySearch(k.places, place); i < len(k.places) && k.places[i]&^(1<<blockBits-1) == place; i++ {
		rows := k.rowsOf(int(k.places[i] & (1<<blockBits - 1)))
		if at := slices.IndexFunc(rows, func(r annona.KnownRow) bool { return r.Sum == sum }); at >= 0 {
			row := rows[at]
			row.Notes = k.hide(sum, row.Notes)
			return sum, &row
		}
	}
	return sum, nil
}

// hide makes notes unreadable, or readable again: they say which columns a row fills. A row has keyed
// digests of its own for that, and its notes are always the same.
func (k *KnownRows) hide(sum [16]byte, notes []byte) []byte {
	hidden := slices.Clone(notes)
	for at := 0; at < len(hidden); at += len(sum) {
		pad := k.x.Vault.Digest(binary.AppendUvarint(annona.AppendItem([]byte("row notes"), sum[:]), uint64(at)))
		for i := range hidden[at:min(at+len(pad), len(hidden))] {
			hidden[at+i] ^= pad[i]
		}
	}
	return hidden
}

// Hash is a keyed hash of a text, the same in each load. It may be asked for by several at once.
func (k *KnownRows) Hash(text []byte) uint64 {
	sum := k.x.Vault.Digest(annona.AppendItem([]byte("row hash"), text))
	return binary.BigEndian.Uint64(sum[:])
}

// rowsOf reads a block, or finds it among those that are open. Of one that is gone nothing is known.
func (k *KnownRows) rowsOf(at int) []annona.KnownRow {
	i := slices.IndexFunc(k.open, func(o openBlock) bool { return o.at == at })
	if i == 0 {
		return k.open[0].rows
	}
	var o openBlock
	if i > 0 {
		o = k.open[i]
		k.open = slices.Delete(k.open, i, i+1)
	} else {
		o = openBlock{at, k.read(k.blocks[at].id)}
		for n := range o.rows {
			o.rows[n].Block = k.blocks[at].id
		}
	}
	k.open = slices.Insert(k.open[:min(len(k.open), openBlocks-1)], 0, o)
	return o.rows
}

// batchRow is a row of a batch.
type batchRow struct {
	annona.SourceRow
	said   annona.KnownRow // what it became; its records have no numbers yet
	places []int           // of these records in the batch; -1: an earlier row has the key
}

// MakeReadyRows does what MakeReady does, for rows. Of one that is known nothing but its keys is looked at.
func (l *Loading) MakeReadyRows(rows []annona.SourceRow) (*Batch, error) {
	if l.order.Mode == ModeFull && !l.decided {
		return nil, errUndecided()
	}
	for i := range rows {
		l.noteRow(&l.second, &rows[i])
	}
	return l.readyRows(rows)
}

func (l *Loading) readyRows(rows []annona.SourceRow) (*Batch, error) {
	count := 0
	for i := range rows {
		if count += len(rows[i].Households) + len(rows[i].Individuals); rows[i].Known != nil {
			count += len(rows[i].Known.Records)
		}
	}
	b, keys := newBatch(count), &recordKeys{hashes: l.x.Vault, known: map[batchKey]string{}}
	b.moves, b.rows = l.x.indexMoves(), make([]batchRow, len(rows))
	for i := range rows {
		b.rows[i].SourceRow = rows[i]
		if rows[i].Known == nil && rows[i].Sum != ([16]byte{}) && l.known != nil {
			b.rows[i].said = annona.KnownRow{Sum: rows[i].Sum, Notes: l.known.hide(rows[i].Sum, rows[i].Notes)}
		}
	}
	for _, households := range []bool{true, false} {
		for i := range b.rows {
			if err := l.addRow(b, &b.rows[i], households, keys); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// addRow adds the households of a row, or its individuals.
func (l *Loading) addRow(b *Batch, row *batchRow, households bool, keys *recordKeys) error {
	if row.Known != nil {
		for i := range row.Known.Records {
			if r := &row.Known.Records[i]; r.Household == households {
				row.places = append(row.places, b.add(l.unmapped(row, r)))
			}
		}
		return nil
	}
	records := row.Individuals
	if households {
		records = row.Households
	}
	for i := range records {
		r, err := l.x.prepare(&records[i], keys)
		if err != nil {
			return err
		}
		l.complete(&r)
		if r.Source != l.order.Source {
			row.said.Sum = [16]byte{}
		}
		row.said.Records = append(row.said.Records, annona.KnownRecord{
			Household: households, Key: r.Key, Digest: r.Digest, Misfits: r.misfits, Placeless: r.said.Line == 0,
		})
		row.places = append(row.places, b.add(r))
	}
	return nil
}

// unmapped is a record of a known row: what the source calls it, and that it says what it did.
func (l *Loading) unmapped(row *batchRow, r *annona.KnownRecord) prepared {
	dataset := l.datasetOf(r)
	said := &annona.Record{Dataset: dataset, Source: l.order.Source}
	if !r.Placeless {
		said.File, said.Line = row.File, row.Line
	}
	p := prepared{said: said, misfits: r.Misfits, isUnmapped: true}
	p.RecordKey = annona.RecordKey{Dataset: dataset, Source: l.order.Source, Key: r.Key, Digest: r.Digest, Found: r.Number, AsOf: l.load.AsOf}
	return p
}

func (l *Loading) datasetOf(r *annona.KnownRecord) *annona.Dataset {
	name := "individuals"
	if r.Household {
		name = "households"
	}
	dataset, _ := l.x.CurrentDictionary().Dataset(name)
	return dataset
}

// errUnmapped says that records of known rows are not on file as these rows say: those in Batch.unfit.
var errUnmapped = errors.New("a row that is known has to be mapped")

// mapped is a batch in which the known rows that are unfit are mapped.
func (l *Loading) mapped(b *Batch) (*Batch, error) {
	parts := b.parts
	if len(parts) == 0 {
		parts = []*Batch{b}
	}
	whole, first := make([]*Batch, len(parts)), 0
	for i, part := range parts {
		rows := b.rows[first : first+len(part.rows)]
		first += len(part.rows)
		if whole[i] = part; !slices.ContainsFunc(rows, b.isUnfit) {
			continue
		}
		var err error
		if whole[i], err = l.mapUnfit(b, rows); err != nil {
			return nil, err
		}
	}
	return joinBatches(whole), nil
}

// isUnfit reports whether a record of a known row is not on file as the row says.
func (b *Batch) isUnfit(row batchRow) bool {
	return row.Known != nil && slices.ContainsFunc(row.places, func(at int) bool { return b.unfit[at] })
}

func (l *Loading) mapUnfit(b *Batch, some []batchRow) (*Batch, error) {
	rows := make([]annona.SourceRow, len(some))
	for i := range some {
		rows[i] = some[i].SourceRow
		if !b.isUnfit(some[i]) {
			continue
		}
		households, individuals, err := rows[i].Map()
		if err != nil {
			return nil, err
		}
		rows[i] = annona.SourceRow{File: rows[i].File, Line: rows[i].Line, Households: households, Individuals: individuals} // what it becomes is on file already
	}
	return l.readyRows(rows)
}

// learn notes what became of the rows of a batch, by what was found of their records.
func (l *Loading) learn(b *Batch, known []annona.Known, o *outcome) {
	if l.known == nil {
		return
	}
	for i := range b.rows {
		switch row := &b.rows[i]; {
		case row.Known != nil:
			o.met = append(o.met, row.Known.Block)
		case row.found(b, known):
			o.learned = append(o.learned, row.said)
		}
	}
}

// found completes what the row became with numbers. It reports whether all of its records have one.
func (r *batchRow) found(b *Batch, known []annona.Known) bool {
	if r.said.Sum == ([16]byte{}) || len(r.places) == 0 || slices.Contains(r.places, -1) {
		return false
	}
	records := slices.Clone(r.said.Records) // the transaction may run again, with other numbers
	for i, at := range r.places {
		if known[at].Erased || known[at].Number == 0 {
			return false
		}
		records[i].Number = known[at].Number
	}
	r.said.Records = records
	return true
}

// keepRows writes what became of rows, as many as fill blocks.
func (l *Loading) keepRows(ctx context.Context, tx annona.Tx, o *outcome) error {
	l.mu.Lock()
	rows := l.learned[:len(l.learned)-len(l.learned)%rowsInBlock]
	l.mu.Unlock()
	o.blocks, o.keptRows = nil, len(rows)
	for some := range slices.Chunk(rows, rowsInBlock) {
		id, err := tx.PutRowBlock(ctx, l.blockOf(some))
		if err != nil {
			return err
		}
		o.blocks = append(o.blocks, id)
	}
	return nil
}

func (l *Loading) blockOf(rows []annona.KnownRow) annona.RowBlock {
	b := annona.RowBlock{Source: l.order.Source, Rows: encodeRows(rows)}
	for i := range rows {
		for _, r := range rows[i].Records {
			first, last := &b.FirstIndividual, &b.LastIndividual
			if r.Household {
				first, last = &b.FirstHousehold, &b.LastHousehold
			}
			if *first == 0 || r.Number < *first {
				*first = r.Number
			}
			*last = max(*last, r.Number)
		}
	}
	return b
}

// addRows counts what a transaction knows of rows, after its commit. It is called with mu held.
func (l *Loading) addRows(o *outcome) {
	if l.known == nil {
		return
	}
	if o.keptRows > 0 {
		l.learned = slices.Delete(l.learned, 0, o.keptRows)
		l.blocks = append(l.blocks, o.blocks...)
		l.kept += o.keptRows
	}
	l.learned = append(l.learned, o.learned...)
	for _, id := range o.met {
		if at, found := slices.BinarySearchFunc(l.known.blocks, id, func(b keptBlock, id int64) int { return int(b.id - id) }); found {
			l.known.blocks[at].met++
		}
	}
}

// settleRows writes what has been learned of rows to its end. A load that has read about as much as is known of its source
// lets those blocks go of which it has met less than half: what they say is of rows that changed. A small
// load leaves all as it is.
func (l *Loading) settleRows(ctx context.Context, tx annona.Tx, whole bool) error {
	if l.known == nil {
		return nil
	}
	listed, met := 0, 0
	var old []int64
	for _, b := range l.known.blocks {
		listed, met = listed+b.rows, met+b.met
		if 2*b.met < b.rows || b.rows == 0 {
			old = append(old, b.id)
		}
	}
	if len(l.known.ids) > 0 || 2*(met+l.kept+len(l.learned)) < listed {
		return tx.DropRowBlocks(ctx, l.blocks)
	}
	for rows := range slices.Chunk(l.learned, rowsInBlock) {
		if _, err := tx.PutRowBlock(ctx, l.blockOf(rows)); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	return tx.DropRowBlocks(ctx, old)
}

// A block is, for each row: its sum; its notes behind their length; how many records it became; and for
// each of these a byte of what it is, the key behind its length, the digest and the number.
const (
	bitHousehold = 1 << iota
	bitMisfits
	bitPlaceless
)

func encodeRows(rows []annona.KnownRow) (b []byte) {
	for i := range rows {
		b = append(b, rows[i].Sum[:]...)
		b = annona.AppendItem(b, rows[i].Notes)
		b = binary.AppendUvarint(b, uint64(len(rows[i].Records)))
		for _, r := range rows[i].Records {
			b = append(b, bitIf(r.Household, bitHousehold)|bitIf(r.Misfits, bitMisfits)|bitIf(r.Placeless, bitPlaceless))
			b = annona.AppendItem(b, annona.Image(r.Key))
			b = append(b, r.Digest[:]...)
			b = binary.AppendUvarint(b, uint64(r.Number))
		}
	}
	return b
}

func bitIf(is bool, bit byte) byte {
	if is {
		return bit
	}
	return 0
}

var errRows = errors.New("what rows became does not decode")

func decodeRows(b []byte) (rows []annona.KnownRow, err error) {
	d := rowDecoder{b: b}
	for len(d.b) > 0 && !d.failed {
		var row annona.KnownRow
		copy(row.Sum[:], d.take(len(row.Sum)))
		row.Notes = d.take(d.count())
		count := d.count()
		if count > len(d.b) {
			return nil, errRows
		}
		row.Records = make([]annona.KnownRecord, count)
		for i := range row.Records {
			r := &row.Records[i]
			if is := d.take(1); len(is) == 1 {
				r.Household, r.Misfits, r.Placeless = is[0]&bitHousehold != 0, is[0]&bitMisfits != 0, is[0]&bitPlaceless != 0
			}
			r.Key = string(d.take(d.count()))
			copy(r.Digest[:], d.take(len(r.Digest)))
			r.Number = annona.Number(d.count())
		}
		rows = append(rows, row)
	}
	if d.failed {
		return nil, errRows
	}
	return rows, nil
}

// rowDecoder reads a block from its beginning.
type rowDecoder struct {
	b      []byte
	failed bool
}

func (d *rowDecoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.failed = nil, true
		return nil
	}
	part := d.b[:n:n]
	d.b = d.b[n:]
	return part
}

func (d *rowDecoder) count() int {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > 1<<62 {
		d.b, d.failed = nil, true
		return 0
	}
	d.b = d.b[size:]
	return int(n)
}
