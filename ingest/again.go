package ingest

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// A row that its source has reported before need not be read again: whoever keeps what rows become says
// so by its text. What reading it has counted, and what it has done to the rows behind it, is in its notes.
//
// What a row becomes may depend on rows before it: its person is the third one of the household, or
// its household stood on another row already. Its notes say how that was. Where it is otherwise this time, the row is mapped.

// RowForm is what is made of rows, and what is noted of them. It moves whenever a release makes something
// else of the same row, here or where records are made ready: then all rows are mapped anew.
const RowForm = 1

// Memory keeps what rows became in earlier loads.
type Memory interface {
	// Recall returns the sum of a row, and what it became; nil when nobody knows. about is what decides what
	// becomes of it beside the row. One call at a time.
	Recall(about, row []byte) (sum [16]byte, known *annona.KnownRow)
	// Hash is a keyed hash of a text, the same in each load. It may be asked for by several at once.
	Hash(text []byte) uint64
}

// ReadAgain reads as Read does, and tells of each row apart (Batch.Told): one that memory knows is not mapped.
// memory may be nil: then it is Read.
func ReadAgain(ctx context.Context, m *Mapping, sources []Source, known KnownAreas, memory Memory, rejects *Rejects, yield func(Batch) error) (Report, error) {
	files, err := assign(m, sources)
	if err != nil {
		return Report{}, err
	}
	r := newReader(ctx, m, known, rejects, yield)
	r.memory = memory
	r.expectHouseholds(files)
	for _, f := range files {
		if err := r.readFile(f); err != nil {
			return r.result(), err
		}
	}
	err = r.flush()
	return r.result(), err
}

// rowNotes are what a row did beside becoming records.
type rowNotes struct {
	household uint64 // hash of the key of its household; 0: it names none
	cells     uint64 // hash of the household's cells, where they stand on the rows of members
	emitted   bool   // the household became a record by this row
	ordinal   int    // of the person in the household; 0: persons are not numbered
	filled    []byte // of NDJSON: which columns it fills, a bit for each
	flags     []flag // that were raised, each as often as that
}

func (n *rowNotes) encode() []byte {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint64(b, n.household)
	b = binary.BigEndian.AppendUint64(b, n.cells)
	emitted := byte(0)
	if n.emitted {
		emitted = 1
	}
	b = binary.AppendUvarint(append(b, emitted), uint64(n.ordinal))
	b = annona.AppendItem(b, n.filled)
	for _, f := range n.flags {
		b = annona.AppendItem(annona.AppendItem(b, annona.Image(f.code)), annona.Image(f.field))
	}
	return b
}

// parseNotes reads notes. ok is false when they are not what encode writes.
func parseNotes(b []byte) (n rowNotes, ok bool) {
	if len(b) < 17 {
		return n, false
	}
	n.household, n.cells, n.emitted = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16] == 1
	ordinal, size := binary.Uvarint(b[17:])
	if size <= 0 {
		return n, false
	}
	n.ordinal = int(ordinal)
	var parts []string
	err := annona.Items(b[17+size:], func(item annona.Image) bool {
		parts = append(parts, string(item))
		return true
	})
	if err != nil || len(parts)%2 != 1 {
		return n, false
	}
	n.filled = []byte(parts[0])
	for i := 1; i < len(parts); i += 2 {
		n.flags = append(n.flags, flag{parts[i], parts[i+1]})
	}
	return n, true
}

// fills reports whether the row fills a column.
func (n *rowNotes) fills(column int) bool {
	return column/8 < len(n.filled) && n.filled[column/8]&(1<<(column%8)) != 0
}

