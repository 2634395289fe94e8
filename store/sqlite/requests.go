package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// ClaimRequest keeps a request, unless one lies under its ID. Those who write take turns: nobody else
// claims it meanwhile.
func (t *tx) ClaimRequest(ctx context.Context, r annona.KeyedRequest) (earlier *annona.KeyedRequest, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, err = t.conn.one("SELECT digest, at, until, status, noun, record, version FROM requests WHERE id = ? AND until > ?", func(s *sqlite.Stmt) {
		earlier = &annona.KeyedRequest{
			ID: r.ID, At: columnTime(s, 1), Until: columnTime(s, 2), Status: s.ColumnInt(3), Noun: s.ColumnText(4), Record: columnUID(s, 5), Version: s.ColumnInt64(6),
		}
		copy(earlier.Digest[:], columnBytes(s, 0))
	}, r.ID, r.At)
	if err == nil && earlier == nil {
		err = t.conn.exec("INSERT OR REPLACE INTO requests (id, digest, at, until, status, noun, record, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			r.ID, r.Digest[:], r.At, r.Until, r.Status, r.Noun, r.Record, r.Version)
	}
	return earlier, fault("claim the key of a request", err)
}

// EndRequest writes what came of a request. See annona.RequestTx.
func (t *tx) EndRequest(ctx context.Context, r annona.KeyedRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec("UPDATE requests SET until = ?, status = ?, noun = ?, record = ?, version = ? WHERE id = ?", r.Until, r.Status, r.Noun, r.Record, r.Version, r.ID)
	return fault("end a request", err)
}

// DropRequests removes requests whose time is over.
func (t *tx) DropRequests(ctx context.Context, then time.Time, limit int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := t.conn.exec("DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE until <= ? LIMIT ?)", then, limit)
	return int64(t.conn.Changes()), fault("remove requests", err)
}
