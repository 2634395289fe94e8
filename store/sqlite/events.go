package sqlite

import (
	"encoding/binary"

	"github.com/annona-exchange/annona"
)

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

// beforeImage packs what a record was: its clear image, its sealed image and what the vault
// needs to open it, each after its length as uvarint.
func beforeImage(clear, sealed, keyMaterial []byte) []byte {
	var b []byte
	for _, part := range [][]byte{clear, sealed, keyMaterial} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}
