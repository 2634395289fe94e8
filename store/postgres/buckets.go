package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// drawFrom draws in one statement. Of a bucket it is remembered when it is full again: what has come
// since must not be counted. base is that moment once the unused is back, and not in the past.
func drawFrom(table string) string {
	return `INSERT INTO ` + table + ` AS b (name, full_at, drawn) VALUES ($1, $2::bigint + $3::bigint * $4::bigint, $3)
	ON CONFLICT (name) DO UPDATE SET
		drawn = greatest(0, least($3, ($2 + $5::bigint * $4 - greatest(b.full_at - $6::bigint * $4, $2)) / $4)),
		full_at = greatest(b.full_at - $6 * $4, $2) + greatest(0, least($3, ($2 + $5 * $4 - greatest(b.full_at - $6 * $4, $2)) / $4)) * $4
	RETURNING full_at, drawn`
}

// Draw draws requests from a bucket. Its table is unlogged, so that nobody waits for the disk, but for what
// is to last.
func (s *Store) Draw(ctx context.Context, d annona.Draw) (got, room int, wait time.Duration, err error) {
	now, every := d.Now.UnixNano(), int64(d.Every)
	var fullAt, drawn int64
	table := "buckets"
	if d.Lasting {
		table = "quotas"
	}
	err = s.writers.ask(ctx, "count a request", func(c *conn) error {
		_, err := c.one(drawFrom(table), func(r row) { fullAt, drawn = r.integer(0), r.integer(1) },
			d.Bucket, now, int64(min(d.Want, d.Burst)), every, int64(d.Burst), int64(d.Unused))
		return err
	})
	if err != nil {
		return 0, 0, 0, err
	}
	left := now + int64(d.Burst)*every - fullAt // what lies in it, as time
	if drawn == 0 {
		wait = time.Duration(every - left)
	}
	return int(drawn), max(int(left/every), 0), max(wait, 0), nil
}
