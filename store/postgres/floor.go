package postgres

import (
	"slices"
	"time"
)

// floorLook is the time between looks at the floors of the queues.
const floorLook = time.Second

// floor is the number at or below which a queue is empty for good. While somebody, of Annona or not,
// keeps a transaction open, the server cannot clean up what has left a queue, and whoever reads the
// queue from its beginning steps over all of it. So the sequencer reads it from the floor.
//
// A number is drawn by inserting into the table that gives it out, and the lock of that insertion is
// held until the transaction ends. So when a number has been moved, and everybody who held such a
// lock afterwards has ended, no smaller number can arrive any more. A transaction that only looks
// on, or writes elsewhere, has no part in it.
type floor struct {
	table    string   // that gives the numbers out
	at       int64    // the floor
	moved    int64    // the highest number that has been moved
	next     int64    // the floor to be; 0: none
	writers  []string // transactions that may still bring a number up to next
	deserted bool     // none of them is left; what they have brought lies in the queue
}

// look brings the floor further by one step. It is run before a batch and outside of its snapshot.
func (f *floor) look(c *conn) error {
	if f.deserted || f.next == 0 && f.moved == f.at {
		return nil
	}
	var writers []string
	err := c.each(`SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = $1::text::regclass
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND mode = 'RowExclusiveLock' AND granted`, func(r row) error {
		writers = append(writers, r.text(0))
		return nil
	}, f.table)
	if err != nil {
		return err
	}
	if f.next == 0 {
		f.next, f.writers = f.moved, writers
	}
	f.writers = slices.DeleteFunc(f.writers, func(w string) bool { return !slices.Contains(writers, w) })
	f.deserted = len(f.writers) == 0
	return nil
}

// took notes that a batch, begun after the last look, has moved count numbers up to last: the lowest
// of those in the queue.
func (f *floor) took(count int, last int64) {
	f.moved = max(f.moved, last)
	if f.deserted && (count < manyQueued || last >= f.next) {
		f.at, f.next, f.deserted = f.next, 0, false
	}
}
