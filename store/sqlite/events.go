package sqlite

import "github.com/annona-exchange/annona"

// event appends an event under the next number of the log's one gapless sequence.
func (t *tx) event(e annona.Event) error {
	if t.nextSeq == 0 {
		last, err := t.conn.integer("SELECT coalesce(max(seq), 0) FROM events")
		if err != nil {
			return err
		}
		t.nextSeq = last + 1
	}
	var load any
	if e.Load > 0 {
		load = e.Load
	}
	err := t.conn.exec(`INSERT INTO events (seq, id, at, actor, client, dataset, record, version, kind, reason, load, before)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.nextSeq, annona.NewUIDAt(t.now), t.now, e.Actor, orNull(e.Client), e.Dataset, e.Record, e.Version, string(e.Kind), e.Reason, load, e.Before)
	if err != nil {
		return err
	}
	if e.Load > 0 {
		t.runOn(e.Load, t.nextSeq)
	}
	t.nextSeq++
	t.evented[subject{e.Dataset, e.Record}] = true
	return nil
}

// run is a stretch of the log that has events of one load and nothing else.
type run struct{ load, first, last int64 }

// runOn notes that an event belongs to a load.
func (t *tx) runOn(load, seq int64) {
	if n := len(t.runs); n > 0 && t.runs[n-1].load == load && t.runs[n-1].last == seq-1 {
		t.runs[n-1].last = seq
		return
	}
	t.runs = append(t.runs, run{load, seq, seq})
}

// settleRuns writes where the events of loads stand that this transaction has written.
func (t *tx) settleRuns() error {
	for _, r := range t.runs {
		if err := t.conn.exec("INSERT INTO load_runs (load, first, last) VALUES (?, ?, ?)", r.load, r.first, r.last); err != nil {
			return err
		}
	}
	t.runs = nil
	return nil
}

// eventOf is an event of a record that its author has changed.
func eventOf(by annona.Author, dataset string, number annona.Number, version int, kind annona.EventKind, before []byte) annona.Event {
	return annona.Event{
		Actor: by.Operator, Client: by.Client, Load: by.Load, Reason: by.Reason,
		Dataset: dataset, Record: number, Version: version, Kind: kind, Before: before,
	}
}

// touch appends a touched event, unless the record has an event of this transaction already, or is
// not on file: one event makes every reader look again.
func (t *tx) touch(s subject, by annona.Author, reason string) error {
	if t.evented[s] {
		return nil
	}
	version, err := t.version(s.dataset, s.number)
	if err != nil || version == 0 {
		return err
	}
	by.Reason = reason
	return t.event(eventOf(by, s.dataset, s.number, int(version), annona.EventTouched, nil))
}
