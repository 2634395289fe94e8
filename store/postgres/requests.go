package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

const claimRequest = `INSERT INTO requests AS r (id, digest, at, until, status, noun, record, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, at = excluded.at, until = excluded.until, status = excluded.status,
		noun = excluded.noun, record = excluded.record, version = excluded.version
	WHERE r.until <= excluded.at`

const selectRequest = "SELECT id, digest, at, until, status, noun, record, version FROM requests WHERE "

// readRequest takes a request from a row of selectRequest.
func readRequest(r row) annona.KeyedRequest {
	found := annona.KeyedRequest{
		ID: r.uid(0), At: r.time(2), Until: r.time(3), Status: int(r.integer(4)), Noun: r.text(5), Record: r.uid(6), Version: r.integer(7),
	}
	copy(found.Digest[:], r.bytes(1))
	return found
}

// ClaimRequest keeps a request, unless one lies under its ID. Whoever writes the same row first is
// waited for. The row that was met may be swept in the next moment: then the claim is tried again.
func (t *tx) ClaimRequest(ctx context.Context, r annona.KeyedRequest) (earlier *annona.KeyedRequest, err error) {
	const doing = "claim the key of a request"
	if earlier, foreseen := t.claimForeseen(r); foreseen {
		return earlier, ctx.Err()
	}
	if err := t.sendLater(); err != nil { // what came of a request of this transaction stands there
		return nil, t.fault(doing, err)
	}
	for earlier == nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := t.conn.changes(claimRequest, r.ID, r.Digest[:], r.At, r.Until, int64(r.Status), r.Noun, r.Record, r.Version)
		if err != nil {
			return nil, t.fault(doing, err)
		}
		if n > 0 {
			return nil, nil
		}
		_, err = t.conn.one(selectRequest+"id = $1", func(w row) {
			found := readRequest(w)
			earlier = &found
		}, r.ID)
		if err != nil {
			return nil, t.fault(doing, err)
		}
	}
	return earlier, nil
}

// EndRequest writes what came of a request. See annona.RequestTx.
func (t *tx) EndRequest(ctx context.Context, r annona.KeyedRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.endForeseen(r) {
		return nil
	}
	t.later.Queue("UPDATE requests SET until = $1, status = $2, noun = $3, record = $4, version = $5 WHERE id = $6",
		values([]any{r.Until, int64(r.Status), r.Noun, r.Record, r.Version, r.ID})...)
	return nil
}

// DropRequests removes requests whose time is over, except those that somebody claims at this moment.
func (t *tx) DropRequests(ctx context.Context, then time.Time, limit int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.conn.changes("DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)", then, int64(limit))
	if err != nil {
		return 0, t.fault("remove requests", err)
	}
	return n, nil
}
