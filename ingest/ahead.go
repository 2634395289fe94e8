package ingest

import (
	"io"

	"github.com/annona-exchange/annona"
)

// Lines of NDJSON are parsed ahead of what becomes of them: parsing is a third of reading, and another
// processor does it meanwhile. They are handed over in their order. What takes much memory is not read
// ahead: behind a long line nothing is read until it has been dealt with.
const (
	linesAhead = 16
	shortLine  = 32 << 10 // bytes
	fewChunks  = 40       // of values: more than a short line has
)

// ndjsonAhead reads the lines of a file ahead. lineState is that of the current one.
type ndjsonAhead struct {
	lineState
	line   int              // of the file, from 1
	lines  *ndjsonReader    // that is read beside, but while a long line is current
	rows   chan *ndjsonRow  // closed behind the last one
	idle   chan *jsonParser // that hold no line
	resume chan struct{}    // behind a long line
	ended  chan struct{}    // closed when nobody wants any more
	held   *jsonParser      // of the current line
}

// ndjsonRow is a line that has been read.
type ndjsonRow struct {
	lineState
	line   int
	parser *jsonParser
}

// readAhead begins to read. close ends it: before the source is closed. A line that recall knows is not parsed;
// recall may be nil.
func readAhead(src io.Reader, recall func(line []byte) ([16]byte, *annona.KnownRow)) *ndjsonAhead {
	lines := newNDJSONReader(src)
	lines.recall = recall
	a := &ndjsonAhead{
		lines: lines, rows: make(chan *ndjsonRow, linesAhead), idle: make(chan *jsonParser, linesAhead+2),
		resume: make(chan struct{}), ended: make(chan struct{}),
	}
	for range cap(a.idle) {
		a.idle <- &jsonParser{}
	}
	go a.read()
	return a
}

// read hands over one line after the other.
func (a *ndjsonAhead) read() {
	defer close(a.rows)
	for {
		select {
		case a.lines.parser = <-a.idle:
		case <-a.ended:
			return
		}
		if !a.lines.next() {
			return
		}
		row := &ndjsonRow{a.lines.lineState, a.lines.line, a.lines.parser}
		select {
		case a.rows <- row:
		case <-a.ended:
			return
		}
		if !row.isLong() {
			continue
		}
		select {
		case <-a.resume:
		case <-a.ended:
			return
		}
	}
}

// next moves to the next line. It reports false at the end of the file or on an error of the source.
func (a *ndjsonAhead) next() bool {
	if a.held != nil {
		a.held.shrink()
		a.idle <- a.held
		if a.isLong() {
			a.resume <- struct{}{}
		}
	}
	row, more := <-a.rows
	if !more {
		a.held = nil
		return false
	}
	a.lineState, a.line, a.held = row.lineState, row.line, row.parser
	return true
}

// err is why the source could not be read to its end, once next has reported false.
func (a *ndjsonAhead) err() error { return a.lines.err }

// take copies the current line verbatim to dst; nil: nowhere.
func (a *ndjsonAhead) take(dst io.Writer) error {
	if a.isLong() {
		return a.lines.take(dst) // nobody else reads
	}
	return emit(dst, []byte(a.raw))
}

// close returns when nothing is read any more.
func (a *ndjsonAhead) close() {
	close(a.ended)
	for range a.rows {
	}
}

// parse parses the current line after all.
func (a *ndjsonAhead) parse() { a.row = a.held.parse(a.raw) }

// isLong reports whether nothing is read until the line has been dealt with.
func (l *lineState) isLong() bool { return l.size == 0 || l.size > shortLine }

// shrink lets memory go that only a long line needs.
func (p *jsonParser) shrink() {
	if len(p.chunks) > fewChunks {
		clear(p.chunks[fewChunks:])
		p.chunks = p.chunks[:fewChunks]
	}
}
