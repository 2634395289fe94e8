package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/pull"
)

// A database is asked what has changed since the last run, by the marks of its queries. Marks miss
// what was deleted, what a slow transaction committed behind the overlap, and what was changed
// without its mark. So now and then the source is read whole and compared: every row of it against
// what is on file, and, in mode full, everything on file against its rows.

// pull synchronizes a database.
func (r *syncing) pull(ctx context.Context, m *ingest.Mapping) error {
	content, err := r.source.content()
	if err != nil {
		return err
	}
	snapshot, err := r.openSnapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = snapshot.Close() }() // it has only read
	if err := r.checkColumns(ctx, snapshot, r.state.Content == content); err != nil {
		return err
	}
	whole := r.compare || r.state.Whole || r.state.Content != content || r.source.compare.due(r.state)
	p := &pulling{ctx: ctx, snapshot: snapshot, marks: map[string]pull.Mark{}, streams: map[string]*pull.Rows{}}
	count, err := r.pullRows(ctx, m, p, whole)
	r.state.Last = count
	if err != nil {
		// A member of a household that is not on file, or whatever else a part of the source cannot tell.
		r.state.Whole = whole || annona.CodeOf(err) == "unknown_household"
		if r.state.Whole && !whole {
			r.log.Warn("what has changed does not fit what is on file; the source is read whole", "code", annona.CodeOf(err))
			return r.pull(ctx, m)
		}
		return err
	}
	r.state.Content, r.state.Whole = content, false
	r.moveMarks(p, whole)
	if whole {
		return r.measureDrift(ctx, m.Source())
	}
	return nil
}

// measureDrift counts what is on file of a source that was just read whole.
func (r *syncing) measureDrift(ctx context.Context, source string) error {
	drift := map[string]syncDrift{
		"households":  {Source: r.state.Last.Households},
		"individuals": {Source: r.state.Last.Individuals},
	}
	for name, d := range drift {
		dataset, _ := r.folder.gate.CurrentDictionary().Dataset(name)
		for after := annona.Number(0); ; {
			numbers, err := r.folder.store.NumbersOfSource(ctx, dataset, source, after, countedAtOnce)
			if err != nil {
				return err
			}
			if len(numbers) == 0 {
				break
			}
			d.OnFile += len(numbers)
			after = numbers[len(numbers)-1]
		}
		drift[name] = d
	}
	r.state.Drift = drift
	return nil
}

const countedAtOnce = 10_000

func (r *syncing) openSnapshot(ctx context.Context) (*pull.Snapshot, error) {
	if r.source.Kind == kindSQLite {
		return pull.SQLite(ctx, r.source.File, r.source.timeout)
	}
	password, err := r.source.password()
	if err != nil {
		return nil, err
	}
	return pull.Postgres(ctx, r.source.Address, password, r.source.timeout)
}

// checkColumns compares the columns of the queries with those of the last run. One that is gone
// would empty a field of everybody; one that is new is noted. Whoever changes the queries or the
// mapping has looked at them.
func (r *syncing) checkColumns(ctx context.Context, snapshot *pull.Snapshot, same bool) error {
	columns := map[string][]pull.Column{}
	for _, q := range r.source.queries {
		described, err := snapshot.Describe(ctx, q)
		if err != nil {
			return err
		}
		columns[q.Name] = described
	}
	if !same {
		r.state.Columns, r.state.NewColumns = columns, nil
		return nil
	}
	for name, before := range r.state.Columns {
		for _, c := range before {
			if !slices.ContainsFunc(columns[name], func(now pull.Column) bool { return now.Name == c.Name }) {
				return annona.Invalid("source_column_gone", "the query %s does not return this column any more, and everybody would lose what it says; mend the query or the mapping", name).On(c.Name)
			}
		}
		for _, c := range columns[name] {
			isNew := !slices.ContainsFunc(before, func(was pull.Column) bool { return was.Name == c.Name })
			if isNew && !slices.Contains(r.state.NewColumns[name], c.Name) {
				if r.state.NewColumns == nil {
					r.state.NewColumns = map[string][]string{}
				}
				r.state.NewColumns[name] = append(r.state.NewColumns[name], c.Name)
				r.log.Warn("a query returns a column that it did not return before; the mapping does not know it", "query", name, "column", c.Name)
			}
		}
	}
	return nil
}

// pullRows loads the rows of all queries: all of them, or those behind the marks.
func (r *syncing) pullRows(ctx context.Context, m *ingest.Mapping, p *pulling, whole bool) (syncCount, error) {
	l := syncLoad{mapping: m, mode: exchange.ModeUpsert, asOf: earlier(p.snapshot.At(), time.Now()), broken: p.broken}
	if whole {
		l.mode, l.guard = r.source.Mode, r.source.guard
	}
	for _, q := range r.source.queries {
		since := pull.Mark{}
		if q.Mark != "" && !whole {
			since = r.state.Marks[q.Name]
		}
		source, empty, err := p.source(q, since)
		if err != nil {
			return syncCount{}, err
		}
		switch {
		case empty: // the reader could not tell which input it feeds
		case whole && len(l.readings) > 0:
			l.readings[0] = append(l.readings[0], source)
		default:
			l.readings = append(l.readings, []ingest.Source{source})
		}
	}
	if len(l.readings) == 0 && l.mode != exchange.ModeFull {
		return syncCount{}, nil
	}
	count, err := r.load(ctx, l)
	for _, rows := range p.streams {
		count.NotJSON += int(rows.NotJSON())
	}
	return count, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// moveMarks remembers how far the queries were read, now that it is on file.
func (r *syncing) moveMarks(p *pulling, whole bool) {
	marks := map[string]pull.Mark{}
	for _, q := range r.source.queries {
		if q.Mark == "" {
			continue
		}
		marks[q.Name] = r.state.Marks[q.Name]
		if m := p.marks[q.Name]; !m.None() {
			marks[q.Name] = m.NotAfter(p.snapshot.At())
		}
	}
	r.state.Marks = marks
	r.state.Runs++
	if whole {
		r.state.Runs, r.state.ComparedAt = 0, r.state.StartedAt
	}
}

// pulling is one reading of a database.
type pulling struct {
	ctx      context.Context
	snapshot *pull.Snapshot
	marks    map[string]pull.Mark  // of the queries that were read to their end
	streams  map[string]*pull.Rows // the last one of each query
	failed   error                 // why a stream could not be opened
}

// source makes a query a source for the reader, which may open it more than once.
func (p *pulling) source(q pull.Query, since pull.Mark) (source ingest.Source, empty bool, err error) {
	open := func() (*pull.Rows, error) { return p.snapshot.Open(p.ctx, q, since) }
	first, err := open()
	if err != nil {
		return source, false, err
	}
	empty, err = first.Empty(), first.Err()
	if closeErr := first.Close(); err == nil {
		err = closeErr
	}
	return ingest.Source{Name: q.Name, Open: func() (io.ReadCloser, error) {
		rows, err := open()
		if err != nil {
			p.failed = err
			return nil, err
		}
		p.streams[q.Name] = rows
		return &pulledRows{rows, p, q.Name}, nil
	}}, empty, err
}

// broken is why one of the queries broke off.
func (p *pulling) broken() error {
	for _, rows := range p.streams {
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return p.failed
}

// pulledRows remembers the mark of a stream that was read to its end.
type pulledRows struct {
	*pull.Rows
	of    *pulling
	query string
}

func (p *pulledRows) Close() error {
	if p.Whole() {
		p.of.marks[p.query] = p.Mark()
	}
	return p.Rows.Close()
}
