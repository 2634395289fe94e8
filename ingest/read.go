package ingest

import (
	"bytes"
	"context"
	"hash/maphash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// reader is one run of Read.
type reader struct {
	*builder
	mapping    *Mapping
	rejects    *Rejects
	yield      func(Batch) error
	memory     Memory // nil: nobody remembers rows
	hashed     []byte // memory that is used again
	seed       maphash.Seed
	households map[uint64]sighting // by hash of the key
	stubs      bool                // a household that no row gave is made when a member names it
}

// sighting is what is remembered of a household.
type sighting struct {
	digest  uint64 // of its cells when last seen
	members uint32 // rows so far, where persons are numbered
}

func newReader(ctx context.Context, m *Mapping, known KnownAreas, rejects *Rejects, yield func(Batch) error) *reader {
	return &reader{
		builder: newBuilder(ctx, m, known), mapping: m, rejects: rejects, yield: yield,
		seed: maphash.MakeSeed(), households: map[uint64]sighting{},
	}
}

// expectHouseholds decides about members whose household no row gives. When the files of
// households are among those read, or the mapping has none, the household exists by its
// members alone. Otherwise it is on file from an earlier import.
func (r *reader) expectHouseholds(files []file) {
	gives := func(in *input) bool { return in.household != nil }
	r.stubs = slices.ContainsFunc(files, func(f file) bool { return gives(f.in) }) || !slices.ContainsFunc(r.mapping.inputs, gives)
}

func (r *reader) readFile(f file) error {
	r.file++
	opened, err := openSource(f.source)
	if err != nil {
		return err
	}
	defer opened.Close()
	if f.in.format == FormatNDJSON {
		return r.readNDJSON(f, opened)
	}
	return r.readCSV(f, opened)
}

func (r *reader) readCSV(f file, src io.Reader) error {
	rows := &csvReader{window: newWindow(src), comma: f.in.comma}
	head, err := r.readHeader(f, rows)
	if err != nil {
		return err
	}
	var cells []string
	about := r.aboutFile(f, head.raw)
	empty, fills, read := allColumns(len(head.names))[head.own:], rows.fills, 0
	for rows.next() {
		if err := r.due(); err != nil {
			return err
		}
		line := rows.line
		r.line = line
		before := head.rejectInfo(rows)
		refused := fault{reason: rows.fault}
		if rows.fault == "" {
			cells = rows.texts(cells[:0], head.wanted)
			if read++; len(empty) > 0 {
				empty = empty.see(fills)
			}
			var sum [16]byte
			if r.memory != nil {
				var known *annona.KnownRow
				raw := bytes.TrimRight(rows.rest()[:rows.size], "\r\n")
				if sum, known = r.memory.Recall(about, raw); known != nil {
					if _, told := r.tellAgain(f.in, known, string(raw), csvCells(f.in, head)); told {
						continue
					}
				}
			}
			refused, err = r.row(f.in, rowCells{cells: cells, mended: head.mended, refused: before})
			if refused.reason == "" {
				r.tell(sum, head.mended, nil)
			}
		} else if rows.column >= 0 && rows.column < len(head.names) {
			refused.column = head.names[rows.column]
		}
		if err != nil {
			return err
		}
		if refused.reason == "" {
			continue
		}
		if refused.key = before.Key; !head.mended && f.in.countsRows {
			refused.key = r.guessKey(f.in, rows, head)
		}
		info := rejectInfo{Input: f.in.name, Line: line, Column: refused.column, Reason: refused.reason, Key: refused.key}
		if err := r.refuse(f.in, info, func() error {
			if r.rejects == nil {
				return rows.take(nil, 0)
			}
			return r.rejects.csvRow(f.in, head.raw, info, func(w io.Writer) error { return rows.take(w, head.own) })
		}); err != nil {
			return err
		}
	}
	if rows.err != nil {
		return unreadable(f.source, rows.err)
	}
	r.stayedEmpty(f.in, head.names, empty, read)
	return nil
}

// csvHead is what the header of a CSV file says.
type csvHead struct {
	raw    string // verbatim, without the columns of a rejects file
	names  []string
	wanted []int // positions of the columns of the input's root view
	own    int   // position of the first column of the source itself
	mended bool  // the file is one of rejects, mended
}

// rejectInfo returns as what the current row was refused before.
func (h *csvHead) rejectInfo(rows *csvReader) rejectInfo {
	if !h.mended || len(rows.cells) < len(rejectColumns) {
		return rejectInfo{}
	}
	line, _ := strconv.Atoi(rows.text(1))
	return rejectInfo{Line: line, Key: rows.text(len(rejectColumns) - 1)}
}

func (r *reader) readHeader(f file, rows *csvReader) (csvHead, error) {
	var head csvHead
	if !rows.next() {
		if rows.err != nil {
			return head, unreadable(f.source, rows.err)
		}
		return head, annona.Invalid("input_empty", "the file is empty: a csv file has at least a header").On(f.source.Name)
	}
	if rows.fault != "" {
		return head, annona.Invalid("input_header", "the header of the file cannot be read (%s)", rows.fault).On(f.source.Name)
	}
	head.names = rows.header()
	if head.mended = isRejects(head.names); head.mended {
		head.own = len(rejectColumns)
	}
	line := rows.rest()[:rows.size]
	head.raw = strings.TrimRight(string(line[rows.cells[head.own].begin:]), "\r\n")
	own := head.names[head.own:]
	for _, column := range f.in.root.columns {
		i := slices.Index(own, column)
		switch {
		case i < 0:
			return head, annona.Invalid("input_columns", "the header of %q does not have this column; is the mapping the one for this file, and the delimiter right?", f.source.Name).On(column)
		case slices.Contains(own[i+1:], column):
			return head, annona.Invalid("input_columns", "the header of %q has this column more than once; rename the other one", f.source.Name).On(column)
		}
		head.wanted = append(head.wanted, i+head.own)
	}
	rows.count = len(head.names)
	r.unused(f.in, own)
	return head, nil
}

// guessKey tells which place in its household a refused row would have had, so that the
// persons after it keep theirs and the mended row gets its own.
func (r *reader) guessKey(in *input, rows *csvReader, head csvHead) string {
	parts := make([]string, 0, 2)
	for _, slot := range in.householdKey() {
		i := head.wanted[slot]
		if i >= len(rows.cells) || rows.cells[i].to-rows.cells[i].from > maxKey {
			return ""
		}
		parts = append(parts, rows.text(i))
	}
	household, ok := joinKey(parts)
	if !ok {
		return ""
	}
	return r.nextInHousehold(household)
}

func (r *reader) readNDJSON(f file, src io.Reader) error {
	lines := readAhead(src, r.recallIn(f))
	defer lines.close()
	empty, read := allColumns(len(f.in.root.columns)), 0
	for lines.next() {
		if err := r.due(); err != nil {
			return err
		}
		line := lines.line
		r.line = line
		if lines.known != nil {
			if notes, told := r.tellAgain(f.in, lines.known, lines.raw, r.jsonRowCells(f.in)); told {
				read++
				empty = empty.see(notes.fills)
				continue
			}
			lines.parse()
		}
		refused := fault{column: lines.column, reason: lines.fault}
		if lines.fault == "" {
			var err error
			r.cells = r.cells[:0]
			cells := r.jsonCells(f.in.root, lines.row)
			if read++; len(empty) > 0 {
				empty = empty.see(func(column int) bool { return strings.TrimSpace(cells[column]) != "" })
			}
			if refused, err = r.row(f.in, rowCells{cells: cells, node: lines.row, mended: lines.mended, refused: lines.reject}); err != nil {
				return err
			}
			if refused.reason == "" {
				r.tell(lines.sum, lines.mended, cells)
			}
		}
		if refused.reason == "" {
			continue
		}
		info := rejectInfo{Input: f.in.name, Line: line, Column: refused.column, Reason: refused.reason, Key: lines.reject.Key}
		if err := r.refuse(f.in, info, func() error {
			if r.rejects == nil {
				return lines.take(nil)
			}
			return r.rejects.jsonRow(f.in, info, lines.row != nil, lines.take)
		}); err != nil {
			return err
		}
	}
	if err := lines.err(); err != nil {
		return unreadable(f.source, err)
	}
	r.stayedEmpty(f.in, f.in.root.columns, empty, read)
	return nil
}

// recallIn asks for what lines of a file became; nil when nobody remembers.
func (r *reader) recallIn(f file) func(line []byte) ([16]byte, *annona.KnownRow) {
	if r.memory == nil {
		return nil
	}
	about := r.aboutFile(f, "")
	return func(line []byte) ([16]byte, *annona.KnownRow) { return r.memory.Recall(about, line) }
}

// due counts a row that is about to be read and hands the batch over when it is full.
func (r *reader) due() error {
	if r.batch.Rows >= BatchRecords || len(r.batch.Households)+len(r.batch.Individuals)+r.again.households+r.again.individuals >= BatchRecords {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.batch.Rows++
	r.report.Rows++
	return nil
}

func (r *reader) refuse(in *input, info rejectInfo, take func() error) error {
	r.report.Rejected++
	r.report.Refused[info.Reason]++
	if len(r.report.RefusedRows) < maxRefusedRows {
		row := RefusedRow{Input: info.Input, Line: info.Line, Reason: info.Reason}
		if slices.Contains(in.root.columns, info.Column) { // any other name is the file's own, and may be anything
			row.Column = info.Column
		}
		r.report.RefusedRows = append(r.report.RefusedRows, row)
	}
	return take()
}

// flush hands over what has been built.
func (r *reader) flush() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.batch.Rows == 0 {
		return nil
	}
	return r.yield(r.take())
}