// filledCells are the bits of the cells that say something.
func filledCells(cells []string) []byte {
	bits := make([]byte, (len(cells)+7)/8)
	for i, cell := range cells {
		if strings.TrimSpace(cell) != "" {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

// aboutFile is what decides what becomes of a file's rows beside themselves. header is that of CSV.
func (r *reader) aboutFile(f file, header string) []byte {
	about := annona.AppendItem(binary.AppendUvarint(nil, RowForm), r.mapping.print[:])
	about = annona.AppendItem(about, annona.Image(f.in.name))
	about = annona.AppendItem(about, annona.Image(header))
	if r.stubs {
		about = append(about, 1)
	}
	return about
}

// hash is of what names a household: the same in each load, where somebody remembers them.
func (r *reader) hash(parts ...string) uint64 {
	if r.memory == nil {
		return r.hashNow(parts)
	}
	r.hashed = r.hashed[:0]
	for _, part := range parts {
		r.hashed = annona.AppendItem(r.hashed, annona.Image(part))
	}
	return r.memory.Hash(r.hashed) | 1
}

// tellAgain tells of a row that is known, unless it stands otherwise among the rows before it. cells makes
// its cells, for the case that it has to be mapped after all.
func (r *reader) tellAgain(in *input, known *annona.KnownRow, raw string, cells func(raw string) rowCells) (notes rowNotes, told bool) {
	notes, ok := parseNotes(known.Notes)
	if !ok || !r.standsAlike(in, &notes) {
		return notes, false
	}
	for _, f := range notes.flags {
		r.flagged[f]++
	}
	for i := range known.Records {
		if known.Records[i].Household {
			r.again.households++
		} else {
			r.again.individuals++
		}
	}
	stubs, line, file := r.stubs, r.line, r.file
	r.told = append(r.told, toldRow{notes: notes, SourceRow: annona.SourceRow{
		Sum: known.Sum, Notes: known.Notes, Known: known, File: file, Line: line,
		Map: func() (households, individuals []annona.Record, err error) {
			alone := newReader(r.ctx, r.mapping, r.known, nil, nil)
			alone.memory, alone.stubs, alone.line, alone.file = r.memory, stubs, line, file
			return alone.mapAlone(in, &notes, cells(raw))
		},
	}})
	return notes, true
}

// standsAlike does to the households seen so far what the row did the last time. It reports false, and does nothing, when the
// row would do something else now.
func (r *reader) standsAlike(in *input, n *rowNotes) bool {
	if n.household == 0 {
		return true
	}
	s := r.households[n.household]
	if n.ordinal > 0 {
		if s.members++; int(s.members) != n.ordinal {
			return false
		}
	}
	if in.household != nil || r.stubs {
		seen := s.digest != 0
		if emits := r.emits(in, s, n.cells); emits != n.emitted || emits && seen && in.repeats {
			return false
		}
		if n.emitted && seen && in.household != nil {
			r.report.Repeated++
		}
		s.digest = max(n.cells, 1)
	}
	r.households[n.household] = s
	return true
}

// mapAlone makes the records of one row, which stands among others as its notes say.
func (r *reader) mapAlone(in *input, n *rowNotes, row rowCells) (households, individuals []annona.Record, err error) {
	s := sighting{members: uint32(max(n.ordinal-1, 0))}
	if !n.emitted {
		s.digest = max(n.cells, 1)
	}
	r.households[n.household] = s
	refused, err := r.row(in, row)
	if err == nil && refused.reason != "" {
		err = annona.Internal("map a row that was mapped before", nil)
	}
	return r.batch.Households, r.batch.Individuals, err
}

// toldRow is a row of a batch that is being read.
type toldRow struct {
	annona.SourceRow
	households, individuals int      // of the batch, that it became
	notes                   rowNotes // of one that is known
}

// tell tells of a row that was mapped. Only what its own text says may be remembered of it: no word that
// nobody knows, which is to be counted, and no area that may come on file.
func (r *reader) tell(sum [16]byte, mended bool, cells []string) {
	if r.memory == nil {
		return
	}
	households, individuals := r.toldRecords(len(r.told))
	row := toldRow{SourceRow: annona.SourceRow{Sum: sum, File: r.file, Line: r.line}, households: len(r.batch.Households) - households, individuals: len(r.batch.Individuals) - individuals}
	if mended || r.unsure {
		row.Sum = [16]byte{}
	}
	if row.Sum != ([16]byte{}) {
		r.noted.filled = filledCells(cells)
		row.Notes = r.noted.encode()
	}
	r.told = append(r.told, row)
}

// toldRecords counts the records of the first rows of a batch.
func (b *builder) toldRecords(rows int) (households, individuals int) {
	for i := range b.told[:rows] {
		households += b.told[i].households
		individuals += b.told[i].individuals
	}
	return households, individuals
}

// mapAgain maps the known row of the batch by which a household became a record: the row that is being read has a later word of it.
func (r *reader) mapAgain(household uint64) {
	at := slices.IndexFunc(r.told, func(t toldRow) bool {
		return t.Known != nil && t.notes.household == household && t.notes.emitted
	})
	if at < 0 {
		return
	}
	known := &r.told[at]
	households, individuals, err := known.Map()
	if err != nil {
		r.err = err
		return
	}
	h, i := r.toldRecords(at)
	r.batch.Households = slices.Insert(r.batch.Households, h, households...)
	r.batch.Individuals = slices.Insert(r.batch.Individuals, i, individuals...)
	r.again.households -= len(households)
	r.again.individuals -= len(individuals)
	*known = toldRow{SourceRow: annona.SourceRow{File: known.File, Line: known.Line}, households: len(households), individuals: len(individuals)}
}

// doubtRow says that the row of a household of the batch is not to be remembered, because a later one has
// changed what it became.
func (b *builder) doubtRow(household int) {
	b.unsure = true
	for i := range b.told {
		if household -= b.told[i].households; household < 0 {
			b.told[i].Sum = [16]byte{}
			return
		}
	}
}

// rowsTold are the rows of a batch with their records.
func (b *builder) rowsTold(full *Batch) []annona.SourceRow {
	if len(b.told) == 0 {
		return nil
	}
	rows := make([]annona.SourceRow, len(b.told))
	households, individuals := full.Households, full.Individuals
	for i := range b.told {
		t := &b.told[i]
		rows[i] = t.SourceRow
		rows[i].Households, households = slices.Clip(households[:t.households]), households[t.households:]
		rows[i].Individuals, individuals = slices.Clip(individuals[:t.individuals]), individuals[t.individuals:]
	}
	return rows
}

// csvCells returns what makes the cells of one row of CSV.
func csvCells(in *input, head csvHead) func(string) rowCells {
	return func(raw string) rowCells {
		rows := &csvReader{window: newWindow(strings.NewReader(raw)), comma: in.comma, count: len(head.names)}
		rows.next()
		return rowCells{cells: rows.texts(nil, head.wanted)}
	}
}

// jsonRowCells returns what makes the cells of one line of NDJSON.
func (r *reader) jsonRowCells(in *input) func(string) rowCells {
	return func(raw string) rowCells {
		node := (&jsonParser{}).parse(raw)
		return rowCells{cells: (&builder{}).jsonCells(in.root, node), node: node}
	}
}
