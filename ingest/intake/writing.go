// Package intake takes what package ingest reads through the gate: batch by batch, one is written
// while the next is made ready and another one is read. Imports of the command line, synchronized
// sources and loads over HTTP all go this way.
//
// It knows what a load is read from and in which order the gate is asked. It knows no rule about who
// may load and what becomes of a record: that is the gate's.
package intake

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

// Writing writes batches behind the reader's back: one is made ready while others are written.
type Writing struct {
	load    *exchange.Loading // nil in a dry run
	turn    time.Duration     // how long a transaction may take, about
	batches chan ingest.Batch
	ready   chan *exchange.Batch
	failed  chan struct{} // closed when a batch could not be written: err says why
	done    chan struct{} // closed when the last batch is dealt with
	once    sync.Once
	err     error
	ended   time.Time // the last transaction
}

// How long a transaction of a load takes, about. In a file, writers take turns: whoever reads
// people waits that long for the entry of the disclosure. Where nobody does, and in a database, fewer
// transactions are cheaper: each writes the pages anew that all of them touch.
const (
	FileTurn     = 15 * time.Millisecond
	DatabaseTurn = 250 * time.Millisecond
	mostRecords  = 2000 // of one transaction
	fewAlone     = 100  // of one for which nobody waits, however long it takes: fewer are mostly what each costs
)

// How many batches may wait: for being made ready, and for a transaction, which takes all it may hold.
const (
	waitingBatches = 2
	readyBatches   = mostRecords / ingest.BatchRecords
)

// WriteBehind begins to write the batches of a load; of none, when load is nil. turn is FileTurn or
// DatabaseTurn.
func WriteBehind(ctx context.Context, load *exchange.Loading, turn time.Duration) *Writing {
	w := &Writing{
		load: load, turn: turn, batches: make(chan ingest.Batch, waitingBatches), ready: make(chan *exchange.Batch, readyBatches),
		failed: make(chan struct{}), done: make(chan struct{}),
	}
	go w.makeReady()
	go w.writeAll(ctx)
	return w
}

func (w *Writing) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.failed)
	})
}

func (w *Writing) hasFailed() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}

func (w *Writing) makeReady() {
	defer close(w.ready)
	for b := range w.batches {
		if w.load == nil || w.hasFailed() {
			continue
		}
		ready, err := w.readyOf(b)
		if err != nil {
			w.fail(err)
			continue
		}
		w.ready <- ready
	}
}

func (w *Writing) readyOf(b ingest.Batch) (*exchange.Batch, error) {
	if b.Told != nil {
		return w.load.MakeReadyRows(b.Told)
	}
	return w.load.MakeReady(b.Households, b.Individuals)
}

// Memory returns what is known of the rows of the load's source; nil in a dry run.
func (w *Writing) Memory(ctx context.Context) (ingest.Memory, error) {
	if w.load == nil {
		return nil, nil
	}
	return w.load.KnownRows(ctx)
}

// writeAll writes what is ready, as much in one transaction as the last one shows to fit in a turn. In
// a database the next one is begun while one is written.
func (w *Writing) writeAll(ctx context.Context) {
	defer close(w.done)
	var before *transaction
	most := 0 // records
	for b := range w.ready {
		if w.hasFailed() {
			continue
		}
		some, records := w.join(b, most)
		this := &transaction{wait: w.load.WriteBehind(ctx, some...), records: records, began: time.Now()}
		if w.turn == FileTurn { // which has one writer
			most = w.end(this)
			continue
		}
		if before != nil {
			most = w.end(before)
		}
		before = this
	}
	if before != nil {
		w.end(before)
	}
}

// transaction is one that was begun.
type transaction struct {
	wait    func() error
	records int
	began   time.Time
}

// end waits for a transaction and returns how many records the next one may have.
func (w *Writing) end(t *transaction) (most int) {
	if err := t.wait(); err != nil {
		w.fail(err)
		return 0
	}
	now := time.Now()
	took := min(now.Sub(t.began), now.Sub(w.ended)) // not what it waited for the one before
	w.ended = now
	turn, fewest := w.turn, 0
	if w.load.Alone() {
		turn, fewest = DatabaseTurn, fewAlone
	}
	return min(mostRecords, max(fewest, int(float64(t.records)*float64(turn)/float64(max(took, 1)))))
}

// join adds batches that are ready, as long as the records are no more than that.
func (w *Writing) join(b *exchange.Batch, most int) (some []*exchange.Batch, records int) {
	some, records = append(some, b), b.Records()
	for records+ingest.BatchRecords <= most {
		select {
		case next, more := <-w.ready:
			if !more {
				return some, records
			}
			some, records = append(some, next), records+next.Records()
		default:
			return some, records
		}
	}
	return some, records
}

// ErrWriting is what Write returns when writing has failed; End says why.
var ErrWriting = errors.New("writing has failed")

// Write hands a batch over.
func (w *Writing) Write(b ingest.Batch) error {
	select {
	case <-w.failed:
		return ErrWriting
	case w.batches <- b:
		return nil
	}
}

// End waits for the last batch and says why one could not be written.
func (w *Writing) End() error {
	close(w.batches)
	<-w.done
	return w.err
}

// Load is the id of the load; false in a dry run.
func (w *Writing) Load() (annona.UID, bool) {
	if w.load == nil {
		return annona.UID{}, false
	}
	return w.load.ID(), true
}

// Repeats tells which rows were left out because an earlier one has the same key; none in a dry run.
func (w *Writing) Repeats() (count int, places []exchange.Repeat) {
	if w.load == nil {
		return 0, nil
	}
	return w.load.Repeats()
}

// FirstPass reads the files of a full load once without writing.
func (w *Writing) FirstPass(ctx context.Context, mode string, read func(yield func(ingest.Batch) error) error) error {
	if w.load == nil || mode != exchange.ModeFull {
		return nil
	}
	err := read(func(b ingest.Batch) error { return Name(ctx, w.load, b) })
	if err != nil {
		return err
	}
	return w.load.Decide(ctx)
}

// Name takes a batch of the first pass of a full load.
func Name(ctx context.Context, load *exchange.Loading, b ingest.Batch) error {
	if b.Told != nil {
		return load.NameRows(ctx, b.Told)
	}
	return load.Name(ctx, b.Households, b.Individuals)
}

// Finish waits for the last batch. A load that was read to its end is recorded as finished, any other
// one as failed.
func (w *Writing) Finish(ctx context.Context, r ingest.Report, failed error) (annona.Loaded, error) {
	broken := w.End()
	if w.load == nil {
		return annona.Loaded{}, nil
	}
	w.load.Read(countsOf(r), r.Rejected)
	if failed = cmp.Or(broken, failed); failed != nil {
		return w.load.Done(), errors.Join(broken, w.load.Fail(ctx, failed))
	}
	return w.load.Finish(ctx)
}

// countsOf is what is kept of a reading: counts and codes. A source's own code may be a text that says
// more.
func countsOf(r ingest.Report) any {
	unmapped := map[string]int{}
	for field, codes := range r.Unmapped {
		for _, code := range codes {
			unmapped[field] += code.Count
		}
	}
	return exchange.Reading{Rows: r.Rows, Rejected: r.Rejected, Refused: r.Refused, Flags: r.Flags, Unmapped: unmapped, RefusedRows: places(r.RefusedRows)}
}

func places(rows []ingest.RefusedRow) []exchange.RowPlace {
	all := make([]exchange.RowPlace, len(rows))
	for i, r := range rows {
		all[i] = exchange.RowPlace(r)
	}
	return all
}
