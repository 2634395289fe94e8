package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

// writing writes batches behind the reader's back: one is made ready while others are written.
type writing struct {
	load    *exchange.Loading // nil in a dry run
	turn    time.Duration     // how long a transaction may take, about
	batches chan ingest.Batch
	ready   chan *exchange.Batch
	failed  chan struct{} // closed when a batch could not be written: err says why
	done    chan struct{} // closed when the last batch is dealt with
	once    sync.Once
	err     error
}

// How long a transaction of a load takes, about. In a file, writers take turns: whoever reads
// people waits that long for the entry of the disclosure. In a database they do not wait for it, and
// fewer transactions are cheaper.
const (
	fileTurn     = 30 * time.Millisecond
	databaseTurn = 250 * time.Millisecond
	mostRecords  = 4000 // of one transaction
)

// waitingBatches is how many batches may wait between two steps.
const waitingBatches = 8

// writeBehind begins to write the batches of a load; of none, when load is nil.
func (f *folder) writeBehind(ctx context.Context, load *exchange.Loading) *writing {
	w := &writing{
		load: load, turn: fileTurn, batches: make(chan ingest.Batch, waitingBatches), ready: make(chan *exchange.Batch, waitingBatches),
		failed: make(chan struct{}), done: make(chan struct{}),
	}
	if f.database != "" {
		w.turn = databaseTurn
	}
	go w.makeReady()
	go w.writeAll(ctx)
	return w
}

func (w *writing) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.failed)
	})
}

func (w *writing) hasFailed() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}

func (w *writing) makeReady() {
	defer close(w.ready)
	for b := range w.batches {
		if w.load == nil || w.hasFailed() {
			continue
		}
		ready, err := w.load.MakeReady(b.Households, b.Individuals)
		if err != nil {
			w.fail(err)
			continue
		}
		w.ready <- ready
	}
}

// writeAll writes what is ready, as much in one transaction as the last one shows to fit in a turn.
func (w *writing) writeAll(ctx context.Context) {
	defer close(w.done)
	most := 0 // records
	for b := range w.ready {
		if w.hasFailed() {
			continue
		}
		some, records := w.join(b, most)
		began := time.Now()
		if _, err := w.load.Write(ctx, some...); err != nil {
			w.fail(err)
			continue
		}
		most = min(mostRecords, int(float64(records)*float64(w.turn)/float64(time.Since(began))))
	}
}

// join adds batches that are ready, as long as the records are no more than that.
func (w *writing) join(b *exchange.Batch, most int) (some []*exchange.Batch, records int) {
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

var errWriting = errors.New("writing has failed")

func (w *writing) write(b ingest.Batch) error {
	select {
	case <-w.failed:
		return errWriting
	case w.batches <- b:
		return nil
	}
}

// end waits for the last batch and says why one could not be written.
func (w *writing) end() error {
	close(w.batches)
	<-w.done
	return w.err
}
