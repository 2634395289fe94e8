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
	err := t.conn.exec(`INSERT INTO events (seq, id, at, actor, dataset, record, version, kind, reason, before)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.nextSeq, annona.NewUID(), t.now, e.Actor, e.Dataset, e.Record, e.Version, string(e.Kind), e.Reason, e.Before)
	if err != nil {
		return err
	}
	t.nextSeq++
	t.evented[subject{e.Dataset, e.Record}] = true
	return nil
}

// touch appends a touched event, unless the record has an event of this transaction already:
// one event makes every reader look again.
func (t *tx) touch(s subject, actor, reason string) error {
	if t.evented[s] {
		return nil
	}
	version, err := t.conn.integer("SELECT version FROM "+s.dataset+" WHERE number = ?", s.number)
	if err != nil {
		return err
	}
	return t.event(annona.Event{
		Actor: actor, Dataset: s.dataset, Record: s.number, Version: int(version), Kind: annona.EventTouched, Reason: reason,
	})
}
