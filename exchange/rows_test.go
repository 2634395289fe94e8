package exchange_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// rowsNight is what a night reports: occupations by row. Each row is two people.
type rowsNight []string

// rows are those of a night, known ones without their records. mapped counts those that are mapped after all.
func (n rowsNight) rows(t *testing.T, known *exchange.KnownRows, mapped *int) []annona.SourceRow {
	t.Helper()
	rows := make([]annona.SourceRow, len(n))
	for i, occupation := range n {
		people := []annona.Record{row(t, "individuals", fmt.Sprint("a", i), "occupation", occupation), row(t, "individuals", fmt.Sprint("b", i), "occupation", "none")}
		for j := range people {
			people[j].File, people[j].Line = 1, i+1
		}
		r := &rows[i]
		r.File, r.Line, r.Notes = 1, i+1, []byte("columns that row "+fmt.Sprint(i)+" fills")
		if r.Sum, r.Known = known.Recall([]byte("mapping"), fmt.Append(nil, i, occupation)); r.Known == nil {
			r.Individuals = people
			continue
		}
		if !bytes.Equal(r.Known.Notes, r.Notes) {
			t.Errorf("row %d comes with the notes %q", i, r.Known.Notes)
		}
		r.Map = func() (households, individuals []annona.Record, err error) {
			*mapped++
			return nil, people, nil
		}
	}
	return rows
}

// TestRowsThatAreKnown reports the same rows night after night: they are not mapped, unless what is on file is not what they say.
func TestRowsThatAreKnown(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			a, b := make(rowsNight, 40), make(rowsNight, 40)
			for i := range a {
				a[i], b[i] = "baker", "baker"
			}
			b[7], b[8] = "smith", "smith"
			load := func(night rowsNight, wantKnown, wantMapped int, want annona.Loaded) annona.UID {
				t.Helper()
				l, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
				check(t, err)
				known, err := l.KnownRows(t.Context())
				check(t, err)
				mapped := 0
				rows := night.rows(t, known, &mapped)
				batch, err := l.MakeReadyRows(rows)
				check(t, err)
				got, err := l.Write(t.Context(), batch)
				check(t, err)
				_, err = l.Finish(t.Context())
				check(t, err)
				unknown := slices.DeleteFunc(rows, func(r annona.SourceRow) bool { return r.Known != nil })
				if is := len(night) - len(unknown); is != wantKnown || mapped != wantMapped || got != want {
					t.Errorf("%d rows are known, %d are mapped all the same, and %+v; want %d, %d, %+v", is, mapped, got, wantKnown, wantMapped, want)
				}
				return l.ID()
			}
			load(a, 0, 0, annona.Loaded{Created: 80})
			load(a, 40, 0, annona.Loaded{Unchanged: 80})
			changed := load(b, 38, 0, annona.Loaded{Changed: 2, Unchanged: 78})
			load(b, 40, 0, annona.Loaded{Unchanged: 80})
			load(a, 40, 2, annona.Loaded{Changed: 2, Unchanged: 78}) // they are known, and on file is the other word
			load(b, 38, 0, annona.Loaded{Changed: 2, Unchanged: 78}) // none of their block was met, and it is gone
			_, err = p.UndoLoad(t.Context(), operator, changed)
			check(t, err)
			load(a[:3], 3, 0, annona.Loaded{Unchanged: 6}) // a small load lets nothing go
			load(b, 40, 0, annona.Loaded{Unchanged: 80})
			wider, err := annona.Standard().Extend(annona.Extension{Country: "XA", Authorities: []annona.Authority{{Dataset: "individuals", Field: "occupation", Source: "survey"}}})
			check(t, err)
			p.UseDictionary(wider)
			load(b, 0, 0, annona.Loaded{Unchanged: 80}) // what decides the meaning of rows is not the same
		})
	}
}

// TestRowsAreToldApartByDigestsAlone looks at what is kept of rows: neither what they say nor what their reader notes.
func TestRowsAreToldApartByDigestsAlone(t *testing.T) {
	p, err := grounds(t)[0].open(t.Context())
	check(t, err)
	defer func() { check(t, p.store.Close()) }()
	l, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
	check(t, err)
	known, err := l.KnownRows(t.Context())
	check(t, err)
	batch, err := l.MakeReadyRows(rowsNight{"baker"}.rows(t, known, nil))
	check(t, err)
	_, err = l.Write(t.Context(), batch)
	check(t, err)
	_, err = l.Finish(t.Context())
	check(t, err)
	ids, err := p.Loads.RowBlocks(t.Context(), "survey")
	check(t, err)
	if len(ids) != 1 {
		t.Fatalf("%d blocks", len(ids))
	}
	block, err := p.Loads.RowBlock(t.Context(), ids[0])
	check(t, err)
	if len(block) == 0 {
		t.Fatal("the block is empty")
	}
	for _, text := range []string{"baker", "a0", "columns", "fills"} {
		if bytes.Contains(block, []byte(text)) {
			t.Errorf("%q lies in the block", text)
		}
	}
}

// TestALoadKeepsRowsInBlocks writes many rows in one transaction: the next one puts all of them in blocks that are full, so that
// a load holds few.
func TestALoadKeepsRowsInBlocks(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			l, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
			check(t, err)
			known, err := l.KnownRows(t.Context())
			check(t, err)
			night, none := make(rowsNight, 620), 0
			rows := night.rows(t, known, &none)
			for _, some := range [][]annona.SourceRow{rows[:600], rows[600:]} {
				batch, err := l.MakeReadyRows(some)
				check(t, err)
				_, err = l.Write(t.Context(), batch)
				check(t, err)
			}
			if blocks, err := p.Loads.RowBlocks(t.Context(), "survey"); err != nil || len(blocks) != 2 {
				t.Errorf("%d blocks are on file, %v; want 2", len(blocks), err)
			}
			_, err = l.Finish(t.Context())
			check(t, err)
			if blocks, err := p.Loads.RowBlocks(t.Context(), "survey"); err != nil || len(blocks) != 3 {
				t.Errorf("%d blocks are on file in the end, %v; want 3", len(blocks), err)
			}
		})
	}
}
