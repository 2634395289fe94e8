package postgres

import (
	"cmp"
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
)

// eventOf is an event of a record that its author has changed.
func eventOf(by annona.Author, dataset string, number annona.Number, version int, kind annona.EventKind, before []byte) annona.Event {
	return annona.Event{
		Actor: by.Operator, Client: by.Client, Load: by.Load, Reason: by.Reason,
		Dataset: dataset, Record: number, Version: version, Kind: kind, Before: before,
	}
}

// manyEvents are written together.
const manyEvents = 2000

// event appends an event. It gets its place in the log from the sequencer, after the commit.
func (t *tx) event(e annona.Event) error {
	e.ID = annona.NewUIDAt(t.now)
	t.events = append(t.events, e)
	t.evented[subject{e.Dataset, e.Record}] = true
	if len(t.events) < manyEvents {
		return nil
	}
	return t.writeEvents()
}

const insertEvents = `WITH added AS (
	INSERT INTO events (id, at, actor, dataset, record, version, kind, reason, before, client, load)
	SELECT e.id, $1, nullif(e.actor, ''), e.dataset, e.record, e.version, e.kind, nullif(e.reason, ''), e.before, e.client, nullif(e.load, 0)
	FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::bytea[], $10::uuid[], $11::bigint[])
		WITH ORDINALITY e (id, actor, dataset, record, version, kind, reason, before, client, load, position)
	ORDER BY e.position RETURNING event)
	INSERT INTO event_queue (event, last) `

// Few events are queued one by one. Many are queued as the runs of their numbers: mostly one, and more
// when others have drawn numbers in between.
const (
	queueEach = "SELECT event, event FROM added"
	queueRuns = "SELECT min(event), max(event) FROM (SELECT event, event - row_number() OVER (ORDER BY event) AS run FROM added) r GROUP BY run"
	fewEvents = 16
)

// copiedEvents and more are copied, which takes questions of its own. Fewer go with the statements that wait.
const copiedEvents = 256

// writeEvents has the events written that wait. Their records are locked by now, so that their
// numbers ascend in the order in which each record changes.
func (t *tx) writeEvents() error {
	defer func() { t.events = t.events[:0] }()
	if len(t.events) >= copiedEvents {
		return t.copyEvents()
	}
	t.queueEvents()
	return nil
}

func (t *tx) queueEvents() {
	n := len(t.events)
	if n == 0 {
		return
	}
	ids, befores, clients := make([][16]byte, n), make([][]byte, n), make([][]byte, n)
	actors, datasets, kinds, reasons := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	records, versions, loads := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, e := range t.events {
		ids[i], befores[i], actors[i], datasets[i] = e.ID, e.Before, e.Actor, e.Dataset
		records[i], versions[i], kinds[i], reasons[i] = int64(e.Record), int64(e.Version), string(e.Kind), e.Reason
		clients[i], loads[i] = uidOrNull(e.Client), e.Load
	}
	sql := insertEvents + queueRuns
	if n <= fewEvents {
		sql = insertEvents + queueEach
	}
	t.later.Queue(sql, t.now.UnixNano(), ids, actors, datasets, records, versions, kinds, reasons, befores, clients, loads)
}

var eventColumns = []string{"id", "at", "actor", "dataset", "record", "version", "kind", "reason", "before", "client", "load"}

const queueCopied = `WITH added AS (SELECT event FROM events WHERE event > $1 AND xmin = pg_current_xact_id()::xid)
	INSERT INTO event_queue (event, last) ` + queueRuns

// copyEvents writes many events. Their numbers are greater than all that can be seen before: those have been drawn.
func (t *tx) copyEvents() error {
	behind, err := t.conn.integer("SELECT coalesce(max(event), 0) FROM events")
	if err != nil {
		return err
	}
	rows := rowsFor("events", eventColumns)
	for i := range t.events {
		e := &t.events[i]
		rows.add(e.ID[:], t.now.UnixNano(), orNull(e.Actor), e.Dataset, int64(e.Record), int64(e.Version), string(e.Kind), orNull(e.Reason),
			bytesOrNull(e.Before), bytesOrNull(uidOrNull(e.Client)), loadOrNull(e.Load))
	}
	if err := t.conn.copyIn(rows); err != nil {
		return err
	}
	return t.conn.exec(queueCopied, behind)
}

func loadOrNull(key int64) any {
	if key == 0 {
		return nil
	}
	return key
}

// touches are the records that a transaction touches without changing them, and why.
type touches map[subject]string

// touchAll appends touched events, except for records that have an event of this transaction
// already: one event makes every reader look again.
func (t *tx) touchAll(touched touches, by annona.Author) error {
	for _, tb := range tables() {
		var numbers []int64
		for s := range maps.Keys(touched) {
			if s.dataset == tb.dataset && !t.evented[s] {
				numbers = append(numbers, int64(s.number))
			}
		}
		slices.SortFunc(numbers, cmp.Compare)
		if err := t.touch(tb.dataset, numbers, touched, by); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) touch(dataset string, numbers []int64, touched touches, by annona.Author) error {
	if len(numbers) == 0 {
		return nil
	}
	var events []annona.Event
	err := t.conn.each("SELECT number, version FROM "+dataset+" WHERE number = ANY ($1) ORDER BY number", func(r row) error {
		by.Reason = touched[subject{dataset, r.number(0)}]
		events = append(events, eventOf(by, dataset, r.number(0), int(r.integer(1)), annona.EventTouched, nil))
		return nil
	}, numbers)
	for _, e := range events {
		if err := t.event(e); err != nil {
			return err
		}
	}
	return err
}
