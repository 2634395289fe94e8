// Package pull reads rows out of the database of a source, a query at a time, and writes them as
// lines of JSON for package ingest.
//
// It knows how a foreign PostgreSQL or SQLite database is asked without disturbing it: in one
// read-only transaction, so that all queries see one moment; row by row, so that no result lies in
// memory; with a limit of time. It knows how far a query was read before (its Mark). It does not
// know what columns mean, what is on file, or when to run.
//
// What the database says about a failure may hold values of its rows. No error repeats it, except
// for faults of the query itself, which name tables and columns only.
package pull

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// Query is one question to a source. Its rows feed one input of a mapping.
type Query struct {
	Name string
	SQL  string
	// Mark is the column that grows with every change of a row; empty: every run reads all rows.
	Mark    string
	Overlap Overlap
	JSON    []string // columns whose text is JSON, to be read as what it says
}

// Column is a column of a query's result, with the type that the database gives it. SQLite gives
// none.
type Column struct{ Name, Type string }

// Snapshot is a source at one moment. It is used by one goroutine, and one stream of it is open at
// a time. Whoever opens it closes it.
type Snapshot struct {
	db database
	at time.Time // the source's clock
}

// database is what PostgreSQL and SQLite do in their own ways.
type database interface {
	// describe returns the columns of a query without running it.
	describe(ctx context.Context, sql string) ([]Column, error)
	// read begins to read a query, from a mark on when there is one.
	read(ctx context.Context, q Query, since Mark) (cursor, error)
	close() error
}

// cursor walks over the rows of a query.
type cursor interface {
	// next appends a row as one JSON object to line, with its mark. It returns io.EOF behind the last.
	next(ctx context.Context, line []byte) (row []byte, mark Mark, err error)
	close() error
}

// At is when the snapshot was taken, by the source's clock.
func (s *Snapshot) At() time.Time { return s.at }

// Close ends the transaction and the connection.
func (s *Snapshot) Close() error { return s.db.close() }

// Describe returns the columns of a query. Errors have the codes source_query, source_column_twice
// or source_mark_missing, and those of a source that cannot be reached.
func (s *Snapshot) Describe(ctx context.Context, q Query) ([]Column, error) {
	columns, err := s.db.describe(ctx, q.SQL)
	if err != nil {
		return nil, err
	}
	for i, c := range columns {
		if c.Name == "" || slices.ContainsFunc(columns[:i], func(before Column) bool { return before.Name == c.Name }) {
			return nil, annona.Invalid("source_column_twice", "the query %s returns two columns of one name, or one without a name; name them with AS", q.Name).On(c.Name)
		}
	}
	for _, name := range append(slices.Clone(q.JSON), q.Mark) {
		if name != "" && !slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name }) {
			return nil, annona.Invalid("source_column_missing", "the query %s does not return this column", q.Name).On(name)
		}
	}
	return columns, nil
}

// Open begins to read the rows of a query: those whose mark is since or later, less the overlap,
// and those without a mark; all of them when since is empty. The caller closes the stream before
// it opens another one.
func (s *Snapshot) Open(ctx context.Context, q Query, since Mark) (*Rows, error) {
	from, err := q.Overlap.before(since)
	if err != nil {
		return nil, err.On(q.Name)
	}
	c, failed := s.db.read(ctx, q, from)
	if failed != nil {
		return nil, failed
	}
	r := &Rows{ctx: ctx, cursor: c, query: q}
	r.fetch()
	return r, nil
}

// Rows is a stream of the rows of a query, one line of JSON each.
type Rows struct {
	ctx    context.Context
	cursor cursor
	query  Query
	line   []byte // the current row
	rest   []byte // what of it was not read yet
	count  int64
	mark   Mark
	odd    int64
	err    error
}

// fetch brings the next row.
func (r *Rows) fetch() {
	if r.err != nil {
		return
	}
	line, mark, err := r.cursor.next(r.ctx, r.line[:0])
	if err != nil {
		r.rest, r.err = nil, err
		return
	}
	if len(r.query.JSON) > 0 {
		line = r.embed(line)
	}
	r.line = append(line, '\n')
	r.rest = r.line
	r.count++
	r.mark = r.mark.later(mark)
}

// Read gives the lines.
func (r *Rows) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			r.fetch()
			if r.err != nil {
				break
			}
			continue
		}
		k := copy(p[n:], r.rest)
		n, r.rest = n+k, r.rest[k:]
		if len(r.rest) == 0 {
			r.fetch()
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// Close ends reading.
func (r *Rows) Close() error { return r.cursor.close() }

// Empty reports whether the query has no rows.
func (r *Rows) Empty() bool { return r.count == 0 && r.err == io.EOF }

// Count is how many rows were read.
func (r *Rows) Count() int64 { return r.count }

// Mark is the greatest mark of the rows that were read.
func (r *Rows) Mark() Mark { return r.mark }

// NotJSON is how many cells of JSON columns hold something else. They are given as text.
func (r *Rows) NotJSON() int64 { return r.odd }

// Err is why reading ended before the last row; nil when it did not.
func (r *Rows) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Whole reports whether the last row was read.
func (r *Rows) Whole() bool { return r.err == io.EOF && len(r.rest) == 0 }

// embed puts JSON in the place of texts that hold it.
func (r *Rows) embed(line []byte) []byte {
	var row map[string]json.RawMessage
	if json.Unmarshal(line, &row) != nil {
		return line // the reader of the line refuses it with its reason
	}
	for _, column := range r.query.JSON {
		cell := row[column]
		if len(cell) == 0 || cell[0] != '"' {
			continue // null, or JSON already
		}
		var text string
		if json.Unmarshal(cell, &text) != nil || !json.Valid([]byte(text)) {
			if text != "" {
				r.odd++
			}
			continue
		}
		row[column] = json.RawMessage(text)
	}
	embedded, err := json.Marshal(row) // compact, so that it stays one line
	if err != nil {
		return line
	}
	return append(line[:0], embedded...)
}
